"""The documentation site: ``sphinx-build -W -b html docs site``."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

from recbole_diffusion import __version__  # noqa: E402
from recbole_diffusion.settings.registry import find_model, list_models  # noqa: E402
from recbole_diffusion.settings.run_settings import RunSettings  # noqa: E402
from recbole_diffusion.settings.writing import model_keys, property_text  # noqa: E402

project, author, release = "recbole_diffusion", "the authors of recbole_diffusion", __version__
copyright = author
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
html_theme = "pydata_sphinx_theme"
html_title = "recbole_diffusion"
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False}
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
# Notebooks are run on the data that the package carries, each in a minute or so.
nb_execution_mode = "cache"
nb_execution_show_tb = True
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_render_markdown_format = "myst"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # a field of a dataclass stands once
# Pages that stand outside of this folder, and the pages here that show them.
ELSEWHERE = {
    "README.md": "index",
    "dataset_atomic/README.md": "guides/data",
    "benchmarks/README.md": "guides/benchmarks",
    "CONTRIBUTING.md": "guides/contributing",
    "CHANGELOG.md": "reference/changelog",
}


# A link, but for pictures.
LINK = re.compile(r"(?<!!)\[(?P<words>[^\]]*)\]\((?P<target>[^)#\s]*)(?P<anchor>#[^)\s]*)?\)")


def localized(text: str, folder: Path) -> str:
    """Links to files of the repository as links to pages of the site, others as plain words.

    Args:
        text: Of a page.
        folder: Its links count from here.
    """

    def replaced(match: re.Match[str]) -> str:
        words, target, anchor = match["words"], match["target"], match["anchor"] or ""
        path = (folder / target).resolve()
        if not target or "://" in target or target.startswith("/") or not path.exists():
            return match[0]
        page = ELSEWHERE.get(path.relative_to(ROOT).as_posix())
        if page is None and not path.is_relative_to(DOCS):
            return words
        place = f"{page}.md" if page else path.relative_to(DOCS).as_posix()
        return f"[{words}](/{place}{anchor})"

    return LINK.sub(replaced, text)


def finish_page(app: Any, name: str, content: list[str]) -> None:
    """Called by Sphinx for each page; one of a model gets its keys, from the typed settings."""
    content[0] = localized(content[0], (DOCS / name).parent)
    if name.startswith("models/"):
        shown = set(re.findall(r"\b(\w+)\.yaml`", content[0]))
        content[0] += keys_of(m for m in list_models()["recbole_diffusion"] if m in shown)


def localize_included(app: Any, path: Path, parent: str, content: list[str]) -> None:
    """Called by Sphinx for each file that a page includes."""
    content[0] = localized(content[0], (DOCS / path).resolve().parent)


def plain_docstring(
    app: Any, kind: str, name: str, found: Any, options: Any, lines: list[str]
) -> None:
    """Docstrings are plain English with code in backticks: stars and bars are no markup."""
    for place, line in enumerate(lines):
        parts = line.split("``")
        plain = [re.sub(r"([*|])", r"\\\1", part) for part in parts[::2]]
        parts[::2] = plain
        lines[place] = "``".join(parts)


def keys_of(models: Iterable[str]) -> str:
    """A section with all keys of some models."""
    texts = [f"\n### {name}\n\n```yaml\n{model_keys(find_model(name))}```\n" for name in models]
    return "\n".join(["\n## Keys", *texts]) if texts else ""


def write_keys(app: Any) -> None:
    """The page of all keys, of the typed settings that runs read them from."""
    parts = ["# Keys\n", "As the property files have them; a range stands behind each meaning.\n"]
    parts += [
        "## Of every run\n",
        f"```yaml\n{property_text(RunSettings, 'Keys of every run.')}```\n",
    ]
    for name in list_models()["recbole_diffusion"]:
        parts += [f"## {name}\n", f"```yaml\n{model_keys(find_model(name))}```\n"]
    target = DOCS / "reference" / "keys.md"
    text = "\n".join(parts)
    if not target.is_file() or target.read_text(encoding="utf-8") != text:
        target.write_text(text, encoding="utf-8")


def setup(app: Any) -> None:
    """Sphinx's way in."""
    app.connect("builder-inited", write_keys)
    # Before napoleon, whose own markup follows.
    app.connect("autodoc-process-docstring", plain_docstring, priority=100)
    app.connect("source-read", finish_page)
    app.connect("include-read", localize_included)
