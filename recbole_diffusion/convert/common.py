"""What converters share."""

from collections.abc import Callable, Iterable
from typing import BinaryIO

Pair = tuple[int, int]
# Lines without their ends, all bytes, or what writes to a stream.
Content = Iterable[str] | bytes | Callable[[BinaryIO], None]
INTER_HEADER = "user_id:token\titem_id:token"
TIMED_HEADER = f"{INTER_HEADER}\ttimestamp:float"
