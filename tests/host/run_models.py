"""Runs every model of RecBole on RecBole's own path, alone and after our import.

``python tests/host/run_models.py`` prints a table of what each model gave, once in a process that
imports RecBole alone ("plain") and once in one that imports recbole_diffusion first ("after"). It
exits with 1 if a model runs plain and fails after our import. Names of models as arguments run
these only. Each model trains for one epoch on a small made data set, in a forked child with a
limit of time.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

KINDS = {
    "general": "general_recommender",
    "context": "context_aware_recommender",
    "sequential": "sequential_recommender",
    "knowledge": "knowledge_aware_recommender",
}
N_USERS, N_ITEMS = 30, 40
DATASET = "made"
COLUMNS = {
    "inter": ["user_id", "item_id", "rating", "label", "timestamp"],
    "user": ["user_id", "age", "gender"],
    "item": ["item_id", "class", "year"],
    "kg": ["head_id", "relation_id", "tail_id"],
    "link": ["item_id", "entity_id"],
}
UNLABELED = ["user_id", "item_id", "rating", "timestamp"]
SETTINGS: dict[str, Any] = {
    "use_gpu": False,
    "epochs": 1,
    "train_batch_size": 256,
    "eval_batch_size": 4096,
    "embedding_size": 16,
    "show_progress": False,
    "state": "error",
    "MAX_ITEM_LIST_LENGTH": 10,
}
SHARED = ("torch._dynamo", "recbole.config", "recbole.data", "recbole.trainer")
# Vectors of entities and relations, in files of their own.
KG_VECTORS: dict[str, Any] = {
    "load_col": {
        **{**COLUMNS, "inter": UNLABELED},
        "ent": ["ent_id", "ent_emb"],
        "rel": ["rel_id", "rel_emb"],
    },
    "additional_feat_suffix": ["ent", "rel"],
    "preload_weight": {"ent_id": "ent_emb", "rel_id": "rel_emb"},
    "alias_of_entity_id": ["ent_id"],
    "alias_of_relation_id": ["rel_id"],
    "kg_embedding_size": 16,
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
}
# Settings without which a model refuses to start, or takes minutes.
BY_MODEL: dict[str, dict[str, Any]] = {
    "ConvNCF": {
        "cnn_channels": [1, 8, 8],
        "cnn_kernels": [4, 4],
        "cnn_strides": [4, 4],
    },
    "DGCF": {"n_factors": 2, "train_batch_size": 64},
    "DSSM": {"load_col": {"inter": COLUMNS["inter"], "user": ["user_id", "gender"]}},
    "NCL": {"num_clusters": 5},
    "NNCF": {"num_conv_kernel": 8},
    "KD_DAGFM": {"phase": "teacher_training"},
    "S3Rec": {"train_stage": "pretrain", "pretrain_epochs": 1, "item_attribute": "class"},
    "KSR": KG_VECTORS,
    "GRU4RecKG": KG_VECTORS,
    "GRU4RecF": {"selected_features": ["class"]},
    "SASRecF": {"selected_features": ["class"]},
    "FDSA": {"selected_features": ["class"]},
}


def write_data(folder: Path) -> None:
    """A small data set in RecBole's format, with columns of every type and a knowledge graph."""
    folder.mkdir(parents=True)

    def write(suffix: str, head: str, rows: list[str]) -> None:
        text = "\n".join([head.replace(" ", "\t"), *rows]) + "\n"
        (folder / f"{DATASET}.{suffix}").write_text(text, encoding="utf-8")

    pairs = [
        (u, (7 * u + 3 * n + n * n) % N_ITEMS) for u in range(N_USERS) for n in range(8 + u % 7)
    ]
    write(
        "inter",
        "user_id:token item_id:token rating:float label:float timestamp:float",
        [
            f"u{u}\ti{i}\t{1 + (u + i) % 5}\t{(u + i) % 2}\t{1000 + place}"
            for place, (u, i) in enumerate(dict.fromkeys(pairs))
        ],
    )
    write(
        "user",
        "user_id:token age:float gender:token",
        [f"u{u}\t{20 + u}\t{'MF'[u % 2]}" for u in range(N_USERS)],
    )
    write(
        "item",
        "item_id:token class:token_seq year:float",
        [f"i{i}\tc{i % 3} d{i % 4}\t{1990 + i % 9}" for i in range(N_ITEMS)],
    )
    write("link", "item_id:token entity_id:token", [f"i{i}\te{i}" for i in range(N_ITEMS)])
    vector = " ".join(f"0.{digit % 9}" for digit in range(16))
    entities = [f"e{i}\t{vector}" for i in range(N_ITEMS)]
    write("ent", "ent_id:token ent_emb:float_seq", entities)
    write("rel", "rel_id:token rel_emb:float_seq", [f"r{i}\t{vector}" for i in range(2)])
    write(
        "kg",
        "head_id:token relation_id:token tail_id:token",
        [
            f"e{i}\tr{i % 2}\te{(i * 5 + k) % (N_ITEMS + 10)}"
            for i in range(N_ITEMS)
            for k in (1, 2, 9)
        ],
    )


def models_of(kind: str) -> list[str]:
    """Names of the models of a kind, read from the sources: a package may fail to import."""
    spec = find_spec("recbole")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "model" / KINDS[kind]
    lines = (folder / "__init__.py").read_text(encoding="utf-8").splitlines()
    names = (line.split(" import ")[1].strip() for line in lines if " import " in line)
    return list(dict.fromkeys(names))  # one stands there twice


def files_of(kind: str) -> dict[str, list[str]]:
    """Files and columns that models of a kind are given."""
    files = COLUMNS if kind == "knowledge" else {k: COLUMNS[k] for k in ("inter", "user", "item")}
    return files if kind == "context" else {**files, "inter": UNLABELED}


def train(model: str, kind: str, data_path: str) -> None:
    """One epoch and one evaluation, as RecBole's quick start does it, without checkpoints."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    warnings.simplefilter("ignore")
    own = BY_MODEL.get(model, {})
    settings = {**SETTINGS, "load_col": files_of(kind), "data_path": data_path, **own}
    if kind == "sequential" and _learns_by_cross_entropy(model):
        settings["train_neg_sample_args"] = None
    config = Config(model=model, dataset=DATASET, config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train_data, valid_data, test_data = data_preparation(config, dataset)
    network = get_model(config["model"])(config, train_data._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, network)
    trainer.fit(train_data, valid_data, saved=False, show_progress=False)
    trainer.evaluate(test_data, load_best_model=False)


def stand_in_for_torch_scatter() -> None:
    """KGIN and MCCLK need two functions of torch_scatter, which has no wheel for every PyTorch."""
    if find_spec("torch_scatter") is not None:
        return

    def scatter_mean(src: Any, index: Any, dim: int = 0, dim_size: int | None = None) -> Any:
        size = dim_size or int(index.max()) + 1
        empty = src.new_zeros(size, *src.shape[1:])
        return empty.index_reduce(0, index, src, "mean", include_self=False)

    def scatter_softmax(src: Any, index: Any, dim: int = -1) -> Any:
        powers = (src - src.max()).exp()
        empty = powers.new_zeros(int(index.max()) + 1, *src.shape[1:])
        sums = empty.index_add(0, index, powers)
        return powers / sums[index]

    module: Any = ModuleType("torch_scatter")
    module.scatter_mean, module.scatter_softmax = scatter_mean, scatter_softmax
    sys.modules["torch_scatter"] = module


def _learns_by_cross_entropy(model: str) -> bool:
    import recbole

    folder = Path(recbole.__file__).parent / "properties" / "model"
    text = (folder / f"{model}.yaml").read_text(encoding="utf-8")
    return "loss_type: 'CE'" in text or 'loss_type: "CE"' in text or "loss_type: CE" in text


def outcome(task: Callable[[], None]) -> str:
    """ "ok", or the error with the line that raised it."""
    try:
        task()
    except BaseException as error:  # also what exits
        line = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())[:160]
        return f"{type(error).__name__}: {text} ({Path(line.filename).name}:{line.lineno})"
    return "ok"


def in_child(task: Callable[[], None], limit: float) -> str:
    """The outcome in a forked child, so that a crash or a change of state ends with it."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        with open(os.devnull, "w") as sink:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
        sender.send(outcome(task))

    child = context.Process(target=work)
    child.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(limit) else f"no end in {limit:.0f} s"
    except EOFError:
        return "the process died"
    finally:
        child.kill()
        child.join()


def run_all(is_after: bool, names: Sequence[str], limit: float, data_path: str) -> dict[str, str]:
    """Outcome of each model in this process's state: plain, or after our import."""
    sys.argv = sys.argv[:1]  # RecBole's Config reads it
    stand_in_for_torch_scatter()
    if is_after:
        importlib.import_module("recbole_diffusion")
    for module in SHARED:  # imported once, not in every child; an error is each model's own
        outcome(lambda name=module: importlib.import_module(name))
    found = {}
    for kind in KINDS:
        for model in models_of(kind):
            if not names or model in names:
                found[model] = in_child(lambda m=model, k=kind: train(m, k, data_path), limit)
                sys.stderr.write(f"{model}: {found[model]}\n")
    return found


def compare(names: Sequence[str], limit: float) -> list[tuple[str, str, str, str]]:
    """Rows of model, kind, outcome plain and outcome after our import."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    with tempfile.TemporaryDirectory() as scratch:
        write_data(Path(scratch, "data", DATASET))
        found = {}
        for state in ("plain", "after"):
            folder = Path(scratch, state)
            folder.mkdir()
            command = [sys.executable, __file__, *names, f"--limit={limit}", f"--state={state}"]
            subprocess.run(
                [*command, f"--data_path={scratch}/data", f"--out={folder}/found.json"],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                check=True,
            )
            found[state] = json.loads((folder / "found.json").read_text())
    kinds = {model: kind for kind in KINDS for model in models_of(kind)}
    return [(m, kinds[m], found["plain"][m], found["after"][m]) for m in found["plain"]]


def broken(rows: Sequence[tuple[str, str, str, str]]) -> list[str]:
    """Models that run plain and fail after our import."""
    return [model for model, _, plain, after in rows if plain == "ok" and after != "ok"]


def table(rows: Sequence[tuple[str, str, str, str]]) -> str:
    head = ["| Model | Kind | Plain | After our import |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *("| " + " | ".join(row) + " |" for row in rows)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="models; none means all")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a model")
    parser.add_argument("--state", choices=("plain", "after"), help=argparse.SUPPRESS)
    parser.add_argument("--data_path", help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.state:
        found = run_all(args.state == "after", args.names, args.limit, args.data_path)
        Path(args.out).write_text(json.dumps(found))
        return 0
    rows = compare(args.names, args.limit)
    failed = broken(rows)
    sys.stdout.write(table(rows) + "\n\n")
    counts = [sum(row[place] == "ok" for row in rows) for place in (2, 3)]
    sys.stdout.write(f"{len(rows)} models: {counts[0]} run plain, {counts[1]} after our import\n")
    sys.stdout.write(f"broken by our import: {', '.join(failed) or 'none'}\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
