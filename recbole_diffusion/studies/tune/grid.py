"""Every combination of given values: the trials of a sensitivity study."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.values import parse_value
from recbole_diffusion.studies.tune.space import Dimension, Space, check_setting
from recbole_diffusion.studies.tune.task import PLACE


def parse_grid(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Read ``key=v1,v2`` of the command line; the values are YAML.

    Raises:
        UserError: No key, no value, or a key given twice.
    """
    grid: dict[str, list[Any]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        source = f"command line: --grid {text}"
        if not (key and equals and values.strip()):
            raise UserError(f"{source}: expected key=value,value")
        if key in grid:
            raise UserError(f"{source}: `{key}` is given twice")
        grid[key] = parse_value(f"[{values}]", source)
    return grid


def grid_space(
    config: Config, grid: Mapping[str, Sequence[Any]], pinned: Mapping[str, Any]
) -> tuple[Space, list[dict[str, Any]]]:
    """The space of a grid, and its points, the last key varying fastest.

    Args:
        config: Settings of the model.
        grid: Values by key.
        pinned: Keys that have one value already.

    Raises:
        UserError: A key that cannot be varied, or a value that it cannot take.
    """
    for key, values in grid.items():
        if key in PLACE or key in pinned:
            reason = "has a value already" if key in pinned else "says where a run is, not what"
            raise UserError(f"key `grid`: `{key}` {reason}")
        for value in values:
            check_setting("key `grid`", key, value, config)
    space = {key: Dimension("choice", tuple(values)) for key, values in grid.items()}
    return space, [dict(zip(grid, point, strict=True)) for point in product(*grid.values())]
