"""LinDiffRec: a linear diffusion that is solved, not trained."""

MODELS = {
    "LinDiffRec": {
        "model": ".model:LinDiffRec",
        "trainer": "recbole_diffusion.training.solved:SolvedTrainer",
        "settings": ".settings:LinDiffRecSettings",
        "figures": ".figures:draw",
    },
}
