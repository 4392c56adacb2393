"""``python -m recbole_diffusion.data.encode``: the command that encodes texts."""

import sys
from importlib import import_module

if __name__ == "__main__":
    sys.exit(import_module("recbole_diffusion.commands.encode").main())
