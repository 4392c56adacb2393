"""iALS (ICDM 2008): matrix factorisation of all pairs, by the package implicit."""

from recbole_diffusion.settings.about import About

MODELS = {
    "IALS": {
        "about": About("factorisation", "interactions", "ICDM 2008"),
        "model": ".model:IALS",
        "trainer": "recbole_diffusion.training.solved:SolvedTrainer",
        "settings": ".settings:IALSSettings",
    },
}
