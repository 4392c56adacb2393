"""``python -m recbole_diffusion``: the command line."""

import sys

from recbole_diffusion.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
