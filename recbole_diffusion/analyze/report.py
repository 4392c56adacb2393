"""``python -m recbole_diffusion.analyze.report``: the page of a comparison."""

import sys
from importlib import import_module

if __name__ == "__main__":
    sys.exit(import_module("recbole_diffusion.studies.compare.report").main())
