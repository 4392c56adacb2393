"""DiffRec, T-DiffRec, L-DiffRec and LT-DiffRec (SIGIR 2023)."""

MODELS = {
    "DiffRec": {
        "model": ".model:DiffRec",
        "trainer": "recbole_diffusion.training.rows:RowTrainer",
        "settings": ".settings:DiffRecSettings",
    },
    "TDiffRec": {
        "model": ".model:TDiffRec",
        "trainer": "recbole_diffusion.training.rows:RowTrainer",
        "settings": ".settings:TDiffRecSettings",
    },
    "LDiffRec": {
        "model": ".latent:LDiffRec",
        "trainer": ".trainer:LDiffRecTrainer",
        "settings": ".settings:LDiffRecSettings",
    },
    "LTDiffRec": {
        "model": ".latent:LTDiffRec",
        "trainer": ".trainer:LDiffRecTrainer",
        "settings": ".settings:LTDiffRecSettings",
    },
}
