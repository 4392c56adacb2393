"""``python -m recbole_diffusion.data.convert``: the command that converts data."""

import sys
from importlib import import_module

if __name__ == "__main__":
    sys.exit(import_module("recbole_diffusion.commands.convert").main())
