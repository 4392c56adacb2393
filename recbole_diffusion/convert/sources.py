"""Bytes and lines of source files: packed or plain, in any encoding, with line numbers."""

import bz2
import codecs
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.convert.reading import line_error

MAX_LINE = 2**26  # bytes; a packed file of one line may be a thousand times its size
CHUNK = 2**24  # bytes
HEAD = 2**20  # bytes that are looked at first
SAMPLE = 50  # lines
# Members of a zip file that are no files, or macOS's own; and what each spreadsheet holds.
SKIPPED, SPREADSHEET = re.compile(r"/$|^__MACOSX/|(^|/)\.DS_Store$"), "[Content_Types].xml"
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
WIDE = ("utf-16", "utf-32")  # in which a line feed has several bytes
FALLBACK = "latin-1"
PACKINGS = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"PK\x03\x04": ".zip", b"\x28\xb5\x2f\xfd": ".zst"}


@contextmanager
def source_refusals(path: Path) -> Iterator[None]:
    """Name the file that the system or an unpacker complains of.

    Raises:
        UserError: In place of their errors.
    """
    try:
        yield
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or error
        kind = packing_of(path)
        expected = f"a {kind[1:] if kind else 'text'} file"
        texts = "texts" if path.suffix == ".parquet" else "a text file"
        expected = {".gz": "a gzip file of text", "": texts}.get(kind, expected)
        hint = near_name(path) if isinstance(error, FileNotFoundError) else ""
        raise UserError(
            f"{path}: cannot be read ({reason}), expected {expected}{hint or '.'}"
        ) from error


def near_name(path: Path) -> str:
    """What a missing file may be called, for the end of a message; empty if none is near."""
    names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    near = get_close_matches(path.name, names, n=1, cutoff=0.8)
    return f"; did you mean {near[0]}?" if near else ""


def packing_of(path: Path) -> str:
    """How a file is packed, as the suffix says or the first bytes do; empty for a plain one."""
    if path.suffix in PACKINGS.values():
        return path.suffix
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        head = file.read(4)
    return next((kind for mark, kind in PACKINGS.items() if head.startswith(mark)), "")


def open_bytes(path: Path) -> BinaryIO:
    """Opens a file, unpacked.

    Raises:
        UserError: A zip file of no or several members.
    """
    kind = packing_of(path)
    if kind == ".gz":
        return cast(BinaryIO, gzip.open(path))
    if kind == ".bz2":
        return cast(BinaryIO, bz2.open(path))
    if kind == ".zst":
        packed = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
        return cast(BinaryIO, io.BufferedReader(_Readable(iter(lambda: packed.read(CHUNK), b""))))
    if kind == ".zip":
        archive = zipfile.ZipFile(path)
        members = [name for name in archive.namelist() if not SKIPPED.search(name)]
        if SPREADSHEET in members:
            raise UserError(
                f"{path}: found a spreadsheet, expected a table of text; save it as CSV."
            )
        if len(members) != 1:
            raise UserError(f"{path}: found the members {members[:20]}, expected one; unpack it.")
        return cast(BinaryIO, archive.open(members[0]))
    return path.open("rb")


class _Readable(io.RawIOBase):
    """Pieces of bytes as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces, self.rest = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self.rest:
            piece = next(self.pieces, None)
            if piece is None:
                return 0
            self.rest = memoryview(piece)
        n = min(len(buffer), len(self.rest))
        buffer[:n] = self.rest[:n]
        self.rest = self.rest[n:]
        return n


@dataclass(frozen=True)
class TextFile:
    """A text file that has been looked through once.

    Attributes:
        path: Where it lies.
        encoding: How it is decoded.
        quotes: Whether a quotation mark occurs.
        escapes: Whether one occurs behind a backslash.
        returns: Whether a carriage return occurs.
        feeds: Whether a line feed does; without one, carriage returns end lines.
        notes: What the report says of it.
    """

    path: Path
    encoding: str
    quotes: bool
    escapes: bool
    returns: bool
    feeds: bool
    notes: tuple[str, ...] = ()

    def stream(self, swaps: tuple[tuple[str, str], ...] = ()) -> BinaryIO:
        """Its text in UTF-8, lines ended by line feeds, without a byte order mark.

        Args:
            swaps: Texts to replace, each with its replacement.
        """
        return cast(BinaryIO, io.BufferedReader(_Readable(self._pieces(swaps)), CHUNK))

    def _pieces(self, swaps: tuple[tuple[str, str], ...]) -> Iterator[bytes]:
        is_plain = self.encoding == "utf-8" and not self.returns and not swaps
        for lines in _whole_lines(self.path, self.encoding):
            if is_plain:
                yield lines
                continue
            try:
                text = lines.decode(self.encoding).removeprefix("\ufeff")
            except UnicodeError as error:
                expected = f"a text in this encoding (option --encoding: {self.encoding})"
                raise UserError(f"{self.path}: found {error}, expected {expected}.") from error
            text = text.replace("\r\n", "\n")
            if not self.feeds:
                text = text.replace("\r", "\n")
            for old, new in swaps:
                text = text.replace(old, new)
            yield text.encode()

    def lines(self) -> Iterator[str]:
        """Its lines, with their ends as line feeds."""
        return io.TextIOWrapper(self.stream(), encoding="utf-8", newline="\n")


def _whole_lines(path: Path, encoding: str) -> Iterator[bytes]:
    """Pieces of a file that end where a line does; all at once where a line feed has two bytes."""
    with source_refusals(path), open_bytes(path) as file:
        if encoding.startswith(WIDE):
            yield file.read()
            return
        number = 1
        for piece in iter(partial(file.read, CHUNK), b""):
            number += piece.count(b"\n")
            rest = file.readline(MAX_LINE + 1)
            if len(rest) > MAX_LINE:
                raise line_error(path, number, f"more than {MAX_LINE} bytes", "shorter lines")
            number += rest.count(b"\n")
            yield piece + rest


def look_through(path: Path, encoding: str | None = None) -> TextFile:
    """Finds out how a text file is stored.

    Args:
        path: Text file, plain or packed.
        encoding: Its encoding; by default that of its byte order mark, else UTF-8, else latin-1.

    Returns:
        The file; a note tells of another encoding than UTF-8 that was not asked for.

    Raises:
        UserError: It cannot be read, is empty, or is not of the encoding; the line is named.
    """
    encoding = None if encoding is None else codecs.lookup(encoding).name
    with source_refusals(path), open_bytes(path) as file:
        head = file.read(4)
    if not head:
        raise UserError(f"{path}: found no line, expected at least one.")
    marked = next((name for mark, name in MARKS.items() if head.startswith(mark)), "utf-8")
    chosen = encoding if encoding not in (None, "utf-8") else marked
    notes: tuple[str, ...] = ()
    if chosen in ("utf-8", "utf-8-sig"):
        place = _first_undecodable(path)
        if place is not None:
            if encoding is not None or marked == "utf-8-sig":
                number, found = place
                raise line_error(path, number, found, "UTF-8 text")
            chosen = FALLBACK
            number, found = place
            notes = (f"{path.name}: not UTF-8 (line {number}: {found}), read as {FALLBACK}",)
    elif chosen == "utf-16" and encoding is None:
        notes = (f"{path.name}: read as UTF-16, by its byte order mark",)
    is_wide = chosen.startswith(WIDE)
    marks = (b'"', b'\\"', b"\r", b"\n")
    flags = [is_wide] * len(marks)
    for piece in () if is_wide else _whole_lines(path, chosen):
        flags = [flag or mark in piece for flag, mark in zip(flags, marks, strict=True)]
    quotes, escapes, returns, feeds = flags
    return TextFile(path, chosen, quotes, escapes, returns, feeds, notes)


def head_lines(path: Path, encoding: str | None = None) -> list[str]:
    """The first lines of a text file that are not blank, without their ends.

    Args:
        path: The file, plain or packed.
        encoding: As for ``look_through``; what does not fit becomes question marks.

    Raises:
        UserError: It cannot be read, or has no such line.
    """
    with source_refusals(path), open_bytes(path) as file:
        head = file.read(HEAD)
    marked = next((name for mark, name in MARKS.items() if head.startswith(mark)), "utf-8")
    text = head.decode(encoding or marked, "replace").removeprefix("\ufeff")
    lines = text.splitlines()[: -1 if len(head) == HEAD else None]
    filled = [line for line in lines[:SAMPLE] if line.strip()]
    if not filled:
        raise UserError(f"{path}: found no line, expected at least one.")
    return filled


def _first_undecodable(path: Path) -> tuple[int, str] | None:
    """Line, counted from 1, and description of the first byte that is not UTF-8."""
    number = 1
    for piece in _whole_lines(path, "utf-8"):
        try:
            piece.decode("utf-8")
        except UnicodeDecodeError as error:
            start = piece.rfind(b"\n", 0, error.start) + 1
            found = f"the byte 0x{piece[error.start]:02x} at column {error.start - start + 1}"
            return number + piece.count(b"\n", 0, error.start), found
        number += piece.count(b"\n")
    return None
