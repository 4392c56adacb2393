"""SimDiff."""

MODELS = {
    "SimDiff": {
        "model": ".model:SimDiff",
        "trainer": ".trainer:SimDiffTrainer",
        "figures": ".figures:draw",
    },
}
