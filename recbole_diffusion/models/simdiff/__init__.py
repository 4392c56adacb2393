"""SimDiff."""
