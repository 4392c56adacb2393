"""What every other folder may use: errors, whole files and locks, seeds, the log."""
