"""Tables as text, Markdown and LaTeX, and how numbers of a CSV and metrics are written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# What a spreadsheet takes for the beginning of a formula.
FORMULA = ("=", "+", "-", "@")
NUMBERS = tuple("-+.0123456789")  # what one begins with
BETTER, WORSE, QUOTED = "*", "†", "‡"
METRIC_NAMES = {
    "ndcg": "NDCG",
    "mrr": "MRR",
    "map": "MAP",
    "itemcoverage": "Coverage",
    "averagepopularity": "Popularity",
    "giniindex": "Gini",
}


@dataclass(frozen=True)
class Entry:
    """One place of a table.

    Attributes:
        text: What is printed.
        is_best: Of its column.
        mark: Behind it.
        link: Where a click on it leads, on a page.
    """

    text: str
    is_best: bool = False
    mark: str = ""
    link: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under a title, the notes that explain them below.

    Attributes:
        title: Of the whole.
        header: Names of the columns; the first names the rows.
        rows: As long as the header each.
        notes: Sentences.
        is_folded: Whether a page shows the title alone at first.
    """

    title: str
    header: list[str]
    rows: list[list[Entry]]
    notes: list[str]
    is_folded: bool = False

    def numeric(self) -> list[bool]:
        """Of each column, whether it holds numbers; what failed has a word in place of one."""
        columns = ([row[i].text for row in self.rows] for i in range(len(self.header)))
        return [any(text.startswith(NUMBERS) for text in column) for column in columns]


def metric_name(name: str) -> str:
    """As it is printed: "recall@20" is "Recall@20"."""
    kind, at, cutoff = name.partition("@")
    return METRIC_NAMES.get(kind, kind.capitalize()) + at + cutoff


def as_text(tables: Sequence[Table]) -> str:
    """For a terminal; the best of a column in brackets."""
    return "\n\n".join(map(_table_as_text, tables)) + "\n"


def _table_as_text(table: Table) -> str:
    rows = [table.header] + [[_plain(entry) for entry in row] for row in table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.header))]
    lines = [table.title]
    for row in rows:
        first, *rest = zip(row, widths, strict=True)
        words = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)]
        lines.append("  ".join(words).rstrip())
    return "\n".join(lines + table.notes + (["[ ]: best."] if _has_best(table) else []))


def _plain(entry: Entry) -> str:
    text = _on_one_line(entry.text)
    return (f"[{text}]" if entry.is_best else text) + entry.mark


def _on_one_line(text: str) -> str:
    """A line's end would end a row."""
    return " ".join(text.splitlines())


def _has_best(table: Table) -> bool:
    return any(entry.is_best for row in table.rows for entry in row)


def as_markdown(tables: Sequence[Table]) -> str:
    """For documents; the best of a column in bold."""
    parts = []
    for table in tables:
        lines = [f"### {table.title}", "", _markdown_row(table.header)]
        lines.append(_markdown_row(["---", *["---:"] * (len(table.header) - 1)]))
        for row in table.rows:
            lines.append(_markdown_row([_markdown_entry(entry) for entry in row]))
        parts.append("\n".join([*lines, *(f"\n{_escaped(note)}" for note in table.notes)]))
    return "\n\n".join(parts) + "\n"


def _markdown_entry(entry: Entry) -> str:
    text = _escaped(entry.text)
    return (f"**{text}**" if entry.is_best else text) + _escaped(entry.mark)


def _escaped(text: str) -> str:
    """A star would begin a list or stress a word, and a bar end a cell."""
    return _on_one_line(text).replace("*", r"\*").replace("|", r"\|")


def _markdown_row(words: Sequence[str]) -> str:
    return f"| {' | '.join(words)} |"


LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"$<$",
        ">": r"$>$",
        "±": r"$\pm$",
    }
)
LATEX_MARKS = {"": "", BETTER: "$^{*}$", WORSE: r"$^{\dagger}$", QUOTED: r"$^{\ddagger}$"}


def as_latex(tables: Sequence[Table]) -> str:
    """For papers, with the package booktabs; the best of a column in bold."""
    return "\n\n".join(map(_table_as_latex, tables)) + "\n"


def _table_as_latex(table: Table) -> str:
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(table.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
        r"\toprule",
        " & ".join(map(_latex, table.header)) + r" \\",
        r"\midrule",
    ]
    for row in table.rows:
        lines.append(" & ".join(map(_latex_entry, row)) + r" \\")
    notes = [rf"\\ {{\footnotesize {_latex(note)}}}" for note in table.notes]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *notes, r"\end{table}"])


def _latex_entry(entry: Entry) -> str:
    text = _latex(entry.text)
    if text.startswith(("[", "*")):  # which the line break of the row before would take
        text = "{}" + text
    return (rf"\textbf{{{text}}}" if entry.is_best else text) + LATEX_MARKS[entry.mark]


def _latex(text: str) -> str:
    escaped = _on_one_line(text).translate(LATEX)
    for mark in (WORSE, QUOTED):
        escaped = escaped.replace(mark, LATEX_MARKS[mark])
    return escaped


def csv_cell(value: Any) -> Any:
    """A text on one line, behind an apostrophe if a spreadsheet would run it; all else as it is.

    Source: OWASP, CSV Injection.
    """
    if not isinstance(value, str):
        return value
    text = _on_one_line(value)
    is_formula = text.lstrip().startswith(FORMULA) and not _is_number(text)
    return f"'{text}" if is_formula else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
