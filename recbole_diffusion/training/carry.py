"""Parameters of a trained model in a fresh one on newer data, row by row of users and items."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor

from recbole_diffusion.base.errors import UserError

# What a dimension of a parameter stands for, as a model's ``id_axes`` says; "" for neither.
USERS, ITEMS, BOTH, WHOLE = "users", "items", "users and items", ""
Axes = tuple[str, ...]


@dataclass(frozen=True)
class Matches:
    """Which users and items of older data those of newer ones are.

    Attributes:
        users: Older internal id of each user [n_users], int64; -1 for a new one; 0 is the padding.
        items: Likewise [n_items].
        n_old_users: Number of the older users, the padding among them.
        n_old_items: Likewise of items.
    """

    users: Tensor
    items: Tensor
    n_old_users: int
    n_old_items: int

    def counts(self) -> dict[str, dict[str, int]]:
        """How many users and items are matched, new and gone; without the paddings."""
        sides = {"users": (self.users, self.n_old_users), "items": (self.items, self.n_old_items)}
        found = {}
        for name, (ids, n_old) in sides.items():
            n_matched = int((ids[1:] >= 0).sum())
            found[name] = {
                "matched": n_matched,
                "new": len(ids) - 1 - n_matched,
                "gone": n_old - 1 - n_matched,
            }
        return found

    def newer_items(self) -> Tensor:
        """Newer internal id of each older item [n_old_items]; 0 for one that is gone."""
        newer = torch.zeros(self.n_old_items, dtype=torch.int64)
        known = (self.items >= 0).nonzero().flatten()
        newer[self.items[known]] = known
        return newer

    def sizes(self, axis: str) -> tuple[int, int]:
        """Older and newer number of ids of an axis."""
        users = (self.n_old_users, len(self.users))
        items = (self.n_old_items, len(self.items))
        if axis == BOTH:
            return users[0] + items[0], users[1] + items[1]
        return users if axis == USERS else items

    def places(self, axis: str, n_old: int, n_new: int) -> Tensor | None:
        """For each place of a dimension the older one [n_new], -1 for none; None if none fits.

        Args:
            axis: What the dimension stands for.
            n_old: Its older size.
            n_new: Its newer size: of the ids, of these without the padding, or with further places
                behind them, which are carried over as they are.
        """
        if axis == WHOLE:
            return torch.arange(n_new) if n_old == n_new else None
        sizes = self.sizes(axis)
        n_further = n_new - sizes[1]
        if n_old - sizes[0] != n_further or n_further < -1:
            return None
        if axis == BOTH:
            items = torch.where(self.items >= 0, self.items + self.n_old_users, -1)
            ids = torch.cat([self.users, items])
        else:
            ids = self.users if axis == USERS else self.items
        if n_further == -1:
            return (ids[1:] - 1).clamp_min(-1)
        return torch.cat([ids, sizes[0] + torch.arange(n_further)])


@dataclass(frozen=True)
class Carried:
    """How many parameters (numbers) came from the older model, how many are a fresh one's.

    Attributes:
        carried: Numbers that were carried over.
        fresh: Numbers that a fresh model has.
        unmatched: Names of tensors that have no older one of a shape that fits.
    """

    carried: int
    fresh: int
    unmatched: tuple[str, ...]


@torch.no_grad()
def carry_over(
    model: Any, saved: Mapping[str, Any], matches: Matches, sizes: Iterable[int]
) -> Carried:
    """Give a fresh model what a saved one learned.

    A model says by ``id_axes`` what the dimensions of its parameters stand for: patterns of names,
    each with ``USERS``, ``ITEMS`` or ``WHOLE`` for its dimensions, of which those left out are
    ``WHOLE``. A parameter that no pattern names is carried over whole, a buffer not at all. Then
    ``adopt(saved, matches)`` of the model does what rows cannot say. Without ``id_axes`` the sizes
    of dimensions tell.

    Args:
        model: Fresh from its constructor and trained no step.
        saved: What a checkpoint of the older model holds.
        matches: Of users and items.
        sizes: That settings of the model give, with which a number of ids may be confused.

    Raises:
        UserError: A dimension of which the sizes do not tell what it stands for.
    """
    older, parameters = saved["state_dict"], dict(model.named_parameters())
    declared = getattr(model, "id_axes", None)
    n_carried, unmatched = 0, []
    for name, tensor in model.state_dict().items():
        if declared is None:
            axes = _axes_by_size(name, older.get(name), tensor, matches, sizes)
        else:
            axes = _declared_axes(declared, name, name in parameters, tensor.dim())
        if axes is None:
            continue
        found = None if name not in older else _copy_rows(tensor, older[name], axes, matches)
        if found is None:
            unmatched.append(name)
        elif name in parameters:
            n_carried += found
    if hasattr(model, "adopt"):
        model.adopt(saved, matches)
    total = sum(parameter.numel() for parameter in parameters.values())
    return Carried(n_carried, total - n_carried, tuple(unmatched))


def _declared_axes(
    declared: Mapping[str, Axes], name: str, is_parameter: bool, n_dims: int
) -> Axes | None:
    for pattern, axes in declared.items():
        if fnmatchcase(name, pattern):
            return axes + (WHOLE,) * (n_dims - len(axes))
    return (WHOLE,) * n_dims if is_parameter else None


def _axes_by_size(
    name: str, old: Tensor | None, new: Tensor, matches: Matches, sizes: Iterable[int]
) -> Axes | None:
    """What each dimension stands for; None without an older tensor."""
    if old is None:
        return None
    where = f"parameter {name} of shape {list(new.shape)}, {list(old.shape)} in the older run"
    if old.dim() != new.dim():
        raise UserError(f"refresh: {where}: expected as many dimensions")
    pairs = zip(old.shape, new.shape, strict=True)
    return tuple(_axis_by_size(where, pair, matches, set(sizes)) for pair in pairs)


def _axis_by_size(where: str, pair: tuple[int, int], matches: Matches, sizes: set[int]) -> str:
    is_constant = pair[0] == pair[1]
    fits = [axis for axis in (USERS, ITEMS, BOTH) if matches.sizes(axis) == pair]
    if is_constant and pair[0] in sizes:
        fits.append("a setting")
    if len(fits) == 1:
        return WHOLE if fits == ["a setting"] else fits[0]
    if fits:
        raise UserError(
            f"refresh: {where}: its {pair[1]} may be the number of {' or of '.join(fits)}; "
            "expected a size that tells, or a model that declares `id_axes`"
        )
    for axis in (USERS, ITEMS):
        older, newer = matches.sizes(axis)
        further = pair[1] - newer
        if pair[0] - older == further and (further == -1 or further in sizes):
            raise UserError(
                f"refresh: {where}: its {pair[1]} may be {newer} {axis} and {further} others; "
                "expected a size that tells, or a model that declares `id_axes`"
            )
    if not is_constant:
        raise UserError(
            f"refresh: {where}: expected a dimension of users, of items, or of one size"
        )
    return WHOLE


def _copy_rows(new: Tensor, old: Tensor, axes: Axes, matches: Matches) -> int | None:
    """Copy what is matched; gives the number of copied numbers, None where the shapes differ."""
    if old.dim() != new.dim():
        return None
    places = [
        matches.places(axis, n_old, n_new)
        for axis, n_old, n_new in zip(axes, old.shape, new.shape, strict=True)
    ]
    if any(place is None for place in places):
        return None
    kept = [(place >= 0).nonzero().flatten() for place in places if place is not None]
    older = [place[place >= 0] for place in places if place is not None]
    if not kept:
        new.copy_(old)
        return new.numel()
    new[torch.meshgrid(*kept, indexing="ij")] = old[torch.meshgrid(*older, indexing="ij")].to(
        new.device, new.dtype
    )
    return int(torch.tensor([len(places) for places in kept]).prod())
