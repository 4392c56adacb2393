"""Pages as files: what stands on them, escaped, labelled and in order."""

import json
import re
import shutil
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import analyze_tools
import pandas as pd
import pytest
from analyze_tools import HOSTILE, MODELS, SEEDS, write_comparison
from damage_tools import mutations

from recbole_diffusion import pages, run_recbole_diffusion
from recbole_diffusion.base.errors import UserError, exit_code
from recbole_diffusion.base.files import read_json, write_json
from recbole_diffusion.commands import cli
from recbole_diffusion.pages.ranking import Ranked, Ranking
from recbole_diffusion.studies.analyze import run as analysis
from recbole_diffusion.studies.analyze.run import WRITTEN, analyze
from recbole_diffusion.studies.compare import report

VOID = ("meta", "link", "br", "img", "hr", "input", "path")
CSS = Path(pages.__file__).with_name("page.css").read_text(encoding="utf-8")


class Outline(HTMLParser):
    """Start tags with their attributes and parents, and the text of each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []  # every element is closed

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes), tuple(self._open)))
        if tag not in VOID:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes), tuple(self._open)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag][-1] += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        wanted = {k.rstrip("_"): v for k, v in attributes.items()}
        return [a for t, a, _ in self.tags if t == tag and wanted.items() <= a.items()]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_comparison(tmp_path_factory.mktemp("comparisons") / "toys-1")
    write_comparison(folder.parent / "toys-2", ratio=0.3)
    return report.write_report(folder).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def outline(text: str) -> Outline:
    # Without plotly, whose source holds markup.
    return Outline(re.sub(r"<script>.*?</script>", "<script></script>", text, flags=re.S))


def test_figures_of_the_comparison_are_there(outline: Outline) -> None:
    assert [attributes["id"] for attributes in outline.all("figure")] == [
        "efficiency",
        "learning-curves",
        "loss-balance",
        "change",
        "groups-at-most",
        "groups-between",
        "robustness",
    ]


def test_each_figure_has_caption_plots_and_data(outline: Outline) -> None:
    n_figures = len(outline.all("figure"))
    of_figures = [text for text in outline.texts["summary"] if text.startswith("Data of this")]
    assert len(outline.texts["figcaption"]) == len(of_figures) == n_figures
    assert len(outline.all("div", class_="scroll data", role="region", tabindex="0")) == n_figures
    plots = outline.all("div", class_="plot", role="img", tabindex="0")
    specs = outline.all("script", type="application/json")
    assert len(plots) == len(specs) == len(outline.all("div", class_="panel")) == 11
    assert all(plot["aria-label"] and plot["aria-describedby"] for plot in plots)
    assert all(caption.strip() for caption in outline.texts["figcaption"])


def test_tables_have_captions_and_scopes(outline: Outline) -> None:
    assert len(outline.texts["caption"]) == len(outline.all("table"))
    assert all(caption.strip() for caption in outline.texts["caption"])
    headers = outline.all("th")
    assert {header["scope"] for header in headers} == {"col", "row"}
    regions = outline.all("div", role="region")
    assert len(regions) == len(outline.all("table")) - 1  # the picture at the top fits any page
    assert all(region["tabindex"] == "0" for region in regions)


def test_table_of_the_comparison_marks_best_and_significance(text: str) -> None:
    row = re.search(r'<tr><th scope="row">EASE</th>(.*?)</tr>', text)
    assert row is not None
    assert row[1].count("<strong>0.3000 ± 0.0100</strong>") == 2
    marked = re.search(r'<tr><th scope="row">InfoDCL</th>(.*?)</tr>', text)
    assert marked is not None
    assert '0.1000 ± 0.0100<abbr class="mark" title="significantly worse' in marked[1]


def test_headings_are_in_order_and_links_lead_somewhere(outline: Outline) -> None:
    levels = [int(tag[1]) for tag, _, _ in outline.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    ids = [attributes["id"] for _, attributes, _ in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for attributes in outline.all("a")]
    assert links[0] == "#content"  # the skip link
    assert all(link is not None and link[1:] in ids for link in links)
    named = [
        a[k] for _, a, _ in outline.tags for k in ("aria-labelledby", "aria-describedby") if k in a
    ]
    assert set(named) <= set(ids)


def test_names_are_escaped(text: str, outline: Outline) -> None:
    assert not outline.all("img")
    assert HOSTILE not in text.replace(json.dumps(HOSTILE)[1:-1], "")
    rows = [cell.strip() for cell in outline.texts["th"]]
    assert rows.count(HOSTILE) >= 1
    buttons = {button.get("data-group") for button in outline.all("button")}
    assert set(MODELS) <= buttons
    for spec in re.findall(r'<script type="application/json">(.*?)</script>', text):
        assert "<" not in spec
        assert not any("<" in trace["name"] for trace in json.loads(spec)["data"])


def test_page_asks_for_nothing(text: str, outline: Outline) -> None:
    assert not [a for _, a, _ in outline.tags if "src" in a]
    assert [a["href"] for a in outline.all("link")] == ["data:,"]
    assert "url(" not in CSS
    assert "@import" not in CSS
    assert text.count("plotly.js v") == 1
    policy = outline.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_what_is_missing_says_why(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path / "toys-1")
    write_comparison(tmp_path / "toys-2", ratio=0.3, tune=5)  # differs in more than the ratio
    found = Outline(
        re.sub(
            r"<script>.*?</script>",
            "<script></script>",
            report.write_report(folder).read_text(encoding="utf-8"),
            flags=re.S,
        )
    )
    missing = " ".join(found.texts["ul"])
    assert "key `train_noise_ratio`" in missing
    assert "runs/0-1 holds no best.pth" in missing.replace("\n", " ")


def test_damaged_files_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Those of the comparison's runs, and those of the ones beside it."""
    folder = write_comparison(tmp_path / "a", ratio=0.1)
    other = write_comparison(tmp_path / "b", ratio=0.2)
    (folder / "runs" / "1-2" / "history.jsonl").write_text("damaged\n")
    text = report.write_report(folder).read_text()
    assert "history.jsonl, line 1: found b'damaged'" in unescape(text)
    assert "history.jsonl, line 1: found b'damaged'" in caplog.text
    for name in ("results.json", "plan.json"):
        content = (other / name).read_bytes()
        for mutated in mutations(content):
            (other / name).unlink(missing_ok=True)
            if mutated is not None:
                (other / name).write_bytes(mutated)
            text = report.write_report(folder).read_text()
            is_told = "<strong>The comparison in b</strong>: " in text
            assert is_told or mutated is None or is_json(mutated)
        (other / name).write_bytes(content)
    (folder / "plan.json").write_text("[]")
    assert "plan.json: found a changed" in report.write_report(folder).read_text()


def is_json(content: bytes) -> bool:
    """These files are made by hand without a digest: a changed letter is another one."""
    try:
        return isinstance(json.loads(content), dict)
    except ValueError:
        return False


def test_seeds_are_lines_of_their_own(text: str) -> None:
    spec = re.search(r'id="learning-curves-0"></div>\s*<script[^>]*>(.*?)</script>', text)
    assert spec is not None
    assert len(json.loads(spec[1])["data"]) == len(MODELS) * len(SEEDS)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", [0, 1])
def test_colours_stand_out_from_the_page(scheme: int) -> None:
    block = re.findall(r":root \{(.*?)\}", CSS, flags=re.S)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", block))
    paper = luminance(colours["paper"])
    for name, colour in colours.items():
        low, high = sorted((paper, luminance(colour)))
        # WCAG 2.2: 1.4.3 for text, 1.4.11 for what a plot is made of and for the focus.
        least = {"ink": 7, "faint": 4.5, "link": 4.5, "focus": 3}.get(name, 3)
        if name not in ("paper", "shade", "rule"):
            assert (high + 0.05) / (low + 0.05) >= least, name


def test_other_folders_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"holds no results\.json: expected the folder of a comp"):
        report.write_report(tmp_path)
    (tmp_path / "results.json").write_text('{"schema": "other"}')
    with pytest.raises(UserError, match=r"found schema 'other', expected"):
        report.write_report(tmp_path)
    with pytest.raises(UserError, match=r"folder of a comparison, expected that of a run"):
        analyze(tmp_path)
    (tmp_path / "results.json").write_text("{")
    assert report.main([str(tmp_path)]) == 2
    assert "found no JSON" in capsys.readouterr().err


def test_picture_at_the_top_tells_order_knowledge_and_cost(tmp_path: Path) -> None:
    results = analyze_tools.results()
    results["models"][1] |= {"model": "EASE", "settings": {"recency": "power"}}
    ranking = report.make_ranking(results)
    assert ranking is not None
    means = {model["name"]: model["test"]["recall@20"]["mean"] for model in results["models"]}
    assert [row.name for row in ranking.rows] == sorted(means, key=lambda name: -means[name])
    rows = {row.name: row for row in ranking.rows}
    assert rows["InfoDCL"].mark == "†"
    assert rows["InfoDCL"].others == [(0.15, "InfoDCL, InfoDCL, Table 9")]
    assert rows["InfoDCL"].details[0] == "interactions, features"
    second = results["models"][1]["name"]
    assert rows[second].details[0] == "interactions, order"
    assert rows["EASE"].spread == pytest.approx(results["models"][2]["test"]["recall@20"]["std"])


@pytest.mark.parametrize(
    ("values", "ticks"),
    [((0.12, 0.21), [0.15, 0.2]), ((2.0, 9.0), [2, 4, 6, 8]), ((0.3,), [0.3])],
)
def test_axis_of_the_picture_holds_all_and_is_ruled_at_round_values(
    values: tuple[float, ...], ticks: list[float]
) -> None:
    rows = [Ranked("a", value, 0.0, "") for value in values]
    ranking = Ranking("", ("", ""), rows, [])
    low, high = ranking.ends
    assert low < min(values) <= max(values) < high
    assert set(ticks) <= set(ranking.ticks)
    assert [ranking.place(low), ranking.place(high)] == [0, 100]
    assert ranking.place((low + high) / 2) == 50


def test_index_lists_comparisons_and_searches(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_comparison(tmp_path / "a #1")
    report.write_report(folder)
    study = {
        "identity": {"model": "DiffRec", "dataset": "toys"}, "valid_metric": "recall@20",
        "used": {"trials": 7, "minutes": 3.2}, "best": {"score": 0.1234},
    }  # fmt: skip
    (tmp_path / "b" / "tuning").mkdir(parents=True)
    write_json(tmp_path / "b" / "tuning" / "study.json", study)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "results.json").write_text("{")
    for _ in range(2):  # its own page is written anew
        assert report.main([str(tmp_path)]) == 0
    assert f"left out: {tmp_path / 'broken' / 'results.json'}: found no JSON" in caplog.text
    page = Outline((tmp_path / "index.html").read_text())
    links = [a["href"] for a in page.all("a") if not str(a["href"]).startswith("#")]
    assert links == ["a%20%231/report.html"]
    cells = page.texts["td"]
    assert cells[:4] == ["0.3000 ± 0.0100 Recall@20", "EASE", "toys & games", ""]
    assert cells[-5:] == ["0.1234 Recall@20", "DiffRec", "toys", "7", "3"]
    ways = [cell["class"] for cell in page.all("td")]
    assert ways[:3] == ["number", "words", "words"]


def test_a_metric_that_no_model_has_is_not_drawn(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path / "a")
    found = read_json(folder / "results.json")
    for model in found["models"]:
        model["test"]["recall@20"] = {"mean": None, "std": None, "n": 0}
    write_json(folder / "results.json", found)
    page = Outline(report.write_report(folder).read_text())
    assert not page.all("figure", id="efficiency")
    assert not page.all("caption", id="ranking-title")


def test_results_of_another_shape_are_refused_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = write_comparison(tmp_path / "kept")
    content = read_json(kept / "results.json")
    infinite = {"mean": float("inf"), "std": None, "n": 1}
    first = content["models"][0]
    others = {
        "list": ({"models": "abc"}, "no results of a comparison"),
        "absent": ({"models": [{"name": "A"}]}, "no results of a comparison: 'test'"),
        "number": (
            {"models": [{**first, "test": {**first["test"], "recall@20": infinite}}]},
            f"found inf, recall@20 of {first['name']}",
        ),
        "metric": ({"evaluation": {"valid_metric": "other@1"}}, "found no other@1"),
        "key": ({"models": [{"name": "A", "test": {}}]}, "found no model of A"),
        "data": ({"dataset": {}, "seeds": 3}, "found something else than was written"),
    }
    for name, (change, told) in others.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "results.json").write_text(json.dumps({**content, **change}))
        if name != "data":
            with pytest.raises(UserError, match=re.escape(told)):
                report.write_report(folder)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.json").write_text(
        '{"identity": 3, "valid_metric": 3, "used": 3, "best": 3}'
    )
    assert report.main([str(tmp_path)]) == 0
    others.pop("key")  # the list needs no more of a model
    for name, (_, told) in others.items():
        assert re.search(f"left out: .*/{name}/results.json: .*{re.escape(told)}", caplog.text)
    assert re.search("left out: .*/study/study.json: found something else", caplog.text)
    assert Outline((tmp_path / "index.html").read_text()).texts["td"][2] == "toys & games"


def test_an_index_of_others_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(tmp_path)]) == 2
    assert "holds no results.json and no study.json" in capsys.readouterr().err
    write_comparison(tmp_path / "a")
    (tmp_path / "index.html").write_text("mine")
    assert report.main([str(tmp_path)]) == 2
    assert "found a page of other making" in capsys.readouterr().err
    assert (tmp_path / "index.html").read_text() == "mine"


# One run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    from contract import DATASETS

    keys = {
        "data_path": str(DATASETS),
        "output_dir": str(tmp_path_factory.mktemp("runs")),
        "show_progress": False,
        "epochs": 2,
    }
    few = {"channels": ["knowledge"], "steps": 5, "pretrain_epochs": 1}
    own = {"InfoDCL": few, "SimDiff": few, "LinDiffRec": {"popularity_power": 0.1}, "BPR": {}}
    return {
        model: run_recbole_diffusion(model, "planted", config_dict={**keys, **own[model]})
        for model in own
    }


EXPECTED = {
    "InfoDCL": {"learning-curves", "loss-balance", "snr-steps", "item-map", "singular-vectors"},
    "SimDiff": {"learning-curves", "loss-balance", "snr-epochs", "change", "item-map"},
    "LinDiffRec": {"learning-curves", "spectrum", "parts"},
    "BPR": {"learning-curves"},
}


@pytest.mark.parametrize("model", EXPECTED)
def test_analysis_of_a_run_holds_page_and_tables(
    runs: dict[str, dict[str, Any]], model: str
) -> None:
    folder = Path(runs[model]["run_folder"])
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    target = analyze(folder)
    assert target == folder / "analysis"
    tables = {path.stem: pd.read_csv(path) for path in target.glob("*.csv")}
    assert tables.keys() == EXPECTED[model]
    assert all(len(table) for table in tables.values())
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert before.items() <= after.items()
    assert {path.parent for path in after.keys() - before.keys()} == {target}


def test_analysis_replaces_the_files_of_an_older_one(
    runs: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(runs["BPR"]["run_folder"])
    target = analyze(folder)
    (target / "old.csv").write_text("old")
    (target / "notes.csv").write_text("mine")
    write_json(target / WRITTEN, {"files": [*read_json(target / WRITTEN)["files"], "old.csv"]})
    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            analyze(folder)
    assert (target / "old.csv").is_file()
    assert (target / "report.html").is_file()
    analyze(folder)
    assert not (target / "old.csv").exists()
    assert (target / "notes.csv").read_text() == "mine"
    assert not list(target.glob(".*.tmp"))


def test_a_file_that_no_analysis_wrote_stays(
    runs: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(runs["BPR"]["run_folder"], folder)
    shutil.rmtree(folder / "analysis", ignore_errors=True)
    (folder / "analysis").mkdir()
    (folder / "analysis" / "learning-curves.csv").write_text("mine")
    with pytest.raises(UserError, match=r"learning-curves\.csv: found a file that no analysis"):
        analyze(folder)
    assert [path.name for path in (folder / "analysis").iterdir()] == ["learning-curves.csv"]


def test_analyze_is_a_command(
    runs: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = runs["BPR"]["run_folder"]
    assert cli.main(["analyze", folder, "--projection=tsne"]) == 0
    assert f"analysis: {folder}/analysis/report.html" in "".join(capsys.readouterr())
    assert cli.main(["analyze"]) == 2
    assert "found no folder, expected the folder of a run" in capsys.readouterr().err
    assert cli.main(["analyze", folder, "--projection=umap"]) == 2
    assert "key `projection`: found 'umap', expected one of pca, tsne" in capsys.readouterr().err
    assert cli.main(["analyze", folder, "--epochs=3"]) == 2
    assert "found epochs" in capsys.readouterr().err


def test_run_that_has_not_ended_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no result\.json, expected that of a run that has"):
        analyze(tmp_path)


def test_damaged_files_of_a_run_are_told(
    runs: dict[str, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(runs["BPR"]["run_folder"], tmp_path / "run"))
    whole = (analyze(folder) / "report.html").read_bytes()
    for name in ("result.json", "history.jsonl", "config.yaml", "analysis/" + WRITTEN):
        content = (folder / name).read_bytes()
        for mutated in mutations(content):
            (folder / name).unlink()
            if mutated is not None:
                (folder / name).write_bytes(mutated)
            code = exit_code(lambda: analyze(folder))
            error = capsys.readouterr().err
            assert error.count("\n") == bool(code)
            if code:
                assert mutated is None or Path(name).name in error
                assert name != "config.yaml"
                assert (folder / "analysis" / "report.html").read_bytes() == whole
            else:
                assert name != "result.json"
            (folder / name).write_bytes(content)
            analyze(folder)


def test_damaged_checkpoint_is_told_where_its_figures_would_be(
    runs: dict[str, dict[str, Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(runs["SimDiff"]["run_folder"], tmp_path / "run"))
    (folder / "best.pth").write_bytes((folder / "best.pth").read_bytes()[:9000])
    page = (analyze(folder) / "report.html").read_text()
    told = f"checkpoint {folder / 'best.pth'}"
    assert "not in the page: Figures of the best epoch: " in caplog.text
    assert told in caplog.text
    assert told in page


def test_damaged_study_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials = [{"settings": {"a": k}, "score": 0.1 * k} for k in (1, 2)]
    study = {"identity": {"model": "EASE"}, "valid_metric": "recall@20", "trials": trials}
    write_json(tmp_path / "study.json", study)
    content = (tmp_path / "study.json").read_bytes()
    for mutated in mutations(content):
        (tmp_path / "study.json").unlink()
        if mutated is not None:
            (tmp_path / "study.json").write_bytes(mutated)
        assert exit_code(lambda: analyze(tmp_path)) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert ("result.json" if mutated is None else "study.json") in error
        (tmp_path / "study.json").write_bytes(content)
    analyze(tmp_path)


def test_killed_analysis_leaves_whole_files(
    runs: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page, which is written last, is the old one until all tables are there."""
    folder = Path(shutil.copytree(runs["BPR"]["run_folder"], tmp_path / "run"))
    page = (analyze(folder) / "report.html").read_bytes()
    real, left = analysis.written_whole, [0]

    class Killed(BaseException):
        pass

    def written_whole(path: Path) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return real(path)

    monkeypatch.setattr(analysis, "written_whole", written_whole)
    n_files = len(read_json(folder / "analysis" / WRITTEN)["files"])
    assert n_files >= 2
    for number in range(n_files):
        left[0] = number
        with pytest.raises(Killed):
            analyze(folder)
        assert (folder / "analysis" / "report.html").read_bytes() == page
    left[0] = n_files
    assert (analyze(folder) / "report.html").read_bytes() == page


def test_study_has_its_sensitivity(tmp_path: Path) -> None:
    trials = [{"settings": {"n_layers": n}, "score": 0.1 * n, "outcome": "done"} for n in (1, 2)]
    study = {
        "identity": {"model": "SimDiff"},
        "valid_metric": "Recall@20",
        "trials": trials,
    }
    (tmp_path / "study.json").write_text(json.dumps(study))
    table = pd.read_csv(analyze(tmp_path) / "sensitivity.csv")
    assert table["n_layers"].tolist() == [1, 2]
