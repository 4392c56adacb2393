"""SimDiff."""

from recbole_diffusion.settings.about import About

MODELS = {
    "SimDiff": {
        "about": About("diffusion", "interactions, features", "preprint"),
        "model": ".model:SimDiff",
        "trainer": ".trainer:SimDiffTrainer",
        "settings": ".settings:SimDiffSettings",
        "figures": ".figures:draw",
    },
}
