"""LD4MRec."""

MODELS = {
    "LD4MRec": {
        "model": ".model:LD4MRec",
        "trainer": "recbole_diffusion.training.rows:RowTrainer",
        "settings": ".settings:LD4MRecSettings",
    },
}
