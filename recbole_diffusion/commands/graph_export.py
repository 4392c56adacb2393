"""A saved DiffMM run's generated graphs, as tables and a picture (the paper's Figure 5).

python -m recbole_diffusion.graph_export runs/DiffMM-... --output=graphs
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_diffusion.base.arguments import ArgumentParser
from recbole_diffusion.base.errors import UserError, exit_code
from recbole_diffusion.models.diffmm.graph_export import write_graphs
from recbole_diffusion.models.diffmm.model import DiffMM
from recbole_diffusion.runs.quick_start import load_run


def export_graphs(
    folder: str | Path,
    output: str | Path,
    n_users: int = 8,
    seed: int = 0,
    config_dict: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write the generated graphs of a run's best epoch; see ``write_graphs``.

    Args:
        folder: Of a run of DiffMM.
        output: Folder of the files, made if missing.
        n_users: Users drawn for the picture.
        seed: Of that draw.
        config_dict: As for ``load_run``.

    Returns:
        The files written.

    Raises:
        UserError: Not a run of DiffMM with a best epoch, a file that is there already, or no
            matplotlib.
    """
    model, data = load_run(folder, config_dict)
    if not isinstance(model, DiffMM):
        raise UserError(
            f"graph_export: {folder}: found a run of {type(model).__name__}, expected DiffMM"
        )
    return write_graphs(model, data, output, n_users, seed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Command-line words after the program's name; None reads ``sys.argv``.

    Returns:
        0 on success, 2 on bad input (one paragraph on stderr), 130 on Ctrl-C.
    """
    return exit_code(lambda: _export_and_tell(_parser().parse_args(arguments)))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m recbole_diffusion.graph_export",
        description="Write the generated graphs of a DiffMM run as tables and pictures.",
    )
    parser.add_argument("run", help="folder of the run")
    parser.add_argument("--output", required=True, help="folder of the files")
    parser.add_argument("--users", type=int, default=8, help="drawn (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: %(default)s)")
    parser.add_argument("--data_path", help="folder of data sets, in place of the run's")
    return parser


def _export_and_tell(args: argparse.Namespace) -> None:
    place = {"data_path": args.data_path} if args.data_path else {}
    for path in export_graphs(args.run, args.output, args.users, args.seed, place):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    sys.exit(main())
