"""Place of one command; called, it is the function ``recbole_diffusion.analyze``."""

import sys

from recbole_diffusion.base.places import CommandPlace

sys.modules[__name__].__class__ = CommandPlace
