"""One object around a trained run, with original ids in and out."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from recbole_diffusion.base.errors import UserError, expect
from recbole_diffusion.evaluation.ranking import ranked_items
from recbole_diffusion.serving.card import is_export
from recbole_diffusion.serving.catalogue import N_SHOWN, Where
from recbole_diffusion.serving.exported import open_export
from recbole_diffusion.serving.of_run import RunSource
from recbole_diffusion.serving.source import PARTS, Histories, Source

# Columns that lists have of their own.
OWN_COLUMNS = ("user", "rank", "item", "score", "similar", "value")


def load(folder: str | Path, **places: Any) -> "Recommender":
    """A saved run, or an export of one, to recommend with.

    Args:
        folder: Of the run or of the export, which needs neither the run nor its data.
        **places: Of a run: new values for where it runs and finds its data, such as
            ``use_gpu=False`` or ``data_path="dataset_atomic"``.

    Raises:
        UserError: No run with a best epoch, other keys, data that have changed, or a damaged file
            of an export.
    """
    if is_export(folder):
        if places:
            raise UserError(
                f"{folder}: found {', '.join(sorted(places))} beside an export, which is scored on "
                "the CPU from its own files; expected no such keys"
            )
        return Recommender(open_export(folder))
    return Recommender(RunSource.open(folder, places))


class Recommender:
    """Recommends by a trained model; ids are those of the data's files.

    Calls may come from several threads; scoring is done by one at a time.

    Args:
        source: A run or an export.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._catalogue = source.catalogue
        self._users, self._items = source.catalogue.users, source.catalogue.items

    # Ids

    @property
    def users(self) -> list[str]:
        """Original ids of all users, in the order of internal ones."""
        return self._users.all

    @property
    def items(self) -> list[str]:
        """Original ids of all items, likewise."""
        return self._items.all

    @property
    def columns(self) -> list[str]:
        """Columns of the ``.item`` file beside the ids; none without a file."""
        return self.source.item_columns

    def texts(self, column: str) -> list[str]:
        """Texts of a column of the ``.item`` file, in the order of ``items``."""
        return [str(text) for text in self._catalogue.column(column)[1:]]

    @property
    def digest(self) -> str:
        """Equal for the same weights on the same data, each in the same form."""
        return self.source.digest

    # Recommendations

    def recommend(
        self,
        users: Sequence[str] | None = None,
        k: int = 10,
        *,
        histories: Mapping[str, Sequence[str]] | None = None,
        items: Sequence[str] | None = None,
        where: Where | None = None,
        columns: Sequence[str] = (),
        exclude: Sequence[str] = PARTS,
        unknown: str = "skip",
        only_cold: bool = False,
    ) -> pd.DataFrame:
        """The best items of each user.

        Args:
            users: Ids; None for all users of the data, or for those of ``histories``.
            k: Items a user; fewer where fewer are left.
            histories: Items of users whom training need not have seen, by any name, in the order
                of time; in place of ``users``.
            items: Candidates; None for all.
            where: Values that columns of the ``.item`` file must have, one of a list; of a
                sequence, such as genres, one is enough.
            columns: Of the ``.item`` file, to stand beside each item.
            exclude: Parts of the data whose items are not recommended to their users again. What
                stands in a history never is.
            unknown: "skip" leaves out ids that are not in the data, and says so; "error" refuses
                them.
            only_cold: Candidates are the items that nobody has met in the train part.

        Returns:
            Columns user, rank (from 1), item, score, and ``columns``; users in the order given.

        Raises:
            UserError: An id, a column or a part that is unknown, a column that lists have of their
                own, or a model that cannot score users outside the data.
        """
        blocks = self.blocks(
            users,
            k,
            histories=histories,
            items=items,
            where=where,
            columns=columns,
            exclude=exclude,
            unknown=unknown,
            only_cold=only_cold,
        )
        return pd.concat(list(blocks), ignore_index=True)

    def blocks(
        self,
        users: Sequence[str] | None = None,
        k: int = 10,
        *,
        histories: Mapping[str, Sequence[str]] | None = None,
        items: Sequence[str] | None = None,
        where: Where | None = None,
        columns: Sequence[str] = (),
        exclude: Sequence[str] = PARTS,
        unknown: str = "skip",
        only_cold: bool = False,
    ) -> Iterator[pd.DataFrame]:
        """As ``recommend``, a block of users at a time; at least one frame."""
        _check_length(k)
        expect(unknown in ("skip", "error"), "unknown", unknown, "skip or error")
        _check_lists(users=users, items=items, columns=columns, exclude=exclude)
        for part in exclude:
            expect(part in PARTS, "exclude", part, f"some of {', '.join(PARTS)}")
        if users is not None and histories is not None:
            raise UserError("recommend: found users and histories, expected one of them")
        if histories is not None:
            expect(isinstance(histories, Mapping), "histories", histories, "lists of ids by name")
            _check_lists(**{f"histories[{name!r}]": row for name, row in histories.items()})
        beside = self._beside(columns)
        is_candidate = self._catalogue.candidates(items, where, unknown)
        if only_cold:
            is_candidate = self._cold(is_candidate)
        if histories is not None:
            names, rows = self._histories(histories, unknown)
            scored = self._scored_histories(rows)
        else:
            numbers = self._users.known("users", self.users if users is None else users, unknown)
            names = self._users.of(numbers)
            scored = self._scored_users(numbers, exclude)
        frames = self._frames(names, scored, is_candidate, k, beside)
        first = next(frames, None)
        yield self._frame(names[:0], [], beside) if first is None else first
        yield from frames

    def _cold(self, is_candidate: Tensor | None) -> Tensor:
        """Candidates that nobody has met in the train part, bool [n_items]."""
        is_cold = torch.ones(len(self._items), dtype=torch.bool)
        is_cold[self.source.rows(("train",)).items.cpu()] = False
        is_cold[0] = False
        if is_candidate is not None:  # which leaves out what the model cannot score
            is_cold &= is_candidate
        if not is_cold.any():
            raise UserError(
                "only_cold: found no candidate that nobody has met, expected one: a run keeps such "
                "items by `keep_cold_items: true`, and models that read item features score them"
            )
        return is_cold

    def _histories(
        self, histories: Mapping[str, Sequence[str]], unknown: str
    ) -> tuple[np.ndarray, list[list[int]]]:
        """Names and internal ids of those in which an item is known."""
        rows = [
            self._items.known(f"history of {name!r}", list(dict.fromkeys(items)), unknown)
            for name, items in histories.items()
        ]
        empty = [name for name, row in zip(histories, rows, strict=True) if not row]
        if empty:
            shown = ", ".join(map(repr, empty[:N_SHOWN]))
            getLogger().warning(f"histories: {len(empty)} have no known item, such as {shown}")
        names = [str(name) for name, row in zip(histories, rows, strict=True) if row]
        return np.array(names, dtype=object), [row for row in rows if row]

    def _beside(self, columns: Sequence[str]) -> dict[str, np.ndarray]:
        """Texts of columns by internal id."""
        for column in columns:
            expect(column not in OWN_COLUMNS, "with", column, "a column that lists do not have")
        return {column: self._catalogue.column(column) for column in columns}

    @cached_property
    def block_size(self) -> int:
        """Users that are scored at a time; keys ``eval_batch_users`` and ``eval_memory_mb``."""
        return self.source.block_size

    def _scored_users(self, users: list[int], exclude: Sequence[str]) -> Iterator[Tensor]:
        """Scores [b, n_items] of each block, -inf for the items of the parts."""
        seen = self.source.rows(tuple(exclude))
        for start in range(0, len(users), self.block_size):
            block = torch.tensor(users[start : start + self.block_size])
            scores = self.source.score(block)
            rows = seen.batch(block)
            scores[rows.rows, rows.items] = -torch.inf
            yield scores

    def _scored_histories(self, rows: Histories) -> Iterator[Tensor]:
        for start in range(0, len(rows), self.block_size):
            block = rows[start : start + self.block_size]
            scores = self.source.score_histories(block)
            lengths = torch.tensor([len(row) for row in block])
            places = torch.arange(len(block)).repeat_interleave(lengths)
            scores[places, torch.tensor([item for row in block for item in row])] = -torch.inf
            yield scores

    def _frames(
        self,
        names: np.ndarray,
        scored: Iterator[Tensor],
        is_candidate: Tensor | None,
        k: int,
        beside: Mapping[str, np.ndarray],
    ) -> Iterator[pd.DataFrame]:
        start = 0
        for scores in scored:
            scores[:, 0] = -torch.inf
            if is_candidate is not None:
                scores[:, ~is_candidate] = -torch.inf
            values, items = ranked_items(scores, min(k, scores.shape[1] - 1))
            if values.isnan().any():
                raise UserError(f"model {self.source.model}: scores are NaN")
            users = names[start : start + len(scores)]
            start += len(scores)
            yield self._frame(users, [values.numpy(), items.numpy()], beside)

    def _frame(
        self, users: np.ndarray, ranked: list[np.ndarray], beside: Mapping[str, np.ndarray]
    ) -> pd.DataFrame:
        """Rows of users [b] from scores and items [b, k]; -inf is nothing to recommend."""
        scores, items = ranked or (np.empty((0, 0), np.float32), np.empty((0, 0), np.int64))
        is_kept = (scores > -np.inf).ravel()
        ranks = np.tile(np.arange(1, scores.shape[1] + 1), len(users))[is_kept]
        kept = items.ravel()[is_kept]
        return pd.DataFrame(
            {
                "user": np.repeat(users, scores.shape[1])[is_kept],
                "rank": ranks.astype(np.int32),
                "item": self._items.of(kept),
                "score": scores.ravel()[is_kept],
                **{name: values[kept] for name, values in beside.items()},
            }
        )

    # Single scores

    def score(self, users: Sequence[str], items: Sequence[str]) -> np.ndarray:
        """Scores of pairs, as the model ranks by them.

        Args:
            users: Ids.
            items: As many ids.

        Returns:
            float32 [n].

        Raises:
            UserError: Not as many items as users, or an id that is not in the data or, of a cold
                item, nothing that the model can score.
        """
        _check_lists(users=users, items=items)
        expect(len(users) == len(items), "items", f"{len(items)} ids", f"{len(users)}, as users")
        user_ids = torch.tensor(self._users.known("users", users, "error"))
        item_ids = torch.tensor(self._items.known("items", items, "error"))
        distinct, place = user_ids.unique(return_inverse=True)
        found = torch.empty(len(user_ids))
        for start in range(0, len(distinct), self.block_size):
            block = distinct[start : start + self.block_size]
            is_here = (place >= start) & (place < start + len(block))
            found[is_here] = self.source.score(block)[place[is_here] - start, item_ids[is_here]]
        scores: np.ndarray = found.numpy()
        return scores

    def similar(
        self, items: Sequence[str], k: int = 10, *, columns: Sequence[str] = ()
    ) -> pd.DataFrame:
        """The items that are nearest to each item.

        By the cosine of the items' vectors where the model has such; else by the scores of
        somebody who has met that item alone.

        Args:
            items: Ids.
            k: Items beside each.
            columns: As in ``recommend``.

        Returns:
            Columns item, rank, similar, score, and ``columns`` of the similar items.

        Raises:
            UserError: An id or a column that is unknown, a column that lists have of their own, or
                a model that has neither.
        """
        _check_length(k)
        _check_lists(items=items, columns=columns)
        ids = self._items.known("items", items, "error")
        beside = self._beside(columns)
        names = self._items.of(ids)
        is_candidate = self._catalogue.candidates(None, None, "error")
        frames = list(self._frames(names, self._nearness(ids), is_candidate, k, beside))
        frame = pd.concat(frames) if frames else self._frame(names[:0], [], beside)
        renamed = frame.rename(columns={"item": "similar", "user": "item"})
        return renamed.reset_index(drop=True)

    def _nearness(self, ids: list[int]) -> Iterator[Tensor]:
        vectors = self._unit_vectors
        if vectors is None:
            yield from self._scored_histories([[number] for number in ids])
            return
        for start in range(0, len(ids), self.block_size):
            block = ids[start : start + self.block_size]
            cosines = vectors[block] @ vectors.T
            cosines[torch.arange(len(block)), block] = -torch.inf
            yield cosines

    @cached_property
    def _unit_vectors(self) -> Tensor | None:
        """Vectors of items of length 1 [n_items, d], where the model has such."""
        vectors = self.source.item_vectors
        return None if vectors is None else functional.normalize(vectors)

    def explain(self, user: str, item: str, *, columns: Sequence[str] = ()) -> pd.DataFrame:
        """What each item of a user's history has to do with the score of an item.

        The kind stands in ``frame.attrs["kind"]``: "contribution" (exact, the score is the sum;
        models with a matrix of items), "loss" (what the score loses without the item; other
        models of rows) or "cosine" of
        the items' vectors (models of embeddings). Of DiffMM, ``frame.attrs["edges"]`` says for each
        modality at which place, from 1, its generated graph gives the user the item; None where it
        does not.

        Args:
            user: An id; the history is that of the train part.
            item: An id.
            columns: As in ``recommend``.

        Returns:
            Columns item and value, and ``columns``, the greatest value first.

        Raises:
            UserError: An id that is not in the data, an unknown column, a user without train items,
                of one alone a "loss", or a model that has none of these.
        """
        _check_lists(columns=columns)
        beside = self._beside(columns)
        number = self._users.known("user", [user], "error")[0]
        target = self._items.known("item", [item], "error")[0]
        history = self._train_history(number)
        if not history:
            raise UserError(f"user {user!r}: found no train item, expected one to explain by")
        if target in history:
            raise UserError(f"item {item!r}: found in the history of {user!r}, expected another")
        kind, values = self._explained(user, history, target)
        texts = {name: column[history] for name, column in beside.items()}
        parts = {"item": self._items.of(history), "value": values.numpy(), **texts}
        frame = pd.DataFrame(parts)
        frame = frame.sort_values("value", ascending=False, kind="stable", ignore_index=True)
        frame.attrs["kind"] = kind
        frame.attrs["edges"] = {
            name: items.index(target) + 1 if target in items else None
            for name, items in self.source.generated_edges(number).items()
        }
        return frame

    def _train_history(self, user: int) -> list[int]:
        """Items in the order that the model reads."""
        rows = self.source.read_rows()
        items: list[int] = rows.batch(torch.tensor([user], device=rows.items.device)).items.tolist()
        return items

    def _explained(self, user: str, history: list[int], item: int) -> tuple[str, Tensor]:
        vectors = self._unit_vectors
        if vectors is not None:
            return "cosine", vectors[history] @ vectors[item]
        added = self.source.contributions(history, item)
        if added is not None:
            return "contribution", added
        if len(history) == 1:
            raise UserError(
                f"user {user!r}: found one train item, expected 2 or more: this model is explained "
                "by what the score loses without an item, and without the only one nothing is left "
                "to score"
            )
        shorter = [history[:i] + history[i + 1 :] for i in range(len(history))]
        scores = self.source.score_histories([history, *shorter])[:, item]
        return "loss", scores[0] - scores[1:]


def _check_lists(**values: Any) -> None:
    """Refuse a text in the place of a list, whose letters would be taken for ids."""
    for name, value in values.items():
        expect(not isinstance(value, str), name, value, f"a list, such as [{value!r}]")


def _check_length(k: int) -> None:
    expect(type(k) is int and k >= 1, "k", k, "a whole number from 1 on")
