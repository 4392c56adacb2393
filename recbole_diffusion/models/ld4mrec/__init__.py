"""LD4MRec."""
