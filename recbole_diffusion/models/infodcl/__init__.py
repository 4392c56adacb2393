"""InfoDCL (KDD 2026)."""
