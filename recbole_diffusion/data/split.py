"""From atomic files to the three loaders of a run, under a seed of their own."""

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import combinations
from logging import getLogger
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader, TrainDataLoader, UserDataLoader
from recbole.data.utils import get_dataloader
from recbole.utils import FeatureType, InputType, ModelType

from recbole_diffusion.base.errors import UserError, host_refusals
from recbole_diffusion.base.randomness import own_randomness
from recbole_diffusion.data.batches import UserLoader
from recbole_diffusion.data.columns import check_columns
from recbole_diffusion.data.dataset import AtomicDataset
from recbole_diffusion.data.full_sort import FullSortLoader
from recbole_diffusion.data.kept_parts import Parts, kept_parts
from recbole_diffusion.data.negatives import (
    CandidateLoader,
    NegativeSampler,
    PairLoader,
    VectorisedSampler,
    has_negatives,
)
from recbole_diffusion.data.noise import add_random_interactions
from recbole_diffusion.data.parts import rows_of
from recbole_diffusion.settings.evaluation_keys import (
    GROUPS,
    tells_cold_apart,
    without_group,
    words_for_few_items,
)
from recbole_diffusion.settings.folders import tell_paths_outside
from recbole_diffusion.settings.recency import is_ordered_by_time

TRAIN_LOADERS = {"interactions": PairLoader, "users": UserLoader}
PARTS = ("train", "validation", "test")
PHASES = ["train", "valid", "test"]


@dataclass(frozen=True)
class Split:
    """The data of a run.

    Attributes:
        train: RecBole's loader of training batches.
        valid: RecBole's full-sort (or sampled) loader of the validation part.
        test: The same of the test part.
        sizes: Interactions of train, validation and test.
        n_added: How many of train's are random, by ``train_noise_ratio``.
        digest: Hash of the ids and of the three parts; equal for equal splits.
        data_digest: Hash of every column of the three parts, in their order.
        cold_items: Which items have no train interaction, bool [n_items]; None where they are not
            told apart.
        item_groups: Of warm and cold items, those that validation and test both ask for, bool
            [n_items] by name.
    """

    train: Any
    valid: Any
    test: Any
    sizes: dict[str, int]
    n_added: int
    digest: str
    data_digest: str
    cold_items: torch.Tensor | None
    item_groups: dict[str, torch.Tensor]

    @property
    def dataset(self) -> Any:
        """RecBole's dataset of the train part: ids, features, and what it is to learn from."""
        return self.train._dataset


def load_split(config: Any, may_write: bool = True) -> Split:
    """Read the atomic files, split by ``split_seed`` and make the loaders by ``seed``.

    Args:
        config: Settings of the run.
        may_write: Whether large data may be kept for further runs (``kept_parts``).

    Raises:
        UserError: A file, field or setting that does not fit; an empty part; ``topk`` beyond the
            number of items.
    """
    tell_paths_outside(config)
    check_columns(config)
    found = kept_parts(config, _read_parts, may_write)
    parts = found.datasets
    _check_topk(config, parts[0])
    cold = _cold_items(parts[0]) if tells_cold_apart(config) else None
    groups = {} if cold is None else _item_groups(config, parts, cold)
    with _host_errors(config):
        samplers = _make_samplers(config, parts, cold is not None and bool(cold.any()))
        train_loader = _train_loader(config)
        if train_loader is PairLoader and not _draws_negatives(config):
            raise UserError(
                f"key `train_neg_sample_args`: found no distribution, but {config.model} learns "
                "from pairs; expected {distribution: uniform, sample_num: 1}"
            )
        if train_loader is PairLoader and config["MODEL_TYPE"] != ModelType.TRADITIONAL:
            _rows_with_negatives(config, "train", parts[0], samplers[0])  # tells of the others
        train = train_loader(config, parts[0], samplers[0], shuffle=config["shuffle"])
        valid = _evaluation_loader(config, "valid", parts[:2], samplers[1])
        test = _evaluation_loader(config, "test", parts, samplers[2])
    sizes = {name: len(part) for name, part in zip(PARTS, parts, strict=True)}
    # After the loaders, which sort what they evaluate by user.
    digests = found.digest, _data_digest(parts)
    return Split(train, valid, test, sizes, found.n_added, *digests, cold, groups)


def _read_parts(config: Any) -> Parts:
    """Read the files and split them."""
    with _host_errors(config):
        dataset = AtomicDataset(config)
    _check_repeats(config, dataset)
    rule = f"key `eval_args`: found {config['eval_args']}, for {config.dataset}"
    kinds = (ValueError, LookupError, TypeError, RuntimeError)
    _check_time(config, dataset)
    with own_randomness(config["split_seed"]), host_refusals(rule, *kinds):
        parts = dataset.build()
    _check_sizes(config, parts)
    n_train = len(parts[0])
    # Before the samplers: an added interaction is no negative, and is masked in evaluations.
    parts[0] = add_random_interactions(parts, config["train_noise_ratio"], config["split_seed"])
    return Parts(parts, len(parts[0]) - n_train, _digest(parts))


def _cold_items(train: Any) -> torch.Tensor:
    """Items without an interaction in a part, bool [n_items]; the padding is none."""
    is_cold = train.inter_feat[train.iid_field].bincount(minlength=train.item_num) == 0
    is_cold[0] = False
    return is_cold


def _item_groups(config: Any, parts: list[Any], cold: torch.Tensor) -> dict[str, torch.Tensor]:
    """Warm and cold items, of which validation and test both hold some."""
    warm = ~cold
    warm[0] = False
    groups = {
        name: items
        for name, items in zip(GROUPS, (warm, cold), strict=True)
        if all(items[part.inter_feat[part.iid_field]].any() for part in parts[1:])
    }
    group = without_group(config["valid_metric"].lower())[1]
    if group and group not in groups:
        raise UserError(
            f"key `valid_metric`: found {config['valid_metric']}, but validation or test of "
            f"{config.dataset} holds no {group} item (keys eval_args {config['eval_args']}, "
            f"benchmark_filename {config['benchmark_filename']})"
        )
    return groups


def masking_train_only(config: Any, split: Split) -> Any:
    """A loader of the test part that leaves the validation part among the candidates.

    Args:
        config: Settings of the run.
        split: Its data.

    Raises:
        UserError: The evaluation ranks sampled candidates.
    """
    if not isinstance(split.test, FullSortLoader):
        raise UserError(
            f"key `eval_args`: found {config['eval_args']}, expected mode full: the papers' "
            "protocols rank all items"
        )
    return FullSortLoader(config, split.test._dataset, [split.train._dataset])


def _make_samplers(config: Any, parts: list[Any], has_cold_items: bool) -> list[Any]:
    """One for each phase that draws, by the train part's popularity where that is asked.

    RecBole's function takes the training's alpha for evaluations too, and counts every part.
    Cold items are not drawn: a model that learnt that nobody wants them would be wrong.
    """
    wanted = [config[f"{phase}_neg_sample_args"] for phase in PHASES]
    # An evaluation of all items has a distribution, and no number.
    draws = [args["distribution"] != "none" and args["sample_num"] != "none" for args in wanted]
    is_host = config["negative_sampler"] == "recbole"
    base = NegativeSampler(PHASES, parts) if is_host and any(draws) else None
    samplers: list[Any] = []
    for number, (phase, args) in enumerate(zip(PHASES, wanted, strict=True)):
        alpha = args.get("alpha", 1.0)  # an evaluation has none: counts as they are
        kind = args["distribution"]
        if has_cold_items and kind == "uniform":
            kind, alpha = "popularity", 0.0  # every item that has a count alike
        if not draws[number]:
            samplers.append(None)
        elif base is not None:
            sampler = base.set_phase(phase)  # a copy
            sampler.alpha = alpha
            sampler.set_distribution(kind)
            samplers.append(sampler)
        else:
            samplers.append(VectorisedSampler(parts[: number + 1], phase, kind, alpha))
    return samplers


def _rows_with_negatives(config: Any, phase: str, part: Any, sampler: Any) -> np.ndarray:
    """Rows of users who have a negative; the log tells of the others, whom RecBole refuses."""
    if sampler is None:
        return np.arange(len(part))
    users = part.inter_feat[part.uid_field].numpy()
    is_kept = has_negatives(sampler)[users]
    full = np.unique(users[~is_kept])
    if not len(full):
        return np.arange(len(part))
    key = "train_neg_sample_args" if phase == "train" else "eval_args"
    found = (
        f"{len(full)} users, such as {str(part.id2token(part.uid_field, int(full[0])))!r}, have "
        f"met every item that key `{key}` ({sampler.distribution}) draws from"
    )
    if not is_kept.any():
        raise UserError(f"{found}, which leaves nobody for {phase}")
    effect = "they give no training pairs" if phase == "train" else f"they are left out of {phase}"
    getLogger().warning(f"{config.dataset}: {found}; {effect}")
    return np.flatnonzero(is_kept)


def _evaluation_loader(config: Any, phase: str, parts: list[Any], sampler: Any) -> Any:
    """Of the last part; one that draws candidates has no users for whom there are none."""
    *earlier, part = parts
    loader = get_dataloader(config, phase)
    if loader is FullSortEvalDataLoader:
        return FullSortLoader(config, part, earlier)
    rows = _rows_with_negatives(config, phase, part, sampler)
    part = part if len(rows) == len(part) else part.copy(rows_of(part.inter_feat, rows))
    if isinstance(sampler, VectorisedSampler):
        loader = CandidateLoader
    return loader(config, part, sampler, shuffle=False)


def _train_loader(config: Any) -> type:
    """What our model declares; RecBole's rule by name for its own models."""
    if config.registration.is_host:
        loader: type = get_dataloader(config, "train")
        return {TrainDataLoader: PairLoader, UserDataLoader: UserLoader}.get(loader, loader)
    declared = getattr(config.model_class, "train_loader", "interactions")
    if declared not in TRAIN_LOADERS:
        raise UserError(
            f"{config.model}.train_loader: found {declared!r}, "
            f"expected one of {list(TRAIN_LOADERS)}"
        )
    return TRAIN_LOADERS[declared]


def _draws_negatives(config: Any) -> bool:
    """Whether batches hold the negatives that a model of pairs reads."""
    is_pairwise = config["MODEL_INPUT_TYPE"] == InputType.PAIRWISE
    return not is_pairwise or config["train_neg_sample_args"]["distribution"] != "none"


def _host_errors(config: Any) -> AbstractContextManager[None]:
    """RecBole's complaints about data, as one that names the folder."""
    part = f"data set {config.dataset} in {config['data_path']}"
    return host_refusals(part, ValueError, LookupError, TypeError, OSError, RuntimeError)


def _check_repeats(config: Any, dataset: Any) -> None:
    """A pair that stands twice would be learned and tested, or count twice."""
    ids = [dataset.uid_field, dataset.iid_field]
    keys = np.sort(_pair_keys(dataset, dataset.inter_feat))
    n_repeated = int((keys[1:] == keys[:-1]).sum())
    if not n_repeated:
        return
    found = dataset.inter_feat[ids].copy()
    where = ""
    if config["benchmark_filename"] is not None:
        names = [str(name) for name in config["benchmark_filename"]]
        found["part"] = np.repeat(np.arange(len(names)), dataset.file_size_list)
        where = f" ({_repeats_by_part(found, ids, names)})"
    raise UserError(
        f"data set {config.dataset} in {config['data_path']}: {n_repeated} interactions repeat a "
        f"user and item{where}; key `rm_dup_inter`: first (or last) keeps one"
    )


def _repeats_by_part(found: Any, ids: list[str], names: list[str]) -> str:
    """Counts of repeated rows within each part, and of pairs that two parts share."""
    within = found[found.duplicated([*ids, "part"])]["part"].value_counts()
    places = [f"within {name}: {within[i]}" for i, name in enumerate(names) if i in within]
    has = found.drop_duplicates([*ids, "part"]).set_index(ids)["part"]
    parts = [has.index[has == i] for i in range(len(names))]
    for i, j in combinations(range(len(names)), 2):
        n_shared = int(parts[i].isin(parts[j]).sum())
        if n_shared:
            places.append(f"between {names[i]} and {names[j]}: {n_shared}")
    return ", ".join(places)


def _check_topk(config: Any, dataset: Any) -> None:
    n_items = dataset.item_num - 1  # less the padding
    if max(config["topk"]) <= n_items:
        return
    words = words_for_few_items(n_items, config["valid_metric"])
    raise UserError(
        f"key `topk`: found {max(config['topk'])}, but {config.dataset} has {n_items} items; "
        f"lower it, such as {' '.join(words)}"
    )


def _check_time(config: Any, dataset: Any) -> None:
    """Tokens would be sorted by their order of appearance."""
    if is_ordered_by_time(config) and dataset.field2type[dataset.time_field] != FeatureType.FLOAT:
        raise UserError(
            f"data set {config.dataset} in {config['data_path']}: field {dataset.time_field} "
            f"is of type {dataset.field2type[dataset.time_field].value}, expected float for order "
            "TO (keys TIME_FIELD, eval_args)"
        )


def _check_sizes(config: Any, parts: list[Any]) -> None:
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


def _data_digest(parts: list[Any]) -> str:
    """Hash what batches are made of: rows in their order, times included."""
    digest = hashlib.sha256()
    for part in parts:
        for field in sorted(part.inter_feat.columns):
            digest.update(field.encode())
            digest.update(np.ascontiguousarray(part.inter_feat[field].numpy()).data)
    return digest.hexdigest()[:16]


def _digest(parts: list[Any]) -> str:
    """Hash the id tokens, then each part's pairs in sorted order."""
    dataset = parts[0]
    digest = hashlib.sha256()
    for field in (dataset.uid_field, dataset.iid_field):
        digest.update("\n".join(map(str, dataset.field2id_token[field])).encode())
    for part in parts:
        keys = _pair_keys(dataset, part.inter_feat)
        keys.sort()
        for ids in np.divmod(keys, dataset.item_num):
            digest.update(ids.astype("<i8", copy=False).data)
    return digest.hexdigest()[:16]


def _pair_keys(dataset: Any, interactions: Any) -> np.ndarray:
    """One number for each pair of user and item, int64 [n], in the order of users, then items."""
    users, items = (np.asarray(interactions[f]) for f in (dataset.uid_field, dataset.iid_field))
    return users.astype(np.int64) * dataset.item_num + items
