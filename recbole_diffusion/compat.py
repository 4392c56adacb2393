"""Patches that let RecBole 1.2.x run, and evaluate, on today's numpy, scipy, pandas and PyTorch.

Each patch is one function, applied once on import and only where its fault exists. It changes names
inside ``recbole.*`` only: numpy, scipy, pandas, torch and yaml stay as they are for other code.
"""

import importlib
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from logging import FileHandler, Logger, LoggerAdapter, getLogger
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

# The host refers to these names of numpy, all of which numpy has removed or given another meaning.
REMOVED_NUMPY_NAMES = {
    "bool": np.bool_,
    "int": np.int64,
    "float": np.float64,
    "complex": np.complex128,
    "object": np.object_,
    "str": np.str_,
    "long": np.int64,
    "unicode": np.str_,
}
NUMPY_USERS = (
    "recbole.evaluator.metrics",
    "recbole.data.dataset.dataset",
    "recbole.data.interaction",
    "recbole.model.layers",
    "recbole.model.abstract_recommender",
    "recbole.trainer.hyper_tuning",
)
DOK_MATRIX_USERS = ("lightgcn", "ngcf", "ncl", "spectralcf", "gcmc")
SPARSE_TENSOR_USERS = (
    "recbole.model.layers",
    *(
        f"recbole.model.general_recommender.{name}"
        for name in (*DOK_MATRIX_USERS, "sgl", "dgcf", "dmf")
    ),
)
# What these compute in their constructors, from draws or settings, and score by.
UNSTORED_SCORES = {
    "NNCF": ["u_neigh", "i_neigh"],
    "NCEPLRec": ["user_embeddings", "item_embeddings"],
    "ADMMSLIM": ["interaction_matrix", "item_similarity", "item_means"],
}


@dataclass(frozen=True)
class Patch:
    """One repair of the host.

    Attributes:
        name: What it is called in tests and docs.
        reason: The fault that it mends, in a sentence.
        is_needed: Whether the installed packages show the fault.
        apply: Mends it.
    """

    name: str
    reason: str
    is_needed: Callable[[], bool]
    apply: Callable[[], None]


class _Overlay(ModuleType):
    """A module as the host sees it: some names replaced, every other one the module's own."""

    def __init__(self, module: Any, **replaced: Any) -> None:
        super().__init__(module.__name__)
        self._module = module
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class _OnFirstUse:
    """Stands for a name of an optional package, which is imported when the name is used."""

    def __init__(self, package: str, name: str) -> None:
        self._package, self._name = package, name

    def _load(self) -> Any:
        try:
            return getattr(importlib.import_module(self._package), self._name)
        except ImportError as error:
            raise ImportError(
                f"this part of RecBole needs the package `{self._package}`: "
                f"pip install {self._package}"
            ) from error

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # a look at the name, not a use
            raise AttributeError(attribute)
        return getattr(self._load(), attribute)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._load()(*args, **kwargs)


@contextmanager
def _placeholder(package: str, name: str) -> Iterator[None]:
    """While the host's module is imported, ``from package import name`` gives a deferred name."""
    if package in sys.modules:
        yield
        return
    stand_in = ModuleType(package)
    setattr(stand_in, name, _OnFirstUse(package, name))
    sys.modules[package] = stand_in
    try:
        yield
    finally:
        del sys.modules[package]


def _defer_ray() -> None:
    with _placeholder("ray", "tune"):
        importlib.import_module("recbole.quick_start")


def _defer_kmeans() -> None:
    with _placeholder("kmeans_pytorch", "kmeans"):
        importlib.import_module("recbole.model.general_recommender")


def _keep_numpy_names() -> None:
    from recbole.config import Config

    Config.compatibility_settings = lambda self: None
    for name in NUMPY_USERS:
        module = importlib.import_module(name)
        module.np = _Overlay(np, **REMOVED_NUMPY_NAMES)  # type: ignore[attr-defined]


class _UpdatableDokMatrix(sp.dok_matrix):
    """A dok_matrix with the bulk update that scipy 1.13 removed."""

    def _update(self, entries: dict[tuple[int, int], float]) -> None:
        self._dict.update(entries)


def _restore_dok_update() -> None:
    for name in DOK_MATRIX_USERS:
        module = importlib.import_module(f"recbole.model.general_recommender.{name}")
        module.sp = _Overlay(sp, dok_matrix=_UpdatableDokMatrix)  # type: ignore[attr-defined]


def _use_current_sparse_tensors() -> None:
    sparse = _Overlay(
        torch.sparse,
        FloatTensor=partial(torch.sparse_coo_tensor, dtype=torch.float32, check_invariants=False),
    )
    for name in SPARSE_TENSOR_USERS:
        module = importlib.import_module(name)
        module.torch = _Overlay(torch, sparse=sparse)  # type: ignore[attr-defined]


def _read_text_as_it_stands() -> None:
    from recbole.data.dataset import dataset

    from recbole_diffusion.data.atomic import read_atomic_file

    dataset.pd = _Overlay(pd, read_csv=read_atomic_file)


def _fill_nan(self: Any) -> None:
    """Fill as the host means to: tokens 0 ([PAD]), floats the column's mean, sequences empty."""
    from recbole.utils import FeatureType

    for feat_name in self.feat_name_list:
        feat = getattr(self, feat_name)
        for field in feat:
            kind = self.field2type[field]
            if kind == FeatureType.TOKEN:
                feat[field] = feat[field].fillna(0).astype(np.int64)
            elif kind == FeatureType.FLOAT:
                feat[field] = feat[field].fillna(feat[field].mean())
            else:
                dtype = np.int64 if kind == FeatureType.TOKEN_SEQ else np.float64
                empty = np.array([], dtype=dtype)
                feat[field] = [empty if isinstance(x, float) else x for x in feat[field]]


def _fill_missing_values() -> None:
    from recbole.data.dataset import dataset

    host_method = dataset.Dataset._load_feat

    def load_feat(self: Any, *args: Any) -> Any:
        with warnings.catch_warnings():  # the host's own fill, which has nothing left to do
            warnings.simplefilter("ignore", pd.errors.ChainedAssignmentError)
            return host_method(self, *args)

    dataset.Dataset._load_feat = load_feat
    dataset.Dataset._fill_nan = _fill_nan


def _len(values: Any) -> Any:
    """Length, of each row where the host asks ``Series.agg(len)`` for it."""
    return values.map(len) if isinstance(values, pd.Series) else len(values)


def _measure_sequences_by_row() -> None:
    from recbole.data.dataset import dataset

    dataset.len = _len


def _copy_columns() -> None:
    from recbole.data.dataset import Dataset

    host_method = Dataset._dataframe_to_interaction

    def dataframe_to_interaction(self: Any, data: pd.DataFrame) -> Any:
        columns = {name: SimpleNamespace(values=np.array(data[name].values)) for name in data}
        return host_method(self, columns)

    Dataset._dataframe_to_interaction = dataframe_to_interaction


def _use_current_grad_scaler() -> None:
    from recbole.trainer import trainer

    trainer.amp = _Overlay(trainer.amp, GradScaler=partial(torch.amp.GradScaler, "cuda"))


def _count_eval_batches_in_users() -> None:
    from recbole.data.dataloader.general_dataloader import FullSortEvalDataLoader

    from recbole_diffusion.evaluation import users_per_batch

    host_method = FullSortEvalDataLoader._init_batch_size_and_step

    def init_batch_size_and_step(self: Any) -> None:
        host_method(self)
        if not self.is_sequential:
            self.step = users_per_batch(self.config, self._dataset.item_num)
            self.set_batch_size(self.step * self._dataset.item_num)

    FullSortEvalDataLoader._init_batch_size_and_step = init_batch_size_and_step


def _count_every_interaction() -> None:
    from recbole.model.general_recommender import Pop

    host_init = Pop.__init__

    def init(self: Any, config: Any, dataset: Any) -> None:
        host_init(self, config, dataset)
        items = dataset.inter_feat[dataset.iid_field]
        self.item_cnt = torch.bincount(items, minlength=self.n_items)[:, None].to(self.device)
        self.max_cnt = self.item_cnt.max(dim=0).values

    def calculate_loss(self: Any, interaction: Any) -> torch.Tensor:
        return self.fake_loss.sum()  # zero; the counts are complete

    Pop.__init__, Pop.calculate_loss = init, calculate_loss


def _train_items(self: Any) -> np.ndarray:
    """Items of the train interactions, which come first."""
    items: np.ndarray = self.datasets[0].inter_feat[self.iid_field].numpy()
    return items


def _accumulate_popularity(self: Any) -> None:
    """Sums of counts^alpha up to each id; what has no count keeps the weight 0 at any alpha."""
    counts = np.bincount(np.asarray(self._get_candidates_list())).astype(np.float64)
    powers = np.power(counts, self.alpha, where=counts > 0, out=np.zeros_like(counts))
    self.cumulative = np.cumsum(powers)


def _draw_by_popularity(self: Any, sample_num: int) -> np.ndarray:
    drawn = np.random.random(sample_num) * self.cumulative[-1]
    return np.searchsorted(self.cumulative, drawn, side="right")


def _sample_train_popularity() -> None:
    from recbole.sampler import sampler

    sampler.Sampler._get_candidates_list = _train_items
    sampler.AbstractSampler._build_alias_table = _accumulate_popularity
    sampler.AbstractSampler._pop_sampling = _draw_by_popularity


def _early_stopping(
    value: float, best: float, cur_step: int, max_step: int, bigger: bool = True
) -> tuple[float, int, bool, bool]:
    """The host's rule, but a tie keeps the earlier epoch."""
    if value > best if bigger else value < best:
        return value, 0, False, True
    return best, cur_step + 1, cur_step + 1 > max_step, False


def _keep_earlier_epoch_on_ties() -> None:
    from recbole.trainer import trainer

    trainer.early_stopping = _early_stopping


class _NoTensorboard:
    """In place of a writer where no run writes."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


def _get_tensorboard(logger: Logger) -> Any:
    """A writer beside the run's log file; without one, nothing is written."""
    from torch.utils.tensorboard import SummaryWriter

    for handler in logger.handlers:
        if isinstance(handler, FileHandler) and handler.get_name() == "recbole_diffusion":
            return SummaryWriter(os.path.join(os.path.dirname(handler.baseFilename), "tensorboard"))
    return _NoTensorboard()


def _keep_tensorboard_in_run_folder() -> None:
    from recbole.trainer import trainer

    trainer.get_tensorboard = _get_tensorboard


def _unrounded(value: float, digits: int) -> float:
    return float(value)


def _leave_metrics_unrounded() -> None:
    from recbole.evaluator import base_metric, metrics

    base_metric.round = metrics.round = _unrounded


def _clear_finished_bars() -> None:
    from recbole.trainer import trainer

    trainer.tqdm = partial(trainer.tqdm, leave=False, disable=None)


def _get_data_struct(self: Any) -> Any:
    """Hand over what was collected, tensors on the CPU, and start the next evaluation empty."""
    from recbole.evaluator.collector import DataStruct

    collected = DataStruct()
    for key, value in self.data_struct._data_dict.items():
        collected.set(key, value.cpu() if isinstance(value, torch.Tensor) else value)
    for key in ("rec.topk", "rec.meanrank", "rec.score", "rec.items", "data.label"):
        if key in self.data_struct:
            del self.data_struct[key]
    return collected


def _collect_plain_values() -> None:
    from recbole.evaluator.collector import Collector

    Collector.get_data_struct = _get_data_struct


def _use_current_autocast() -> None:
    from recbole.trainer import trainer

    trainer.amp = _Overlay(trainer.amp, autocast=partial(torch.amp.autocast, "cuda"))


def _drop_messages_in_training_only() -> None:
    from recbole.model.general_recommender import NGCF

    host_forward = NGCF.forward

    def forward(self: Any) -> Any:
        probability = self.message_dropout
        try:
            if not self.training:
                self.message_dropout = 0.0
            return host_forward(self)
        finally:
            self.message_dropout = probability

    NGCF.forward = forward


def _predict_pairs(self: Any, interaction: Any) -> torch.Tensor:
    """One score a pair; the host's is a column of every pair's item, for every pair's user."""
    items = interaction[self.ITEM_ID][:, None]
    scores: torch.Tensor = self.full_sort_predict(interaction).gather(1, items)
    return scores.squeeze(1)


def _score_pairs_by_diffusion() -> None:
    from recbole.model.general_recommender import DiffRec, LDiffRec

    DiffRec.predict = LDiffRec.predict = _predict_pairs


def _allow_diffusion_without_noise() -> None:
    from recbole.model.general_recommender import DiffRec

    host_method = DiffRec.calculate_for_diffusion

    def calculate_for_diffusion(self: Any) -> None:
        if self.noise_scale == 0.0:
            self.reweight = False  # the weights are ratios of signal to noise
        else:
            host_method(self)

    DiffRec.calculate_for_diffusion = calculate_for_diffusion


def _keep_padding_out_of_enmf() -> None:
    from recbole.model.general_recommender import ENMF

    host_init = ENMF.__init__

    def init(self: Any, config: Any, dataset: Any) -> None:
        host_init(self, config, dataset)
        for embedding in (self.user_embedding, self.item_embedding):
            embedding.weight.data[0] = 0.0  # padding_idx keeps it there

    ENMF.__init__ = init


def _learn_fism_from_probabilities() -> None:
    from recbole.model.general_recommender import FISM

    host_init = FISM.__init__

    def init(self: Any, config: Any, dataset: Any) -> None:
        host_init(self, config, dataset)
        self.bceloss = torch.nn.BCELoss()

    FISM.__init__ = init


def _draw_for_every_user() -> None:
    from recbole.model.general_recommender import Random

    def full_sort_predict(self: Any, interaction: Any) -> torch.Tensor:
        return torch.rand(len(interaction[self.USER_ID]) * self.n_items, device=self.device)

    Random.full_sort_predict = full_sort_predict


def _find_neighbours_by_method() -> None:
    from recbole.model.general_recommender import itemknn, nncf

    class ComputeSimilarity:
        """The host's, called as RecBole 1.2.0 called it."""

        def __init__(self, matrix: Any, topk: int) -> None:
            self._arguments = {"dataMatrix": matrix, "topk": topk}

        def compute_similarity(self, method: str) -> Any:
            return itemknn.ComputeSimilarity(**self._arguments, method=method).compute_similarity()

    nncf.ComputeSimilarity = ComputeSimilarity


def _refuse_more_clusters_than_nodes() -> None:
    from recbole.model.general_recommender import NCL

    host_init = NCL.__init__

    def init(self: Any, config: Any, dataset: Any) -> None:
        host_init(self, config, dataset)
        most = min(self.n_users, self.n_items)
        if self.k > most:
            raise ValueError(
                f"key `num_clusters`: found {self.k}, expected at most {most}, the smaller number "
                "of users and items (with the padding)"
            )

    NCL.__init__ = init


def _load_item_vectors(path: str, allow_pickle: bool = False) -> Any:
    """Read plain numbers, whatever the host allows."""
    if not os.path.isfile(path):
        raise ValueError(
            f"{path}: no such file; with key `n_cate` above 1 it holds a vector for every item, in "
            "the order of RecBole's ids (.npy)"
        )
    return np.load(path, allow_pickle=False)


def _read_item_vectors_without_pickle() -> None:
    from recbole.model.general_recommender import ldiffrec

    ldiffrec.np = _Overlay(np, load=_load_item_vectors)


def _keep_last_pretraining_epoch() -> None:
    from recbole.trainer.trainer import PretrainTrainer

    host_method = PretrainTrainer.pretrain

    def pretrain(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = host_method(self, *args, **kwargs)
        if self.pretrain_epochs % self.save_step:
            name = f"{self.config['model']}-{self.config['dataset']}-{self.pretrain_epochs}.pth"
            path = os.path.join(self.checkpoint_dir, name)
            self.save_pretrained_model(self.pretrain_epochs - 1, path)
        return result

    PretrainTrainer.pretrain = pretrain


class _JoiningLogger(LoggerAdapter):
    """Takes a message in parts, as ``print`` does."""

    def info(self, *parts: Any) -> None:  # type: ignore[override]
        self.logger.info(" ".join(map(str, parts)))


def _log_the_pretrained_file() -> None:
    from recbole.model.general_recommender import RaCT

    # The host's constructor sets a logger; this one stays.
    RaCT.logger = property(lambda self: _JoiningLogger(getLogger()), lambda self, value: None)


def _store_what_scores() -> None:
    package = importlib.import_module("recbole.model.general_recommender")
    for name, attributes in UNSTORED_SCORES.items():
        getattr(package, name).other_parameter_name = attributes


def _host_version() -> tuple[int, ...]:
    import recbole

    return tuple(int(part) for part in re.findall(r"\d+", recbole.__version__)[:3])


def _has_pandas_3() -> bool:
    return int(pd.__version__.split(".")[0]) >= 3


def _is_1_2_0() -> bool:
    return _host_version() < (1, 2, 1)


def _is_1_2_1_on() -> bool:
    return not _is_1_2_0()


def _in_every_version() -> bool:
    """Both 1.2.0 and 1.2.1 have the fault, whatever is installed beside them."""
    return True


PATCHES = (
    Patch(
        "defer_ray",
        "recbole.quick_start imports ray.tune, which nothing but its tuner uses",
        _in_every_version,
        _defer_ray,
    ),
    Patch(
        "defer_kmeans",
        "RecBole 1.2.0 imports kmeans_pytorch with every general recommender; LDiffRec uses it",
        _is_1_2_0,
        _defer_kmeans,
    ),
    Patch(
        "keep_numpy_names",
        "Config puts removed names back into numpy for everybody, and fails on numpy 2",
        _in_every_version,
        _keep_numpy_names,
    ),
    Patch(
        "restore_dok_update",
        "five graph models fill a dok_matrix by a method that scipy 1.13 removed",
        lambda: not hasattr(sp.dok_matrix, "_update"),
        _restore_dok_update,
    ),
    Patch(
        "use_current_sparse_tensors",
        "graph models build torch.sparse.FloatTensor, which is deprecated and warns",
        _in_every_version,
        _use_current_sparse_tensors,
    ),
    Patch(
        "read_text_as_it_stands",
        "texts and ids such as NA or None are read as missing, quotation marks as quoted fields, "
        "and a row with a field too few or too many as another row",
        _in_every_version,
        _read_text_as_it_stands,
    ),
    Patch(
        "fill_missing_values",
        "fillna(inplace=True) on a chained column changes nothing in pandas 3",
        _has_pandas_3,
        _fill_missing_values,
    ),
    Patch(
        "measure_sequences_by_row",
        "Series.agg(len) is the column's length in pandas 3: sequences of tokens cannot be loaded, "
        "those of floats neither normalised nor discretised",
        _has_pandas_3,
        _measure_sequences_by_row,
    ),
    Patch(
        "copy_columns",
        "pandas 3 hands out read-only arrays, which tensors would share and write to",
        _has_pandas_3,
        _copy_columns,
    ),
    Patch(
        "use_current_grad_scaler",
        "torch.cuda.amp.GradScaler is deprecated and warns in every epoch",
        _in_every_version,
        _use_current_grad_scaler,
    ),
    Patch(
        "count_eval_batches_in_users",
        "full-sort evaluation scores one user at a time once n_items > eval_batch_size / 2",
        _in_every_version,
        _count_eval_batches_in_users,
    ),
    Patch(
        "count_every_interaction",
        "Pop counts an item once a batch, sampled negatives included: batch size moves its ranking",
        _in_every_version,
        _count_every_interaction,
    ),
    Patch(
        "sample_train_popularity",
        "negatives by popularity count validation and test items too, can be item -1 by rounding, "
        "and are drawn one by one",
        _in_every_version,
        _sample_train_popularity,
    ),
    Patch(
        "keep_earlier_epoch_on_ties",
        "a later epoch with an equal validation score replaces the best one",
        _in_every_version,
        _keep_earlier_epoch_on_ties,
    ),
    Patch(
        "leave_metrics_unrounded",
        "metrics are rounded before the best epoch is picked, so that ties move it",
        _in_every_version,
        _leave_metrics_unrounded,
    ),
    Patch(
        "clear_finished_bars",
        "finished progress bars stay, two lines an epoch, and fill logs",
        _in_every_version,
        _clear_finished_bars,
    ),
    Patch(
        "keep_tensorboard_in_run_folder",
        "TensorBoard files go to the working directory, under names that collide",
        _in_every_version,
        _keep_tensorboard_in_run_folder,
    ),
    Patch(
        "collect_plain_values",
        "RecBole 1.2.1 calls .cpu() on counts, which stops ItemCoverage and its like",
        _is_1_2_1_on,
        _collect_plain_values,
    ),
    Patch(
        "use_current_autocast",
        "NCL's trainer calls the deprecated torch.cuda.amp.autocast and warns",
        _in_every_version,
        _use_current_autocast,
    ),
    Patch(
        "drop_messages_in_training_only",
        "NGCF of RecBole 1.2.0 drops messages when it scores, too",
        _is_1_2_0,
        _drop_messages_in_training_only,
    ),
    Patch(
        "score_pairs_by_diffusion",
        "DiffRec and LDiffRec of RecBole 1.2.0 score a batch of pairs as a table",
        _is_1_2_0,
        _score_pairs_by_diffusion,
    ),
    Patch(
        "allow_diffusion_without_noise",
        "DiffRec and LDiffRec of RecBole 1.2.0 stop at noise_scale: 0",
        _is_1_2_0,
        _allow_diffusion_without_noise,
    ),
    Patch(
        "keep_padding_out_of_enmf",
        "ENMF initialises the padding's vector and learns it as an item of every short history",
        _in_every_version,
        _keep_padding_out_of_enmf,
    ),
    Patch(
        "learn_fism_from_probabilities",
        "FISM takes the sigmoid of its scores twice in the loss, and learns next to nothing",
        _in_every_version,
        _learn_fism_from_probabilities,
    ),
    Patch(
        "draw_for_every_user",
        "Random draws one ranking for all users of an evaluation batch",
        _in_every_version,
        _draw_for_every_user,
    ),
    Patch(
        "find_neighbours_by_method",
        "NNCF of RecBole 1.2.1 calls ComputeSimilarity as it was in 1.2.0: no neighbours by knn",
        _is_1_2_1_on,
        _find_neighbours_by_method,
    ),
    Patch(
        "refuse_more_clusters_than_nodes",
        "NCL takes more clusters than there are users or items, and fails in its first epoch",
        _in_every_version,
        _refuse_more_clusters_than_nodes,
    ),
    Patch(
        "read_item_vectors_without_pickle",
        "LDiffRec with clusters unpickles item_emb.npy, and does not say what is missing",
        _in_every_version,
        _read_item_vectors_without_pickle,
    ),
    Patch(
        "keep_last_pretraining_epoch",
        "RaCT's pre-training saves nothing after the last multiple of save_step",
        _in_every_version,
        _keep_last_pretraining_epoch,
    ),
    Patch(
        "log_the_pretrained_file",
        "RaCT logs its pre-trained file in parts, which prints a traceback",
        _in_every_version,
        _log_the_pretrained_file,
    ),
    Patch(
        "store_what_scores",
        "NNCF, NCEPLRec and ADMMSLIM score by arrays that their checkpoints leave out",
        _in_every_version,
        _store_what_scores,
    ),
)


def apply_patches() -> None:
    """Mend the host where it needs it; called once, when the package is imported."""
    for patch in PATCHES:
        if patch.is_needed():
            patch.apply()
