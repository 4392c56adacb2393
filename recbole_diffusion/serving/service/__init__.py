"""The HTTP service of the command ``serve``."""
