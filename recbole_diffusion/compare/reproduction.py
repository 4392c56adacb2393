"""``python -m recbole_diffusion.compare.reproduction``: the page of our numbers."""

import sys
from importlib import import_module

if __name__ == "__main__":
    sys.exit(import_module("recbole_diffusion.studies.compare.reproduction").main())
