"""One run, from settings to its table, and its folder."""
