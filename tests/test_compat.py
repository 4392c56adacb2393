"""Every patch of the host: its fault on the plain host, its repair, and that others see nothing.

As a script (``python test_compat.py plain|patched``) this file runs all snippets on RecBole alone,
or with the package imported first, and prints what became of each as JSON. Optional packages are
hidden from both. On the plain host each fault is put out of the way after its snippet has shown it,
so that the snippets behind it fail for their own reason.
"""

import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from compat_tools import (
    Settings,
    error_of,
    take_ours,
    tiny_dataset,
    tiny_model,
    tiny_settings,
)
from mended_snippets import FROM_1_2_1, MENDED, NNCF, ONLY_1_2_0

HIDDEN = ("ray", "kmeans_pytorch", "lightgbm")
HERE = Path(__file__).resolve()


def quick_start_without_ray() -> None:
    module = importlib.import_module("recbole.quick_start.quick_start")
    assert callable(module.run_recbole)
    message = error_of(ImportError, lambda: module.tune.report(recall=1.0))
    assert "`ray`" in message, message
    assert "pip install ray" in message, message


def recommenders_without_kmeans() -> None:
    package = importlib.import_module("recbole.model.general_recommender")
    assert package.LightGCN.__name__ == "LightGCN"
    module = importlib.import_module("recbole.model.general_recommender.ldiffrec")
    if hasattr(module, "kmeans"):
        message = error_of(ImportError, lambda: module.kmeans(X=None, num_clusters=2))
        assert "`kmeans_pytorch`" in message, message
        assert "pip install kmeans_pytorch" in message, message


def config_leaves_numpy_alone() -> None:
    from recbole.config import Config

    before = dict(vars(np))
    settings = {"use_gpu": False, "data_path": "nowhere", "seed": 3}
    config = Config(model="BPR", dataset="planted", config_dict=settings)
    assert config["seed"] == 3
    assert config["embedding_size"] == 64
    after = dict(vars(np))
    assert {n for n in after if n not in before or after[n] is not before[n]} == set()


def metrics_by_hand() -> None:
    from recbole.evaluator.metrics import MAP, MRR, NDCG

    config = Settings(topk=[3], metric_decimal_place=4)
    hits = np.array([[True, False, True], [False, True, False]])
    count = np.array([2, 1])
    gain = 1 / np.log2(np.arange(2, 5))
    by_hand = [
        [gain[0], gain[0] / (gain[0] + gain[1]), (gain[0] + gain[2]) / (gain[0] + gain[1])],
        [0, gain[1] / gain[0], gain[1] / gain[0]],
    ]
    assert np.allclose(NDCG(config).metric_info(hits, count), by_hand, atol=1e-12)
    assert np.allclose(MRR(config).metric_info(hits)[:, -1], [1, 1 / 2], atol=1e-12)
    assert np.allclose(MAP(config).metric_info(hits, count)[:, -1], [5 / 6, 1 / 2], atol=1e-12)


def interactions_of_lists_and_arrays() -> None:
    import torch
    from recbole.data.interaction import Interaction

    batch = Interaction({"user_id": [1, 2], "score": np.array([0.5, 2.0])})
    assert torch.equal(batch["user_id"], torch.tensor([1, 2]))
    assert torch.equal(batch["score"], torch.tensor([0.5, 2.0]))


def lightgcn_adjacency() -> None:
    from recbole.model.general_recommender import LightGCN

    settings = {"embedding_size": 4, "n_layers": 2, "reg_weight": 1e-4, "require_pow": False}
    dataset = tiny_dataset(**settings)
    found = LightGCN(dataset.config, dataset).norm_adj_matrix.to_dense().numpy()

    n_users, n_items = dataset.user_num, dataset.item_num
    adjacency = np.zeros((n_users + n_items, n_users + n_items))
    users, items = dataset.inter_feat["user_id"], dataset.inter_feat["item_id"]
    for user, item in zip(users, items, strict=True):
        adjacency[user, n_users + item] = adjacency[n_users + item, user] = 1
    degree = adjacency.sum(axis=1, keepdims=True)
    scale = np.sqrt(degree @ degree.T)
    expected = np.divide(adjacency, scale, out=np.zeros_like(scale), where=scale > 0)
    assert expected.sum() > 1
    assert np.allclose(found, expected, atol=1e-6)


def host_modules_with(text: str) -> list[Any]:
    """Modules of RecBole whose source has a text; not those of packages that it does not bring."""
    import recbole

    folder = Path(recbole.__file__).parent
    paths = [path for path in folder.rglob("*.py") if text in path.read_text(encoding="utf-8")]
    names = [".".join(path.relative_to(folder.parent).with_suffix("").parts) for path in paths]
    return [importlib.import_module(name) for name in names if "exlib" not in name]


def every_model_that_updates_a_dok_matrix() -> None:
    users = host_modules_with("A._update(")
    assert {"lightgcn", "kgin", "mcclk"} <= {module.__name__.split(".")[-1] for module in users}
    for module in users:
        matrix = module.sp.dok_matrix((2, 3), dtype=np.float32)
        matrix._update({(0, 1): 1.0, (1, 2): 2.0})
        assert matrix.toarray().tolist() == [[0, 1, 0], [0, 0, 2]], module


def every_module_with_a_removed_numpy_name() -> None:
    expected = {"long": np.int64, "float": np.float64, "bool": np.bool_, "str": np.str_}
    for name, kind in expected.items():
        for module in host_modules_with(f"np.{name})"):
            assert getattr(module.np, name) is kind, module


def sparse_tensors_without_warning() -> None:
    import torch

    users = host_modules_with("torch.sparse.FloatTensor(")
    assert len(users) >= 12
    torch.set_warn_always(True)
    index, values = torch.tensor([[0, 1], [2, 0]]), torch.tensor([3, 4])
    for module in users:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*(deprecated|invariant).*")
            matrix = module.torch.sparse.FloatTensor(index, values.float(), torch.Size([2, 3]))
        assert matrix.dtype == torch.float32, module
        assert matrix.to_dense().tolist() == [[0, 0, 3], [4, 0, 0]], module


def tensors_own_their_memory() -> None:
    import torch

    dataset = tiny_dataset()
    torch.set_warn_always(True)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*not writable.*")
        dataset._change_feat_format()
    assert len(dataset.inter_feat["user_id"]) == 30
    assert sorted(set(dataset.inter_feat["user_id"].tolist())) == list(range(1, 7))


def missing_floats_and_tokens() -> None:
    rows = "item_id:token\tprice:float\tbrand:token\n" + "".join(
        f"i{i}\t{'' if i == 3 else i}\t{'' if i == 4 else f'b{i % 2}'}\n" for i in range(10)
    )
    dataset = tiny_dataset(rows)
    dataset._change_feat_format()
    place = dataset.field2token_id["item_id"]
    price, brand = dataset.item_feat["price"], dataset.item_feat["brand"]
    mean = (45 - 3) / 9
    for i in range(10):
        assert abs(price[place[f"i{i}"]].item() - (mean if i == 3 else i)) < 1e-6, i
        token = dataset.field2id_token["brand"][brand[place[f"i{i}"]].item()]
        assert token == ("[PAD]" if i == 4 else f"b{i % 2}"), (i, token)
    assert abs(price[0].item() - mean) < 1e-6
    assert brand[0].item() == 0


def sequences() -> None:
    rows = "item_id:token\ttags:token_seq\tsize:float_seq\n" + "".join(
        f"i{i}\tx y{i}\t{i}.5 2\n" for i in range(10)
    )
    check_sequences(tiny_dataset(rows), missing=None)


def empty_sequences() -> None:
    rows = "item_id:token\ttags:token_seq\tsize:float_seq\n" + "".join(
        f"i{i}\t{'' if i == 5 else f'x y{i}'}\t{'' if i == 5 else f'{i}.5 2'}\n" for i in range(10)
    )
    check_sequences(tiny_dataset(rows), missing=5)


def check_sequences(dataset: Any, missing: int | None) -> None:
    dataset._change_feat_format()
    place = dataset.field2token_id["item_id"]
    tags, size = dataset.item_feat["tags"], dataset.item_feat["size"]
    assert tuple(tags.shape) == tuple(size.shape) == (11, 2)
    for i in range(10):
        named = [dataset.field2id_token["tags"][t] for t in tags[place[f"i{i}"]].tolist()]
        assert named == (["[PAD]"] * 2 if i == missing else ["x", f"y{i}"]), (i, named)
        numbers = size[place[f"i{i}"]].tolist()
        assert numbers == ([0.0, 0.0] if i == missing else [i + 0.5, 2.0]), (i, numbers)
    assert tags[0].tolist() == [0, 0]
    assert size[0].tolist() == [0.0, 0.0]


def sequences_of_numbers_are_scaled() -> None:
    rows = "item_id:token\tsize:float_seq\n" + "".join(f"i{i}\t{i} 18\n" for i in range(10))
    dataset = tiny_dataset(rows, normalize_field=["size"])
    dataset._change_feat_format()
    place, size = dataset.field2token_id["item_id"], dataset.item_feat["size"]
    for i in range(10):
        assert np.allclose(size[place[f"i{i}"]], [i / 18, 1.0]), (i, size)


def sequences_of_numbers_are_put_in_buckets() -> None:
    # No row is [PAD]'s here, whose empty sequence the host fills before this.
    rows = "item_id:token\tsize:float_seq\n" + "".join(f"i{i}\t{i} 18\n" for i in range(10))
    buckets = {"size": {"method": "ED", "bucket": 3}}
    dataset = tiny_dataset(rows, numerical_features=["size"], discretization=buckets)
    dataset._change_feat_format()
    place, size = dataset.field2token_id["item_id"], dataset.item_feat["size"]
    assert dataset.field2bucketnum["size"] == 4
    for i in range(10):
        assert size[place[f"i{i}"], :, 1].tolist() == [1 + (i > 6), 3], (i, size)


def given_sequences_have_their_lengths() -> None:
    from recbole.data.dataset import SequentialDataset

    dataset = SequentialDataset.__new__(SequentialDataset)
    dataset.config = Settings(LIST_SUFFIX="_list")
    dataset.item_list_length_field, dataset.item_id_list_field = "item_length", "item_id_list"
    dataset.set_field_property = lambda *args: None
    rows = {"item_id": [7, 8, 9], "item_id_list": [[1], [1, 2, 3], [4, 5]]}
    import pandas as pd

    dataset.inter_feat = pd.DataFrame(rows)
    dataset._benchmark_presets()
    assert dataset.inter_feat["item_length"].tolist() == [1, 3, 2]


def grad_scaler_without_warning() -> None:
    import torch
    from recbole.trainer import trainer

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaler = trainer.amp.GradScaler(enabled=False)
    loss = torch.tensor(3.0)
    assert scaler.scale(loss) is loss
    assert isinstance(scaler, torch.amp.GradScaler)


def anomalies_are_not_searched_for() -> None:
    import importlib

    import torch

    importlib.import_module("recbole.model.sequential_recommender.sine")
    assert not torch.is_anomaly_enabled(), "searched for"


def autocast_without_warning() -> None:
    import torch
    from recbole.trainer import trainer

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with trainer.amp.autocast(enabled=False):
            assert not torch.is_autocast_enabled("cuda")


def nncf_neighbours_by_knn() -> None:
    model = tiny_model("NNCF", **{**NNCF, "neigh_info_method": "knn"})
    matrix = model.interaction_matrix.toarray()
    for found, taken in ((model.u_neigh, matrix), (model.i_neigh, matrix.T)):
        for node in range(1, len(taken)):
            direct = set(taken[node].nonzero()[0].tolist())
            assert 0 < len(direct) <= 5
            assert set(found[node].tolist()[: len(direct)]) == direct


# By patch: a snippet, and what its failure on the plain host says.
def the_host_reads_what_it_wrote() -> None:
    trainer = importlib.import_module("recbole.trainer.trainer")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "model.pth"))
        trainer.torch.save({"config": Settings(seed=3)}, path, pickle_protocol=4)
        assert trainer.torch.load(path, map_location="cpu")["config"]["seed"] == 3


class Trap:
    """What a harmful file holds: a call that runs when it is unpickled."""

    sprung: list[str] = []

    def __reduce__(self) -> Any:
        return spring, ()


def spring() -> None:
    Trap.sprung.append("unpickled")


def pickles_of_others_stay_closed() -> None:
    import torch

    modules = [importlib.import_module("recbole.trainer.trainer")]
    modules += host_modules_with("= torch.load(")
    quick_start = importlib.import_module("recbole.quick_start")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "model.pth"))
        modules[0].torch.save({"config": Settings(seed=3)}, path)
        torch.save({"config": Trap()}, path)  # another file in the place of the written one
        readers = [module.torch.load for module in modules if hasattr(module, "torch")]
        for read in (*readers, quick_start.load_data_and_model):
            message = error_of(ValueError, lambda read=read: read(path))
            assert "model.pth: holds pickled objects" in message, message
            assert "recbole_diffusion.load_run(" in message, message
    assert Trap.sprung == []


def names_that_the_host_does_not_know() -> None:
    from recbole.utils import get_model

    message = error_of(ValueError, lambda: get_model("NoSuchModel"))
    assert message.startswith("model 'NoSuchModel': RecBole has no model of this name;"), message
    message = error_of(ValueError, lambda: get_model("InfoDCL"))
    assert "recbole_diffusion.run_recbole_diffusion(model='InfoDCL')" in message, message
    assert get_model("BPR").__module__.startswith("recbole.")


def the_last_line_of_a_run_needs_no_package() -> None:
    from recbole.utils import get_environment

    there = sys.modules.get("psutil")
    sys.modules["psutil"] = None  # type: ignore[assignment]
    try:
        line = get_environment(tiny_settings("")).draw()
    finally:
        del sys.modules["psutil"]
        if there is not None:
            sys.modules["psutil"] = there
    assert "`psutil`: pip install psutil" in line, line


SNIPPETS: dict[str, tuple[tuple[Callable[[], None], str], ...]] = {
    "defer_ray": ((quick_start_without_ray, "ray"),),
    "defer_kmeans": ((recommenders_without_kmeans, "kmeans_pytorch"),),
    "keep_numpy_names": (
        (metrics_by_hand, "no attribute 'float'"),
        (interactions_of_lists_and_arrays, "no attribute 'float'"),
        (every_module_with_a_removed_numpy_name, "no attribute '(long|float)'"),
        (config_leaves_numpy_alone, "np.float_|not in before"),  # last: it may change numpy
    ),
    "restore_dok_update": (
        (lightgcn_adjacency, "_update"),
        (every_model_that_updates_a_dok_matrix, "_update"),
    ),
    "use_current_sparse_tensors": ((sparse_tensors_without_warning, "deprecated|invariant"),),
    "copy_columns": ((tensors_own_their_memory, "not writable"),),
    "measure_sequences_by_row": (
        (sequences, "Length of values"),
        (sequences_of_numbers_are_scaled, "Length of values"),
        (sequences_of_numbers_are_put_in_buckets, "Length of values"),
        (given_sequences_have_their_lengths, r"\[3, 3, 3\]|AssertionError"),
    ),
    "fill_missing_values": (
        (missing_floats_and_tokens, "AssertionError|NaN"),
        (empty_sequences, "'float' object has no attribute 'split'"),
    ),
    "use_current_grad_scaler": ((grad_scaler_without_warning, "FutureWarning"),),
    "leave_anomaly_mode": ((anomalies_are_not_searched_for, "searched for"),),
    "use_current_autocast": ((autocast_without_warning, "FutureWarning"),),
    "find_neighbours_by_method": ((nncf_neighbours_by_knn, "TypeError"),),
    "read_own_checkpoints": (
        (the_host_reads_what_it_wrote, "UnpicklingError"),
        (pickles_of_others_stay_closed, "UnpicklingError"),
    ),
    "name_unknown_models": ((names_that_the_host_does_not_know, "lightgbm|AssertionError"),),
    "end_without_psutil": ((the_last_line_of_a_run_needs_no_package, "psutil"),),
}


class Hider(MetaPathFinder):
    """Makes optional packages look absent, and remembers who asked for them."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in HIDDEN:
            self.asked.append(name)
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def outcome(snippet: Callable[[], None]) -> str:
    """Empty if the snippet passes, else the error with its last line of code."""
    try:
        snippet()
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} at {Path(line.filename).name}: {line.line}"
    return ""


def clear_the_way(patch: str) -> None:
    """On the plain host: put away a fault that was shown, for the snippets behind it."""
    if patch in ("defer_ray", "defer_kmeans"):
        package, name = {"defer_ray": HIDDEN[0], "defer_kmeans": HIDDEN[1]}[patch], "tune"
        stand_in = ModuleType(package)
        setattr(stand_in, name if package == "ray" else "kmeans", None)
        sys.modules[package] = stand_in
    if patch == "keep_numpy_names":
        vars(np).update(float=np.float64, long=np.int64)


def snapshot(modules: list[Any]) -> dict[str, dict[str, Any]]:
    return {module.__name__: dict(vars(module)) for module in modules}


def side_effects(hider: Hider) -> dict[str, Any]:
    """What the import of the package, and a Config of ours, change outside ``recbole``."""
    import pandas
    import scipy
    import scipy.sparse
    import sklearn  # noqa: F401 -- sets variables of the environment
    import torch
    import torch.amp
    import torch.cuda.amp
    import torch.utils.tensorboard
    import tqdm
    import yaml

    loaders = (yaml.SafeLoader, yaml.FullLoader, yaml.UnsafeLoader, yaml.Loader)

    def resolvers() -> list[Any]:
        return [
            {key: list(rules) for key, rules in loader.yaml_implicit_resolvers.items()}
            for loader in loaders
        ]

    names = [np, scipy, scipy.sparse, pandas, torch, torch.amp, torch.cuda.amp, tqdm, yaml]
    before, rules = snapshot(names), resolvers()
    environment = dict(os.environ)

    import recbole_diffusion  # noqa: F401
    from recbole_diffusion.settings.config import Config

    Config("BPR", "ml-100k", (), {"learning_rate": 1e-3})
    after = snapshot(names)
    changed = [
        f"{module}.{name}"
        for module, was in before.items()
        for name, value in was.items()
        if after[module].get(name) is not value
    ]
    added = [
        f"{module}.{name}"
        for module, now in after.items()
        for name, value in now.items()
        if name not in before[module]
        and not isinstance(value, ModuleType)
        and name != "__warningregistry__"
    ]
    return {
        "changed": changed,
        "added": added,
        "same_resolvers": resolvers() == rules,
        "safe_load": yaml.safe_load("1e-3"),
        "full_load": yaml.full_load("1e-3"),
        "environment": sorted(set(environment.items()) ^ set(os.environ.items())),
        "in_modules": [name for name in HIDDEN if name in sys.modules],
        "asked_for": list(hider.asked),
        "dok_has_update": hasattr(scipy.sparse.dok_matrix, "_update"),
    }


def main(mode: str) -> dict[str, Any]:
    sys.argv = sys.argv[:1]  # the host's Config reads it
    hider = Hider()
    sys.meta_path.insert(0, hider)
    result: dict[str, Any] = {}
    if mode == "patched":
        result["side_effects"] = side_effects(hider)
    result["outcome"] = {}
    for patch, snippets in SNIPPETS.items():
        for snippet, _ in snippets:
            result["outcome"][snippet.__name__] = outcome(snippet)
        if mode == "plain":
            clear_the_way(patch)
    for ours in (False, True) if mode == "patched" else (False,):
        take_ours(ours)
        result["ours" if ours else "host"] = {
            snippet.__name__: outcome(snippet) for rows in MENDED.values() for snippet, _ in rows
        }
    return result


def run_script(mode: str) -> dict[str, Any]:
    import recbole_diffusion

    parents = [str(Path(recbole_diffusion.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, parents))}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(HERE), mode, str(Path(folder, "result.json"))],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(Path(folder, "result.json").read_text())


@pytest.fixture(scope="module")
def patched() -> dict[str, Any]:
    return run_script("patched")


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    return run_script("plain")


CASES = [
    pytest.param(patch, snippet.__name__, fault, id=f"{patch}-{snippet.__name__}")
    for patch, snippets in SNIPPETS.items()
    for snippet, fault in snippets
]
pytestmark = pytest.mark.compat


def test_every_patch_has_a_snippet() -> None:
    from recbole_diffusion.host.repairs import PATCHES

    assert [patch.name for patch in PATCHES if not SNIPPETS.get(patch.name)] == []
    assert set(SNIPPETS) == {patch.name for patch in PATCHES}
    assert len(PATCHES) == len({patch.name for patch in PATCHES})
    assert all(patch.reason for patch in PATCHES)


def test_every_patch_is_documented() -> None:
    from recbole_diffusion.host.repairs import PATCHES

    text = HERE.parents[1].joinpath("docs", "host.md").read_text(encoding="utf-8")
    assert [patch.name for patch in PATCHES if f"| `{patch.name}` |" not in text] == []


@pytest.mark.parametrize(("patch", "snippet", "fault"), CASES)
def test_repaired(patched: dict[str, Any], patch: str, snippet: str, fault: str) -> None:
    assert patched["outcome"][snippet] == ""


@pytest.mark.parametrize(("patch", "snippet", "fault"), CASES)
def test_plain_host_fails_just_where_the_patch_is_needed(
    plain: dict[str, Any], patch: str, snippet: str, fault: str
) -> None:
    from recbole_diffusion.host.repairs import PATCHES

    needed = {p.name: p.is_needed() for p in PATCHES}[patch]
    found = plain["outcome"][snippet]
    assert bool(found) == needed, found
    if needed:
        assert re.search(fault, found), found


MENDED_CASES = [
    pytest.param(what, snippet.__name__, fault, id=snippet.__name__)
    for what, snippets in MENDED.items()
    for snippet, fault in snippets
]


@pytest.mark.parametrize(("what", "snippet", "fault"), MENDED_CASES)
def test_our_classes_mend_what_the_host_keeps(
    plain: dict[str, Any], patched: dict[str, Any], what: str, snippet: str, fault: str
) -> None:
    from recbole_diffusion.host.patch import is_1_2_0

    assert patched["ours"][snippet] == ""
    has_fault = what not in (FROM_1_2_1 if is_1_2_0() else ONLY_1_2_0)
    for found in (plain["host"][snippet], patched["host"][snippet]):
        assert bool(found) == has_fault, found
        if has_fault:
            assert re.search(fault, found), found


def test_other_packages_keep_their_names(patched: dict[str, Any]) -> None:
    effects = patched["side_effects"]
    assert effects["changed"] == []
    assert effects["added"] == []
    assert not {"float", "int", "object", "complex"} & set(vars(np))


def test_scipy_gets_no_method_back(patched: dict[str, Any]) -> None:
    import scipy.sparse as sp

    assert patched["side_effects"]["dok_has_update"] == hasattr(sp.dok_matrix, "_update")


def test_yaml_loaders_keep_their_rules(patched: dict[str, Any]) -> None:
    effects = patched["side_effects"]
    assert effects["same_resolvers"]
    assert effects["safe_load"] == "1e-3"
    assert effects["full_load"] == "1e-3"


def test_optional_packages_are_neither_imported_nor_faked(patched: dict[str, Any]) -> None:
    effects = patched["side_effects"]
    assert effects["in_modules"] == []
    assert effects["asked_for"] == []


def test_environment_is_left_alone(patched: dict[str, Any]) -> None:
    assert patched["side_effects"]["environment"] == []


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(sys.argv[1])))
