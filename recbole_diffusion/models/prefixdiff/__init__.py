"""PrefixDiff: an absorbing diffusion along a history."""

from recbole_diffusion.settings.about import About

MODELS = {
    "PrefixDiff": {
        "about": About("diffusion", "interactions, features, order", "this package"),
        "model": ".model:PrefixDiff",
        "trainer": ".trainer:PrefixDiffTrainer",
        "settings": ".settings:PrefixDiffSettings",
        "figures": ".figures:draw",
    },
}
