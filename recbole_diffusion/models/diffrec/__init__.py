"""DiffRec, T-DiffRec, L-DiffRec and LT-DiffRec (SIGIR 2023)."""

from recbole_diffusion.settings.about import About

MODELS = {
    "DiffRec": {
        "about": About("diffusion", "interactions", "SIGIR 2023"),
        "model": ".model:DiffRec",
        "trainer": "recbole_diffusion.training.rows:RowTrainer",
        "settings": ".settings:DiffRecSettings",
    },
    "TDiffRec": {
        "about": About("diffusion", "interactions, order", "SIGIR 2023"),
        "model": ".model:TDiffRec",
        "trainer": "recbole_diffusion.training.rows:RowTrainer",
        "settings": ".settings:TDiffRecSettings",
    },
    "LDiffRec": {
        "about": About("diffusion", "interactions", "SIGIR 2023"),
        "model": ".latent:LDiffRec",
        "trainer": ".trainer:LDiffRecTrainer",
        "settings": ".settings:LDiffRecSettings",
    },
    "LTDiffRec": {
        "about": About("diffusion", "interactions, order", "SIGIR 2023"),
        "model": ".latent:LTDiffRec",
        "trainer": ".trainer:LDiffRecTrainer",
        "settings": ".settings:LTDiffRecSettings",
    },
}
