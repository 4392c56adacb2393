"""What takes several runs: comparisons, searches, and figures of both."""
