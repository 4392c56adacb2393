"""The report in a headless browser: it draws, without errors, for the keyboard and on a phone."""

import re
from typing import Any

import pytest
from analyze_tools import MODELS, write_comparison
from browser_tools import MARKS, SCHEMES, has_scheme, visited

from recbole_diffusion.studies.compare import report

pytestmark = MARKS
PHONE = 390
# Walks the page as the Tab key does, presses every switch, and tells what it met.
PROBE = """
<script>
(async () => {
  const all = (query) => [...document.querySelectorAll(query)];
  const seen = (plot) => plot.querySelectorAll(".trace, .bars .points .point").length;
  const style = (element) => getComputedStyle(element);
  const stops = all("a[href], button, summary, [tabindex='0']");
  const table = document.querySelector("table.results");
  const column = (n) => [...table.tBodies[0].rows].map((row) => row.cells[n].textContent.trim());
  const press = (n) => {
    const head = table.tHead.rows[0].cells[n];
    head.querySelector("button").click();
    return [head.getAttribute("aria-sort"), column(n)];
  };
  const found = {
    plots: all(".plot").length,
    drawn: all(".plot").filter((plot) => plot.querySelector("svg.main-svg") && seen(plot)).length,
    width: innerWidth,
    content: document.documentElement.scrollWidth,
    ordered: stops.every((stop) => stop.tabIndex === 0),
    first: stops[0].textContent,
    paper: style(document.body).backgroundColor,
    ink: style(document.querySelector(".plot .xtick text")).fill,
    cut: all(".plot").filter((plot) => [...plot.querySelectorAll("text")].some((text) => {
      const [box, frame] = [text.getBoundingClientRect(), plot.getBoundingClientRect()];
      return text.textContent && box.width
        && (box.left < frame.left - 1 || box.right > frame.right + 1
            || box.top < frame.top - 1 || box.bottom > frame.bottom + 1);
    })).map((plot) => plot.id),
    metric: table.tBodies[0].rows[0].cells[1].getBoundingClientRect().right,
    sorted: [press(1), press(1), press(0), press(0)],
    folded: all("details:has(table.results)").map((one) => [one.open, one.innerText.trim()]),
    axes: all(".ranking .axis svg[role]").map((axis) => [axis.getAttribute("aria-label"),
      axis.querySelector("circle").getBoundingClientRect().x]),
    open: all("details").map((one) => { one.open = true; return one.offsetHeight > 60; }),
    reached: stops.map((stop) => {
      stop.focus({ focusVisible: true });
      return document.activeElement === stop && parseFloat(style(stop).outlineWidth) >= 2;
    }),
    opened: document.documentElement.scrollWidth,
  };
  const curves = document.querySelector("#learning-curves");
  const before = seen(curves);
  const buttons = [...curves.querySelectorAll("button")];
  buttons.forEach((button) => button.click());
  found.pressed = buttons.map((button) => button.getAttribute("aria-pressed"));
  await new Promise((done) => setTimeout(done, 500));
  found.hidden = [before, seen(curves)];
  parent.postMessage(JSON.stringify(found), "*");
})();
</script>
"""
FRAME = f"""<!doctype html><body>
<script>
addEventListener("message", (event) => {{ document.body.dataset.found = event.data; }});
</script>
<iframe src="page.html" width="{PHONE}" height="900" style="border:0"></iframe>
"""


@pytest.fixture(scope="module", params=SCHEMES)
def visit(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, Any], str]:
    """The scheme, what the probe found on a page as wide as a phone, and the browser's log."""
    folder = write_comparison(tmp_path_factory.mktemp("browser") / "toys-1")
    text = report.write_report(folder).read_text(encoding="utf-8")
    (folder / "page.html").write_text(text + PROBE, encoding="utf-8")
    (folder / "frame.html").write_text(FRAME, encoding="utf-8")
    url = (folder / "frame.html").as_uri()
    return request.param, *visited(url, request.param, folder / "profile", 10_000)


def test_every_plot_is_drawn_without_an_error(visit: tuple[str, dict[str, Any], str]) -> None:
    _, found, log = visit
    assert found["drawn"] == found["plots"] == 10
    assert "CONSOLE" not in log


def test_phone_needs_no_sideways_scrolling(visit: tuple[str, dict[str, Any], str]) -> None:
    _, found, _ = visit
    assert found["width"] == PHONE
    assert max(found["content"], found["opened"]) <= PHONE
    assert found["cut"] == []  # no label reaches out of its plot


def test_keyboard_reaches_everything(visit: tuple[str, dict[str, Any], str]) -> None:
    _, found, _ = visit
    assert found["first"] == "Skip to the content"
    assert found["ordered"]
    assert len(found["reached"]) > 40
    assert all(found["reached"])
    assert all(found["open"])


def test_switches_hide_what_they_name(visit: tuple[str, dict[str, Any], str]) -> None:
    _, found, _ = visit
    assert found["pressed"] == ["false"] * len(MODELS)
    before, after = found["hidden"]
    assert before > 0
    assert after == 0


def test_tables_are_sorted_by_a_click(visit: tuple[str, dict[str, Any], str]) -> None:
    _, found, _ = visit
    falling, rising, names, names_back = found["sorted"]
    ways = [way for way, _ in (falling, rising, names, names_back)]
    assert ways == ["descending", "ascending", "ascending", "descending"]
    numbers = [float(re.match(r"[\d.]+", text)[0]) for text in falling[1] if text[:1].isdigit()]
    assert len(set(numbers)) > 1
    assert numbers == sorted(numbers, reverse=True)
    ascending = [float(re.match(r"[\d.]+", text)[0]) for text in rising[1] if text[:1].isdigit()]
    assert ascending == sorted(numbers)
    assert names[1] == sorted(names[1], key=str.lower)
    assert names_back[1] == names[1][::-1]


def test_figures_of_papers_are_folded(visit: tuple[str, dict[str, Any], str]) -> None:
    _, found, _ = visit
    assert found["folded"]
    for is_open, shown in found["folded"]:
        assert not is_open
        assert shown.startswith("What papers report on toys")
        assert "\n" not in shown


def test_picture_has_the_best_first_and_rightmost(visit: tuple[str, dict[str, Any], str]) -> None:
    _, found, _ = visit
    labels, places = zip(*found["axes"], strict=True)
    values = [float(label.split()[0].rstrip(";")) for label in labels]
    assert len(set(values)) > 1
    assert values == sorted(values, reverse=True)
    assert list(places) == sorted(places, reverse=True)


def test_phone_shows_the_first_metric(visit: tuple[str, dict[str, Any], str]) -> None:
    _, found, _ = visit
    assert found["metric"] <= PHONE


def test_scheme_of_the_system_is_followed(visit: tuple[str, dict[str, Any], str]) -> None:
    scheme, found, _ = visit
    assert has_scheme(found, scheme)
