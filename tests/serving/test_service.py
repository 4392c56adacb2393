"""Answers of the service against those of ``load``, its limits, and what it refuses."""

import json
import logging
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient
from service_tools import (
    HOSTILE,
    ITEMS,
    PIXEL,
    USERS,
    live,
    service,
    train,
    write_data,
    write_pictures,
)

from recbole_diffusion import load
from recbole_diffusion.base.errors import UserError
from recbole_diffusion.serving.recommender import Recommender
from recbole_diffusion.serving.service import limits

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def runs(home: Path) -> list[Path]:
    """A model of rows and one of vectors."""
    data = write_data(home)
    return [train(data, "LinDiffRec"), train(data, "BPR")]


@pytest.fixture(scope="module")
def client(runs: list[Path], home: Path) -> Iterator[TestClient]:
    app = service(
        runs, write_pictures(home), max_lists=6, max_history=5, max_k=20, max_candidates=8,
        max_bytes=4096,
    )  # fmt: skip
    with TestClient(app) as client:
        yield client


def frame_of(answer: dict[str, Any], of: str, listed: str) -> pd.DataFrame:
    """An answer as ``load`` gives it."""
    rows = [
        {of: part[of], "rank": rank, listed: entry["item"], "score": entry["score"]}
        | entry["columns"]
        for part in answer["lists"]
        for rank, entry in enumerate(part["items"], start=1)
    ]
    return pd.DataFrame(rows)


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-6)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    "asked",
    [
        {"users": ["ü", "007", "=1+1"], "k": 4},
        {"users": ["u3"], "columns": ["title", "genre"], "exclude": []},
        {"users": ["u3", "u4"], "exclude": ["train"], "k": 20},
        {"users": ["u1"], "where": {"genre": "Comedy"}},
        {"users": ["u1"], "where": {"genre": ["Drama", "Science Fiction"]}, "columns": ["genre"]},
        {"users": ["東", "u5"], "items": ITEMS[:7]},
        {"histories": {"ann": ["i1", "é"], HOSTILE: [HOSTILE]}, "k": 6},
    ],
    ids=str,
)
def test_lists_are_those_of_load(
    client: TestClient, runs: list[Path], place: int, asked: dict[str, Any]
) -> None:
    run = runs[place]
    answer = client.post("/recommend", json={"model": run.name, **asked})
    assert answer.status_code == 200, answer.text
    assert answer.json()["digest"] == load(run).digest
    assert_same(frame_of(answer.json(), "user", "item"), load(run).recommend(**asked))


def test_the_first_model_is_the_default(client: TestClient, runs: list[Path]) -> None:
    answers = [
        client.post("/recommend", json={**name, "users": ["ü"]}).json()
        for name in ({}, {"model": runs[0].name}, {"model": None})
    ]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["model"] == runs[0].name


@pytest.mark.parametrize("place", [0, 1])
def test_similar_items_and_explanations_are_those_of_load(
    client: TestClient, runs: list[Path], place: int
) -> None:
    run, recommender = runs[place], load(runs[place])
    asked = {"items": ["i1", HOSTILE], "k": 5, "columns": ["title"]}
    answer = client.post("/similar", json={"model": run.name, **asked}).json()
    assert_same(frame_of(answer, "item", "similar"), recommender.similar(**asked))
    unmet = recommender.recommend(["u2"], k=1)["item"][0]
    pair = {"user": "u2", "item": unmet}
    answer = client.post("/explain", json={"model": run.name, **pair}).json()
    expected = recommender.explain(**pair)
    assert answer["kind"] == expected.attrs["kind"]
    assert_same(pd.DataFrame(answer["shares"]), expected)


def test_unknown_ids_are_counted_and_listed_and_not_logged(
    client: TestClient, runs: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        users = client.post("/recommend", json={"users": ["[PAD]", "ü", "no", "no"], "k": 1})
        rows = {"a": ["i1", "gone"], "b": ["lost", "gone"]}
        histories = client.post("/recommend", json={"histories": rows, "k": 1})
        near = client.post("/similar", json={"items": ["lost", "i1"], "k": 1})
    assert users.json()["unknown_users"] == {"count": 2, "ids": ["[PAD]", "no"]}
    assert [part["user"] for part in users.json()["lists"]] == ["ü"]
    assert histories.json()["unknown_items"] == {"count": 2, "ids": ["gone", "lost"]}
    assert [part["user"] for part in histories.json()["lists"]] == ["a"]
    assert near.json()["unknown_items"] == {"count": 1, "ids": ["lost"]}
    assert [part["item"] for part in near.json()["lists"]] == ["i1"]
    assert "not in the data" not in caplog.text
    nobody = client.post("/recommend", json={"users": ["no"]}).json()
    assert nobody["lists"] == []
    counted = client.get("/metrics").text
    assert f'unknown_ids_total{{kind="user",model="{runs[0].name}"}} 3.0' in counted
    assert f'unknown_ids_total{{kind="item",model="{runs[0].name}"}} 3.0' in counted


def test_users_with_nothing_left_have_an_empty_list(client: TestClient, runs: list[Path]) -> None:
    met = load(runs[0]).recommend(["u0"], exclude=[], k=25)["item"].tolist()
    fresh = set(load(runs[0]).recommend(["u0"], k=25)["item"])
    seen = [item for item in met if item not in fresh][:3]
    answer = client.post("/recommend", json={"users": ["u0"], "items": seen}).json()
    assert answer["lists"] == [{"user": "u0", "items": []}]


REFUSED = [
    ({}, "expected users or histories"),
    ({"users": ["ü"], "histories": {}}, "expected users or histories"),
    ({"users": ["ü"], "path": "/etc"}, "body.path: Extra inputs are not permitted"),
    ({"users": "ü"}, "body.users"),
    ({"user": "ü"}, "found the field 'user', expected 'users'"),
    ({"history": {}}, "found the field 'history', expected 'histories'"),
    ({"users": [7]}, "body.users.0: Input should be a valid string"),
    ({"users": ["ü"], "k": 0}, "body.k"),
    ({"users": ["ü"], "k": "3"}, "body.k"),
    ({"users": ["ü"], "k": True}, "body.k"),
    ({"users": ["ü"], "k": 21}, "k: found 21, expected at most 20 (key `max_k`)"),
    ({"users": ["ü"], "k": 10**30}, "key `max_k`"),
    ({"users": USERS[:7]}, "users: found 7, expected at most 6 (key `max_lists`)"),
    ({"histories": dict.fromkeys(USERS[:7], [])}, "histories: found 7, expected at most 6"),
    ({"histories": {"a": ["i1"] * 6}}, "history of 'a': found 6, expected at most 5"),
    ({"users": ["ü"], "items": ITEMS[:9]}, "items: found 9, expected at most 8"),
    ({"users": ["ü"], "items": ["none"]}, "found no candidate, expected at least one item"),
    ({"users": ["ü"], "where": {"genre": "Western"}}, "found no candidate with genre Western"),
    ({"users": ["ü"], "where": {"plot": "x"}}, "found 'plot', expected one of title, genre, image"),
    ({"users": ["ü"], "columns": ["plot"]}, "found 'plot', expected one of title, genre, image"),
    ({"users": ["ü"], "columns": ["score"]}, "found 'score', expected one of title, genre, image"),
    ({"users": ["ü"], "exclude": ["past"]}, "body.exclude.0"),
    ({"users": ["ü"], "model": "../runs"}, "model: found '../runs', expected one of LinDiffRec-"),
    ({"users": ["\ud800"]}, "body.users.0"),
    ({"users": ["ü"], "\ud800": 1}, "body"),
]


@pytest.mark.parametrize(("asked", "told"), REFUSED, ids=lambda v: ascii(v)[:60])
def test_what_cannot_be_is_refused(client: TestClient, asked: dict[str, Any], told: str) -> None:
    answer = client.post("/recommend", content=json.dumps(asked), headers=JSON)
    assert answer.status_code == 422
    assert told in answer.json()["detail"]
    assert set(answer.json()) == {"detail"}
    assert str(Path(__file__).anchor) + "tmp" not in answer.text  # no path of the machine


@pytest.mark.parametrize(
    ("path", "asked", "told"),
    [
        ("similar", {"items": ["i1"] * 7}, "items: found 7, expected at most 6"),
        ("similar", {"items": ["i1"], "k": 21}, "key `max_k`"),
        ("similar", {"items": ["i1"], "columns": ["x"]}, "found 'x'"),
        ("similar", {}, "body.items: Field required"),
        ("explain", {"user": "no", "item": "i1"}, "user: 1 of 1 are not in the data"),
        ("explain", {"user": "ü", "item": "no"}, "item: 1 of 1 are not in the data"),
        ("explain", {"user": "ü"}, "body.item: Field required"),
    ],
)
def test_other_paths_refuse_too(
    client: TestClient, path: str, asked: dict[str, Any], told: str
) -> None:
    answer = client.post(f"/{path}", json=asked)
    assert answer.status_code == 422
    assert told in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b"{",
        b'{"users": [1e999], "k": NaN}',
        b"\xff\xfe",
        b"[" * 4000,
        b'{"k": ' + b"9" * 4000 + b"}",
        b'{"users": ["\\ud800"]}',
    ],
    ids=lambda body: ascii(body[:12]),
)
def test_malformed_bodies_are_refused(client: TestClient, body: bytes) -> None:
    for path in ("recommend", "similar", "explain"):
        answer = client.post(f"/{path}", content=body, headers=JSON)
        assert answer.status_code in (400, 422)
        assert answer.json()["detail"]


def test_other_sites_cannot_post(client: TestClient) -> None:
    """What a browser sends without asking first, a form or plain text, is no JSON."""
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = client.post(
            "/recommend", content=b'{"users": ["u1"]}', headers={"Content-Type": kind}
        )
        assert answer.status_code == 422
        assert "header Content-Type: expected application/json" in answer.json()["detail"]
        assert "access-control-allow-origin" not in answer.headers


def test_long_bodies_are_refused_before_they_are_read(client: TestClient) -> None:
    def drops() -> Iterator[bytes]:
        for number in range(1000):
            sent.append(number)
            yield b" " * 1000

    sent: list[int] = []
    whole = client.post("/recommend", content=b" " * 4097, headers=JSON)
    chunked = client.post("/recommend", content=drops(), headers=JSON)
    for answer in (whole, chunked):
        assert answer.status_code == 413
        assert answer.json()["detail"] == "body: expected at most 4096 bytes (key `max_bytes`)"
    fitting = b'{"users": ["u1"]}'.ljust(4096)
    assert client.post("/recommend", content=fitting, headers=JSON).status_code == 200


def test_other_methods_and_paths_are_refused(client: TestClient) -> None:
    assert client.get("/recommend").status_code == 405
    assert client.delete("/health").status_code == 405
    for path in ("/nothing", "/../setup.py", "/picture/../../etc/passwd", "/%2e%2e/etc/passwd"):
        assert client.get(path).status_code == 404


# What is served


def test_health_tells_what_is_loaded(client: TestClient, runs: list[Path]) -> None:
    health = client.get("/health").json()
    assert [model["name"] for model in health["models"]] == [run.name for run in runs]
    for model, run in zip(health["models"], runs, strict=True):
        assert model["digest"] == load(run).digest
        assert (model["users"], model["items"]) == (len(USERS), len(ITEMS))
        assert model["columns"] == ["title", "genre", "image"]  # `score` is a list's own
        assert model["has_pictures"]
        assert not model["reload_failed"]
        assert 0 <= time.time() - model["loaded"] < 3600


def test_metrics_count_answers(runs: list[Path]) -> None:
    with TestClient(service(runs)) as client:
        client.post("/recommend", json={"users": ["u1", "u2"]})
        client.post("/recommend", json={"users": "u1"})
        for number in range(3):
            client.get(f"/{number}")
        text = client.get("/metrics").text
    prefix = "recbole_diffusion"
    assert f'{prefix}_requests_total{{path="/recommend",status="200"}} 1.0' in text
    assert f'{prefix}_requests_total{{path="/recommend",status="422"}} 1.0' in text
    assert f'{prefix}_requests_total{{path="other",status="404"}} 3.0' in text
    assert f'{prefix}_lists_total{{model="{runs[0].name}"}} 2.0' in text
    assert f'{prefix}_request_seconds_count{{path="/recommend"}} 2.0' in text
    assert f"{prefix}_requests_under_way 0.0" in text


def test_the_schema_holds_the_limits(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    fields = schemas["RecommendRequest"]["properties"]
    assert fields["users"]["anyOf"][0]["maxItems"] == 6
    assert fields["histories"]["anyOf"][0]["maxProperties"] == 6
    assert fields["histories"]["anyOf"][0]["additionalProperties"]["maxItems"] == 5
    assert fields["items"]["anyOf"][0]["maxItems"] == 8
    assert fields["k"]["maximum"] == 20
    assert schemas["SimilarRequest"]["properties"]["items"]["maxItems"] == 6
    page = client.get("/docs")
    assert "POST /recommend" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("item", "status"),
    [("i0", 200), ("i1", 200), ("i2", 200), *((f"i{n}", 404) for n in range(3, 10)), ("i12", 404)]
    + [("no", 404), ("../secret.png", 404)],
)
def test_pictures_come_from_their_folder_alone(client: TestClient, item: str, status: int) -> None:
    answer = client.get("/picture", params={"item": item})
    assert answer.status_code == status
    if status == 200:
        assert answer.content == PIXEL
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-content-type-options"] == "nosniff"
    else:
        assert answer.json()["detail"].endswith("no picture")


def test_without_the_column_files_are_named_by_item_ids(
    runs: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "by_id"
    folder.mkdir()
    for name in ("i0.png", "i1.PNG", "é.png", "nobody.png", "i2.txt", "i3", "i4.svg"):
        (folder / name).write_bytes(PIXEL)
    (tmp_path / "secret.png").write_bytes(PIXEL)
    (folder / "i5.png").symlink_to(tmp_path / "secret.png")
    (folder / "i6.png").mkdir()
    caplog.set_level("INFO")
    with TestClient(service(runs, folder, picture_column="photo")) as client:
        there = [
            item
            for item in [*ITEMS, "nobody", "no", "../secret"]
            if client.get("/picture", params={"item": item}).status_code == 200
        ]
        assert there == ["é", "i0", "i1"]
        assert client.get("/health").json()["models"][0]["has_pictures"]
    told = f"{runs[0].name}: pictures of 3 of {len(ITEMS)} items, from files named by item ids"
    assert told in caplog.messages


def test_two_pictures_of_one_item_are_refused(runs: list[Path], tmp_path: Path) -> None:
    for name in ("i0.png", "i0.jpg", "other.png", "other.jpg"):
        (tmp_path / name).write_bytes(PIXEL)
    with pytest.raises(UserError, match=r"given more than once: 1 id \('i0'\)$"):
        service(runs, tmp_path, picture_column="photo")


def test_pictures_of_no_item_are_refused_and_are_off_without_the_key(
    runs: list[Path], home: Path
) -> None:
    expected = "found no column 'photo' .* and no file in .*pictures that an item's id names"
    with pytest.raises(UserError, match=expected):
        service(runs, home / "pictures", picture_column="photo")
    with TestClient(service(runs)) as client:
        assert client.get("/picture", params={"item": "i0"}).status_code == 404
        assert not client.get("/health").json()["models"][0]["has_pictures"]


def test_two_folders_of_one_name_are_refused(runs: list[Path], tmp_path: Path) -> None:
    shutil.copytree(runs[0], tmp_path / runs[0].name)
    with pytest.raises(UserError, match="found two folders LinDiffRec"):
        service([runs[0], tmp_path / runs[0].name])


# Many at once


def test_requests_at_once_get_what_one_gets(client: TestClient, runs: list[Path]) -> None:
    def ask(number: int) -> Any:
        asked = {"model": runs[number % 2].name, "users": [USERS[number % len(USERS)]], "k": 3}
        return client.post("/recommend", json=asked).json()

    alone = [ask(number) for number in range(60)]
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(ask, range(60))) == alone


def test_more_than_may_be_under_way_are_told_to_come_again(
    runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, leave = threading.Semaphore(0), threading.Event()
    whole = Recommender.recommend

    def waiting(self: Recommender, *args: Any, **keys: Any) -> pd.DataFrame:
        entered.release()
        assert leave.wait(30)
        return whole(self, *args, **keys)

    monkeypatch.setattr(Recommender, "recommend", waiting)
    asked = {"users": ["u1"]}
    with TestClient(service(runs, max_requests=2)) as client, ThreadPoolExecutor(2) as pool:
        first = [pool.submit(client.post, "/recommend", json=asked) for _ in range(2)]
        assert entered.acquire(timeout=30)
        assert entered.acquire(timeout=30)
        refused = client.post("/recommend", json=asked)
        assert client.get("/health").status_code == 200
        assert "requests_under_way 2.0" in client.get("/metrics").text
        leave.set()
        assert [one.result().status_code for one in first] == [200, 200]
        assert client.post("/recommend", json=asked).status_code == 200
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert "key `max_requests`" in refused.json()["detail"]


def test_slow_bodies_give_their_place_back(
    runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.2)
    with live(service(runs, max_requests=1)) as address:
        with socket.create_connection(address, timeout=30) as slow:
            slow.sendall(b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
            assert slow.recv(4096).startswith(b"HTTP/1.1 408 ")
        with socket.create_connection(address, timeout=30) as gone:
            gone.sendall(b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
        for _ in range(100):  # who has gone holds no place
            with socket.create_connection(address, timeout=30) as other:
                other.sendall(
                    b"POST /explain HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
                    b"Content-Type: application/json\r\nConnection: close\r\n\r\n{}"
                )
                status = other.recv(4096).split()[1]
            if status == b"422":
                break
            time.sleep(0.05)
        assert status == b"422"


# Newer folders


def until(client: TestClient, name: str, value: Any) -> dict[str, Any]:
    """The state of the only model when it has a value; the watching thread takes a moment."""
    for _ in range(1200):
        (state,) = client.get("/health").json()["models"]
        if state[name] == value:
            return state
        time.sleep(0.05)
    raise AssertionError(f"{name}: found {state[name]}, expected {value}")


def test_a_newer_folder_is_loaded_and_a_broken_one_is_not(
    runs: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place, asked = tmp_path / "current", {"users": ["u1", "u2"]}
    shutil.copytree(runs[0], place)
    with TestClient(service([place], reload_seconds=0.02)) as client:
        before = client.post("/recommend", json=asked).json()
        assert_same(frame_of(before, "user", "item"), load(runs[0]).recommend(**asked))
        place.rename(tmp_path / "old")  # gone for a moment: the old one serves on
        assert client.post("/recommend", json=asked).json() == before
        shutil.copytree(runs[1], tmp_path / "new")
        (tmp_path / "new").rename(place)
        state = until(client, "digest", load(runs[1]).digest)
        assert state["name"] == "current"
        after = client.post("/recommend", json=asked).json()
        assert_same(frame_of(after, "user", "item"), load(runs[1]).recommend(**asked))

        whole = (place / "best.pth").read_bytes()
        (place / "best.pth").write_bytes(whole[:-100])
        state = until(client, "reload_failed", True)
        assert client.post("/recommend", json=asked).json() == after
        assert 'reloads_total{model="current",result="failed"} 1.0' in client.get("/metrics").text
        assert "current: not loaded again, the old one goes on: checkpoint" in caplog.text
        shutil.copy(runs[0] / "best.pth", place / "best.pth")
        until(client, "digest", before["digest"])
        until(client, "reload_failed", False)
        assert client.post("/recommend", json=asked).json() == before
        assert 'reloads_total{model="current",result="loaded"} 2.0' in client.get("/metrics").text


def test_a_folder_that_stays_is_not_loaded_again(
    runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = service(runs, reload_seconds=0.01)
    monkeypatch.setattr(
        "recbole_diffusion.serving.service.models.load", lambda *a, **k: pytest.fail("loaded")
    )
    with TestClient(app) as client:
        (runs[0] / "run.log").write_text("another line\n")
        time.sleep(0.2)
        assert "reloads_total{" not in client.get("/metrics").text
