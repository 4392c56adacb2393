"""Values of settings: whatever a key is given, it serves or is refused in one line."""

import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recbole.model.general_recommender import BPR

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.runs.quick_start import run_recbole_diffusion
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.keys import REFUSED, declared_keys
from recbole_diffusion.settings.property_files import default_layers, read_properties
from recbole_diffusion.settings.registry import find_model, list_models, register
from recbole_diffusion.settings.values import MAX_DEPTH, parse_value
from recbole_diffusion.studies.compare.request import read_request
from recbole_diffusion.studies.compare.run import compare
from recbole_diffusion.studies.compare.settings import CompareSettings
from recbole_diffusion.studies.tune.task import check_budget

DATASETS = Path(__file__).resolve().parents[1] / "dataset_atomic"
INF, NAN = float("inf"), float("nan")
HOLDS_ITSELF: list[Any] = []
HOLDS_ITSELF.append(HOLDS_ITSELF)
DEEP: list[Any] = []
for _ in range(900):
    DEEP = [DEEP]
HARDEST = ["eval_args", "train_neg_sample_args", "clip_grad_norm", "item_features", "val_interval"]
ODD_VALUES: list[Any] = [
    *(None, True, 0, 1, -1, 2**31, 2**32, 10**26, 10**5000),
    *(0.5, -0.5, 1e12, 1e38, INF, -INF, NAN),
    *("", "a", "*", "a" * 5000, "a/" * 3000, "\0", "\ud800", "\t"),
    *([], [1], [0.5], ["a"], [None], [[1]], [INF], [-1], [10**26], [True]),
    *({}, {"a": 1}, {"a": "b"}, {"a": None}, {"a": [1]}, {"a": {"b": 1}}, {"a": NAN}, {1: 2}),
    *(HOLDS_ITSELF, DEEP, b"bytes", datetime.date(2020, 1, 1), {1, 2}),
]
ODD_DICTS: list[Any] = [
    *({None: 1}, {"inter": ["user_id", "item_id"]}, {"inter": 5}, {"RS": 5}, {"mode": [1]}),
    *({"split": 5}, {"split": {"RS": "abc"}}, {"split": {"RS": [INF, 1, 1]}}, {"order": 3}),
    *({"mode": {"valid": None, "test": []}}, {"max_norm": INF}, {"max_norm": "a"}),
    *({"distribution": 3, "sample_num": 1}, {"dynamic": "yes"}, {"sample_num": 10**26}),
]


@cache
def keys_by_model() -> dict[str, list[str]]:
    """Every key that can be set, under a model that has a default for it, if any does."""
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    for name in ["BPR", *(name for names in list_models().values() for name in names)]:
        layers = default_layers(find_model(name), "planted")
        keys = {key for _, layer in layers for key in layer} - seen - set(REFUSED)
        if keys:
            found[name] = sorted(keys)
        seen |= keys
    found["BPR"] += ["encoding", "tail_ratio"]  # that code alone reads
    return found


def take(model: str, key: str, value: Any) -> None:
    """Config takes the value, or says in one short line why not."""
    try:
        found = Config(model, "planted", (), {"data_path": str(DATASETS), key: value})
    except UserError as error:
        text = str(error)
        assert "\n" not in text, (model, key)
        others = (
            "channels",
            "modalities",
            "item_features",
            "needs",
            "dataset",
        )  # that models want beside it
        assert key in text or any(word in text for word in others), (model, key, text)
        assert len(text) < 2000, (model, key, len(text))
    else:
        completed = ("use_gpu", "data_path", "eval_args", "train_neg_sample_args")
        assert key in completed or found[key] == value or found[key] == [value]


@pytest.mark.parametrize("model", keys_by_model())
def test_every_key_takes_or_refuses_odd_values(model: str) -> None:
    for key in keys_by_model()[model]:
        for value in ODD_VALUES + (ODD_DICTS if key in HARDEST else []):
            take(model, key, value)


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["full", "RO", "TO", "user", "none", "uniform", "Recall", "inter", "RS"]),
)
NESTED = st.recursive(
    PLAIN,
    lambda parts: (
        st.lists(parts, max_size=3)
        | st.dictionaries(
            st.text(max_size=5)
            | st.sampled_from(["split", "order", "mode", "group_by", "valid", "test", "RS", "TS"])
            | st.sampled_from(["distribution", "sample_num", "alpha", "dynamic", "candidate_num"])
            | st.sampled_from(["max_norm", "norm_type", "inter", "method", "bucket", "file"])
            | st.integers(),
            parts,
            max_size=3,
        )
    ),
    max_leaves=6,
)
OTHER_KEYS = sorted(declared_keys() - set(REFUSED) - {"model", "dataset", "config_files"})
ANY_KEY = st.sampled_from(
    [(m, k) for m, keys in keys_by_model().items() for k in keys] + [("BPR", k) for k in OTHER_KEYS]
)


@given(where=ANY_KEY | st.sampled_from([("BPR", key) for key in HARDEST]), value=NESTED)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_key_takes_or_refuses_any_value(where: tuple[str, str], value: Any) -> None:
    take(*where, value)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("worker", 10**12, ["from 0 to 64"]),
        ("metric_decimal_place", 1e12, ["1000000000000.0", "a whole number", "from 0 to 17"]),
        ("learning_rate", 1e38, ["1e+38", "expected at least 0, below 1e30"]),
        ("learning_rate", 10**26, ["more than 64 bits"]),
        ("normalize_all", NAN, ["nan", "true or false, or null"]),
        ("output_dir", -INF, ["-inf", "a text"]),
        ("unused_col", 5, ["a dict"]),
        ("unused_col", {"inter": 5}, ["a dict, each value a list"]),
        ("preload_weight", ["a"], ["a dict"]),
        ("seq_len", {"words": "many"}, ["a whole number"]),
        ("encoding", 5, ["a text, or null"]),
        ("NEG_PREFIX", None, ["a text"]),
        ("seed", 10**26, ["more than 64 bits"]),
        ("seed", 2**40, ["from 0 to 2^32 - 1"]),
        ("topk", [INF], ["topk"]),
        ("output_dir", "a" * 5000, ["5000 characters", "255 bytes"]),
        ("data_path", "a/" * 3000, ["6000 characters", "4095 in all"]),
        ("USER_ID_FIELD", HOLDS_ITSELF, [f"more than {MAX_DEPTH} levels"]),
        ("val_interval", {"day": datetime.date(2020, 1, 1)}, ["a date", "quote a text"]),
        ("val_interval", {"day": datetime.date(2020, 1, 1)}, ["key `val_interval.day`"]),
        ("clip_grad_norm", {"max_norm": 1.0, "norm_type": NAN}, ["expected finite numbers"]),
        (
            "clip_grad_norm",
            {"max_norm": -1.0, "norm_type": INF},
            ["max_norm a number at least 1e-06"],
        ),
        ("eval_args", {"split": {"RS": [NAN, 1, 1]}}, ["expected finite numbers"]),
        ("item_features", {"vec": {"max_missing": NAN}}, ["expected finite numbers"]),
        ("topk", [INF], ["expected finite numbers"]),
        ("learning_rate", NAN, ["found nan, expected a finite number, at least 0, below 1e30"]),
        ("learning_rate", INF, ["found inf, expected a finite number, at least 0, below 1e30"]),
        ("train_noise_ratio", NAN, ["found nan, expected a finite number, from 0 to 1"]),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else "",
)
def test_odd_value_is_refused_with_what_was_expected(
    planted: dict[str, Any], key: str, value: Any, words: list[str]
) -> None:
    with pytest.raises(UserError, match=f"^(command line: )?key `{key}[.a-z]*`: found ") as error:
        Config("BPR", "planted", (), {**planted, key: value})
    assert [word for word in words if word not in str(error.value)] == [], str(error.value)


@pytest.mark.parametrize(
    ("model", "key", "value"),
    [
        ("EASE", "reg_weight", INF),
        ("DiffRec", "step_embedding_size", 1e12),
        ("DiffRec", "hidden_sizes", [10**12]),
        ("MultiVAE", "mlp_hidden_size", [0]),
        ("LightGCN", "n_layers", 10**6),
        ("NGCF", "message_dropout", 1.5),
    ],
)
def test_odd_value_of_a_model_is_refused(
    planted: dict[str, Any], model: str, key: str, value: Any
) -> None:
    with pytest.raises(UserError, match=f"key `{key}`: found .*, expected (a|b|at|from) ?"):
        Config(model, "planted", (), {**planted, key: value})


def test_infinite_end_of_a_range_is_told_as_such() -> None:
    with pytest.raises(UserError, match="norm_type a number from 1 to inf,"):
        Config("BPR", "planted", (), {"clip_grad_norm": {"max_norm": 1.0, "norm_type": -1}})


def test_infinite_norm_type_is_one() -> None:
    take("BPR", "clip_grad_norm", {"max_norm": 1.0, "norm_type": INF})


@pytest.mark.parametrize("name", ["a" * 5000, "a" * 300, "a\0"])
def test_names_that_no_file_can_have(planted: dict[str, Any], name: str) -> None:
    for arguments in ((name, "planted"), ("BPR", name), ("BPR", "planted", [name])):
        with pytest.raises(UserError, match=r"key `(model|dataset|config_files)`: found"):
            Config(*arguments, overrides=planted)


def test_key_of_a_registered_model_has_the_type_of_its_own_default(
    own_registry: None, planted: dict[str, Any], tmp_path: Path
) -> None:
    """Whatever else models of other names mean by it."""
    (tmp_path / "own.yaml").write_text("embedding_size: 64\nsteps: [1, 2]\ntemperature: -5.0\n")
    own = register(type("Own", (BPR,), {}), properties=tmp_path / "own.yaml")
    with pytest.raises(UserError, match="key `temperature`: found -5.0"):
        Config(own, "planted", (), planted)
    (tmp_path / "mended.yaml").write_text("embedding_size: 64\nsteps: [1, 2]\n")
    own = register(own, properties=tmp_path / "mended.yaml")
    assert Config(own, "planted", (), {**planted, "steps": [3]})["steps"] == [3]
    with pytest.raises(UserError, match=r"key `steps`: found 3 \(int\), expected a list"):
        Config(own, "planted", (), {**planted, "steps": 3})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 900 + "]" * 900, f"more than {MAX_DEPTH} levels"),
        ("{a: " * 900 + "}" * 900, f"more than {MAX_DEPTH} levels"),
        ("&a [*a]", f"more than {MAX_DEPTH} levels"),
        ("&a {b: *a}", f"more than {MAX_DEPTH} levels"),
        ("9" * 5000, "not valid YAML"),
        ("0x" + "f" * 5000, "more than 64 bits"),
        (f"[{'1, ' * 30_000}]", "too many values"),
        ("2020-01-01", "a date"),
        ("!!binary aGVsbG8=", "a bytes"),
        ("!!set {a, b}", "a set"),
        ("a" * 5000, "5000 characters"),
    ],
    ids=lambda text: text[:12],
)
def test_odd_text_is_refused_in_one_short_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(f"key: {text}\n")
    for read in (lambda: parse_value(text, "here"), lambda: read_properties(path)):
        with pytest.raises(UserError, match=told) as error:
            read()
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 1000


def test_number_beyond_floats_is_infinite_and_refused(planted: dict[str, Any]) -> None:
    value = parse_value("1" * 400 + ".0", "here")
    with pytest.raises(UserError, match="key `learning_rate`: found inf"):
        Config("BPR", "planted", (), {**planted, "learning_rate": value})


def test_file_of_many_keys_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    path.write_text("".join(f"key{n}: 1\n" for n in range(300_000)))
    with pytest.raises(UserError, match=r"many\.yaml.*too many values.*line 10000"):
        read_properties(path)


def test_unknown_keys_are_refused_at_the_first(planted: dict[str, Any]) -> None:
    keys = {f"key{n}": 1 for n in range(300_000)}
    with pytest.raises(UserError, match="unknown key `key0`"):
        Config("BPR", "planted", (), {**keys, **planted})


@pytest.mark.parametrize(
    ("rate", "told"),
    [(1e12, "training diverges: found loss"), (1e-3, "")],
)
def test_loss_that_is_finite_and_absurd_is_told_once(
    planted: dict[str, Any], caplog: pytest.LogCaptureFixture, rate: float, told: str
) -> None:
    keys = {**planted, "learning_rate": rate, "epochs": 4, "metrics": ["Recall"]}
    run_recbole_diffusion("LightGCN", "planted", (), keys)
    found = [r.getMessage() for r in caplog.records if "diverges" in r.getMessage()]
    assert len(found) == bool(told)
    assert all(told in text and f"`learning_rate` (found {rate})" in text for text in found)


def test_infinite_loss_ends_training(
    planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = BPR.calculate_loss
    monkeypatch.setattr(BPR, "calculate_loss", lambda self, batch: loss(self, batch) * INF)
    with pytest.raises(UserError, match="training loss is infinite in epoch 0"):
        run_recbole_diffusion("BPR", "planted", (), planted)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seeds", 10**26),
        ("seeds", 10**9),
        ("seeds", [2**32]),
        ("processes", 10**12),
        ("processes", True),
        ("memory_mb", NAN),
        ("alpha", NAN),
        ("quoted", "yes"),
        ("trial_minutes", INF),
        ("tune", 2**40),
        ("tune_storage", 5),
        ("significance", None),
        ("dataset", "a" * 300),
        ("output_dir", -INF),
        ("models", "a" * 101 + "=BPR"),
        ("protocol", 5),
        ("baselines", {"BPR": 1}),
        ("EASE.reg_weight", INF),
    ],
)
def test_odd_option_of_a_comparison_is_refused(
    planted: dict[str, Any], key: str, value: Any
) -> None:
    keys = {**planted, "models": "BPR,EASE", "dataset": "planted", key: value}
    with pytest.raises(UserError, match=f"key `{key.rpartition('.')[2]}`: found "):
        compare(config_dict=keys)


@given(key=st.sampled_from(sorted(CompareSettings.keys())), value=NESTED)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_option_of_a_comparison_takes_or_refuses_any_value(key: str, value: Any) -> None:
    try:
        read_request({"models": "BPR", "dataset": "planted", key: value})
    except UserError as error:
        text = str(error)
        assert "\n" not in text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trials", 2**40),
        ("trials", 0),
        ("trials", 1.5),
        ("minutes", INF),
        ("minutes", "long"),
        ("trial_minutes", NAN),
        ("trial_minutes", None),
    ],
)
def test_odd_budget_of_a_search_is_refused(key: str, value: Any) -> None:
    budget = {"trials": 1, "minutes": None, "trial_minutes": 1.0, key: value}
    with pytest.raises(UserError, match=f"key `{key}`: found "):
        check_budget(*budget.values())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{split:{CI:[0.8,0.1]}}", {"split": {"CI": [0.8, 0.1]}}),
        ("{split: {CI: [0.8, 0.1]}}", {"split": {"CI": [0.8, 0.1]}}),
        ('{"a":1}', {"a": 1}),
        ("[a:b, http://x]", ["a:b", "http://x"]),
    ],
)
def test_blanks_behind_colons_may_be_missing_where_pyyaml_lets_them(text: str, value: Any) -> None:
    assert parse_value(text, "--key") == value
