"""LinDiffRec: a linear diffusion that is solved, not trained."""
