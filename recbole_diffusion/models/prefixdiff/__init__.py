"""PrefixDiff: an absorbing diffusion along a history."""

MODELS = {
    "PrefixDiff": {
        "model": ".model:PrefixDiff",
        "trainer": ".trainer:PrefixDiffTrainer",
        "settings": ".settings:PrefixDiffSettings",
        "figures": ".figures:draw",
    },
}
