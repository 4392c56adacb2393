"""Which interactions a conversion keeps, against plain Python; ids that are made anonymous."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.commands.cli import main
from recbole_diffusion.convert.selection import Selection

DAY = 86400
ITEMS = [f"i{n}" for n in range(15)]


@pytest.fixture
def rows(rng: np.random.Generator) -> list[tuple[str, str, float, int]]:
    """User, item, rating, time; a pair may stand again."""
    return [
        (f"u{rng.integers(18)}", ITEMS[rng.integers(12)], float(rng.integers(1, 6)), n * DAY)
        for n in range(180)
    ]


@pytest.fixture
def shop(tmp_path: Path, rows: list[tuple[str, str, float, int]]) -> Path:
    lines = [",".join(map(str, row)) for row in rows]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,rating,timestamp", *lines]))
    (tmp_path / "items.csv").write_text("\n".join(["item,title", *(f"{i},T {i}" for i in ITEMS)]))
    return tmp_path


def converted(shop: Path, *options: str) -> list[tuple[str, str, float, float]]:
    """What a conversion wrote."""
    name = f"toy{len(list(shop.glob('toy*')))}"
    words = [str(shop / "log.csv"), str(shop / "items.csv"), f"--name={name}", f"--output={shop}"]
    assert main(["convert", *words, *options]) == 0
    lines = (shop / name / f"{name}.inter").read_text().splitlines()[1:]
    return [(u, i, float(r), float(t)) for u, i, r, t in (line.split("\t") for line in lines)]


def first_of_pairs(
    rows: list[tuple[str, str, float, int]],
) -> list[tuple[str, str, float, float]]:
    kept: dict[tuple[str, str], tuple[str, str, float, float]] = {}
    for user, item, rating, time in rows:
        kept.setdefault((user, item), (user, item, rating, float(time)))
    return list(kept.values())


def test_ratings_and_times(shop: Path, rows: list[tuple[str, str, float, int]]) -> None:
    found = converted(shop, "--min-rating=3", "--since=1970-01-11", f"--until={100 * DAY}")
    wanted = [row for row in rows if row[2] >= 3 and 10 * DAY <= row[3] < 100 * DAY]
    assert found == first_of_pairs(wanted)


@pytest.mark.parametrize("keep", ["first", "last"])
def test_the_earliest_or_latest_row_of_a_pair_is_kept_whatever_their_order(
    shop: Path,
    rows: list[tuple[str, str, float, int]],
    rng: np.random.Generator,
    keep: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shuffled = [rows[n] for n in rng.permutation(len(rows))]
    lines = [",".join(map(str, row)) for row in shuffled]
    (shop / "log.csv").write_text("\n".join(["user,item,rating,timestamp", *lines]))
    best = {}
    for user, item, rating, time in sorted(rows, key=lambda r: r[3], reverse=keep == "first"):
        best[user, item] = (user, item, rating, float(time))
    expected = [row for row in shuffled if best[row[:2]][3] == row[3]]

    found = converted(shop, *([] if keep == "first" else ["--repeated=last"]))

    assert found == expected
    word = {"first": "earliest", "last": "latest"}[keep]
    n = len(rows) - len(expected)
    assert f"left out, their pair repeated: {n} (kept: each pair's {word})" in (
        capsys.readouterr().out
    )


def test_without_times_the_first_row_of_a_pair_is_kept(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "log.csv").write_text("user,item,rating\nu,i1,3\nu,i1,5\nv,i2,1\n")
    words = [str(shop / "log.csv"), "--name=toy", f"--output={shop}"]
    assert main(["convert", *words]) == 0
    assert (shop / "toy" / "toy.inter").read_text().splitlines()[1:] == ["u\ti1\t3", "v\ti2\t1"]
    told = "left out, their pair repeated: 1 (kept: each pair's first row)"
    assert told in capsys.readouterr().out


def test_four_digits_are_a_year(shop: Path) -> None:
    assert converted(shop, "--until=1971") == converted(shop, "--until=1971-01-01")
    assert len(converted(shop, "--until=1971")) > len(converted(shop, f"--until={9 * DAY}"))


def test_a_core_has_no_rare_user_or_item(
    shop: Path, rows: list[tuple[str, str, float, int]]
) -> None:
    expected, n = first_of_pairs(rows), -1
    while n != len(expected):
        n = len(expected)
        users, items = (Counter(row[place] for row in expected) for place in (0, 1))
        expected = [row for row in expected if min(users[row[0]], items[row[1]]) >= 5]
    found = converted(shop, "--k-core=5")
    assert 0 < len(found) < len(first_of_pairs(rows))
    assert found == expected


def test_users_are_drawn_by_the_seed(shop: Path, rows: list[tuple[str, str, float, int]]) -> None:
    one, again, other = (
        converted(shop, "--sample-users=7", f"--sample-seed={seed}") for seed in (1, 1, 2)
    )
    assert one == again != other
    users = {row[0] for row in one}
    assert len(users) == 7
    assert one == [row for row in first_of_pairs(rows) if row[0] in users]
    assert converted(shop, "--sample-users=1000") == first_of_pairs(rows)


def test_anonymous_ids_keep_the_structure_and_tell_nothing(
    shop: Path, rows: list[tuple[str, str, float, int]]
) -> None:
    found = converted(shop, "--anonymise=users,items")
    expected = first_of_pairs(rows)
    for place, n in ((0, 18), (1, 12)):
        names = {old[place]: new[place] for old, new in zip(expected, found, strict=True)}
        assert [names[row[place]] for row in expected] == [row[place] for row in found]
        assert sorted(map(int, names.values())) == list(range(1, n + 1))
    items = (shop / "toy0" / "toy0.item").read_text().splitlines()[1:]
    titles = dict(line.split("\t") for line in items)
    assert {titles[new[1]] for new in found} == {f"T {old[1]}" for old in expected}
    assert len(titles) == 12  # those without an interaction are gone
    again = converted(shop, "--anonymise=users")
    assert [row[0] for row in again] != [row[0] for row in found]
    assert [row[1] for row in again] == [row[1] for row in expected]


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--min-rating=9", "no interaction is left"),
        ("--min-rating=nan", "min-rating"),
        ("--since=yesterday", "--since: found 'yesterday'"),
        ("--since=", "--since: found ''"),
        ("--until=NaT", "--until: found 'NaT'"),
        ("--until=nan", "--until: found 'nan'"),
        ("--sample-seed=-1", "sample-seed"),
        ("--k-core=0", "k-core"),
        ("--sample-users=0", "sample-users"),
        ("--anonymise=titles", "anonymise"),
    ],
)
def test_what_does_not_fit_is_refused(
    shop: Path, option: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(shop / "log.csv"), "--name=toy", f"--output={shop}", option]
    assert main(["convert", *words]) == 2
    assert told in capsys.readouterr().err
    assert not (shop / "toy").exists()


def test_times_and_ratings_that_are_not_there(shop: Path) -> None:
    (shop / "pairs.csv").write_text("user,item\na,x\nb,y\n")
    words = [str(shop / "pairs.csv"), "--name=toy", f"--output={shop}"]
    for option in ("--min-rating=1", "--until=2000-01-01"):
        assert main(["convert", *words, option]) == 2
    with pytest.raises(UserError, match="since"):
        Selection(since="soon")
