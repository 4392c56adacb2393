"""Patches that let RecBole load data with pandas 3."""

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
)


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


def _read_csv(*args: Any, **kwargs: Any) -> pd.DataFrame:
    """As pandas' own; the host fills empty sequences in place, of a column that is a copy."""
    table = pd.read_csv(*args, **kwargs)
    for column in table.columns[table.columns.str.endswith("_seq")]:
        table[column] = table[column].fillna("")
    return table


def _fill_missing_values() -> None:
    from recbole.data.dataset import dataset

    host_method = dataset.Dataset._load_feat

    def load_feat(self: Any, *args: Any) -> Any:
        with warnings.catch_warnings():  # the host's own fill, which has nothing left to do
            warnings.simplefilter("ignore", pd.errors.ChainedAssignmentError)
            return host_method(self, *args)

    dataset.pd = Overlay(pd, read_csv=_read_csv)
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


PATCHES = (
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
)
