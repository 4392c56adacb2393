"""Encodes texts, pictures or sounds of a data set's items, before a run does.

python -m recbole_diffusion.data.encode --dataset=NAME
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from recbole_diffusion.base.arguments import ArgumentParser
from recbole_diffusion.base.errors import UserError, exit_code, printable, refusals_of
from recbole_diffusion.data.atomic import interacted_items
from recbole_diffusion.data.feature_table import FeatureTable
from recbole_diffusion.data.media_vectors import media_vectors
from recbole_diffusion.data.text_vectors import encoded_table
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.item_features import (
    DEFAULT_ENCODER,
    ENCODED,
    Declaration,
    declared_source,
)

# Under item_features, of what is encoded.
NAMES = {"fields": "text", "images": "image", "sounds": "sound"}
SOURCE = (*ENCODED, "encoder")
OF_ANY_SOURCE = ("dtype", "missing", "max_missing", "scale")
WITHOUT = {"fields": "a text", "images": "a picture", "sounds": "a sound"}
MOST_NAMED = 10  # items without one


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Command-line words after the program's name; None reads ``sys.argv``.

    Returns:
        0 on success, 2 on bad input (one paragraph on stderr), 130 on Ctrl-C.
    """
    return exit_code(lambda: sys.stdout.write(_run(_parser().parse_args(arguments))))


def _run(args: argparse.Namespace) -> str:
    """Encode what the command asks for; what it prints."""
    overrides = {"data_path": args.data_path, "show_progress": True}
    config = Config(dataset=args.dataset, overrides={k: v for k, v in overrides.items() if v})
    if args.device:
        with refusals_of(f"--device: found {args.device!r}", RuntimeError, AssertionError):
            config["device"] = torch.empty(0, device=args.device).device
    source = {kind: getattr(args, kind) for kind in ENCODED if getattr(args, kind)}
    if len(source) > 1:
        raise UserError(f"found {' and '.join(map('--{}'.format, source))}, expected one of them")
    name = args.name or NAMES[next(iter(source), "fields")]
    source = source or declared_source(config, name)
    if args.model:
        source = {**source, "encoder": args.model}
    if "fields" in source:
        source = {"encoder": DEFAULT_ENCODER, **source}
    kind = next(key for key in ENCODED if key in source)
    table, told = _encoded(config, kind, source[kind], source.get("encoder"), args.batch_size)
    options = {key: source[key] for key in SOURCE if key in source}
    if kind != "fields":  # their columns have sizes of their own
        options["scale"] = "standard"
    return (
        f"{told}{len(table.ids)} items, width {table.width}: {table.source}{table.remark}\n"
        f"{_told_items_without(config, kind, table)}{_told_lines(config, name, options)}"
    )


def _told_items_without(config: Config, kind: str, table: FeatureTable) -> str:
    """Items of the interactions that have no vector, of which a run takes few; or nothing."""
    items = interacted_items(config)
    absent = np.setdiff1d(items, table.ids)
    if not len(absent):
        return ""
    names = ", ".join(absent[:MOST_NAMED].tolist())
    more = f" and {len(absent) - MOST_NAMED} more" if len(absent) > MOST_NAMED else ""
    return (
        f"items of the interactions without {WITHOUT[kind]}: {len(absent)} of {len(items)} "
        f"({len(absent) / len(items):.1%}): {names}{more}; a run refuses more than "
        f"{Declaration.max_missing:.0%} (option max_missing)\n"
    )


def _told_lines(config: Config, name: str, options: Mapping[str, Any]) -> str:
    """Which lines a run reads the vectors by, and where they go."""
    declared = {key: dict(value) for key, value in (config["item_features"] or {}).items()}
    there = declared.get(name, {})
    entry = {**options, **{key: there[key] for key in OF_ANY_SOURCE if key in there}}
    if entry == there:
        return f"a run reads it as `item_features: {name}`, which is declared\n"
    place = config.data_file or Path(config["data_path"]) / f"{config.dataset}.yaml"
    line = f"  {name}: {_written(entry)}\n"
    if not declared:
        return f"a run reads it by these lines in {place} or another property file:\n" + (
            f"item_features:\n{line}"
        )
    text = place.read_text(encoding="utf-8") if place.is_file() else ""
    if name not in declared and re.search(r"^item_features:[ \t]*(#.*)?$", text, re.MULTILINE):
        return (
            f"a run reads it by this line in {place}, below the line `item_features:` that is "
            f"there:\n{line}"
        )
    entries = {**declared, name: entry}
    lines = "".join(f"  {key}: {_written(value)}\n" for key, value in entries.items())
    return (
        f"a run reads it by these lines in {place}, in place of the key `item_features`:\n"
        f"item_features:\n{lines}"
    )


def _encoded(
    config: Config, kind: str, place: Any, encoder: Any, batch_size: int | None
) -> tuple[FeatureTable, str]:
    """The vectors, and lines that list what could not be read."""
    size = {} if batch_size is None else {"batch_size": batch_size}
    if kind == "fields":
        return encoded_table(config, place, encoder, **size), ""
    found = media_vectors(config, kind, place, encoder, **size)
    lists = (("not there", found.missing), ("cannot be read", found.broken))
    lines = (printable(f"{one}: its file {why}") + "\n" for why, ids in lists for one in ids)
    return found.table, "".join(lines)


def _written(value: Any) -> str:
    """A text or list as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.split("\n...")[0].strip()


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m recbole_diffusion.data.encode",
        description="Encode texts, pictures or sounds of items, before a run does.",
    )
    parser.add_argument("--dataset", required=True, help="name of the data set, as in a run")
    parser.add_argument("--data_path", help="folder of data sets, as in a run")
    parser.add_argument("--name", help="name under item_features (default: text, image or sound)")
    parser.add_argument(
        "--fields", nargs="+", help="columns of the .item file (default: as --name declares)"
    )
    parser.add_argument(
        "--images", metavar="PLACE", help="column of paths, or folder of files named by item ids"
    )
    parser.add_argument("--sounds", metavar="PLACE", help="as --images")
    parser.add_argument(
        "--model",
        help="folder, or name of a sentence encoder (default: as --name declares, else "
        f"{DEFAULT_ENCODER}, or no model for images and sounds)",
    )
    parser.add_argument("--device", help="such as cpu or cuda:0 (default: as a run)")
    parser.add_argument(
        "--batch-size",
        type=_positive,
        help="texts or files (default: 64, 16)",
    )
    return parser


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
