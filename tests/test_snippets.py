"""The commands and Python snippets of README.md and docs/ do what their pages say.

Blocks run page by page, word for word, in a folder that holds what the page presumes, on data sets
that are small. bash itself reads the commands; what they call runs in this process.
"""

import ast
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compare_tools import run_in_process
from snippet_checks import Call, Ran, check, check_snippet
from snippet_data import N_ITEMS, write_datasets, write_presumed

import recbole_diffusion
from recbole_diffusion.commands import cli, encode
from recbole_diffusion.data import text_vectors
from recbole_diffusion.settings import registry
from recbole_diffusion.settings.registry import find_model
from recbole_diffusion.studies.compare.plan import make_configs
from recbole_diffusion.studies.compare.request import read_request

ROOT = Path(__file__).resolve().parents[1]
# Fences that hold no command and no Python; {...} are directives of the site.
NO_CODE = ("text", "yaml", "json", "bibtex")

# Lines that do not run, each by a pattern of its beginning, and why.
NOT_RUN = {
    r"python3\.11 -m venv": "installs packages, which .ci/run does",
    r"pip install": "installs packages, which .ci/run does",
    r"docker (build|run)": "needs Docker",
    r"torchrun": "starts processes, which tests/ranks does",
    r"RAY_\w+=0 ray|cd /shared/work": "starts a cluster, which tests/compare/test_cluster.py does",
    r".* --cluster=": "needs a cluster, which tests/compare/test_cluster.py has",
    r".* --storage=postgresql": "needs a server; tests/tune/test_sharing.py has other databases",
    r"curl": "asks a service, which tests/serving/test_service_docs.py has",
    r".* --tracker=": "needs wandb or mlflow; tests/test_trackers.py has a run with each",
    r".* --device=cuda": "needs a GPU",
    r"python benchmarks/": "takes minutes to hours, on released data",
    r".* --model=models/wav2vec2-base": "needs weights; tests/data/test_media_vectors.py has some",
}
# Pages whose comparisons, a hundred that a program wrote, are read with the settings and data of
# all their models, and do not run.
PLANNED = ("docs/reproduction.md", "docs/study.md")
# What commands have in place of their own words, so that they are short: keys with their values.
SHORT = {"epochs": "1", "show_progress": "false"}
BOUNDS = {
    "run": SHORT,
    "refresh": SHORT,
    "compare": {**SHORT, "seeds": "1", "tune": "1"},
    "tune": {**SHORT, "trials": "1"},
    "serve": {"port": "0"},
}
# The same of functions that snippets call.
BOUNDED_CALLS = {
    "run_recbole_diffusion": {"epochs": 1, "show_progress": False},
    "compare": {"epochs": 1, "show_progress": False, "seeds": 1, "InfoDCL.pretrain_epochs": 1},
}
# Packages without which a page is skipped.
NEEDED = {
    "README.md": ("fastapi",),
    "docs/models/diffmm.md": ("matplotlib",),
    "docs/models/factorisation.md": ("implicit",),
    "docs/recommend.md": ("faiss", "onnxruntime", "qdrant_client"),
    "docs/serve.md": ("fastapi",),
}
# The data of `runs/MODEL-...`, on pages where the name does not say it; else they are ml-100k.
MINE = (
    *("docs/cold_items.md", "docs/models/diffmm.md", "docs/models/lindiffrec.md"),
    "docs/models/prefixdiff.md",
)
SAVED = re.compile(r"runs/([A-Z]\w+)-(?:([\w-]+)-)?(?:\.\.\.|\d{8}-\d{6}-[0-9a-f]{6})")
LINKED = re.compile(r"\b(LinDiffRec)-(ml-100k)-(?:\.\.\.|newer)")
# Each call of Python is written down; what NOT_RUN should list fails; the data have fewer items.
PRELUDE = f"""\
seq() {{ command seq 0 {N_ITEMS - 1}; }}
python() {{ {{ printf '%s\\0' "$@"; printf '\\n'; }} >> .calls; }}
unlisted() {{ echo "neither run nor listed: $*" >&2; return 1; }}
for name in pip docker torchrun ray curl; do eval "$name() {{ unlisted $name; }}"; done
"""


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        """Of a block of bash, continued ones joined."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        return [line.strip() for line in joined.splitlines() if line.strip()]


def all_blocks() -> list[Block]:
    """Fenced blocks; those of notebooks run where the site is built."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    pattern = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
    return [
        Block(page.relative_to(ROOT).as_posix(), fence[2].strip(), fence[3])
        for page in pages
        if page.parent.name != "notebooks"
        for fence in pattern.finditer(page.read_text("utf-8"))
    ]


BLOCKS = all_blocks()
PAGES = list(dict.fromkeys(b.page for b in BLOCKS if b.language in ("bash", "python")))


def is_run(line: str) -> bool:
    return not any(re.match(pattern, line) for pattern in NOT_RUN)


def bounded(words: Sequence[str]) -> list[str]:
    """Words of a command that takes a second."""
    command = words[0] if words[0] in cli.USAGES else "run"
    keys = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
    if keys.keys() & {"help", "list_models", "resume", "evaluate"}:
        return list(words)
    bounds = dict(BOUNDS.get(command, {}))
    if command == "compare":
        if "tune" not in keys:
            del bounds["tune"]
        for row in keys["models"].split(","):
            label, _, model = row.partition("=")
            bounds |= _bounds_of_model(model or label, f"{label}.")
    elif command in ("run", "tune"):
        bounds |= _bounds_of_model(keys.get("model", "InfoDCL"), "")
    given = {key: key in bounds or key.endswith(".epochs") for key in keys}
    kept = [word for word in words if not given.get(word[2:].partition("=")[0], False)]
    return [*kept, *(f"--{key}={value}" for key, value in bounds.items())]


def _bounds_of_model(model: str, prefix: str) -> dict[str, str]:
    has_stage = model != "MyRecommender" and "pretrain_epochs" in find_model(model).defaults
    return {f"{prefix}pretrain_epochs": "1"} if has_stage else {}


def run_module(name: str, words: Sequence[str]) -> object:
    """``python -m NAME WORDS`` in this process; its exit code."""
    sys.modules.pop(name, None)  # else Python warns that it is there
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *words])
        with pytest.raises(SystemExit) as end:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
    return end.value.code


class FakeEncoder:
    """In place of a network that encodes texts: counts of their characters."""

    def encode(self, texts: Sequence[str], **options: Any) -> np.ndarray:
        return np.array([[text.count(chr(n)) for n in range(32, 128)] for text in texts], "f4")


@dataclass
class Store:
    """Data sets, and runs that are trained when a page first names such a one."""

    home: Path
    runs: dict[tuple[str, ...], Path] = field(default_factory=dict)

    def run(self, *words: str) -> Path:
        """The folder of the run that ``words`` train."""
        if words not in self.runs:
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(self.home)
                before = set(Path("runs").glob("*-*"))
                assert cli.main(bounded(words)) == 0
                (made,) = set(Path("runs").glob("*-*")) - before
            self.runs[words] = self.home / made
        return self.runs[words]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    home = tmp_path_factory.mktemp("store")
    write_datasets(home / "dataset_atomic")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_vectors, "load_encoder", lambda name, device: FakeEncoder())
        with patch.context() as place:
            place.chdir(home)
            for source in ("--images=pictures", "--sounds=sound_path"):  # once for all pages
                assert encode.main(["--dataset=mydata", source]) == 0
        yield Store(home)


class Page:
    """Runs the blocks of a page in the working directory.

    Args:
        name: Of the page.
        store: Has the runs that the page presumes.
        said: Gives what was written to stdout and stderr since it was last asked.
    """

    def __init__(self, name: str, store: Store, said: Callable[[], tuple[str, str]]) -> None:
        self.name, self.store, self._said = name, store, said

    def run(self, block: Block) -> None:
        if block.language == "python":
            self._run_python(block.text)
            return
        script = [LINKED.sub(self._link, line) for line in block.lines if is_run(line)]
        text = PRELUDE + "\n".join(script).replace("DATA/", "dataset_atomic/")
        calls = Path(".calls")
        calls.write_text("")
        done = subprocess.run(["bash", "-euc", text], capture_output=True, text=True)
        assert done.returncode == 0, f"{script}\n{done.stderr}"
        for call in calls.read_text().splitlines():
            self._call(self._placed(call).split("\0")[:-1])

    def _call(self, words: list[str]) -> None:
        program, *rest = words
        if words[:2] == ["-m", "recbole_diffusion"]:  # the same command
            program, rest = "run_recbole_diffusion.py", words[2:]
        before = _run_folders()
        self._said()
        if program == "-m":
            code = run_module(rest[0], rest[1:])
            rest = words
        else:
            assert program == "run_recbole_diffusion.py"
            rest = bounded(rest)
            if rest[0] == "compare" and self.name in PLANNED:
                request = read_request(cli.parse_arguments(rest[1:]))
                assert list(make_configs(request, Path("comparisons"))) == list(request.models)
                return
            code = cli.main(rest)
        out, err = self._said()
        assert code == 0, f"{rest}\n{err}"
        check(Call(rest, out, out + err, sorted(_run_folders() - before)))

    def _run_python(self, text: str) -> None:
        tree, names, shown = ast.parse(self._placed(text)), presumed_names(self.name), []
        before = _run_folders()
        self._said()
        with pytest.MonkeyPatch.context() as patch:
            for name in BOUNDED_CALLS:
                patch.setattr(recbole_diffusion, name, short_call(name))
            for statement in tree.body:
                if isinstance(statement, ast.Expr):
                    code = compile(ast.Expression(statement.value), self.name, "eval")
                    shown.append(eval(code, names))
                else:
                    exec(compile(ast.Module([statement], []), self.name, "exec"), names)
        out, _ = self._said()
        check_snippet(self.name, text, Ran(names, shown, out, sorted(_run_folders() - before)))

    def _placed(self, text: str) -> str:
        """A text with folders in place of what stands for them."""
        for page in Path("comparisons").glob("*/results.json"):
            text = re.sub(r"comparisons/office-\w+$", str(page.parent), text, flags=re.MULTILINE)
            text = text.replace("comparisons/office-0123abcd", str(page.parent))
        model = "BPR" if "vectors" in text else "LinDiffRec"  # what the export needs
        text = re.sub(r"\bRUN\b", lambda _: self._run(model, None), text)
        return SAVED.sub(lambda match: self._run(match[1], match[2]), text)

    def _link(self, match: re.Match[str]) -> str:
        return Path(self._run(match[1], match[2])).name

    def _run(self, model: str, dataset: str | None) -> str:
        """A run that the page has made, or one of the store's."""
        chosen = dataset or ("mydata" if self.name in MINE else "ml-100k")
        made = sorted(Path("runs").glob(f"{model}-{chosen}-*"))
        if made:
            return str(made[0])
        source = self.store.run(f"--model={model}", f"--dataset={chosen}")
        shutil.copytree(source, Path("runs", source.name))
        return f"runs/{source.name}"


def _run_folders() -> set[Path]:
    return set(Path("runs").glob("*-*-*"))


def presumed_names(page: str) -> dict[str, Any]:
    """Names that the snippets of a page take for granted."""
    if page == "docs/guides/own_model.md":
        return {"MyRecommender": __import__("my_recommender").MyRecommender}
    if page == "docs/training.md":
        from recbole.model.abstract_recommender import GeneralRecommender

        return {"GeneralRecommender": GeneralRecommender}
    return {}


def short_call(name: str) -> Callable[..., Any]:
    """A public function that has what ``BOUNDED_CALLS`` says."""
    function, bounds = getattr(recbole_diffusion, name), BOUNDED_CALLS[name]

    def call(*given: Any, config_dict: Any = None, **others: Any) -> Any:
        return function(*given, config_dict={**(config_dict or {}), **bounds}, **others)

    return call


@pytest.fixture
def here(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory; runs of comparisons run in this process, and services end at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    shutil.copytree(store.home / "dataset_atomic", "dataset_atomic")
    for folder in ("runs", "docs"):
        Path(folder).mkdir()
    Path("benchmarks").symlink_to(ROOT / "benchmarks")
    run_in_process(monkeypatch)
    if find_spec("uvicorn"):
        monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_says_to_run_runs(
    page: str,
    store: Store,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in NEEDED.get(page, ()):
        pytest.importorskip(name, exc_type=ImportError)
    blocks = [b for b in BLOCKS if b.page == page and b.language in ("bash", "python")]
    write_presumed(page, here)
    if any("convert" in block.text for block in blocks):
        shutil.rmtree("dataset_atomic/mydata")
    shown = Page(page, store, capsys.readouterr)
    known = dict(registry._REGISTERED)
    for block in blocks:
        monkeypatch.setattr(registry, "_REGISTERED", dict(known))
        shown.run(block)
    for name in ("my_module", "my_recommender"):
        sys.modules.pop(name, None)


def test_every_fence_is_run_or_is_no_code() -> None:
    languages = {block.language for block in BLOCKS} - {"bash", "python", *NO_CODE}
    assert all(re.match(r"\{[\w-]+\}", language) for language in languages), languages


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_what_is_listed_as_not_run_is_there(pattern: str) -> None:
    lines = [line for block in BLOCKS if block.language == "bash" for line in block.lines]
    assert any(re.match(pattern, line) for line in lines)
