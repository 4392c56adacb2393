"""From atomic files to the three loaders of a run, under a seed of their own."""

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from recbole.data.dataloader import TrainDataLoader, UserDataLoader
from recbole.data.dataset import Dataset
from recbole.data.utils import create_samplers, get_dataloader
from recbole.utils import InputType

from recbole_diffusion.errors import UserError, refusals_of
from recbole_diffusion.randomness import own_randomness

TRAIN_LOADERS = {"interactions": TrainDataLoader, "users": UserDataLoader}
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """The data of a run.

    Attributes:
        dataset: All interactions, as RecBole's dataset.
        train: RecBole's loader of training batches.
        valid: RecBole's full-sort (or sampled) loader of the validation part.
        test: The same of the test part.
        sizes: Interactions of train, validation and test.
        digest: Hash of the ids and of the three parts; equal for equal splits.
    """

    dataset: Any
    train: Any
    valid: Any
    test: Any
    sizes: dict[str, int]
    digest: str


def load_split(config: Any) -> Split:
    """Read the atomic files, split by ``split_seed`` and make the loaders by ``seed``.

    Raises:
        UserError: A file, field or setting that does not fit; an empty part; ``topk`` beyond the
            number of items.
    """
    _check_headers(config)
    with _host_errors(config):
        dataset = Dataset(config)
    _check_ids(config, dataset)
    _check_repeats(config, dataset)
    _check_topk(config, dataset)
    rule = f"key `eval_args`: found {config['eval_args']}, for {config.dataset}"
    kinds = (ValueError, LookupError, TypeError, RuntimeError)
    with own_randomness(config["split_seed"]), refusals_of(rule, *kinds):
        parts = dataset.build()
    sizes = _part_sizes(config, parts)
    with _host_errors(config):
        samplers = create_samplers(config, dataset, parts)
        train_loader = _train_loader(config)
        if train_loader is TrainDataLoader and not _has_negatives(config):
            raise UserError(
                f"key `train_neg_sample_args`: found no distribution, but {config.model} learns "
                "from pairs; expected {distribution: uniform, sample_num: 1}"
            )
        train = train_loader(config, parts[0], samplers[0], shuffle=config["shuffle"])
        valid = get_dataloader(config, "valid")(config, parts[1], samplers[1], shuffle=False)
        test = get_dataloader(config, "test")(config, parts[2], samplers[2], shuffle=False)
    return Split(dataset, train, valid, test, sizes, _digest(dataset, parts))


def _train_loader(config: Any) -> type:
    """What our model declares; RecBole's rule by name for its own models."""
    if config.registration.is_host:
        loader: type = get_dataloader(config, "train")
        return loader
    declared = getattr(config.model_class, "train_loader", "interactions")
    if declared not in TRAIN_LOADERS:
        raise UserError(
            f"{config.model}.train_loader: found {declared!r}, "
            f"expected one of {list(TRAIN_LOADERS)}"
        )
    return TRAIN_LOADERS[declared]


def _has_negatives(config: Any) -> bool:
    """Whether batches hold the negatives that a model of pairs reads."""
    is_pairwise = config["MODEL_INPUT_TYPE"] == InputType.PAIRWISE
    return not is_pairwise or config["train_neg_sample_args"]["distribution"] != "none"


def _host_errors(config: Any) -> AbstractContextManager[None]:
    """RecBole's complaints about data, as one that names the folder."""
    part = f"data set {config.dataset} in {config['data_path']}"
    return refusals_of(part, ValueError, LookupError, TypeError, OSError, RuntimeError)


def _check_headers(config: Any) -> None:
    """Every file that the settings load exists, names its fields and holds those wanted."""
    ids = [config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]]
    if config["benchmark_filename"] is None and config["eval_args"]["order"] == "TO":
        ids.append(config["TIME_FIELD"])
    if config["load_col"] is not None and "inter" not in config["load_col"]:
        raise UserError(f"key `load_col`: found {config['load_col']}, expected fields of `inter`")
    wanted = {suffix: list(fields or ()) for suffix, fields in (config["load_col"] or {}).items()}
    wanted["inter"] = ids + wanted.get("inter", [])
    parts = [f"{part}.inter" for part in config["benchmark_filename"] or ()] or ["inter"]
    for suffix, fields in wanted.items():
        for name in parts if suffix == "inter" else [suffix]:
            path = Path(config["data_path"]) / f"{config.dataset}.{name}"
            found = _header(path, config["encoding"] or "utf-8", config["field_separator"])
            missing = sorted(set(fields) - {"*"} - set(found))
            if missing:
                raise UserError(
                    f"{path}: fields {missing} are missing (keys USER_ID_FIELD, ITEM_ID_FIELD, "
                    f"TIME_FIELD for order TO, and load_col); found {found}"
                )


def _header(path: Path, encoding: str, separator: str) -> list[str]:
    try:
        with path.open(encoding=encoding) as lines:
            head = lines.readline().rstrip("\r\n")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file, though key `load_col` names it") from error
    except (UnicodeDecodeError, LookupError) as error:
        raise UserError(f"{path}: not {encoding} text (key `encoding`): {error}") from error
    columns = [column.split(":") for column in head.split(separator)]
    if any(len(column) != 2 for column in columns):
        raise UserError(
            f"{path}, line 1: found {head!r}, expected `field:type` columns such as "
            "user_id:token and item_id:token, tab-separated"
        )
    return [field for field, _ in columns]


def _check_ids(config: Any, dataset: Any) -> None:
    """RecBole numbers a missing id as the padding, and drops such rows of unsplit data only."""
    pairs = dataset.inter_feat[[dataset.uid_field, dataset.iid_field]]
    rows = np.flatnonzero((pairs == 0).any(axis=1))
    if len(rows):
        starts = np.cumsum([0, *dataset.file_size_list])
        part = int(np.searchsorted(starts, rows[0], side="right")) - 1
        name = f"{config.dataset}.{config['benchmark_filename'][part]}.inter"
        raise UserError(
            f"{config['data_path']}/{name}, line {rows[0] - starts[part] + 2}: no user or no item "
            f"({len(rows)} such rows in all files)"
        )


def _check_repeats(config: Any, dataset: Any) -> None:
    """A pair that stands twice could be drawn for train and test at once."""
    if config["benchmark_filename"] is not None:
        return
    repeated = dataset.inter_feat.duplicated([dataset.uid_field, dataset.iid_field])
    if repeated.any():
        raise UserError(
            f"data set {config.dataset} in {config['data_path']}: {int(repeated.sum())} "
            "interactions repeat a user and item; key `rm_dup_inter`: first (or last) keeps one"
        )


def _check_topk(config: Any, dataset: Any) -> None:
    n_items = dataset.item_num - 1  # less the padding
    if max(config["topk"]) > n_items:
        raise UserError(
            f"key `topk`: found {max(config['topk'])}, but {config.dataset} has {n_items} items"
        )


def _part_sizes(config: Any, parts: list[Any]) -> dict[str, int]:
    if len(parts) != len(PARTS):
        raise UserError(
            f"keys `eval_args`/`benchmark_filename`: found {len(parts)} parts, expected "
            "train, validation and test"
        )
    sizes = {name: len(part) for name, part in zip(PARTS, parts, strict=True)}
    empty = [name for name, size in sizes.items() if size == 0]
    if empty:
        raise UserError(
            f"split of {config.dataset}: the {' and '.join(empty)} part is empty "
            f"(keys eval_args {config['eval_args']}, benchmark_filename "
            f"{config['benchmark_filename']}); parts hold {sizes}"
        )
    return sizes


def _digest(dataset: Any, parts: list[Any]) -> str:
    """Hash the id tokens, then each part's pairs in sorted order."""
    digest = hashlib.sha256()
    for field in (dataset.uid_field, dataset.iid_field):
        digest.update("\n".join(map(str, dataset.field2id_token[field])).encode())
    for part in parts:
        user = part.inter_feat[dataset.uid_field].numpy()
        item = part.inter_feat[dataset.iid_field].numpy()
        order = np.lexsort((item, user))
        digest.update(np.stack([user[order], item[order]]).astype("<i8").tobytes())
    return digest.hexdigest()[:16]
