"""What disks, kills and people do to files."""

import numpy as np

PLACES = (0.1, 0.5, 0.9)
TEXTS = ("null", "[]", "7", '"text"', "{}")


def mutations(content: bytes) -> list[bytes | None]:
    """Empty, gone, cut, with other bytes in places, and other JSON."""
    rng = np.random.default_rng(7)
    changed = []
    for n_bytes in (1, 1, 2, 8, 64):
        array = np.frombuffer(content, dtype=np.uint8).copy()
        array[rng.integers(len(array), size=n_bytes)] ^= rng.integers(1, 256, n_bytes, np.uint8)
        changed.append(array.tobytes())
    cut = [content[: int(len(content) * place)] for place in PLACES]
    return [b"", None, *cut, *changed, *(text.encode() for text in TEXTS)]
