"""The service's page in a headless browser: lists, texts that stay texts, a phone, both schemes."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
from browser_tools import MARKS, SCHEMES, has_scheme, visited
from fastapi.responses import HTMLResponse
from service_tools import HOSTILE, live, service, train, write_data, write_pictures

from recbole_diffusion import load

pytestmark = MARKS
PHONE = 400
# Fills the form as a visitor does, on a page as wide as a phone, and tells what came of it.
FRAME = f"""<!doctype html><body>
<iframe src="/" width="{PHONE}" height="900" style="border:0"></iframe>
<script>
const frame = document.querySelector("iframe");
const wait = async (isDone) => {{
  while (!isDone()) await new Promise((go) => setTimeout(go, 20));
}};
frame.addEventListener("load", async () => {{
  const page = frame.contentDocument;
  const at = (id) => page.getElementById(id);
  const texts = (query) => [...page.querySelectorAll(query)].map((one) => one.textContent);
  const style = frame.contentWindow.getComputedStyle(page.body);
  const button = page.querySelector("button");
  async function ask(ids, k) {{
    at("ids").value = ids;
    at("k").value = k;
    button.click();
    await wait(() => !button.disabled);
    return {{
      captions: texts("caption"), items: texts("tbody th"), titles: texts("tbody td:nth-child(3)"),
      heads: texts("thead th"), told: at("told").textContent,
      problem: at("told").classList.contains("problem"), width: page.documentElement.scrollWidth,
    }};
  }}
  await wait(() => at("model").options.length);
  const found = {{
    paper: style.backgroundColor, ink: style.color,
    models: [...at("model").options].map((one) => one.value),
    columns: [...page.querySelectorAll("#columns input")].map((one) => [one.value, one.checked]),
    empty: page.documentElement.scrollWidth,
    unnamed: [...page.querySelectorAll("select, textarea, input")]
      .filter((one) => !one.labels.length).length,
  }};
  found.users = await ask("u1\\n  u2 \\n\\nnobody", "4");
  const images = [...page.querySelectorAll("#lists img")];
  images.forEach((one) => one.scrollIntoView());
  await wait(() => images.every((one) => one.complete));
  found.shown = images.map((one) => !one.hidden && one.naturalWidth > 0);
  found.sources = images.map((one) => new URL(one.src).searchParams.get("item"));
  found.refused = await ask("u1", "100000");
  page.querySelector("input[value=history]").click();
  at("model").selectedIndex = 1;
  at("model").dispatchEvent(new Event("change"));
  found.history = await ask({json.dumps(HOSTILE)} + "\\ni1", "3");
  document.body.dataset.found = JSON.stringify(found);
}});
</script>
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    data = write_data(tmp_path_factory.mktemp("page"))
    write_pictures(data.parent)
    return [train(data, "LinDiffRec"), train(data, "BPR")]


@pytest.fixture(scope="module", params=SCHEMES)
def visit(
    request: pytest.FixtureRequest, runs: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, Any], str]:
    """The scheme, what the visitor found, and the browser's log."""
    app = service(runs, runs[0].parents[1] / "pictures")
    app.add_api_route("/frame", lambda: HTMLResponse(FRAME))
    with live(app) as (host, port):
        profile = tmp_path_factory.mktemp("profile")
        url = f"http://{host}:{port}/frame"
        return request.param, *visited(url, request.param, profile, 20_000)


def test_lists_of_users_stand_with_their_titles(
    visit: tuple[str, dict[str, Any], str], runs: list[Path]
) -> None:
    _, found, _ = visit
    assert found["models"] == [run.name for run in runs]
    assert found["columns"] == [["title", True], ["genre", False], ["image", False]]
    expected = load(runs[0]).recommend(["u1", "u2"], k=4, columns=["title"])
    shown = found["users"]
    assert shown["captions"] == ["u1", "u2"]
    assert shown["heads"][:4] == ["picture", "item", "title", "score"]
    assert shown["items"] == expected["item"].tolist()
    assert shown["titles"] == expected["title"].tolist()
    assert all(title.startswith(HOSTILE) for title in shown["titles"])  # a text, and no picture
    assert shown["told"] == "Not in the data, users: nobody."
    assert not shown["problem"]


def test_a_history_gets_a_list_of_the_chosen_model(
    visit: tuple[str, dict[str, Any], str], runs: list[Path]
) -> None:
    _, found, _ = visit
    expected = load(runs[1]).recommend(histories={"x": [HOSTILE, "i1"]}, k=3)
    assert found["history"]["items"] == expected["item"].tolist()
    assert found["history"]["captions"] == ["This history"]


def test_pictures_are_those_of_the_items(visit: tuple[str, dict[str, Any], str]) -> None:
    _, found, log = visit
    assert found["sources"] == found["users"]["items"]
    are_there = [item in ("i0", "i1", "i2") for item in found["sources"]]
    assert found["shown"] == are_there
    assert any(are_there)
    lines = [line for line in log.splitlines() if "CONSOLE" in line]
    others = [line for line in lines if "status of 404" not in line and "of 422" not in line]
    assert others == []


def test_what_is_refused_is_told(visit: tuple[str, dict[str, Any], str]) -> None:
    _, found, _ = visit
    assert found["refused"]["problem"]
    assert found["refused"]["told"] == "k: found 100000, expected at most 200 (key `max_k`)"
    assert found["refused"]["items"] == []


def test_a_phone_needs_no_sideways_scrolling_and_fields_have_names(
    visit: tuple[str, dict[str, Any], str],
) -> None:
    _, found, _ = visit
    widths = [found["empty"], *(found[name]["width"] for name in ("users", "history", "refused"))]
    assert max(widths) <= PHONE
    assert found["unnamed"] == 0


def test_the_scheme_of_the_system_is_followed(visit: tuple[str, dict[str, Any], str]) -> None:
    scheme, found, _ = visit
    assert has_scheme(found, scheme)
