"""LinDiffRec: a linear diffusion that is solved, not trained."""

from recbole_diffusion.settings.about import About

MODELS = {
    "LinDiffRec": {
        "about": About("diffusion", "interactions, features, order", "this package"),
        "model": ".model:LinDiffRec",
        "trainer": "recbole_diffusion.training.solved:SolvedTrainer",
        "settings": ".settings:LinDiffRecSettings",
        "figures": ".figures:draw",
    },
}
