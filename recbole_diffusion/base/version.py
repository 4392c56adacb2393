"""The version that is installed, which git's tags gave it."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("recbole_diffusion")
except PackageNotFoundError:  # imported from a clone that is not installed
    __version__ = "0+unknown"
