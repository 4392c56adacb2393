"""Settings: which layer wins, which keys are known, and what is refused with which words."""

import re
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import recbole
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.general_recommender import DiffRec as HostDiffRec
from recbole.utils import InputType

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.commands.cli import parse_arguments
from recbole_diffusion.data.split import load_split
from recbole_diffusion.settings import property_files, schema
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.folders import list_datasets
from recbole_diffusion.settings.keys import REFUSED, declared_keys
from recbole_diffusion.settings.property_files import (
    find_property_file,
    properties_folder,
    read_properties,
)
from recbole_diffusion.settings.registry import register
from recbole_diffusion.settings.values import parse_value

HOST = Path(recbole.__file__).parent
PACKAGE = Path(property_files.__file__).parents[1]
OVERALL = properties_folder() / "overall.yaml"


class Layered(GeneralRecommender):
    """Reads a key of its own."""

    input_type = InputType.PAIRWISE

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.depth = config["declared_depth"]


def make_config(
    planted: dict[str, Any], model: str | type = "BPR", files: tuple[str, ...] = (), **keys: Any
) -> Config:
    return Config(model, "planted", files, {**planted, **keys})


@pytest.fixture
def layers(own_registry: None, own_properties: Path, tmp_path: Path) -> list[Path]:
    """The files of all layers for a registered model, lowest first; none is written yet."""
    register(Layered)
    for folder in ("dataset", "model", "model_on_dataset/Layered"):
        (own_properties / folder).mkdir(parents=True)
    shutil.copy(OVERALL, own_properties)
    return [
        own_properties / "overall.yaml",
        own_properties / "dataset" / "planted.yaml",
        own_properties / "model" / "Layered.yaml",
        own_properties / "model_on_dataset" / "Layered" / "planted.yaml",
        tmp_path / "first.yaml",
        tmp_path / "second.yaml",
    ]


@pytest.mark.parametrize("n_layers", range(8))
def test_each_layer_overrides_the_one_before(
    layers: list[Path], planted: dict[str, Any], n_layers: int
) -> None:
    host = read_properties(HOST / "properties" / "overall.yaml")["learning_rate"]
    for number, path in enumerate(layers[:n_layers], start=1):
        with path.open("a") as lines:
            lines.write(f"learning_rate: 0.{number}\nweight_decay: 0.5\n")
    for path in layers[4:]:
        with path.open("a") as lines:
            lines.write("# a remark\n")
    keys = {"learning_rate": 0.75} if n_layers == 7 else {}
    files = (str(layers[4]), str(layers[5]))
    found = make_config(planted, "Layered", files, **keys)
    expected = [host, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75][n_layers]
    assert found["learning_rate"] == expected
    assert found["weight_decay"] == (0.5 if n_layers else 0.0)  # a key left out above stays


def test_data_set_file_of_the_host_lies_below_ours(
    layers: list[Path], planted: dict[str, Any]
) -> None:
    fields = Config("Layered", "ml-100k", (), {})["load_col"]
    assert fields == read_properties(HOST / "properties/dataset/ml-100k.yaml")["load_col"]
    assert "rating" in fields["inter"]
    layers[1].with_name("ml-100k.yaml").write_text("load_col: {inter: [user_id, item_id]}\n")
    found = Config("Layered", "ml-100k", (), {})
    assert found["load_col"] == {"inter": ["user_id", "item_id"]}
    assert found["RATING_FIELD"] == "rating"  # from the host's file, which ours does not repeat


def test_property_file_given_at_registration_is_the_model_layer(
    layers: list[Path], planted: dict[str, Any], tmp_path: Path
) -> None:
    own = tmp_path / "anywhere.yaml"
    own.write_text("learning_rate: 0.25\ndepth: 3\n")
    layers[1].write_text("learning_rate: 0.125\n")
    layers[2].write_text("learning_rate: 0.5\n")
    register(Layered, properties=own)
    found = make_config(planted, "Layered", depth=4)
    assert found["learning_rate"] == 0.25
    assert found["depth"] == 4
    with pytest.raises(UserError, match="`depth`: found 'deep'"):
        make_config(planted, "Layered", depth="deep")


def test_own_model_inherits_nothing_from_the_host_file_of_its_name(
    own_registry: None, own_properties: Path, planted: dict[str, Any]
) -> None:
    declared = read_properties(HOST / "properties" / "model" / "DiffRec.yaml")
    assert {"noise_schedule", "steps", "dims_dnn"} <= set(declared)
    register(type("DiffRec", (Layered,), {}))
    shutil.copy(OVERALL, own_properties)
    for name in ("DiffRec", "recbole.DiffRec"):
        (own_properties / "model_on_dataset" / name).mkdir(parents=True)
        text = f"weight_decay: {0.5 if name == 'DiffRec' else 0.25}\n"
        (own_properties / "model_on_dataset" / name / "planted.yaml").write_text(text)

    ours, host = make_config(planted, "DiffRec"), make_config(planted, "recbole.DiffRec")
    assert ours.model_class.__module__ == __name__
    assert [key for key in declared if key in ours] == []
    assert {key: host[key] for key in declared} == declared
    assert issubclass(host.model_class, HostDiffRec)
    assert ours["weight_decay"] == 0.5
    assert host["weight_decay"] == 0.25
    assert ours["model"] == host["model"] == "DiffRec"  # the host's rules go by this name


def test_property_file_beside_the_data_is_of_the_dataset_layer(
    planted: dict[str, Any], write_dataset: Callable[..., Path]
) -> None:
    path = write_dataset("mine", inter=[["user_id:token", "item_id:token"], ["a", "b"]])
    file = path / "mine" / "mine.yaml"
    file.write_text("learning_rate: 0.5\nvalid_metric: NDCG@10\n")
    keys = {"data_path": str(path), "learning_rate": 0.25}
    found = Config("BPR", "mine", (), keys)
    assert (found["learning_rate"], found["valid_metric"]) == (0.25, "NDCG@10")
    file.write_text("learning_rat: 0.5\n")
    with pytest.raises(UserError, match=r"mine\.yaml: unknown key `learning_rat`"):
        Config("BPR", "mine", (), keys)
    file.unlink()
    file.mkdir()
    with pytest.raises(UserError, match=r"mine\.yaml: found a folder .* expected a file"):
        Config("BPR", "mine", (), keys)


def test_empty_property_file_of_the_users_is_no_set_of_defaults(tmp_path: Path) -> None:
    """Such as a full disk leaves of ``best.yaml``; comments alone are a choice."""
    file = tmp_path / "best.yaml"
    file.touch()
    with pytest.raises(UserError, match=r"best\.yaml: found an empty file"):
        Config("BPR", "ml-100k", (str(file),))
    file.write_text("# epochs: 3\n")
    assert Config("BPR", "ml-100k", (str(file),))["epochs"] == Config("BPR", "ml-100k")["epochs"]


def test_given_split_without_its_key_is_told(write_dataset: Callable[..., Path]) -> None:
    path = write_dataset("halves", train__inter=[["user_id:token", "item_id:token"]])
    with pytest.raises(UserError, match=r"set benchmark_filename to \['train'\]"):
        Config("BPR", "halves", (), {"data_path": str(path)})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("item_features: {x: {file: ../../far.npz}}", ["item_features.x.file", "../../far.npz"]),
        ("item_features: {x: {file: /far.npy, ids: /far.ids}}", ["x.file", "x.ids", "/far.ids"]),
        ("output_dir: /elsewhere", ["output_dir", "/elsewhere"]),
        ("item_features: {x: {file: sub/../near.npz}, y: {field: year}}", []),
        ("epochs: 3", []),
    ],
)
def test_paths_out_of_the_datas_folder_are_told(
    write_dataset: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    text: str,
    told: list[str],
) -> None:
    rows = [[f"u{u}", f"i{(u + i) % 60}"] for u in range(5) for i in range(55)]
    path = write_dataset("mine", inter=[["user_id:token", "item_id:token"], *rows])
    own = path / "mine" / "mine.yaml"
    own.write_text(text)
    load_split(Config("BPR", "mine", (), {"data_path": str(path)}))
    assert ("leads out of its folder" in caplog.text) == bool(told)
    assert [word for word in told if word not in caplog.text] == []
    caplog.clear()
    given = {"data_path": str(path), "item_features": {"x": {"file": "/mine.npz"}}}
    load_split(Config("BPR", "mine", (), {**given, "output_dir": "/mine"}))
    assert caplog.text == ""  # the user's own paths


def test_file_beside_the_data_cannot_lead_to_other_data(
    write_dataset: Callable[..., Path],
) -> None:
    path = write_dataset("mine", inter=[["user_id:token", "item_id:token"], ["u", "i"]])
    (path / "mine" / "mine.yaml").write_text("data_path: /elsewhere")
    with pytest.raises(UserError, match=r"mine\.yaml: key `data_path`: found '/elsewhere'"):
        Config("BPR", "mine", (), {"data_path": str(path)})


def test_settings_of_a_host_model_come_from_its_own_file(planted: dict[str, Any]) -> None:
    declared = read_properties(HOST / "properties" / "model" / "LightGCN.yaml")
    found = make_config(planted, "LightGCN")
    assert {key: found[key] for key in declared} == declared
    assert found["topk"] == [10, 20, 50]


def test_list_datasets_gives_folders_that_can_be_named(
    planted: dict[str, Any], write_dataset: Callable[..., Path]
) -> None:
    path = write_dataset("mine", inter=[["user_id:token", "item_id:token"], ["a", "b"]])
    write_dataset("halves", train__inter=[["user_id:token", "item_id:token"]])
    (path / "empty").mkdir()
    found = list_datasets(str(path))
    assert {"mine", "halves", "ml-100k"} <= set(found)
    assert "empty" not in found
    assert found["mine"] == str(path / "mine")
    assert Config("BPR", "mine", (), {"data_path": str(path)})["data_path"] == found["mine"]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"learning_rat": 0.1}, ["learning_rat", "`learning_rate`?"]),
        ({"zzzz": 1}, ["unknown key `zzzz`"]),
        ({"save_dataset": True}, ["save_dataset", "cannot be set", "pickled"]),
        ({"checkpoint_dir": "x"}, ["checkpoint_dir", "cannot be set", "output_dir"]),
        ({"learning_rate": "fast"}, ["`learning_rate`", "'fast'", "str", "expected a number"]),
        ({"epochs": 1.5}, ["`epochs`", "1.5", "float", "expected a whole number"]),
        ({"epochs": True}, ["`epochs`", "True", "bool", "expected a whole number"]),
        ({"learning_rate": True}, ["`learning_rate`", "True", "bool", "expected a number"]),
        ({"shuffle": 1}, ["`shuffle`", "1", "int", "expected true or false"]),
        ({"learner": ["adam"]}, ["`learner`", "['adam']", "list", "expected a text"]),
        ({"eval_args": ["RS"]}, ["`eval_args`", "['RS']", "list", "expected a dict"]),
        ({"epochs": None}, ["`epochs`", "None", "expected a whole number"]),
        ({"epochs": -1}, ["`epochs`", "-1", "at least 0"]),
        ({"seed": -1}, ["`seed`", "-1", "from 0 to"]),
        ({"seed": 2**32}, ["`seed`", str(2**32)]),
        ({"learning_rate": -0.5}, ["`learning_rate`", "-0.5", "at least 0"]),
        ({"learning_rate": float("nan")}, ["`learning_rate`", "nan", "at least 0"]),
        ({"metric_decimal_place": -1}, ["`metric_decimal_place`", "-1", "from 0 to"]),
        ({"eval_memory_mb": 0}, ["`eval_memory_mb`", "0"]),
        ({"eval_batch_users": 0}, ["`eval_batch_users`", "0", "at least 1"]),
        ({"eval_batch_users": "many"}, ["`eval_batch_users`", "'many'"]),
        ({"state": "LOUD"}, ["`state`", "'LOUD'", "info"]),
        ({"learner": "adamm"}, ["`learner`", "'adamm'", "adam"]),
        ({"valid_metric": "Recall@7"}, ["`valid_metric`", "'Recall@7'", "Recall", "20"]),
        ({"valid_metric": "Recall"}, ["`valid_metric`", "'Recall'", "20"]),
        ({"valid_metric": None}, ["`valid_metric`", "None"]),
        ({"metrics": ["Recal", "NDCG"]}, ["metrics", "Recal"]),
        ({"metrics": [5]}, ["metrics", "5"]),
        ({"metrics": []}, ["metrics", "[]"]),
        ({"topk": [0, 20]}, ["topk", "0", "positive"]),
        ({"topk": [-3]}, ["topk", "-3", "positive"]),
        ({"topk": ["a"]}, ["topk", "a"]),
        ({"topk": [10.5, 20]}, ["topk", "10.5"]),
        ({"topk": [True, 20]}, ["topk", "True"]),
        ({"use_gpu": "maybe"}, ["`use_gpu`", "'maybe'", "true, false or auto"]),
        ({"output_dir": None}, ["`output_dir`", "None"]),
        ({"data_path": 5}, ["`data_path`", "5"]),
        ({"benchmark_filename": "train"}, ["`benchmark_filename`", "'train'"]),
        ({"eval_args": {"splt": {}}}, ["eval_args", "splt"]),
        ({"eval_args": {"order": "XX"}}, ["eval_args", "order", "XX"]),
        ({"eval_args": {"group_by": "sex"}}, ["eval_args", "group_by", "sex"]),
        ({"eval_args": {"split": {"XX": [1]}}}, ["eval_args", "split", "XX"]),
        ({"eval_args": {"mode": "fully"}}, ["eval_args", "mode", "fully"]),
        ({"eval_args": {"mode": "unix"}}, ["eval_args", "mode", "unix"]),
        ({"field_separator": "::"}, ["`field_separator`", "'::'", "one ASCII character"]),
        ({"field_separator": ""}, ["`field_separator`", "''", "one ASCII character"]),
        ({"field_separator": None}, ["`field_separator`", "None"]),
        ({"field_separator": "§"}, ["`field_separator`", "'§'"]),
        ({"rm_dup_inter": "frist"}, ["`rm_dup_inter`", "'frist'", "null, first or last"]),
        ({"rm_dup_inter": True}, ["`rm_dup_inter`", "True", "a text, or null"]),
        ({"user_inter_num_interval": "5+"}, ["`user_inter_num_interval`", "'5+'", "[5,inf)"]),
        ({"threshold": {"timestamp": 3}}, ["`threshold`", "val_interval"]),
        ({"repeatable": True}, ["`repeatable`", "sequential"]),
        ({"eval_args": {"mode": "labeled"}}, ["eval_args", "labeled", "mode full"]),
        ({"eval_args": {"mode": {"valid": "uni9"}}}, ["eval_args", "uni9", "both valid and test"]),
        ({"eval_args": {"split": {"TS": [3, 5]}}}, ["eval_args", "TS", "order TO"]),
        ({"clip_grad_norm": {"max_norm": 1.0}, "enable_scaler": True}, ["clip_grad_norm"]),
        ({"train_neg_sample_args": {"dynamic": True}}, ["candidate_num above 0 with dynamic"]),
        ({"nproc": 2}, ["`nproc`", "one process"]),
        ({"valid_metric_bigger": False}, ["`valid_metric_bigger`", "valid_metric"]),
        ({"neg_sampling": {"uniform": 1}}, ["`neg_sampling`", "train_neg_sample_args"]),
        ({"dataset": "other"}, ["dataset", "other"]),
        ({"model": "Pop"}, ["model", "Pop"]),
    ],
    ids=lambda v: str(v)[:40] if isinstance(v, dict) else "",
)
def test_bad_value_names_key_found_and_expected(
    planted: dict[str, Any], keys: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(UserError) as error:
        load_split(Config("BPR", "planted", (), {**planted, **keys}))
    missing = [word for word in words if word not in str(error.value)]
    assert missing == [], str(error.value)


def test_every_refused_key_and_learner_is_documented() -> None:
    text = Path(__file__).parents[1].joinpath("docs", "host.md").read_text(encoding="utf-8")
    assert [key for key in REFUSED if f"`{key}`" not in text and f"`{key}:" not in text] == []
    assert "`learner: sparse_adam`" in text


def test_sparse_adam_fails_in_recboles_models() -> None:
    table = torch.nn.Embedding(3, 2)  # as RecBole makes them
    optimizer = torch.optim.SparseAdam(table.parameters())
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="does not support dense gradients"):
        optimizer.step()
    with pytest.raises(UserError, match="key `learner`: found 'sparse_adam'"):
        Config("BPR", "ml-100k", (), {"learner": "sparse_adam"})


def test_every_refused_key_says_why(planted: dict[str, Any]) -> None:
    assert len(REFUSED) >= 5
    for key, reason in REFUSED.items():
        with pytest.raises(UserError, match=f"`{key}` cannot be set") as error:
            make_config(planted, **{key: True})
        assert reason in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", 1),
        ("topk", 20),
        ("metrics", "Recall"),
        ("use_gpu", False),
        ("eval_memory_mb", 32.5),
        ("eval_batch_users", 5),
        ("clip_grad_norm", {"max_norm": 5}),
        ("load_col", None),
        ("valid_metric", "ndcg@10"),
        ("metrics", ["recall", "ndcg", "mrr"]),
        ("rm_dup_inter", "last"),
        ("user_inter_num_interval", None),
        ("item_inter_num_interval", "[5,inf)"),
    ],
)
def test_values_that_serve_are_taken(planted: dict[str, Any], key: str, value: Any) -> None:
    found = make_config(
        planted, **{key: value, "valid_metric": value if "@" in str(value) else "Recall@20"}
    )[key]
    assert found == value or found == [value]


def test_error_names_the_file_that_the_key_stands_in(
    planted: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text("learning_rate: slow\n")
    with pytest.raises(UserError, match=r"a\.yaml.*`learning_rate`: found 'slow'"):
        make_config(planted, "BPR", (str(tmp_path / "a.yaml"),))
    with pytest.raises(UserError, match="^command line: key `learning_rate`"):
        make_config(planted, learning_rate="slow")


@pytest.mark.parametrize(
    ("model", "hint"),
    [("lightgcn", "LightGCN"), ("InfoDLC", "InfoDCL"), ("recbole.LightGNC", "LightGCN")],
)
def test_unknown_model_offers_the_nearest_name(
    planted: dict[str, Any], model: str, hint: str
) -> None:
    with pytest.raises(
        UserError, match=rf"^key `model`: found '{model}' \(did you mean [^)]*{hint}"
    ):
        make_config(planted, model)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("Caser", "sequential"),
        ("recbole.NARM", "sequential"),
        ("KGAT", "knowledge-based"),
        ("FM", "context-aware"),
        ("deepfm", "context-aware"),
        ("XGBoost", "decision tree"),
    ],
)
def test_models_of_other_kinds_are_refused(planted: dict[str, Any], model: str, kind: str) -> None:
    with pytest.raises(UserError) as error:
        make_config(planted, model)
    expected = (
        f"key `model`: found '{model}', RecBole's {kind} model, expected a general recommender"
    )
    assert str(error.value).startswith(expected)
    assert "did you mean" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "successor"),
    [
        ("eval_setting", "RO_RS,full", "eval_args"),
        ("split_ratio", [0.8, 0.1, 0.1], "split"),
        ("group_by_user", True, "group_by"),
        ("leave_one_num", 2, "LS"),
        ("min_user_inter_num", 5, "user_inter_num_interval"),
        ("max_item_inter_num", 5, "item_inter_num_interval"),
        ("lowest_val", {"rating": 3}, "val_interval"),
        ("config_file_list", ["a.yaml"], "config_files"),
    ],
)
def test_keys_that_recbole_has_replaced_name_what_serves_now(
    planted: dict[str, Any], key: str, value: Any, successor: str
) -> None:
    with pytest.raises(UserError, match=f"key `{key}` cannot be set: ") as error:
        make_config(planted, **{key: value})
    assert successor in str(error.value)
    assert "did you mean" not in str(error.value)


@pytest.mark.parametrize("key", ["split_parts", "early_stop", "hidden_units", "batch_size"])
def test_no_hint_is_better_than_a_far_one(planted: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError, match=f"unknown key `{key}`$"):
        make_config(planted, **{key: 1})


@pytest.mark.parametrize(
    ("key", "meant"),
    [("learning_rat", "learning_rate"), ("embeding_size", "embedding_size"), ("epoch", "epochs")],
)
def test_a_slip_is_offered_the_key_that_was_meant(
    planted: dict[str, Any], key: str, meant: str
) -> None:
    with pytest.raises(UserError, match=f"unknown key `{key}`; did you mean `{meant}`"):
        make_config(planted, **{key: 1})


def test_unknown_data_set_lists_the_places_searched(
    planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="key `data_path`: 'given' is no folder"):
        Config("BPR", "nosuch", (), {"data_path": "given"})
    (tmp_path / "given").mkdir()
    with pytest.raises(UserError) as error:
        Config("BPR", "nosuch", (), {"data_path": "given"})
    for place in (
        tmp_path / "given" / "nosuch",
        tmp_path / "dataset_atomic" / "nosuch",
        HOST / "dataset_example" / "nosuch",
    ):
        assert str(place) in str(error.value)
    assert "key `dataset`: 'nosuch'" in str(error.value)
    assert "nosuch.inter" in str(error.value)


def test_topk_beyond_the_number_of_items(planted: dict[str, Any]) -> None:
    load_split(make_config(planted, topk=[20, 150]))
    with pytest.raises(UserError, match="key `topk`: found 151, but planted has 150 items"):
        load_split(make_config(planted, topk=[20, 151]))


@pytest.mark.parametrize(
    ("n_items", "keys", "advice"),
    [
        (8, {"topk": [5, 10], "valid_metric": "Recall@10"}, '"[1, 2]" --valid_metric=Recall@2'),
        (8, {"topk": [5, 10], "valid_metric": "NDCG@5"}, '"[1, 2]" --valid_metric=NDCG@2'),
        (8, {}, '"[1, 2]" --valid_metric=Recall@2'),
        (12, {"topk": 13, "metrics": "MRR", "valid_metric": "MRR@13"}, "--valid_metric=MRR@2"),
        (3, {}, '"[1]" --valid_metric=Recall@1'),
        (40, {}, '"[5, 10]" --valid_metric=Recall@10'),
    ],
    ids=str,
)
def test_advice_ranks_few_of_the_items_and_can_be_pasted(
    write_dataset: Callable[..., Path], n_items: int, keys: dict[str, Any], advice: str
) -> None:
    taken = range(min(n_items, 6))
    rows = [[f"u{u}", f"i{(u + i) % n_items}"] for u in range(n_items) for i in taken]
    path = write_dataset("mine", inter=[["user_id:token", "item_id:token"], *rows])
    settings = {"data_path": str(path), **keys}
    with pytest.raises(UserError, match=f"mine has {n_items} items.*{re.escape(advice)}$") as error:
        load_split(Config("BPR", "mine", (), settings))
    pasted = parse_arguments(shlex.split(str(error.value).partition("such as ")[2]))
    if n_items > 3:  # enough for a split
        load_split(Config("BPR", "mine", (), {**settings, **pasted}))


@pytest.mark.parametrize(
    ("keys", "advice"),
    [
        ({"topk": [5, 10]}, '--valid_metric=Recall@10, or --topk="[5, 10, 20]"'),
        ({"topk": 5}, '--valid_metric=Recall@5, or --topk="[5, 20]"'),
        (
            {"valid_metric": "MRR@20"},
            '--valid_metric=Recall@20, or --metrics="[Recall, NDCG, MRR]"',
        ),
        (
            {"valid_metric": "mrr@5", "metrics": "NDCG"},
            '--valid_metric=NDCG@50, or --metrics="[NDCG, mrr]" --topk="[5, 10, 20, 50]"',
        ),
        ({"valid_metric": "ndcg@5"}, '--valid_metric=NDCG@50, or --topk="[5, 10, 20, 50]"'),
        ({"valid_metric": "Recall"}, "--valid_metric=Recall@50"),
        ({"valid_metric": "ndgc@20"}, "--valid_metric=Recall@20"),
        ({"valid_metric": "NDCG@0"}, "--valid_metric=NDCG@50"),
        ({"valid_metric": "AUC@20"}, "--valid_metric=Recall@20"),
        ({"metrics": ["GAUC"]}, '--valid_metric=GAUC, or --metrics="[GAUC, Recall]"'),
        (
            {"metrics": ["MRR"], "valid_metric": "GAUC"},
            '--valid_metric=MRR@50, or --metrics="[MRR, GAUC]"',
        ),
    ],
    ids=str,
)
def test_advice_on_a_valid_metric_can_be_pasted(
    planted: dict[str, Any], keys: dict[str, Any], advice: str
) -> None:
    with pytest.raises(UserError, match="key `valid_metric`: found .*") as error:
        Config("BPR", "planted", (), {**planted, **keys})
    assert str(error.value).endswith(f"; type {advice}")
    for words in advice.split(", or "):
        Config("BPR", "planted", (), {**planted, **keys, **parse_arguments(shlex.split(words))})


@pytest.mark.parametrize("keys", [{"use_gpu": True}, {"gpu_id": 0}, {"gpu_id": "1"}])
def test_gpu_asked_for_and_absent(
    planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="`use_gpu`/`gpu_id`: a GPU was asked for") as error:
        make_config(planted, **keys)
    assert torch.__version__ in str(error.value)
    assert make_config(planted, use_gpu=False)["device"] == torch.device("cpu")
    assert make_config(planted)["device"] == torch.device("cpu")


def test_choice_of_the_gpu(planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert make_config(planted)["device"] == torch.device("cuda", 0)
    assert make_config(planted, gpu_id=1)["device"] == torch.device("cuda", 1)
    assert make_config(planted, use_gpu=False, gpu_id=1)["device"] == torch.device("cpu")
    for wrong in (2, "1,0", "-1", -1):
        with pytest.raises(UserError, match=r"key `gpu_id`: found .*, expected 0\.\.1"):
            make_config(planted, gpu_id=wrong)


@pytest.mark.parametrize("value", ["3", ""])
def test_visible_devices_are_left_alone(
    planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    import os

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    make_config(planted)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == value
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    make_config(planted)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-1E5", -100000.0),
        ("+2.e1", 20.0),
        (".5e1", 5.0),
        ("3", 3),
        ("1.5", 1.5),
        ("1/0", "1/0"),
        ("1+1", "1+1"),
        ("1e-3x", "1e-3x"),
        ("__import__('os').getcwd()", "__import__('os').getcwd()"),
        ("[1, 1e-1]", [1, 0.1]),
        ("{RS: [8, 1, 1]}", {"RS": [8, 1, 1]}),
        ("true", True),
        ("~", None),
        ("", None),
        ("'3'", "3"),
        ("Recall@20", "Recall@20"),
    ],
)
def test_values_are_yaml_and_never_code(text: str, value: Any) -> None:
    found = parse_value(text, "here")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2",
        "a: b: c",
        "!!python/object/apply:os.getcwd []",
        "2020-13-45",
        "!!int x",
        "@a",
        "!!map [1]",
    ],
)
def test_bad_yaml_is_refused_with_its_source(text: str) -> None:
    with pytest.raises(UserError, match="^command line: --x: found ") as error:
        parse_value(text, "command line: --x")
    assert text in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: [1, 2\n", "not valid YAML"),
        (b"epochs: 1\nseed: 2\nepochs: 3\n", "key 'epochs' twice.* line 3"),
        (b"item_features:\n  a: {file: x}\n  a: {file: y}\n", "key 'a' twice.* line 3"),
        (b"- a\n- b\n", "found list, expected keys and values"),
        (b"just text\n", "found str, expected keys and values"),
        (b"a: 1\n1: a\n", r"found the key 1 \(int\), expected a text, such as '1' in quotes"),
        (b"yes: a\n", r"found the key True \(bool\), expected a text"),
        (b"~: a\n", r"found the key None \(NoneType\), expected a text"),
        (b"a:\n  b: 2020-01-01\n", "key `a.b`: found a date"),
        (b"a:\n  b: [1, {c: 99999999999999999999}]\n", "key `a.b.c`: found a number of more"),
        (b"a: {b: !!binary aGVsbG8=}\n", "key `a.b`: found a bytes"),
        (b'a: {b: "\\0"}\n', "key `a.b`: found .* bytes between slashes"),
        (b'a: {b: "\\ud800"}\n', "key `a.b`: found .*, expected Unicode text"),
        (b"\xff\xfea\x00:\x00 \x001\x00", "UTF-8|utf-8"),
        (b"a: \x00\n", "not valid YAML"),
    ],
)
def test_malformed_config_file(
    planted: dict[str, Any], tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"bad\.yaml.*({words})"):
        make_config(planted, "BPR", (str(path),))


@pytest.mark.parametrize("keys", [{"topk\n": 5}, {"dataset": "tiny\n"}], ids=str)
def test_line_breaks_in_names_are_shown(planted: dict[str, Any], keys: dict[str, Any]) -> None:
    with pytest.raises(UserError) as error:
        Config("BPR", keys.pop("dataset", "planted"), (), {**planted, **keys})
    assert "\n" not in str(error.value)
    assert r"\n" in str(error.value)


def test_empty_config_file_changes_nothing(planted: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    found = make_config(planted, "BPR", (str(tmp_path / "empty.yaml"),))
    assert found.plain_settings() == make_config(planted).plain_settings()


def test_missing_config_file_names_both_places(
    planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="key `config_files`: 'no/such.yaml'") as error:
        make_config(planted, "BPR", ("no/such.yaml",))
    assert str(tmp_path / "no/such.yaml") in str(error.value)
    assert str(properties_folder() / "no/such.yaml") in str(error.value)


def test_config_file_is_found_by_its_packaged_name(
    own_properties: Path,
    planted: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "model_on_dataset/BPR/tuned.yaml"
    (own_properties / name).parent.mkdir(parents=True)
    (own_properties / name).write_text("learning_rate: 0.25\n")
    shutil.copy(OVERALL, own_properties)
    assert make_config(planted, "BPR", (name,))["learning_rate"] == 0.25
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text("learning_rate: 0.5\n")
    assert make_config(planted, "BPR", (name,))["learning_rate"] == 0.5


def test_every_shipped_property_file_is_found_and_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = sorted(properties_folder().rglob("*.yaml"))
    assert properties_folder() / "overall.yaml" in shipped
    for path in shipped:
        name = str(path.relative_to(properties_folder()))
        assert find_property_file(name) == path
        assert read_properties(path)


def test_shipped_property_files_hold_known_keys_only() -> None:
    """Known without these files, which vouch for each other's keys when a run is checked."""
    host = keys_of_files(HOST / "properties") | host_keys()
    code = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    read = {*re.findall(r"[\"'](\w+)[\"']", code), *re.findall(r"\b(?:keys|settings)\.(\w+)", code)}
    for path in sorted(properties_folder().rglob("*.yaml")):
        for key in read_properties(path):
            assert key in host | read, (path, key)
            assert key not in REFUSED, (path, key)


def test_settings_on_a_dataset_are_of_a_model_and_a_dataset_that_are_shipped(
    tmp_path: Path,
) -> None:
    """Keys and types are checked; `-authors` names settings that are asked for by file."""
    folder = properties_folder()
    for path in sorted((folder / "model_on_dataset").glob("*/*.yaml")):
        model, dataset = path.parent.name, path.stem.removesuffix("-authors")
        assert (folder / "dataset" / f"{dataset}.yaml").is_file(), path
        known = {*read_properties(folder / f"model/{model}.yaml"), "item_features"}
        assert set(read_properties(path)) <= known, path
        (tmp_path / dataset).mkdir(exist_ok=True)
        for part in ("", ".train", ".valid", ".test"):
            (tmp_path / dataset / f"{dataset}{part}.inter").write_text(
                "user_id:token\titem_id:token\n"
            )
        config = Config(model, dataset, [str(path)], {"data_path": str(tmp_path)})
        for key, value in read_properties(path).items():
            assert config[key] == value, (path, key)


def keys_of_files(folder: Path) -> set[str]:
    files = (path for path in folder.rglob("*.yaml") if not path.name.endswith("url.yaml"))
    return {key for path in files for key in read_properties(path)}


def host_keys() -> set[str]:
    """By text alone: keys that the host's code reads from its settings."""
    folders = ["model/general_recommender", "trainer", "data", "evaluator", "config"]
    patterns = [
        r"\b(?:final_config_dict|config)\[\s*[\"']([\w-]+)[\"']\s*\]",
        r"\b(?:final_config_dict|config)\.get\(\s*[\"']([\w-]+)[\"']",
        r"[\"']([\w-]+)[\"'] (?:not )?in (?:self\.)?(?:final_config_dict|config)\b(?!\[)",
    ]
    return {
        key
        for folder in folders
        for path in (HOST / folder).rglob("*.py")
        for pattern in patterns
        for key in re.findall(pattern, path.read_text(encoding="utf-8"))
    }


def test_key_read_in_code_only_is_taken_by_a_config(planted: dict[str, Any]) -> None:
    declared = declared_keys()
    only_in_code = sorted(host_keys() - declared - {"_", "model"})
    assert only_in_code
    assert make_config(planted, "ItemKNN", encoding="latin-1")["encoding"] == "latin-1"


@pytest.mark.parametrize("key", ["get", "final_config_dict", "items", "keys"])
def test_names_of_methods_are_no_keys(planted: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError, match=f"unknown key `{key}`"):
        make_config(planted, **{key: 1})


class LayeredSettings(schema.Settings):
    """Keys of a model of the user's."""

    declared_depth: int = schema.key(2, "layers", within="1..9")


def test_own_key_of_a_registered_model(own_registry: None, planted: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="unknown key `declared_depth`"):
        make_config(planted, declared_depth=2)
    register(Layered, settings=LayeredSettings)
    assert make_config(planted, "Layered")["declared_depth"] == 2
    assert make_config(planted, "Layered", declared_depth=3)["declared_depth"] == 3
    with pytest.raises(UserError, match="`declared_dept`; did you mean `declared_depth`"):
        make_config(planted, "Layered", declared_dept=2)
    with pytest.raises(UserError, match="`declared_depth`: found 10, expected from 1 to 9"):
        make_config(planted, "Layered", declared_depth=10)
    assert make_config(planted, Layered, declared_depth=3)["declared_depth"] == 3


def test_command_line_is_not_read_behind_the_back(
    planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = make_config(planted).plain_settings()
    words = ["prog", "--learning_rate=5", "--learning_rate=6", "--topk=__import__('os')", "junk"]
    monkeypatch.setattr(sys, "argv", words)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make_config(planted).plain_settings() == expected
    assert caplog.records == []


def test_overrides_and_files_are_not_changed(planted: dict[str, Any]) -> None:
    keys = {**planted, "eval_args": {"split": {"RS": [0.5, 0.25, 0.25]}}}
    kept = {**keys, "eval_args": {"split": {"RS": [0.5, 0.25, 0.25]}}}
    found = Config("BPR", "planted", (), keys)
    found["eval_args"]["split"]["RS"][0] = 9
    assert keys == kept
    assert Config("BPR", "planted", (), keys)["eval_args"]["split"] == {"RS": [0.5, 0.25, 0.25]}


def test_derived_settings_leave_the_first_as_they_were(planted: dict[str, Any]) -> None:
    first = make_config(planted, learning_rate=0.5)
    stage = first.derive(learning_rate=0.25, model="LightGCN")
    assert (stage["learning_rate"], stage["model"]) == (0.25, "LightGCN")
    assert (first["learning_rate"], first["model"]) == (0.5, "BPR")
    assert stage["data_path"] == first["data_path"]


def test_plain_settings_are_yaml_safe_and_complete(planted: dict[str, Any]) -> None:
    import yaml

    found = make_config(planted)
    plain = found.plain_settings()
    assert set(plain) == set(found.final_config_dict)
    assert yaml.safe_load(yaml.safe_dump(plain)) == plain
    assert plain["device"] == "cpu"
    assert plain["learning_rate"] == found["learning_rate"]


def test_properties_ship_beside_or_inside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, package = properties_folder(), tmp_path / "site" / "recbole_diffusion"
    package.mkdir(parents=True)
    monkeypatch.setattr(property_files.resources, "files", lambda name: package)
    shutil.copytree(real, package.parent / "properties")
    assert properties_folder() == package.parent / "properties"
    shutil.copytree(real, package / "properties")
    assert properties_folder() == package / "properties"


def documented_nulls() -> list[tuple[str, str]]:
    """Models and their keys whose comment tells what null means."""
    form = re.compile(r"^(\w+):.*#.*\bnull", re.M)
    files = sorted((properties_folder() / "model").glob("*.yaml"))
    return [(file.stem, key) for file in files for key in form.findall(file.read_text())]


@pytest.mark.parametrize(("model", "key"), documented_nulls())
def test_documented_nulls_are_taken(planted, model, key):
    features = {"item_features": {"image": {"file": "image.npz"}}}  # DiffMM takes no set without
    assert make_config(planted, model, **features, **{key: None})[key] is None
