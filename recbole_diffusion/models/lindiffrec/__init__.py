"""LinDiffRec: a linear diffusion that is solved, not trained."""

MODELS = {
    "LinDiffRec": {
        "model": ".model:LinDiffRec",
        "trainer": ".trainer:LinDiffRecTrainer",
        "settings": ".settings:LinDiffRecSettings",
        "figures": ".figures:draw",
    },
}
