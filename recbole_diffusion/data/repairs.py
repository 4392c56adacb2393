"""Patches of how RecBole reads data and draws negatives."""

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from recbole_diffusion.host.patch import (
    Overlay,
    Patch,
    has_pandas_3,
    host_modules_with,
    in_every_version,
)


def _read_csv(*args: Any, **kwargs: Any) -> pd.DataFrame:
    from recbole_diffusion.data.atomic import read_atomic_file  # late: it needs the patched host

    return read_atomic_file(*args, **kwargs)


def _read_text_as_it_stands() -> None:
    from recbole.data.dataset import dataset

    dataset.pd = Overlay(pd, read_csv=_read_csv)


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
    for module in host_modules_with(r"\.agg\(len\)"):
        module.len = _len


def _copy_columns() -> None:
    from recbole.data.dataset import Dataset

    host_method = Dataset._dataframe_to_interaction

    def dataframe_to_interaction(self: Any, data: pd.DataFrame) -> Any:
        columns = {name: SimpleNamespace(values=np.array(data[name].values)) for name in data}
        return host_method(self, columns)

    Dataset._dataframe_to_interaction = dataframe_to_interaction


def _train_items(self: Any) -> np.ndarray:
    """Items of the train interactions, which come first."""
    items: np.ndarray = self.datasets[0].inter_feat[self.iid_field].numpy()
    return items


def _accumulate_popularity(self: Any) -> None:
    """Sums of counts^alpha up to each id; what has no count keeps the weight 0 at any alpha.

    The weights are divided by the greatest of them, which no alpha takes out of range.
    """
    counts = np.bincount(np.asarray(self._get_candidates_list())).astype(np.float64)
    logs = self.alpha * np.log(counts, where=counts > 0, out=np.full_like(counts, np.nan))
    powers = np.exp(np.nan_to_num(logs - np.nanmax(logs), nan=-np.inf))
    self.cumulative = np.cumsum(powers)


def _draw_by_popularity(self: Any, sample_num: int) -> np.ndarray:
    drawn = np.random.random(sample_num) * self.cumulative[-1]
    return np.searchsorted(self.cumulative, drawn, side="right")


def _sample_train_popularity() -> None:
    from recbole.sampler import sampler

    sampler.Sampler._get_candidates_list = _train_items
    sampler.AbstractSampler._build_alias_table = _accumulate_popularity
    sampler.AbstractSampler._pop_sampling = _draw_by_popularity


PATCHES = (
    Patch(
        "read_text_as_it_stands",
        "texts and ids such as NA or None are read as missing, quotation marks as quoted fields, "
        "and a row with a field too few or too many as another row",
        in_every_version,
        _read_text_as_it_stands,
    ),
    Patch(
        "fill_missing_values",
        "fillna(inplace=True) on a chained column changes nothing in pandas 3",
        has_pandas_3,
        _fill_missing_values,
    ),
    Patch(
        "measure_sequences_by_row",
        "Series.agg(len) is the column's length in pandas 3: sequences of tokens cannot be loaded, "
        "those of floats neither normalised nor discretised",
        has_pandas_3,
        _measure_sequences_by_row,
    ),
    Patch(
        "copy_columns",
        "pandas 3 hands out read-only arrays, which tensors would share and write to",
        has_pandas_3,
        _copy_columns,
    ),
    Patch(
        "sample_train_popularity",
        "negatives by popularity count validation and test items too, can be item -1 by rounding, "
        "and are drawn one by one",
        in_every_version,
        _sample_train_popularity,
    ),
)
