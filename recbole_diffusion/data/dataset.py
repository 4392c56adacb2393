"""RecBole's dataset, less what changes results without a word."""

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.data.atomic import (
    read_atomic_file,
    refuse_other_than_numbers,
    return_memory,
)
from recbole_diffusion.data.columns import columns_of, read_header, text_encoding
from recbole_diffusion.data.cores import rows_in_core
from recbole_diffusion.data.feature_files import check_unique, examples
from recbole_diffusion.data.fields import check_interval
from recbole_diffusion.data.numbers import numbered
from recbole_diffusion.data.parts import last_sizes, parts_of_groups, ratio_sizes, rows_of
from recbole_diffusion.settings.evaluation_keys import draws_items
from recbole_diffusion.settings.keys import COUNT_FILTERS, takes_all

# Whole numbers above it collapse in float64.
MAX_TIME = 2.0**53
PADDING = "[PAD]"
SEQUENCES = (FeatureType.FLOAT_SEQ, FeatureType.TOKEN_SEQ)
FILTERS = (*COUNT_FILTERS, "val_interval", "filter_inter_by_user_or_item")


class AtomicDataset(Dataset):
    """Interactions and features, of which the interactions alone decide ids, split and batches.

    - ``user_feat`` and ``item_feat`` hold users and items that have interactions, one row an id
      and row 0 for the padding; with ``keep_cold_items`` all items of the ``.item`` file, those
      without interactions last. Batches hold columns of ``.inter`` only.
    - The time field stays float64, in which seconds since 1970 are exact.
    - ``rm_dup_inter`` works on given splits too, and keeps the rows in their order.
    """

    # RecBole's loaders set these.
    config: Any
    inter_feat: Any
    user_feat: Any
    item_feat: Any
    file_size_list: list[int]
    feat_name_list: list[str]
    n_without_ids = 0

    def _data_filtering(self) -> None:
        self.n_read = {name: len(getattr(self, name)) for name in self.feat_name_list}
        super()._data_filtering()

    def _data_processing(self) -> None:
        if self.benchmark_filename_list is not None:  # the host leaves such data unfiltered
            self._refuse_missing_ids()
            self._remove_duplication()
        super()._data_processing()

    def _load_feat(self, filepath: str, source: Any) -> Any:
        """Read the columns of a file that a run loads; RecBole guesses about texts there.

        Returns:
            A column a field; None for a file of which none is loaded.
        """
        suffix = source.value if isinstance(source, FeatureSource) else source
        load_col, separator = self.config["load_col"], self.config["field_separator"]
        encoding = text_encoding(self.config["encoding"])
        header = read_header(Path(filepath), encoding, separator)
        if load_col is not None and suffix not in load_col:
            return None
        kinds = {f: FeatureType(k) for f, k in columns_of(self.config, suffix, header).items()}
        if not kinds:
            self.logger.warning(f"{filepath}: keys `load_col` and `unload_col` leave no column")
            return None
        for field, kind in kinds.items():
            self.field2source[field], self.field2type[field] = source, kind
            if kind not in SEQUENCES:
                self.field2seqlen[field] = 1
            if kind in (FeatureType.FLOAT, FeatureType.FLOAT_SEQ):
                self.field2bucketnum[field] = 2
        named = [f"{field}:{kind.value}" for field, kind in kinds.items()]
        numbers = [column for column in named if column.endswith(":float")]
        feat = read_atomic_file(filepath, named, separator, encoding, numbers)
        feat.columns = list(kinds)
        for field, kind in kinds.items():
            if kind in SEQUENCES:
                column = f"{field}:{kind.value}"
                feat[field] = self._sequences(filepath, column, feat[field].tolist())
        ids = {FeatureSource.USER: self.uid_field, FeatureSource.ITEM: self.iid_field}
        if ids.get(source) in feat:  # the host would keep the first row of each
            known = feat[ids[source]].dropna().to_numpy(dtype=str)
            check_unique(f"{filepath}: column {ids[source]}", known)
        return feat

    def _sequences(self, filepath: str, column: str, texts: list[str]) -> list[np.ndarray]:
        """The parts of each text, at most as many as ``seq_len`` has for the field."""
        separator, (field, _, kind) = self.config["seq_separator"], column.partition(":")
        rows = [list(filter(None, text.split(separator))) for text in texts]
        longest = max(map(len, rows))
        length = min((self.config["seq_len"] or {}).get(field, longest), longest)
        self.field2seqlen[field] = length
        if kind == FeatureType.TOKEN_SEQ.value:
            return [np.array(row[:length]) for row in rows]
        with suppress(ValueError):
            numbers = [np.array(list(map(float, row))) for row in rows]
            if all(np.isfinite(row).all() for row in numbers):
                return [row[:length] for row in numbers]
        encoding, delimiter = text_encoding(self.config["encoding"]), self.config["field_separator"]
        refuse_other_than_numbers(filepath, column, delimiter, encoding, separator)
        raise AssertionError(f"{filepath}: column {column} holds numbers only")

    def _refuse_missing_ids(self) -> None:
        """The host would number a missing id as the padding; a given split must stay whole."""
        ids = self.inter_feat[[self.uid_field, self.iid_field]]
        rows = np.flatnonzero(ids.isna().any(axis=1))
        if len(rows):
            starts = np.cumsum([0, *self.file_size_list])
            part = int(np.searchsorted(starts, rows[0], side="right")) - 1
            name = f"{self.dataset_name}.{self.benchmark_filename_list[part]}.inter"
            raise UserError(
                f"{self.dataset_path}/{name}, line {rows[0] - starts[part] + 2}: no user or no "
                f"item ({len(rows)} such rows in all files)"
            )

    def _filter_nan_user_or_item(self) -> None:
        """In unsplit data, leave out rows without user or item; the host may drop others."""
        kept = self.inter_feat.dropna(subset=[self.uid_field, self.iid_field])
        n_missing = len(self.inter_feat) - len(kept)
        self.n_without_ids = n_missing
        if n_missing:
            self.logger.warning(
                f"{self.dataset_name}: left out {n_missing} rows without user or item"
            )
            self.inter_feat = kept.reset_index(drop=True)

    def _remove_duplication(self) -> None:
        """Keep the first or last of equal pairs: by time, or by part and row; rows stay in order.

        The host's order of equal times is not stable, and its result is sorted by time.
        """
        keep = self.config["rm_dup_inter"]
        if keep is None:
            return
        rows = self.inter_feat
        if self.benchmark_filename_list is None and self.time_field in rows:
            rows = rows.sort_values(self.time_field, kind="stable")
        repeated = rows.duplicated([self.uid_field, self.iid_field], keep=keep)
        kept = ~repeated.loc[self.inter_feat.index].to_numpy()
        self.inter_feat = self.inter_feat[kept].reset_index(drop=True)
        if self.benchmark_filename_list is not None:
            n_parts = len(self.file_size_list)
            part = np.repeat(np.arange(n_parts), self.file_size_list)
            self.file_size_list = np.bincount(part[kept], minlength=n_parts).tolist()

    def _filter_by_field_value(self) -> None:
        """Refuse what the host would drop other rows by, or rows of features alone."""
        for field, wanted in (self.config["val_interval"] or {}).items():
            kind, source = self.field2type.get(field), self.field2source.get(field)
            check_interval(field, wanted, kind and kind.value)
            if kind == FeatureType.TOKEN:
                self._tell_unknown_tokens(field, wanted)
            is_feature = source in (FeatureSource.USER, FeatureSource.ITEM)
            if is_feature and not self.config["filter_inter_by_user_or_item"]:
                raise UserError(
                    f"key `val_interval`: found {field!r}, a column of "
                    f"{self.dataset_name}.{source.value}; it removes interactions only with "
                    "filter_inter_by_user_or_item: true"
                )
            self._tell_missing(field)
        super()._filter_by_field_value()

    def _tell_unknown_tokens(self, field: str, wanted: list[Any]) -> None:
        known = {str(token) for feat in self.field2feats(field) for token in feat[field].unique()}
        unknown = [token for token in wanted if str(token) not in known]
        if unknown:
            found = examples(np.array(unknown))
            self.logger.warning(f"key `val_interval`: found {found} for {field}, which no row has")

    def _tell_missing(self, field: str) -> None:
        """Rows without a value meet no condition on it."""
        for name in self.feat_name_list:
            feat = getattr(self, name)
            n_missing = int(feat[field].isna().sum()) if field in feat else 0
            if n_missing:
                self.logger.warning(
                    f"{self.dataset_name}: key `val_interval` leaves out {n_missing} rows of "
                    f"{name[:-5]} without {field}"
                )

    def _reset_index(self) -> None:
        """Name the keys by which nothing is left; the host names none."""
        for name in self.feat_name_list:
            if getattr(self, name).empty:
                rows = "interaction" if name == "inter_feat" else f"row of {name[:-5]} features"
                filters = {key: self.config[key] for key in FILTERS if self.config[key]}
                reasons = [f"key `{key}`: {value}" for key, value in filters.items()]
                if self.n_without_ids:
                    reasons.insert(0, f"{self.n_without_ids} without user or item")
                raise UserError(
                    f"data set {self.dataset_name} in {self.dataset_path}: no {rows} is left of "
                    f"{self.n_read[name]}: {', '.join(reasons)}"
                )
        super()._reset_index()

    def _remap_ID_all(self) -> None:
        self.user_feat = self._with_interactions(self.user_feat, self.uid_field)
        self.item_feat = self._with_interactions(self.item_feat, self.iid_field)
        for suffix in self.config["additional_feat_suffix"] or ():
            for name, field in (("user_id", self.uid_field), ("item_id", self.iid_field)):
                for alias in self.alias[name]:
                    self._restrict_further(f"{suffix}_feat", alias, field)
        super()._remap_ID_all()
        return_memory()  # of the texts that are numbers now

    def _restrict_further(self, name: str, alias: str, field: str) -> None:
        """The same for a further file, whose ``alias`` field holds ids of ``field``."""
        feat = getattr(self, name)
        if feat is not None and alias in feat and self.field2type[alias] == FeatureType.TOKEN:
            setattr(self, name, self._with_interactions(feat, field, alias))

    def _with_interactions(
        self, feat: pd.DataFrame | None, field: str, alias: str | None = None
    ) -> pd.DataFrame | None:
        """Rows of ids that stand in the interactions; others would become candidates."""
        if feat is None:
            return None
        kept = feat[feat[alias or field].isin(self.inter_feat[field])]
        if kept.empty:
            raise UserError(
                f"data set {self.dataset_name} in {self.dataset_path}: no `{alias or field}` of "
                "its features stands in its interactions, whose ids look like "
                f"{', '.join(map(repr, self.inter_feat[field].head(3)))}"
            )
        if self.config["keep_cold_items"] and feat is self.item_feat:
            kept = feat.dropna(subset=[field])
        return kept.reset_index(drop=True)

    def _filter_by_inter_num(self) -> None:
        """Leave out users and items by their numbers of interactions until none is out of range."""
        wanted = {
            field: self._parse_intervals_str(self.config[key])
            for field, key in zip((self.uid_field, self.iid_field), COUNT_FILTERS, strict=True)
            if not takes_all(self.config[key])
        }
        if wanted:
            columns = [
                (
                    pd.factorize(self.inter_feat[field])[0],
                    lambda n, i=i: self._within_intervals(n, i),
                )
                for field, i in wanted.items()
            ]
            self.inter_feat = self.inter_feat.iloc[rows_in_core(columns)]

    def _remap(self, remap_list: list[Any]) -> None:
        """Number the tokens of columns that share ids, from 1 in the order of their appearance."""
        if not remap_list or any(kind != FeatureType.TOKEN for *_, kind in remap_list):
            super()._remap(remap_list)
            return
        columns = [feat[field] for feat, field, _ in remap_list]
        ids, tokens = numbered(pd.concat(columns) if len(columns) > 1 else columns[0])
        known = np.array([PADDING, *tokens])
        numbers = {token: number for number, token in enumerate(known)}
        starts = np.cumsum([len(column) for column in columns])[:-1]
        for (feat, field, _), of_column in zip(remap_list, np.split(ids + 1, starts), strict=True):
            self.field2id_token.setdefault(field, known)
            self.field2token_id.setdefault(field, numbers)
            feat[field] = of_column

    def _fill_nan(self) -> None:
        """Refuse times that are missing, which the host would fill by their mean, or inexact."""
        if self.field2type.get(self.time_field) == FeatureType.FLOAT:
            times = self.inter_feat[self.time_field]
            n_missing, largest = int(times.isna().sum()), times.abs().max()
            if n_missing or largest > MAX_TIME:
                found = f"{n_missing} rows without one" if n_missing else f"{largest:.0f}"
                raise UserError(
                    f"data set {self.dataset_name} in {self.dataset_path}: field "
                    f"{self.time_field} (key `TIME_FIELD`): found {found}, expected a number in "
                    "each row, whole ones up to 2^53 (microseconds, not nanoseconds)"
                )
        super()._fill_nan()

    def _dataframe_to_interaction(self, data: pd.DataFrame) -> Any:
        interaction = super()._dataframe_to_interaction(data)
        if self.field2type.get(self.time_field) == FeatureType.FLOAT and self.time_field in data:
            # float32 holds whole numbers up to 2^24 only.
            times = data[self.time_field].to_numpy(np.float64, copy=True)
            interaction[self.time_field] = torch.from_numpy(times)
        return interaction

    def build(self) -> list[Any]:
        """The parts of the split that ``eval_args`` asks for."""
        if not draws_items(self.config):
            parts: list[Any] = super().build()
            return parts
        self._change_feat_format()
        return self.split_items(self.config["eval_args"]["split"]["CI"])

    def split_items(self, ratios: list[float]) -> list[Any]:
        """The parts of a split that draws items, whose interactions all go where they go.

        Args:
            ratios: Of the parts, in items that have interactions.
        """
        items, place = self.inter_feat[self.iid_field].unique(return_inverse=True)
        drawn = torch.randperm(len(items))
        sizes = ratio_sizes(ratios)(np.array([len(items)]))[:, 0]
        part = torch.empty_like(drawn)
        part[drawn] = torch.arange(len(sizes)).repeat_interleave(torch.from_numpy(sizes))
        part = part[place]
        return self._parts([np.flatnonzero(part == number) for number in range(len(sizes))])

    def split_by_ratio(self, ratios: list[float], group_by: str | None = None) -> list[Any]:
        """The parts of a split by ratio.

        Args:
            ratios: Of the parts.
            group_by: A field within whose values rows are split; None for all rows alike.
        """
        n = len(self.inter_feat)
        groups = np.zeros(n, np.int64) if group_by is None else self.inter_feat[group_by].numpy()
        return self._parts(parts_of_groups(groups, ratio_sizes(ratios)))

    def leave_one_out(self, group_by: str, leave_one_mode: str) -> list[Any]:
        """The parts of a split that leaves the last rows of each group out.

        Args:
            group_by: The field of the groups.
            leave_one_mode: "valid_and_test", "valid_only" or "test_only".
        """
        n_parts = 3 if leave_one_mode == "valid_and_test" else 2
        parts = parts_of_groups(self.inter_feat[group_by].numpy(), last_sizes(n_parts))
        if n_parts == 2:
            parts.insert(2 if leave_one_mode == "valid_only" else 1, np.empty(0, np.int64))
        return self._parts(parts)

    def _parts(self, places: list[np.ndarray]) -> list[Any]:
        self._drop_unused_col()
        return [self.copy(rows_of(self.inter_feat, index)) for index in places]

    def __getitem__(self, index: Any, join: bool = True) -> Any:
        """Rows of the interactions; RecBole makes a list of the places."""
        return rows_of(self.inter_feat, index)

    def counter(self, field: str) -> Counter[int]:
        """How often each id of a field stands in the interactions.

        Args:
            field: Of tokens.
        """
        if not isinstance(self.inter_feat, Interaction):
            counts: Counter[int] = super().counter(field)
            return counts
        ids, n = np.unique(self.inter_feat[field].numpy(), return_counts=True)
        return Counter(dict(zip(ids.tolist(), n.tolist(), strict=True)))

    def _history_matrix(
        self, row: str, value_field: str | None = None, max_history_len: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Histories of users or items in a drawn order, padded by zeros to the longest."""
        fields, sizes = [self.uid_field, self.iid_field], [self.user_num, self.item_num]
        if row == "item":
            fields, sizes = fields[::-1], sizes[::-1]
        drawn = torch.randperm(len(self.inter_feat))
        groups, others = (self.inter_feat[field][drawn] for field in fields)
        order = groups.argsort(stable=True)
        groups, others = groups[order], others[order]
        counts = groups.bincount(minlength=sizes[0])
        longest = int(counts.max())
        length = longest if max_history_len is None else min(max_history_len, longest)
        if length > 0.2 * sizes[1]:
            self.logger.warning(
                f"{self.dataset_name}: the longest history of a {row} has {longest} of "
                f"{sizes[1]}, and histories of all are padded to {length}"
            )
        places = torch.arange(len(groups)) - (counts.cumsum(0) - counts)[groups]
        kept = places < length
        at = groups[kept], places[kept]
        ids = torch.zeros(sizes[0], length, dtype=torch.int64)
        values = torch.zeros(sizes[0], length)
        ids[at] = others[kept]
        weights = 1.0 if value_field is None else self.inter_feat[value_field][drawn][order][kept]
        values[at] = torch.as_tensor(weights, dtype=torch.float32)
        return ids, values, counts.clamp(max=length)

    def join(self, df: Any) -> Any:
        """Leave a batch as it is; features are in ``user_feat`` and ``item_feat``, by id.

        Args:
            df: Interactions.
        """
        return df

    def get_user_feature(self) -> Any:
        """All ids of users, which the host joins to batches; features are in ``user_feat``."""
        return Interaction({self.uid_field: torch.arange(self.user_num)})

    def get_item_feature(self) -> Any:
        """All ids of items, which the host joins to batches; features are in ``item_feat``."""
        return Interaction({self.iid_field: torch.arange(self.item_num)})
