"""A picture of rows with a value each, best first: a table whose values are drawn on one axis."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

# Free of the axis on both sides, as a share of what the values span.
MARGIN = 0.06
TICKS = 4


@dataclass(frozen=True)
class Ranked:
    """A row.

    Attributes:
        name: Of the row.
        value: Drawn as a dot.
        spread: Half of the interval around it; 0 for none.
        text: The value as it is printed.
        mark: Behind the name.
        details: What else is known of it, a few words each.
        others: Further values, drawn hollow, with what they are.
    """

    name: str
    value: float
    spread: float
    text: str
    mark: str = ""
    details: Sequence[str] = ()
    others: Sequence[tuple[float, str]] = ()


@dataclass(frozen=True)
class Ranking:
    """The picture.

    Attributes:
        title: Of the whole.
        names: Headers of the names and of the values.
        rows: Best first.
        notes: Sentences.
    """

    title: str
    names: tuple[str, str]
    rows: Sequence[Ranked]
    notes: Sequence[str]

    @property
    def ends(self) -> tuple[float, float]:
        """Of the axis, which need not begin at 0: dots are compared by place, not by length."""
        values = [v for row in self.rows for v in (row.value - row.spread, row.value + row.spread)]
        values += [value for row in self.rows for value, _ in row.others]
        low, high = min(values), max(values)
        margin = MARGIN * (high - low) or 0.1 * abs(high) or 1.0
        return low - margin, high + margin

    @property
    def ticks(self) -> list[float]:
        """Round values on the axis."""
        low, high = self.ends
        step = _round_step((high - low) / TICKS)
        first = floor(low / step) + 1
        return [round(n * step, 12) for n in range(first, floor(high / step) + 1)]

    def place(self, value: float) -> float:
        """Of a value on the axis, in percent of its length."""
        low, high = self.ends
        return round(100 * (value - low) / (high - low), 2)


def _round_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below."""
    power = 10.0 ** floor(log10(least))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= least * (1 - 1e-9))
