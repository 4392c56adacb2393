"""DiffRec, T-DiffRec, L-DiffRec and LT-DiffRec (SIGIR 2023)."""
