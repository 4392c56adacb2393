"""SimDiff."""

MODELS = {
    "SimDiff": {
        "model": ".model:SimDiff",
        "trainer": ".trainer:SimDiffTrainer",
        "settings": ".settings:SimDiffSettings",
        "figures": ".figures:draw",
    },
}
