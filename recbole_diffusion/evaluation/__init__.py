"""How runs are ranked and measured, tested and grouped."""
