"""DiffMM (MM 2024)."""
