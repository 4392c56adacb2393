"""What tools make of the service's schema: no 5xx, and answers that are as it says."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("schemathesis")
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from service_tools import ITEMS, USERS, service, train, write_data, write_pictures

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
]
BOUNDED = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("schema")
    run = train(write_data(home), "LinDiffRec")
    return service([run], write_pictures(home), max_lists=20, max_history=20, max_candidates=20)


@pytest.fixture(scope="module")
def client(app: Any) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("path", ["/recommend", "/similar", "/explain", "/picture"])
def test_answers_are_as_the_schema_says(app: Any, path: str, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    operation = next(iter(schema[path].values()))

    @given(case=operation.as_strategy(generation_mode=mode))
    @BOUNDED
    def is_sound(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS)

    is_sound()


# Malformed requests: what belongs there, what does not, and what is nearly right.
TEXTS = st.sampled_from([*USERS, *ITEMS, "title", "genre", "score", "train", "", "\x00", "../x"])
LEAVES = TEXTS | st.text(st.characters(), max_size=5) | st.none() | st.booleans()
LEAVES |= st.integers(-(2**70), 2**70) | st.floats()
VALUES = st.recursive(
    LEAVES,
    lambda part: st.lists(part, max_size=5) | st.dictionaries(TEXTS, part, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["users", "histories", "items", "where", "columns", "exclude", "k", "model", "user", "item"]
)
SOUND: dict[str, Any] = {
    "recommend": {"users": ["u1", "ü"]},
    "similar": {"items": ["i1"]},
    "explain": {"user": "u1", "item": "i1"},
}


@given(
    path=st.sampled_from(sorted(SOUND)),
    changes=st.dictionaries(FIELDS | TEXTS, VALUES, max_size=3),
    dropped=st.sets(FIELDS, max_size=2),
)
@settings(BOUNDED, max_examples=250)
def test_changed_requests_are_answered_or_refused(
    client: TestClient, path: str, changes: dict[str, Any], dropped: set[str]
) -> None:
    asked = {key: part for key, part in {**SOUND[path], **changes}.items() if key not in dropped}
    content = json.dumps(asked).encode()  # NaN, infinities, halves of surrogates too
    answer = client.post(f"/{path}", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400, 422), content
    if answer.status_code != 200:
        assert set(answer.json()) == {"detail"}
        assert answer.json()["detail"].isprintable()


@given(body=st.binary(max_size=200), kind=st.sampled_from(["application/json", "text/x", ""]))
@settings(BOUNDED, max_examples=100)
def test_any_bytes_are_refused(client: TestClient, body: bytes, kind: str) -> None:
    for path in SOUND:
        answer = client.post(f"/{path}", content=body, headers={"Content-Type": kind})
        assert answer.status_code in (400, 422)
