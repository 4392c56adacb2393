"""Encodes texts of a data set's ``.item`` file, before a run does.

python -m recbole_diffusion.data.encode --dataset=NAME
"""

import argparse
import sys
from collections.abc import Sequence

import torch

from recbole_diffusion.base.arguments import ArgumentParser
from recbole_diffusion.base.errors import exit_code, refusals_of
from recbole_diffusion.data.text_vectors import BATCH_SIZE, encoded_table
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.item_features import DEFAULT_ENCODER, declared_texts


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
    fields, encoder = args.fields, args.model or DEFAULT_ENCODER
    if not fields:
        fields, declared_encoder = declared_texts(config, args.name)
        encoder = args.model or declared_encoder
    table = encoded_table(config, fields, encoder, args.batch_size)
    return (
        f"{len(table.ids)} items, width {table.width}: {table.source}{table.remark}\n"
        f"a run reads it by these lines in {args.dataset}.yaml beside the data, or another "
        "property file:\n"
        f"item_features:\n  {args.name}: {{fields: [{', '.join(fields)}], encoder: {encoder}}}\n"
    )


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m recbole_diffusion.data.encode",
        description="Encode texts of a data set's .item file, before a run does.",
    )
    parser.add_argument("--dataset", required=True, help="name of the data set, as in a run")
    parser.add_argument("--data_path", help="folder of data sets, as in a run")
    parser.add_argument(
        "--name", default="text", help="name under item_features (default: %(default)s)"
    )
    parser.add_argument(
        "--fields", nargs="+", help="columns of the .item file (default: as --name declares)"
    )
    parser.add_argument(
        "--model", help=f"name or folder (default: as --name declares, else {DEFAULT_ENCODER})"
    )
    parser.add_argument("--device", help="such as cpu or cuda:0 (default: as a run)")
    parser.add_argument(
        "--batch-size", type=_positive, default=BATCH_SIZE, help="texts (default: %(default)s)"
    )
    return parser


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
