"""Parts that models are made of: rows, graphs, layers, losses."""
