"""DiffMM (MM 2024)."""

from recbole_diffusion.settings.about import About

MODELS = {
    "DiffMM": {
        "about": About("diffusion", "interactions, features", "MM 2024"),
        "model": ".model:DiffMM",
        "trainer": ".trainer:DiffMMTrainer",
        "settings": ".settings:DiffMMSettings",
    },
}
