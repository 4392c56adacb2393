"""Numbers as atomic files and tables hold them; imports nothing else."""

import math
import re

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def is_number(text: str) -> bool:
    """Whether a text is a finite decimal number; float() would take `1_0` and other digits too."""
    return bool(NUMBER.fullmatch(text.strip())) and math.isfinite(float(text))
