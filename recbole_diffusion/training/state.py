"""The state of training that no ``state_dict`` of the model holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from recbole_diffusion.base.errors import DamagedFile

PLAIN = (bool, int, float, str, type(None), torch.Tensor, np.ndarray)


class ModelAttributes:
    """Public plain attributes of a model and its parts that training changes.

    RecBole's models keep annealing steps, histories and the like in such attributes, which neither
    ``state_dict`` nor ``other_parameter`` holds. Only what differs from the fresh model is stored:
    numbers, texts, tensors and numeric arrays; no lists, dicts, objects or private names.

    Args:
        model: Fresh from its constructor.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        # Of the model itself, what checkpoints hold already.
        self._stored = set(getattr(model, "other_parameter_name", ()))
        self._parts = {part for part, _ in model.named_modules()}
        self._fresh = {k: (v, _mark(v), _copy(v)) for k, v in self._attributes().items()}

    def _attributes(self) -> dict[str, Any]:
        return {
            f"{part}.{name}": value
            for part, module in self._model.named_modules()
            for name, value in vars(module).items()
            if _is_plain(value) and self._is_kept(part, name)
        }

    def _is_kept(self, part: str, name: str) -> bool:
        is_stored = name == "training" or (not part and name in self._stored)
        return not is_stored and not name.startswith("_")

    def changed(self) -> dict[str, Any]:
        """Attributes by dotted name that are not as the constructor left them."""
        return {
            name: value
            for name, value in self._attributes().items()
            if name not in self._fresh or _mark(value) != self._fresh[name][1]
        }

    def restore(self, attributes: Mapping[str, Any]) -> None:
        """Give the model what ``changed`` gave, and the rest of its attributes as they were made.

        A tensor goes to the device of the one that it replaces.
        """
        for dotted in self.changed().keys() - attributes.keys():
            module, name = self._place(dotted)
            if dotted in self._fresh:
                setattr(module, name, _copy(self._fresh[dotted][2]))
            elif dotted.rpartition(".")[0] in self._parts:  # a later part keeps what made it
                delattr(module, name)
        for dotted, value in attributes.items():
            module, name = self._place(dotted)
            old = getattr(module, name, None)
            if isinstance(old, torch.Tensor) and isinstance(value, torch.Tensor):
                value = value.to(old.device)
            setattr(module, name, value)

    def _place(self, dotted: str) -> tuple[nn.Module, str]:
        part, _, name = dotted.rpartition(".")
        return self._model.get_submodule(part), name


def _is_plain(value: Any) -> bool:
    """Whether a checkpoint can hold it."""
    is_numeric = not isinstance(value, np.ndarray) or value.dtype.kind in "biufc"
    return isinstance(value, PLAIN) and is_numeric


def _copy(value: Any) -> Any:
    """Safe from writes in place; a sparse tensor is taken for a constant."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone() if value.layout == torch.strided else value
    return value.copy() if isinstance(value, np.ndarray) else value


def _mark(value: Any) -> Any:
    """Equal for an attribute that was neither replaced nor written to."""
    if isinstance(value, torch.Tensor):
        return id(value), value._version
    if isinstance(value, np.ndarray):
        return id(value), hash(value.tobytes())
    return value


def learners(trainer: Any) -> dict[str, Optimizer | LRScheduler]:
    """Optimisers and schedulers of a trainer by attribute; one under several names stands once."""
    found = {k: v for k, v in vars(trainer).items() if isinstance(v, (Optimizer, LRScheduler))}
    last_name = {id(value): name for name, value in found.items()}
    return {name: found[name] for name in last_name.values()}


def check_other_parameter(path: str | Path, model: Any, found: Mapping[str, Any]) -> None:
    """Check what a checkpoint holds beside the parameters against the fresh model.

    Args:
        path: The checkpoint, for the message.
        model: Fresh from its constructor.
        found: Values by name of the attribute.

    Raises:
        DamagedFile: Another shape, or a number that is not finite.
    """
    for name, value in (found or {}).items():
        fresh = getattr(model, name, None)
        if _shape(fresh) is not None and _shape(value) != _shape(fresh):
            raise DamagedFile(
                f"checkpoint {path}: found {name} of shape {_shape(value)}, expected "
                f"{_shape(fresh)}, as this model has it"
            )
        numbers = value.tocsr().data if sp.issparse(value) else value
        is_array = isinstance(numbers, (np.ndarray, torch.Tensor))
        if is_array and not bool(np.isfinite(np.asarray(torch.as_tensor(numbers).cpu())).all()):
            raise DamagedFile(f"checkpoint {path}: found {name} with numbers that are not finite")


def _shape(value: Any) -> tuple[int, ...] | None:
    shape = getattr(value, "shape", None)
    return None if shape is None else tuple(shape)


def check_learners(path: str | Path, parts: Mapping[str, Optimizer | LRScheduler]) -> None:
    """Check that what optimisers keep for a parameter has its shape: fused ones do not.

    Args:
        path: The checkpoint, for the message.
        parts: What ``learners`` gives, after loading.

    Raises:
        DamagedFile: Another shape.
    """
    for name, part in parts.items():
        for parameter, kept in part.state.items() if isinstance(part, Optimizer) else ():
            for key, value in kept.items():
                if (
                    isinstance(value, torch.Tensor)
                    and value.dim()
                    and value.shape != parameter.shape
                ):
                    raise DamagedFile(
                        f"checkpoint {path}: found {key} of shape {list(value.shape)} in {name}, "
                        f"expected {list(parameter.shape)}"
                    )
