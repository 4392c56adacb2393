"""Splits of ratings: against a plain computation, and what is refused without leaving a trace."""

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conversion_tools import next_run, snapshot

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.commands.convert import main
from recbole_diffusion.convert.diffrec_splits import SplitRule, convert_rating_split
from recbole_diffusion.data.split import load_split
from recbole_diffusion.runs.quick_start import run_recbole_diffusion
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.property_files import HOST_FOLDER

SPLITS = ("train", "valid", "test")
HEAD = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
ML_100K = HOST_FOLDER / "dataset_example" / "ml-100k"
Row = tuple[str, str, str, str]  # user, item, rating, time


def read(path: Path) -> list[tuple[str, ...]]:
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    assert header in ("user_id:token\titem_id:token\ttimestamp:float", "\t".join(HEAD))
    return [tuple(line.split("\t")) for line in lines]


def parts_of(output: Path, name: str = "new") -> dict[str, list[tuple[str, ...]]]:
    return {part: read(output / name / f"{name}.{part}.inter") for part in SPLITS}


@pytest.fixture
def source(write_dataset: Callable[..., Path], rng: np.random.Generator) -> Path:
    """40 users and 60 items, 2500 ratings in no order: few distinct times, some pairs repeated."""
    users, items = rng.integers(40, size=2500), np.minimum(rng.integers(80, size=2500), 59)
    ratings = rng.choice(["1", "2.5", "3.9", "4", "4.0", "5"], size=2500)
    times = rng.integers(50, size=2500)
    rows = [
        [f"{u:03d}", f"NA {i}", r, f"17000000{t:02d}{'.50' * (t % 2)}"]
        for u, i, r, t in zip(users, items, ratings, times, strict=True)
    ]
    return write_dataset("old", inter=[HEAD, *rows]) / "old"


@pytest.mark.parametrize("link", ["old", "other"], ids=["named by the link", "by the folder"])
def test_source_may_be_a_link(source: Path, output: Path, tmp_path: Path, link: str) -> None:
    convert_rating_split(source, output, "new", SplitRule(core=2))
    if link == "old":
        source.rename(source.with_name("elsewhere"))
        source = source.with_name("elsewhere")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / link).symlink_to(source)

    convert_rating_split(tmp_path / "links" / link, tmp_path / "again", "new", SplitRule(core=2))

    assert snapshot(tmp_path / "again") == snapshot(output)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


def in_order(path: Path) -> list[Row]:
    """First ratings of each pair, by time and then by row."""
    rows: list[Any] = sorted(read(path), key=lambda row: float(row[3]))
    first: dict[tuple[str, str], Row] = {}
    for row in rows:
        first.setdefault(row[:2], row)
    return list(first.values())


def plain_split(rows: list[Row], rule: SplitRule) -> dict[str, list[Row]]:
    """The clean split, user by user."""
    rows = [row for row in rows if float(row[2]) >= rule.threshold]
    while True:
        counts = [Counter(row[field] for row in rows) for field in (0, 1)]
        kept = [r for r in rows if all(counts[f][r[f]] >= rule.core for f in (0, 1))]
        if len(kept) == len(rows):
            break
        rows = kept
    parts: dict[str, list[Row]] = {part: [] for part in SPLITS}
    seen: Counter[str] = Counter()
    train, valid, test = (Fraction(share, sum(rule.ratio)) for share in rule.ratio)
    for row in rows:
        n, place = counts[0][row[0]], seen[row[0]]
        seen[row[0]] += 1
        last = place >= n * (train + valid) // 1
        parts["test" if last else "valid" if place >= n * train // 1 else "train"].append(row)
    assert train + valid + test == 1
    return parts


def written(rows: list[Row]) -> list[tuple[str, str, str]]:
    return [(user, item, time) for user, item, _, time in rows]


RULES = [
    SplitRule(core=5),
    SplitRule(core=8, ratio=(7, 2, 1)),
    SplitRule(threshold=3.9, core=1, ratio=(1, 1, 1)),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_clean_split_is_that_of_a_plain_computation(
    source: Path, output: Path, rule: SplitRule
) -> None:
    report = convert_rating_split(source, output, "new", rule)
    rows = in_order(source / "old.inter")
    expected = plain_split(rows, rule)
    assert parts_of(output) == {part: written(kept) for part, kept in expected.items()}
    whole = [row for kept in expected.values() for row in kept]
    n_clean = sum(float(row[2]) >= rule.threshold for row in rows)
    assert report.users == len({row[0] for row in whole})
    assert report.items == len({row[1] for row in whole})
    assert report.interactions == {part: len(kept) for part, kept in expected.items()}
    assert report.low == dict.fromkeys(SPLITS, 0)
    assert report.repeated == 2500 - len(rows) > 100
    assert (report.below, report.cored) == (len(rows) - n_clean, n_clean - len(whole))


@pytest.mark.compat
def test_clean_split_of_movielens_100k(output: Path) -> None:
    report = convert_rating_split("ml-100k", output, "new", SplitRule())
    expected = plain_split(in_order(ML_100K / "ml-100k.inter"), SplitRule())
    assert parts_of(output) == {part: written(kept) for part, kept in expected.items()}
    assert (report.users, report.items) == (887, 822)
    assert report.interactions == {"train": 36543, "valid": 5321, "test": 10900}
    for suffix in ("item", "user"):
        copied = (output / "new" / f"new.{suffix}").read_bytes()
        assert copied == (ML_100K / f"ml-100k.{suffix}").read_bytes()


@pytest.mark.compat
@pytest.mark.parametrize("share", [0.1, 0.33, 0.6])
def test_noisy_split_adds_low_ratings_of_the_part_s_time(
    source: Path, output: Path, share: float
) -> None:
    rule = SplitRule("noisy", core=5, noise_ratio=share)
    report = convert_rating_split(source, output, "new", rule)
    rows = in_order(source / "old.inter")
    place = {row[:2]: n for n, row in enumerate(rows)}
    clean, found = plain_split(rows, rule), parts_of(output)
    assert found["test"] == written(clean["test"])
    users = {row[0] for row in clean["test"]}
    first = {  # each user's first place in validation, or behind it, and in test
        later: {user: min(place[r[:2]] for r in behind if r[0] == user) for user in users}
        for later, behind in (("valid", clean["valid"] + clean["test"]), ("test", clean["test"]))
    }
    for part, later in (("train", "valid"), ("valid", "test")):
        added = set(found[part]) - set(written(clean[part]))
        assert set(written(clean[part])) < set(found[part])
        assert len(added) == int(share * len(clean[part]) + 0.5) == report.low[part]
        assert len(found[part]) == len(clean[part]) + len(added) == report.interactions[part]
        assert [place[row[:2]] for row in found[part]] == sorted(place[r[:2]] for r in found[part])
        for user, item, _ in added:
            row = rows[place[user, item]]
            assert float(row[2]) < 4
            assert place[user, item] < first[later][user]
            assert part == "train" or place[user, item] > first["valid"][user]
    assert report.users == len(users) == len({row[0] for part in found.values() for row in part})
    pairs = [row[:2] for part in found.values() for row in part]
    assert len(pairs) == len(set(pairs))


def test_low_ratings_follow_the_seed(source: Path, output: Path) -> None:
    found = {}
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        convert_rating_split(
            source, output, name, SplitRule("noisy", core=5, noise_ratio=0.2, seed=seed)
        )
        found[name] = parts_of(output, name)
    assert found["one"] == found["again"]
    assert found["one"]["train"] != found["two"]["train"]
    assert found["one"]["valid"] != found["two"]["valid"]
    assert found["one"]["test"] == found["two"]["test"]


def test_temporal_split_is_the_clean_one_with_its_times_loaded(source: Path, output: Path) -> None:
    for kind in ("clean", "temporal"):
        convert_rating_split(source, output, kind, SplitRule(kind, core=5))
    assert parts_of(output, "clean") == parts_of(output, "temporal")
    clean, temporal = (
        yaml.safe_load((output / kind / f"{kind}.yaml").read_text())
        for kind in ("clean", "temporal")
    )
    assert clean.pop("load_col") == {"inter": ["user_id", "item_id"]}
    assert temporal.pop("load_col") == {"inter": ["user_id", "item_id", "timestamp"]}
    assert clean == temporal
    data = load_split(Config("BPR", "temporal", (), {"data_path": str(output)})).train._dataset
    names = [data.field2id_token[field] for field in ("user_id", "item_id")]
    loaded = [
        (str(names[0][u]), str(names[1][i]), t)
        for u, i, t in zip(
            *(data.inter_feat[f].tolist() for f in data.inter_feat.columns), strict=True
        )
    ]
    expected = [(u, i, float(t)) for u, i, t in parts_of(output, "temporal")["train"]]
    assert loaded == expected


def test_files_are_written_to_the_byte(write_dataset: Callable[..., Path], output: Path) -> None:
    """Two users, five items; equal times keep the order of rows, columns stand in any order."""
    head = ["timestamp:float", "user_id:token", "note:token", "rating:float", "item_id:token"]
    rows = [["7", "a", "", "5", "01"], ["7", "a", "x", "4", "1"], ["5", "b", "", "4", "01"]]
    rows += [["6.50", "a", "", "4", "x"], ["9", "a", "", "3", "y"], ["1e1", "a", "", "4", "z"]]
    folder = write_dataset("old", inter=[head, *rows]) / "old"
    (folder / "old.item").write_bytes(b"item_id:token\r\n\xff\r\n")
    convert_rating_split(folder, output, "new", SplitRule(core=1, ratio=(2, 1, 1)))
    assert snapshot(output) == {
        "new": None,
        "new/new.train.inter": b"user_id:token\titem_id:token\ttimestamp:float\n"
        b"a\tx\t6.50\na\t01\t7\n",
        "new/new.valid.inter": b"user_id:token\titem_id:token\ttimestamp:float\na\t1\t7\n",
        "new/new.test.inter": b"user_id:token\titem_id:token\ttimestamp:float\n"
        b"b\t01\t5\na\tz\t1e1\n",
        "new/new.item": b"item_id:token\r\n\xff\r\n",
        "new/new.yaml": b"# Split for clean training as in DiffRec: ratings of 4 or more,\n"
        b"# users and items with at least 1, each user's in order of time 2:1:1.\n"
        b"USER_ID_FIELD: user_id  # str; column of the users\n"
        b"ITEM_ID_FIELD: item_id  # str; column of the items\n"
        b"TIME_FIELD: timestamp  # str; column of the times\n"
        b"load_col:  # dict; columns to read, by file suffix\n"
        b"  inter: [user_id, item_id]\n"
        b"benchmark_filename: [train, valid, test]  # list of str; as new.<part>.inter\n",
    }


def refusal(tmp_path: Path, source: Path, output: Path, name: str = "new", **options: Any) -> str:
    """The message of a refused conversion, which must not touch the disk."""
    before = snapshot(tmp_path)
    overwrite = options.pop("overwrite", False)
    with pytest.raises(UserError) as caught:
        convert_rating_split(source, output, name, SplitRule(**{"core": 5, **options}), overwrite)
    assert snapshot(tmp_path) == before
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, ": cannot be read (No such file"),
        (b"", ": found no line"),
        (b"\t".join(h.encode() for h in HEAD) + b"\n", ": found a header only"),
        (b"user_id:token\titem_id:token\trating:float\na\tb\t4\n", ", line 1: found ['user_id"),
        (b"user_id:token\titem_id:token\trating:token\ttimestamp:float\n", "['rating:float'] too"),
        (b"a\tb\t4\n", ", line 4: found 3 fields"),
        (b"a\tb\t4\t9\t\n", ", line 4: found 5 fields"),
        (b"\tb\t4\t9\n", ": column user_id:token: found '' (1 such rows), expected an id"),
        (b"a\t\t4\t9\n", ": column item_id:token: found ''"),
        (b"a\tb\tgood\t9\n", ": column rating:float: found 'good' (1 such rows), expected a fin"),
        (b"a\tb\t\t9\n", ": column rating:float: found ''"),
        (b"a\tb\tnan\t9\n", ": column rating:float: found 'nan'"),
        (b"a\tb\t4\tsoon\na\tb\t4\tinf\n", ": column timestamp:float: found 'soon' (2 such rows)"),
        (b"a\tb\t4\tinf\n", ": column timestamp:float: found 'inf' (1 such rows)"),
        (b"a\t\xff\t4\t9\n", ", line 4: found the byte 0xff at column 3"),
    ],
    ids=str,
)
def test_malformed_source_is_refused(
    tmp_path: Path, source: Path, output: Path, content: bytes | None, found: str
) -> None:
    path = source / "old.inter"
    good = "\n".join(["\t".join(HEAD), "a\tb\t4\t1", "a\tc\t3\t1", ""]).encode()
    path.unlink()
    if content is not None:
        path.write_bytes(good + content if content[:4] != b"user" and content else content)
    message = refusal(tmp_path, source, output)
    assert message.startswith(str(path)), message
    assert found in message
    assert "expected" in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": float("nan")}, "option --threshold: found nan, expected a number"),
        (
            {"core": 10**20},
            "option --core: found 100000000000000000000, expected from 1 to 2^31 - 1",
        ),
        (
            {"ratio": (10**20, 1, 1)},
            "option --ratio: found (100000000000000000000, 1, 1), expected",
        ),
        ({"ratio": (1, 1, 10**6 + 1)}, "three whole numbers from 1 to 1000000"),
        ({"kind": "noisy", "seed": 2**32}, "option --seed: found 4294967296, expected from 0 to"),
        ({"core": 0}, "option --core: found 0, expected from 1"),
        ({"ratio": (7, 0, 3)}, "option --ratio: found (7, 0, 3), expected three whole numbers"),
        ({"noise_ratio": 0.0}, "option --noise-ratio: found 0.0, expected above 0"),
        ({"noise_ratio": 1.5}, "option --noise-ratio: found 1.5, expected above 0, at most 1"),
        ({"noise_ratio": float("nan")}, "option --noise-ratio: found nan"),
        ({"seed": -1}, "option --seed: found -1"),
        ({"name": "../new"}, "name: found '../new'"),
        ({"threshold": 5.5}, "found 0 interactions of rating 5.5 or more after the filter"),
        ({"core": 100}, "found 0 interactions of rating 4 or more"),
        (
            {"kind": "noisy", "noise_ratio": 1.0, "threshold": 2.5},
            "from the time of the train part",
        ),
    ],
    ids=str,
)
def test_rule_that_does_not_fit_is_refused(
    tmp_path: Path, source: Path, output: Path, options: dict[str, Any], words: str
) -> None:
    message = refusal(tmp_path, source, output, **options)
    assert words in message
    assert "expected" in message


def test_too_few_interactions_for_a_part_are_refused(
    tmp_path: Path, write_dataset: Callable[..., Path], output: Path
) -> None:
    rows = [[user, item, "5", "1"] for user in "abc" for item in "xyz"]
    folder = write_dataset("old", inter=[HEAD, *rows]) / "old"
    message = refusal(tmp_path, folder, output, core=3)
    assert "found 9 interactions" in message
    assert "too few for valid;" in message


@pytest.mark.parametrize(("share", "wanted"), [(0.1, 0), (0.5, 2)])
def test_noise_without_any_low_rating(
    tmp_path: Path, write_dataset: Callable[..., Path], output: Path, share: float, wanted: int
) -> None:
    rows = [[user, item, "5", item] for user in "ab" for item in "123456"]
    folder = write_dataset("old", inter=[HEAD, *rows]) / "old"
    rule = {"kind": "noisy", "core": 1, "ratio": (1, 1, 1), "noise_ratio": share}
    if wanted:
        message = refusal(tmp_path, folder, output, **rule)
        assert (
            f"found 0 ratings below 4 from the time of the train part, expected {wanted}" in message
        )
    else:
        report = convert_rating_split(folder, output, "new", SplitRule(**rule))
        assert report.low == dict.fromkeys(SPLITS, 0)


def test_unknown_source_is_refused(tmp_path: Path, output: Path) -> None:
    message = refusal(tmp_path, tmp_path / "nothing", output)
    assert "nothing" in message
    assert "not found" in message


@pytest.mark.parametrize("overwrite", [False, True])
def test_source_is_not_its_own_target(tmp_path: Path, source: Path, overwrite: bool) -> None:
    message = refusal(tmp_path, source, source.parent, "old", overwrite=overwrite)
    assert message == "name: found 'old', the source itself, expected a new data set."


@pytest.mark.parametrize("taken", ["train.inter", "test.inter", "item", "user", "yaml"])
def test_existing_file_is_refused_unless_overwritten(
    tmp_path: Path, source: Path, output: Path, taken: str
) -> None:
    for suffix in ("item", "user"):
        (source / f"old.{suffix}").write_text(f"{suffix}_id:token\n")
    path = output / "new" / f"new.{taken}"
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    assert refusal(tmp_path, source, output).startswith(f"{path}: found an existing file")
    convert_rating_split(source, output, "new", SplitRule(core=5), overwrite=True)
    convert_rating_split(source, tmp_path / "fresh", "new", SplitRule(core=5))
    assert snapshot(output) == snapshot(tmp_path / "fresh")


@pytest.mark.parametrize(
    "made", [lambda p: p.symlink_to("nowhere"), lambda p: p.write_text("[[[\n")]
)
def test_features_that_are_none_are_refused(
    source: Path, output: Path, made: Callable[[Path], object]
) -> None:
    made(source / f"{source.name}.user")
    with pytest.raises(UserError, match=rf"{source.name}\.user"):
        convert_rating_split(source, output, "new", SplitRule(core=1))
    assert not (output / "new").exists()


def test_overwriting_does_not_leave_the_features_of_others(
    tmp_path: Path, source: Path, output: Path
) -> None:
    (source / "old.user").write_text("user_id:token\n")
    convert_rating_split(source, output, "new", SplitRule(core=5))
    (source / "old.user").unlink()
    message = refusal(tmp_path, source, output, overwrite=True)
    assert message.startswith(f"{output / 'new' / 'new.user'}: found features of an earlier")


def test_command_line_prints_the_counts(
    source: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--core=5", "--ratio", "7", "2", "1", "--threshold=3.9", f"--output={output}"]
    noise = ["--noise-ratio=0.2", "--seed=3"]
    command = ["rated-split", "noisy", str(source), "--name=new", *options, *noise]
    assert main(command) == 0
    text = capsys.readouterr().out
    printed = text.splitlines()
    load_split(next_run(text, output / "new"))
    rule = SplitRule("noisy", 3.9, 5, (7, 2, 1), 0.2, 3)
    report = convert_rating_split(source, output, "same", rule)
    assert parts_of(output) == parts_of(output, "same")
    assert printed[0] == f"{report.users} users, {report.items} items"
    assert [line.split() for line in printed[2:5]] == [
        [part, str(report.interactions[part]), str(report.low[part])] for part in SPLITS
    ]
    assert printed[5] == (
        f"left out: {report.repeated} repeated, {report.below} rated below 3.9, "
        f"{report.cored} of users or items with fewer than 5"
    )
    assert main(command) == 2
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    # Only the noisy kind draws.
    assert main(["rated-split", "clean", str(source), "--name=other", *noise]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: unrecognized arguments: --")
    assert told.count("\n") == 1


@pytest.fixture
def rated_planted(
    planted: dict[str, Any], write_dataset: Callable[..., Path], rng: np.random.Generator
) -> Path:
    """The planted set, in which a user's own group is rated 4 or 5 and the others below."""
    folder = Path(planted["data_path"]) / "planted"
    _, *lines = (folder / "planted.item").read_text().splitlines()
    group = {line.split("\t")[0]: line.split("\t")[-1] for line in lines}
    _, *lines = (folder / "planted.inter").read_text().splitlines()
    rows = [line.split("\t") for line in lines]
    liked = {
        user: Counter(group[i] for u, i, _ in rows if u == user).most_common(1)[0][0]
        for user in {row[0] for row in rows}
    }
    rated = [[u, i, str(rng.integers(4, 6) if group[i] == liked[u] else 2), t] for u, i, t in rows]
    return write_dataset("old", inter=[HEAD, *rated]) / "old"


@pytest.mark.compat
def test_planted_groups_are_found_in_every_kind_of_split(
    planted: dict[str, Any], rated_planted: Path, output: Path
) -> None:
    """By the name of the data set alone; low ratings and random items make it harder."""
    results = {}
    for kind, noise in (("clean", 0.0), ("noisy", 0.0), ("temporal", 0.0), ("temporal", 1.0)):
        name = f"{kind}-{noise:g}"
        rule = SplitRule(kind, core=5, noise_ratio=0.08)
        report = convert_rating_split(rated_planted, output, name, rule)
        keys = {**planted, "data_path": str(output), "train_noise_ratio": noise}
        results[name] = run_recbole_diffusion("EASE", name, (), keys)
        log = (Path(results[name]["run_folder"]) / "run.log").read_text()
        n_train = report.interactions["train"] * (2 if noise else 1)
        assert f"train {n_train}, validation {report.interactions['valid']}, test" in log
    recall = {name: result["test"]["recall@20"] for name, result in results.items()}
    assert min(recall["clean-0"], recall["noisy-0"]) > 0.95  # of 150 items, 20 would be 0.13
    assert recall["temporal-0"] == recall["clean-0"] > recall["temporal-1"] > 0.5
    assert results["clean-0"]["split_hash"] == results["temporal-0"]["split_hash"]
