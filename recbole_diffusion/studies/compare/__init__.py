"""Fair comparisons: models on one split, over seeds, with tests and tables."""
