"""``python -m recbole_diffusion.graph_export``: the graphs of a DiffMM run."""

import sys

from recbole_diffusion.commands.graph_export import export_graphs, main

__all__ = ["export_graphs", "main"]

if __name__ == "__main__":
    sys.exit(main())
