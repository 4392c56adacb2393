"""DiffRec, T-DiffRec, L-DiffRec and LT-DiffRec (SIGIR 2023)."""

MODELS = {
    "DiffRec": {
        "model": ".model:DiffRec",
        "trainer": "recbole_diffusion.training.rows:RowTrainer",
    },
    "TDiffRec": {
        "model": ".model:TDiffRec",
        "trainer": "recbole_diffusion.training.rows:RowTrainer",
    },
    "LDiffRec": {
        "model": ".latent:LDiffRec",
        "trainer": ".trainer:LDiffRecTrainer",
    },
    "LTDiffRec": {
        "model": ".latent:LTDiffRec",
        "trainer": ".trainer:LDiffRecTrainer",
    },
}
