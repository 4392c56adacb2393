"""A rank that ends ends the others, at once and with a line that says why."""

import time
from pathlib import Path

import pytest
from forked import Served

SCRIPT = Path(__file__).with_name("watched.py")


def watched(folder: Path, *parts: str) -> list[tuple[int | None, str]]:
    """Exit code and output of ranks that do what each part says."""
    ranks = [Served(SCRIPT, (folder, rank, len(parts), part)) for rank, part in enumerate(parts)]
    try:
        outs = [rank.communicate(timeout=30)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    return [(rank.returncode, out) for rank, out in zip(ranks, outs, strict=True)]


@pytest.mark.parametrize("ended", [0, 1, 2])
@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("die", "rank {} died without a word (killed, or out of memory?)"),
        ("fail", "rank {} failed: data set x: no such folder"),
        ("break", "rank {} failed: KeyError: 'users'"),
        ("interrupt", "rank {} was interrupted"),
    ],
)
def test_all_others_end_with_one_line_that_names_the_rank(tmp_path, ended, part, said):
    parts = ["work"] * 3
    parts[ended] = part
    start = time.monotonic()
    results = watched(tmp_path, *parts)
    assert time.monotonic() - start < 30  # those at work would sleep for a minute
    assert results[ended][1] == ""
    for rank in {0, 1, 2} - {ended}:
        line = f"error: rank {rank} ends: {said.format(ended)}\n"
        assert results[rank] == (1, line)


def test_ranks_that_leave_end_nobody(tmp_path):
    assert watched(tmp_path, "leave", "leave", "leave") == [(0, "")] * 3


def test_a_rank_that_fails_itself_says_no_word_of_another(tmp_path):
    assert watched(tmp_path, "fail", "fail") == [(2, "")] * 2
