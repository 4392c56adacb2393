"""Search spaces: their forms, what is refused, and the files that the package ships."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.property_files import properties_folder
from recbole_diffusion.settings.registry import list_models
from recbole_diffusion.studies.tune.space import Dimension, Space, read_space

DATASETS = str(Path(__file__).resolve().parents[2] / "dataset_atomic")
SHIPPED = sorted((properties_folder() / "search").glob("*.yaml"))


def config_of(model: str, **keys: Any) -> Config:
    return Config(model, "planted", (), {"data_path": DATASETS, **keys})


def read(tmp_path: Path, text: str, model: str = "LightGCN", **keys: Any) -> Space:
    (tmp_path / "mine.yaml").write_text(text)
    return read_space(config_of(model), str(tmp_path / "mine.yaml"), **keys)


@pytest.mark.parametrize(
    ("text", "key", "dimension"),
    [
        ("reg_weight: {log: [1e-5, 1e-2]}", "reg_weight", Dimension("log", (1e-5, 1e-2))),
        ("reg_weight: {log: [1, 100]}", "reg_weight", Dimension("log", (1.0, 100.0))),
        ("reg_weight: {range: [0, 1]}", "reg_weight", Dimension("range", (0.0, 1.0))),
        ("n_layers: {range: [1, 4]}", "n_layers", Dimension("range", (1, 4), True)),
        ("epochs: {range: [100, 500, 200]}", "epochs", Dimension("range", (100, 500, 200), True)),
        ("embedding_size: {log: [8, 64]}", "embedding_size", Dimension("log", (8, 64), True)),
        ("learner: {choice: [adam, adamw]}", "learner", Dimension("choice", ("adam", "adamw"))),
    ],
)
def test_forms(tmp_path: Path, text: str, key: str, dimension: Dimension) -> None:
    assert read(tmp_path, text) == {key: dimension}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("reg_weigth: {log: [1e-5, 1e-2]}", "`reg_weigth` is none of LightGCN's; did you mean"),
        ("ssl_tau: {log: [0.1, 1.0]}", "`ssl_tau` is none of LightGCN's"),
        ("seed: {choice: [1, 2]}", "`seed` must be the same in all trials"),
        *(
            (f"{key}: {{choice: [a, b]}}", f"`{key}` must be the same in all trials")
            for key in (
                *("user_inter_num_interval", "item_inter_num_interval", "val_interval"),
                *("filter_inter_by_user_or_item", "rm_dup_inter", "benchmark_filename"),
                *("load_col", "unload_col", "unused_col", "additional_feat_suffix"),
                *("USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD", "LABEL_FIELD", "encoding"),
                *("field_separator", "seq_separator", "alias_of_item_id", "preload_weight"),
                *("normalize_field", "normalize_all", "seq_len", "valid_metric", "data_path"),
            )
        ),
        ("topk: {choice: [[5], [10]]}", "`topk` must be the same in all trials"),
        ("n_layers: [1, 2]", "`n_layers`: found [1, 2], expected {log: "),
        ("n_layers: {range: [1, 2], log: [1, 2]}", "`n_layers`: found {'range'"),
        ("n_layers: {between: [1, 2]}", "`n_layers`: found {'between'"),
        ("n_layers: {choice: []}", "`n_layers`: found {'choice': []}"),
        ("n_layers: {range: [3, 3]}", "`n_layers`: found range [3, 3]"),
        ("n_layers: {range: [3]}", "`n_layers`: found range [3]"),
        ("n_layers: {range: [1, 4, 2]}", "`n_layers`: found range [1, 4, 2], expected a step"),
        ("reg_weight: {log: [0.0, 1.0]}", "`reg_weight`: found log [0.0, 1.0], expected ends"),
        ("reg_weight: {log: [1.0, 2.0, 1.0]}", "`reg_weight`: found log [1.0, 2.0, 1.0]"),
        ("reg_weight: {range: [-1.0, 1.0]}", "key `reg_weight`: found -1.0, expected at least 0"),
        (
            "n_layers: {choice: [1, two]}",
            "key `n_layers`: found 'two' (str), expected a whole number from 0 to 1000, such as 2",
        ),
        ("n_layers: {range: [0.5, 1.5]}", "key `n_layers`: found 0.5 (float)"),
        ("learner: {choice: [adam, adan]}", "key `learner`: found 'adan', expected one of"),
    ],
)
def test_what_is_refused_names_file_and_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, text)
    assert told in str(error.value)
    assert str(tmp_path / "mine.yaml") in str(error.value)


def test_missing_file_is_refused() -> None:
    with pytest.raises(UserError, match=r"key `space`: 'none\.yaml' found neither"):
        read_space(config_of("BPR"), "none.yaml")


def test_keys_that_the_user_sets_are_not_searched(tmp_path: Path) -> None:
    text = "n_layers: {range: [1, 4]}\nreg_weight: {log: [1e-5, 1e-2]}\n"
    assert list(read(tmp_path, text, pinned=["n_layers", "epochs"])) == ["reg_weight"]


@pytest.mark.parametrize(
    ("dimension", "inside", "outside"),
    [
        (Dimension("log", (1e-4, 1e-2)), [1e-4, 1e-2, 0.001], [1e-5, 1, "a", None, True]),
        (Dimension("range", (1, 4), True), [1, 4], [0, 5, 1.5]),
        (Dimension("range", (100, 500, 200), True), [100, 300, 500], [200]),
        (Dimension("range", (0.1, 0.5, 0.1)), [0.1, 0.30000000000000004, 0.5], [0.25]),
        (Dimension("choice", ([300], [200, 600])), [[300], [200, 600]], [[600], 300]),
    ],
)
def test_what_a_dimension_holds(dimension: Dimension, inside: list[Any], outside: Any) -> None:
    assert [value for value in [*inside, *outside] if dimension.holds(value)] == inside


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_spaces_fit_their_models(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line says where the ranges come from."""
    monkeypatch.setattr("recbole_diffusion.settings.layers.check_packages", lambda *args: None)
    features = {"image": {"file": "image.npz"}}  # DiffMM takes no data set without
    config = config_of(path.stem, item_features=features)
    space = read_space(config).keys()
    assert space == read_space(config, str(path)).keys() > set()
    left_out = yaml.safe_load(path.read_text()).keys() - space
    assert left_out <= {"recency_decay"}
    assert path.read_text().startswith("# ")


BY_TIME = {"eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO"}}
AT_RANDOM = {"eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO"}}
UNTIMED = {"load_col": {"inter": ["user_id", "item_id"]}}
TEXTS = {"item_features": {"text": {"fields": ["title"], "encoder": "tfidf"}}}


@pytest.mark.parametrize(
    ("model", "keys", "left_out"),
    [
        ("LinDiffRec", {**TEXTS, **BY_TIME}, set()),
        ("LinDiffRec", BY_TIME, {"feature_weights"}),
        ("LinDiffRec", {**TEXTS, "recency": "none"}, {"recency_decay"}),
        ("LinDiffRec", {**TEXTS, "recency": "power"}, set()),
        ("LinDiffRec", {**TEXTS, **UNTIMED}, {"recency_decay"}),
        ("LinDiffRec", {**TEXTS, "load_col": None, **BY_TIME}, set()),
        ("LinDiffRec", {**TEXTS, **UNTIMED, **BY_TIME}, set()),
        ("LinDiffRec", {**TEXTS, **AT_RANDOM}, {"recency_decay"}),
        ("LinDiffRec", {**TEXTS, **BY_TIME, "steps": 1}, {"step_ratio"}),
        ("PrefixDiff", {"denoiser": "views"}, {"n_layers", "embedding_size"}),
        ("PrefixDiff", {"absorption": "age"}, {"absorbed_share"}),
        ("PrefixDiff", {"horizon": 1}, {"horizon", "horizon_decay"}),
        ("EASE", {}, {"recency_decay"}),
        ("EASE", {"recency": "power"}, set()),
    ],
    ids=str,
)
def test_keys_that_change_nothing_are_not_searched(
    model: str, keys: dict[str, Any], left_out: set[str]
) -> None:
    written = yaml.safe_load((properties_folder() / "search" / f"{model}.yaml").read_text())
    found = read_space(config_of(model, **keys), pinned=keys)
    assert written.keys() - found.keys() == left_out


def test_a_range_that_does_not_fit_a_key_beside_it_is_refused() -> None:
    keys = {"recency": "linear"}
    with pytest.raises(UserError, match=r"`recency_decay`: found 1\.25, expected 0 to 1 with"):
        read_space(config_of("LinDiffRec", **keys), pinned=keys)


def test_each_model_of_ours_has_a_space() -> None:
    assert set(list_models()["recbole_diffusion"]) <= {path.stem for path in SHIPPED}


def test_model_without_a_file_has_no_space() -> None:
    assert read_space(config_of("Pop")) == {}


def test_shadowed_model_has_a_space_of_its_own() -> None:
    ours, host = read_space(config_of("DiffRec")), read_space(config_of("recbole.DiffRec"))
    assert "hidden_sizes" in ours
    assert "dims_dnn" in host
