"""Recommendations of a saved run against rankings, metrics and solutions made by hand."""

import csv
import json
import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from odd_ids import GENRES, ITEMS, USERS

from recbole_diffusion import load
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import LOCK, sole_writer
from recbole_diffusion.base.randomness import seed_everything
from recbole_diffusion.commands.cli import main
from recbole_diffusion.serving import recommend as command
from recbole_diffusion.serving import strangers
from recbole_diffusion.serving.recommender import Recommender
from recbole_diffusion.settings.registry import list_models
from recbole_diffusion.training.checkpoint import read_checkpoint

OURS = list_models()["recbole_diffusion"]
HOSTS = [
    *("BPR", "LightGCN", "EASE", "ItemKNN", "NeuMF"),
    *("SGL", "MultiVAE", "NGCF", "DMF", "SLIMElastic"),
]
# Those that read a row of items, and nothing else of a user.
OF_ROWS = [
    *("EASE", "ItemKNN", "LinDiffRec", "GFCF", "BSPM", "TurboCF", "DiffRec", "TDiffRec", "FlowCF"),
    *("CFDiff", "GiffCF"),
    *("LDiffRec", "LTDiffRec", "PrefixDiff", "SASRec", "GRU4Rec"),
]
OF_MATRICES = ["EASE", "ItemKNN", "SLIMElastic"]
RECENT = {"recency": "power", "recency_decay": 0.7}
OF_VECTORS = ["BPR", "LightGCN", "InfoDCL"]


def seen_of(recommender: Recommender, *parts: str) -> dict[str, set[str]]:
    """Original ids of each user's items in some parts."""
    found: dict[str, set[str]] = {user: set() for user in recommender.users}
    for part in parts:
        data = recommender.source.parts[part]
        for row in zip(*(data.inter_feat[f].tolist() for f in ("user_id", "item_id")), strict=True):
            user, item = (str(data.field2id_token[f][i]) for f, i in zip(
                ("user_id", "item_id"), row, strict=True))  # fmt: skip
            found[user].add(item)
    return found


def scores_of(recommender: Recommender) -> pd.DataFrame:
    """Users x items, by the model's own function, one user at a time."""
    rows = []
    network, n_items = recommender.source.network, len(recommender.items) + 1
    for number in range(1, len(recommender.users) + 1):
        user, items = torch.tensor([number]), torch.arange(n_items)
        with torch.no_grad():
            try:
                scores = network.full_sort_predict({"user_id": user})
            except NotImplementedError:  # a host's that scores pairs alone
                scores = network.predict({"user_id": user.expand(n_items), "item_id": items})
        rows.append(scores.view(-1)[1:].numpy())
    return pd.DataFrame(np.array(rows), index=recommender.users, columns=recommender.items)


@pytest.mark.parametrize("model", [*OURS, *HOSTS])
def test_lists_are_a_ranking_of_all_scores(run_of: Callable[[str], Path], model: str) -> None:
    recommender = load(run_of(model))
    found = recommender.recommend(k=4)
    scores, seen = scores_of(recommender), seen_of(recommender, "train", "validation", "test")
    assert list(found["user"].unique()) == recommender.users
    for user, rows in found.groupby("user", sort=False):
        assert rows["rank"].tolist() == [1, 2, 3, 4]
        expected = scores.loc[user].drop(list(seen[str(user)])).nlargest(4)
        np.testing.assert_allclose(rows["score"], expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            rows["score"], scores.loc[user, rows["item"].tolist()], rtol=1e-4, atol=1e-6
        )
        assert not set(rows["item"]) & seen[str(user)]


@pytest.mark.parametrize("model", ["BPR", "EASE", "DiffRec"])
def test_lists_have_the_metrics_of_the_run(run_of: Callable[[str], Path], model: str) -> None:
    recommender = load(run_of(model))
    wanted = {user: items for user, items in seen_of(recommender, "test").items() if items}
    lists = recommender.recommend(list(wanted), k=5, exclude=("train", "validation"))
    hits = [row.item in wanted[row.user] for row in lists.itertuples()]
    recall = pd.Series(hits).groupby(lists["user"]).sum() / pd.Series(wanted).map(len)
    gains = pd.Series(hits / np.log2(lists["rank"] + 1)).groupby(lists["user"]).sum()
    best = pd.Series(wanted).map(lambda items: sum(1 / np.log2(np.arange(2, 7)[: len(items)])))
    result = json.loads((run_of(model) / "result.json").read_text())["test"]
    assert recall.mean() == pytest.approx(result["recall@5"])
    assert (gains / best).mean() == pytest.approx(result["ndcg@5"])


@pytest.mark.parametrize(
    ("model", "settings"),
    [*((model, {}) for model in OF_ROWS), *((model, RECENT) for model in OF_MATRICES)],
)
def test_a_history_of_the_data_has_its_users_scores(
    run_of: Callable[..., Path], model: str, settings: dict[str, Any]
) -> None:
    recommender = load(run_of(model, **settings))
    users = recommender.users[:6]
    rows = [recommender._train_history(n) for n in range(1, 7)]
    histories = {
        user: [recommender.items[i - 1] for i in row] for user, row in zip(users, rows, strict=True)
    }
    known = recommender.recommend(users, k=6, exclude=("train",))
    found = recommender.recommend(histories=histories, k=6)
    pd.testing.assert_frame_equal(found, known, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model", OF_VECTORS)
def test_vectors_of_strangers_are_a_ridge_regression(
    run_of: Callable[[str], Path], model: str
) -> None:
    recommender = load(run_of(model))
    tables = strangers.vector_tables(recommender.source.network)
    assert tables is not None
    users, items = (table.double().numpy() for table in tables)
    scores = scores_of(recommender)
    np.testing.assert_allclose((users @ items.T)[1:, 1:], scores, rtol=1e-3, atol=1e-4)
    means = np.array(
        [
            [*items[recommender._train_history(number)].mean(axis=0), 1.0]
            for number in range(1, len(users))
        ]
    )
    weight = strangers.RIDGE * (means**2).mean() * len(means)
    # Ridge regression as least squares: as many rows more as inputs, which want zeros.
    size = means.shape[1]
    inputs = np.concatenate([means, weight**0.5 * np.eye(size)])
    wanted = np.concatenate([users[1:], np.zeros((size, users.shape[1]))])
    mapped = np.linalg.lstsq(inputs, wanted, rcond=None)[0]
    expected = np.array([*items[[3, 9, 11]].mean(axis=0), 1.0]) @ mapped @ items.T
    found = recommender.source._history_scorer([[5], [3, 9, 11]])[1].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_models_that_cannot_score_strangers_say_so(run_of: Callable[[str], Path]) -> None:
    recommender = load(run_of("NeuMF"))
    with pytest.raises(UserError, match="NeuMF cannot score users outside the data"):
        recommender.recommend(histories={"new": [ITEMS[1]]})


def test_candidates_come_from_lists_and_columns(run_of: Callable[[str], Path]) -> None:
    recommender = load(run_of("EASE"))
    comedies = {item for n, item in enumerate(ITEMS) if "Comedy" in GENRES[n % 4].split()}
    found = recommender.recommend(where={"genre": "Comedy"}, k=3, columns=["title", "genre"])
    assert set(found["item"]) <= comedies
    assert found["title"].tolist() == [f"Film {ITEMS.index(item)}" for item in found["item"]]
    whole = recommender.recommend(where={"genre": ["Science Fiction"]}, k=3, columns=["genre"])
    assert set(whole["genre"]) == {"Science Fiction"}
    few = recommender.recommend(["ü"], items=ITEMS[:7], k=20)
    seen = seen_of(recommender, "train", "validation", "test")["ü"]
    assert set(few["item"]) == set(ITEMS[:7]) - seen
    with pytest.raises(UserError, match="expected plot among them"):
        recommender.recommend(where={"plot": "none"})
    with pytest.raises(UserError, match="found no candidate with genre Western, expected at least"):
        recommender.recommend(where={"genre": "Western"})


def test_unknown_ids_are_told_or_refused(
    run_of: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    recommender = load(run_of("EASE"))
    with caplog.at_level(logging.WARNING):
        found = recommender.recommend(["ü", "nobody", "[PAD]"], k=1)
    assert found["user"].tolist() == ["ü"]
    assert "users: 2 of 3 are not in the data, such as 'nobody', '[PAD]'" in caplog.text
    assert recommender.recommend(["nobody"], k=1).empty
    with pytest.raises(UserError, match="users: 1 of 2 are not in the data, such as 'nobody'"):
        recommender.recommend(["ü", "nobody"], unknown="error")
    for keys in ({"k": 0}, {"exclude": ("past",)}, {"histories": {}}, {"unknown": "ask"}):
        with pytest.raises(UserError):
            recommender.recommend(["nobody"], **keys)


def test_commands_show_how_ids_look_where_they_find_none(
    run_of: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(run_of("EASE"))
    users, items = load(run).users[:2], load(run).items[:2]
    shown = f"ids of the data look like {users[0]!r}, {users[1]!r}"
    assert main(["recommend", run, "--users=13,11"]) == 2
    assert f"users: none of '13', '11' is in the data; {shown}" in capsys.readouterr().err
    assert main(["recommend", run, f"--users=13,{users[0]}"]) == 0
    assert f"such as '13'; {shown}; they are left out" in capsys.readouterr().err
    assert main(["explain", run, "--user=13", "--item=x"]) == 2
    assert f"user: none of '13' is in the data; {shown}" in capsys.readouterr().err
    assert main(["similar", run, "--items=x"]) == 2
    assert f"look like {items[0]!r}, {items[1]!r}" in capsys.readouterr().err


def test_a_text_is_no_list(run_of: Callable[[str], Path]) -> None:
    recommender = load(run_of("EASE"))
    for call in (
        lambda: recommender.recommend("007"),
        lambda: recommender.recommend(histories={"me": "i3"}),
        lambda: recommender.recommend(histories=["i3"]),
        lambda: recommender.recommend(["007"], items="i3"),
        lambda: recommender.recommend(["007"], columns="title"),
        lambda: recommender.recommend(["007"], exclude="train"),
        lambda: recommender.similar("i3"),
        lambda: recommender.score("007", "i3?"),
    ):
        with pytest.raises(UserError, match="expected (a list, such as|lists of ids by name)"):
            call()


def test_scores_of_pairs_are_those_of_the_model(run_of: Callable[[str], Path]) -> None:
    recommender = load(run_of("LightGCN"))
    users, items = USERS[3:9], ITEMS[10:16]
    scores = scores_of(recommender)
    expected = [scores.loc[user, item] for user, item in zip(users, items, strict=True)]
    np.testing.assert_allclose(recommender.score(users, items), expected, rtol=1e-5)
    with pytest.raises(UserError, match="items: 1 of 1 are not in the data"):
        recommender.score(["ü"], ["nothing"])


@pytest.mark.parametrize("model", ["BPR", "EASE"])
def test_similar_items_are_the_nearest(run_of: Callable[[str], Path], model: str) -> None:
    recommender = load(run_of(model))
    found = recommender.similar(["i3"], k=4)
    if model == "EASE":
        row = recommender.items.index("i3") + 1
        values = np.asarray(recommender.source.network.item_similarity)[row, 1:]
    else:
        table = recommender.source.network.item_embedding.weight.detach().double().numpy()[1:]
        table /= np.linalg.norm(table, axis=1, keepdims=True)
        values = table @ table[recommender.items.index("i3")]
    expected = pd.Series(values, index=recommender.items).drop("i3").nlargest(4)
    assert found["similar"].tolist() == expected.index.tolist()
    np.testing.assert_allclose(found["score"], expected, rtol=1e-4, atol=1e-6)


def test_explanations_of_linear_models_sum_to_the_score(run_of: Callable[[str], Path]) -> None:
    linear = load(run_of("LinDiffRec"))
    seen = seen_of(linear, "train")["u3"]
    item = next(item for item in linear.items if item not in seen)
    frame = linear.explain("u3", item)
    assert frame.attrs["kind"] == "contribution"
    assert set(frame["item"]) == seen
    assert frame["value"].sum() == pytest.approx(linear.score(["u3"], [item])[0], rel=1e-4)
    ease = load(run_of("EASE"))
    frame = ease.explain("u3", item)
    matrix = pd.DataFrame(
        np.asarray(ease.source.network.item_similarity)[1:, 1:], ease.items, ease.items
    )
    assert frame.attrs["kind"] == "contribution"
    np.testing.assert_allclose(frame["value"], matrix.loc[frame["item"], item], atol=1e-5)
    turbo = load(run_of("TurboCF"))
    frame = turbo.explain("u3", item)
    assert frame.attrs["kind"] == "contribution"
    assert frame["value"].sum() == pytest.approx(turbo.score(["u3"], [item])[0], rel=1e-4)
    filtered = load(run_of("BSPM"))
    assert filtered.explain("u3", item).attrs["kind"] == "loss"
    with pytest.raises(UserError, match="found in the history of 'u3'"):
        ease.explain("u3", next(iter(seen)))


@pytest.mark.parametrize("model", ["LinDiffRec", "EASE", "BPR", "BSPM"])
def test_a_user_of_one_item_is_explained_where_nothing_is_left_out(
    run_of: Callable[[str], Path], model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recommender = load(run_of(model))
    number = recommender.source.catalogue.items.numbers(["i3"]).tolist()
    monkeypatch.setattr(recommender, "_train_history", lambda user: number)
    if model == "BSPM":
        with pytest.raises(UserError, match="without the only one nothing is left to score"):
            recommender.explain("u3", "i5")
        return
    frame = recommender.explain("u3", "i5")
    assert frame["item"].tolist() == ["i3"]
    if model != "BPR":
        score = recommender.source.score_histories([number])[0]
        target = recommender.source.catalogue.items.numbers(["i5"])[0]
        assert frame["value"][0] == pytest.approx(float(score[target]), rel=1e-4)


def test_generated_edges_of_diffmm_are_told(
    run_of: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of("DiffMM")
    recommender = load(run)
    row = read_checkpoint(run / "best.pth")["state_dict"]["generated_picture"]
    user = recommender.users.index("u3") + 1
    generated = [recommender.items[number - 1] for number in row[user].tolist()]
    unseen = set(recommender.items) - seen_of(recommender, "train")["u3"]
    given = next(item for item in generated if item in unseen)
    other = next(iter(sorted(unseen - set(generated))))
    place = generated.index(given) + 1
    assert recommender.explain("u3", given).attrs["edges"] == {"picture": place}
    assert recommender.explain("u3", other).attrs["edges"] == {"picture": None}
    assert main(["explain", str(run), "--user=u3", f"--item={given}"]) == 0
    expected = f"generated graph of picture: an edge to it, at place {place} of the user's"
    assert expected in capsys.readouterr().out
    assert main(["explain", str(run), "--user=u3", f"--item={other}"]) == 0
    assert "generated graph of picture: no edge to it" in capsys.readouterr().out


def test_frames_become_arrow_tables(run_of: Callable[[str], Path]) -> None:
    recommender = load(run_of("EASE"))
    found = recommender.recommend(k=3, columns=["title"])
    table = pa.table(found)
    kinds = [str(kind).removeprefix("large_") for kind in table.schema.types]
    assert kinds == ["string", "int32", "string", "float", "string"]
    assert table.column("item").to_pylist() == found["item"].tolist()


def test_threads_get_what_one_gets(run_of: Callable[[str], Path]) -> None:
    recommender = load(run_of("DiffRec"))
    alone = [recommender.recommend([user], k=3) for user in USERS]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda user: recommender.recommend([user], k=3), USERS))
    for one, other in zip(alone, together, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_runs_load_while_others_load_and_score(run_of: Callable[[str], Path]) -> None:
    folders = [run_of(model) for model in ("BPR", "DiffRec", "EASE")]
    recommenders = [load(folder) for folder in folders]
    lists = [recommender.recommend(k=3) for recommender in recommenders]
    tasks = [n for _ in range(8) for n in range(len(folders))]
    with ThreadPoolExecutor(4) as pool:
        scored = pool.map(lambda n: recommenders[n].recommend(k=3), tasks)
        loaded = list(pool.map(lambda n: load(folders[n]), tasks))
    for n, again, found in zip(tasks, scored, loaded, strict=True):
        assert found.digest == recommenders[n].digest
        pd.testing.assert_frame_equal(again, lists[n])
        pd.testing.assert_frame_equal(found.recommend(k=3), lists[n])


@pytest.mark.parametrize("model", OURS)
def test_loading_leaves_the_callers_draws_alone(run_of: Callable[[str], Path], model: str) -> None:
    folder = run_of(model)
    seed_everything(5)
    expected = _next_draws()
    seed_everything(5)
    load(folder).recommend(["u1"], k=3)
    assert _next_draws() == expected


def _next_draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_file_holds_the_lists(run_of: Callable[[str], Path], suffix: str, tmp_path: Path) -> None:
    out = tmp_path / f"lists{suffix}"
    assert main(["recommend", str(run_of("EASE")), f"--out={out}", "--k=3", "--with=title"]) == 0
    expected = load(run_of("EASE")).recommend(k=3, columns=["title"])
    if suffix == ".parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(out).astype(object), expected.astype(object))
    elif suffix == ".jsonl":
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert [row["user"] for row in rows] == expected["user"].tolist()
        assert [row["item"] for row in rows] == expected["item"].tolist()
    else:
        with out.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["item"] for row in rows] == [
            f"'{item}" if item.startswith("=") else item for item in expected["item"]
        ]
        assert {"'=1+1", "007", "ü"} <= {row["user"] for row in rows}
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert main(["recommend", str(run_of("EASE")), f"--out={out}"]) == 2  # never overwritten


def test_a_killed_command_goes_on(
    run_of: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = run_of("EASE"), tmp_path / "lists.parquet"
    monkeypatch.setattr(command, "BLOCKS_A_PART", 1)
    monkeypatch.setattr(Recommender, "block_size", 7)
    asked: list[list[str]] = []
    whole = Recommender.recommend

    def counted(self: Recommender, users: Any = None, *rest: Any, **keys: Any) -> pd.DataFrame:
        asked.append(users)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return whole(self, users, *rest, **keys)

    monkeypatch.setattr(Recommender, "recommend", counted)
    assert main(["recommend", str(run), f"--out={out}", "--k=3"]) == 130
    assert not out.exists()
    assert main(["recommend", str(run), f"--out={out}", "--k=4"]) == 2  # other lists
    assert main(["recommend", str(run), f"--out={out}", "--k=3"]) == 0
    assert [users[0] for users in asked] == [load(run).users[n] for n in (0, 7, 14, 21, 21, 28, 35)]
    monkeypatch.setattr(Recommender, "recommend", whole)
    found = pd.read_parquet(out).astype(object)
    pd.testing.assert_frame_equal(found, load(run).recommend(k=3).astype(object))
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_only_the_answer_goes_to_stdout(
    run_of: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(run_of("EASE"))
    words = ["recommend", run, "--users=ü,nobody", "--k=1", '--where={"genre": ["Comedy"]}']
    assert main(words) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 2  # the header, and a row
    assert "users: 1 of 2 are not in the data" in told.err
    assert main(["recommend", run, "--k=4"]) == 0  # to a file or a pipe they are whole
    assert len(capsys.readouterr().out.splitlines()) == 1 + 4 * len(USERS)
    assert main(["recommend", run, "--only_cold"]) == 2
    assert "keeps such items by `keep_cold_items: true`" in capsys.readouterr().err
    assert main(["recommend", run, "--items=nothing"]) == 2
    assert "(a run with keep_cold_items: true has items" in capsys.readouterr().err
    assert main(["recommend", run, "--users=nobody"]) == 2
    assert capsys.readouterr().out == ""
    seen = seen_of(load(run), "train")["u3"]
    met = next(item for item in seen if "," not in item)
    assert main(["recommend", run, "--users=u3", f"--items={met}"]) == 0
    assert capsys.readouterr().out == "nothing to list\n"
    item = next(item for item in ITEMS if item not in seen)
    assert main(["explain", run, "--user=u3", f"--item={item}", "--with=title,genre"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()[1:]
    assert header.split() == ["item", "value", "title", "genre"]
    assert len(rows) == len(seen)


def test_commands_take_files_of_ids_and_histories(
    run_of: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(run_of("EASE"))
    ids, table, lines = (tmp_path / name for name in ("ids.txt", "new.csv", "new.jsonl"))
    ids.write_text("ü\n\n007\n", encoding="utf-8")
    table.write_text('user,item\nann,i1\nbob,"=1+1?"\nann,ü?\n', encoding="utf-8")
    lines.write_text('{"user": "ann", "items": ["i1", "ü?"]}\n', encoding="utf-8")
    assert command.read_histories(table) == {"ann": ["i1", "ü?"], "bob": ["=1+1?"]}
    assert command.read_histories(lines) == {"ann": ["i1", "ü?"]}
    assert main(["recommend", run, f"--users={ids}", "--k=1"]) == 0
    told = capsys.readouterr().out
    assert "ü" in told
    assert "007" in told
    for words in (["--history", str(table)], ["--history", str(lines)]):
        assert main(["recommend", run, *words, "--k=2"]) == 0
        assert "ann" in capsys.readouterr().out
    assert main(["similar", run, "--items=i3,i4", "--k=2"]) == 0
    assert main(["recommend", run, "--history", str(ids)]) == 2
    table.write_text("user,product\nann,i1\n")
    assert main(["recommend", run, "--history", str(table)]) == 2
    assert "expected user and item" in capsys.readouterr().err
    lines.write_text('{"user": "ann", "item": "i1"}\n')
    assert main(["recommend", run, "--history", str(lines)]) == 2
    assert 'expected {"user": ..., "items": [...]}' in capsys.readouterr().err
    for words, told in (
        (["recommend", run, "--top=3"], "recommend: unknown key `top`; recommend --help lists"),
        (["recommend", run, "--user=ü"], "unknown key `user`; did you mean `users`?"),
        (["recommend", run, "--wiht=title"], "unknown key `wiht`; did you mean `with`?"),
        (["recommend", run, "--history=no.csv"], "key `history`: found 'no.csv', expected a file"),
        (["recommend", run, "--where={title}"], "where: {title}: not JSON"),
        (["recommend", str(Path(run).parent)], "it holds runs, such as"),
        (["recommend"], "recommend: found no run, expected run"),
        (["similar", run], "similar: found no items, expected run, items"),
        (["explain", run, "--user=ü"], "explain: found no item, expected run, user, item"),
        (["export", run], "export: found no out, expected run, out"),
    ):
        assert main(words) == 2
        assert told in capsys.readouterr().err
    for words in (
        "--k=many",
        "--k=0",
        "--where=5",
        "--where={a: {b: 1}}",
        "--unknown=1",
        "--exclude=5",
    ):
        assert main(["recommend", run, words]) == 2
        assert "Traceback" not in capsys.readouterr().err
    assert main(["recommend", run, "--exclude=", "--k=1"]) == 0
    for name in ("recommend", "similar", "explain"):
        assert main([name, "--help"]) == 0
        assert f"recbole-diffusion {name} RUN" in capsys.readouterr().out


def test_a_user_whose_history_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text('{"user": "ann", "items": ["i1"]}\n\n{"user": "ann", "items": ["i2"]}\n')
    with pytest.raises(UserError, match="found 'ann' again, expected one line a user"):
        command.read_histories(path)


def test_only_line_feeds_end_the_lines_of_a_file(tmp_path: Path) -> None:
    ids, histories = tmp_path / "ids.txt", tmp_path / "new.jsonl"
    odd = "a\u2028b\x85c\x0bd\x1ce"
    ids.write_text(f"\n{odd}\r\n \n007\r\n", encoding="utf-8", newline="")
    assert command.listed_ids(ids) == [odd, "007"]
    line = json.dumps({"user": odd, "items": [odd]}, ensure_ascii=False)
    histories.write_text(f"{line}\r\n", encoding="utf-8", newline="")
    assert command.read_histories(histories) == {odd: [odd]}


@pytest.mark.parametrize("column", ["user", "rank", "item", "score", "similar"])
def test_columns_that_lists_have_themselves_are_refused(
    run_of: Callable[[str], Path], column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recommender = load(run_of("EASE"))
    texts = np.array(["5"] * (len(ITEMS) + 1), dtype=object)
    monkeypatch.setattr(recommender._catalogue, "column", lambda name: texts)
    for ask in (recommender.recommend, partial(recommender.similar, ["i1"])):
        with pytest.raises(UserError, match="expected a column that lists do not have"):
            ask(columns=[column])


def test_the_column_of_the_ids_is_no_text(run_of: Callable[[str], Path]) -> None:
    recommender = load(run_of("EASE"))
    for ask in ({"columns": ["item_id"]}, {"where": {"item_id": "i1"}}):
        with pytest.raises(UserError, match="found item_id, the column of the ids"):
            recommender.recommend(**ask)


def test_a_folder_of_parts_without_any_is_taken(
    run_of: Callable[[str], Path], tmp_path: Path
) -> None:
    out, parts = tmp_path / "lists.csv", tmp_path / "lists.csv.parts"
    parts.mkdir()  # what a full disk, or a kill before the first file, leaves
    (parts / ".recbole-diffusion-request.json-999999999.tmp").touch()
    words = ["recommend", str(run_of("EASE")), f"--out={out}", "--k=3"]
    assert main(words) == 0
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    out.unlink()
    parts.mkdir()
    (parts / "notes.txt").write_text("mine")
    assert main(words) == 2
    assert (parts / "notes.txt").read_text() == "mine"


def test_one_process_writes_the_lists_of_a_file(
    run_of: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, parts = tmp_path / "lists.csv", tmp_path / "lists.csv.parts"
    parts.mkdir()
    words = ["recommend", str(run_of("EASE")), f"--out={out}", "--k=3"]
    with sole_writer(parts / LOCK):
        assert main(words) == 2
    assert "another process is running there" in capsys.readouterr().err
    assert main(words) == 0


def test_a_file_that_came_meanwhile_stays(
    run_of: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, whole = tmp_path / "lists.csv", Recommender.recommend

    def slow(self: Recommender, *rest: Any, **keys: Any) -> pd.DataFrame:
        out.write_text("of another command")
        return whole(self, *rest, **keys)

    monkeypatch.setattr(Recommender, "recommend", slow)
    assert main(["recommend", str(run_of("EASE")), f"--out={out}", "--k=3"]) == 2
    assert out.read_text() == "of another command"


def test_files_hold_ids_alone_and_are_told(
    run_of: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = run_of("EASE")
    caplog.set_level("INFO")
    monkeypatch.chdir(tmp_path)
    for name in ("007", "title", "train"):
        (tmp_path / name).write_text("0\n")
    found = command.recommend(run, users="007", k=1, columns="title", exclude="train")
    expected = load(run).recommend(["0"], k=1, columns=["title"], exclude=["train"])
    pd.testing.assert_frame_equal(found, expected)
    assert "007: 1 ids of this file" in caplog.text


def test_many_ids_may_stand_on_the_command_line() -> None:
    ids = [f"u{n}" for n in range(2000)]  # longer than any name of a file
    assert command.listed_ids(",".join(ids)) == ids


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_damaged_part_is_refused(
    run_of: Callable[[str], Path],
    tmp_path: Path,
    is_cut: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "lists.csv"
    words = ["recommend", str(run_of("EASE")), f"--out={out}", "--k=3"]
    with monkeypatch.context() as patched:
        patched.setattr(command, "write_blocks", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(words)
    (part,) = (tmp_path / "lists.csv.parts").glob("*.parquet")
    content = bytearray(part.read_bytes())
    content[60] ^= 1
    part.write_bytes(content[:-9] if is_cut else content)
    assert main(words) == 2
    assert f"{part}: a damaged part, remove it to go on" in capsys.readouterr().err
    part.unlink()
    assert main(words) == 0
