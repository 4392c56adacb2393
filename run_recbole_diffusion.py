"""Train and evaluate a model: ``python run_recbole_diffusion.py --help``."""

import sys

from recbole_diffusion.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
