"""LD4MRec."""

from recbole_diffusion.settings.about import About

MODELS = {
    "LD4MRec": {
        "about": About("diffusion", "interactions, features", "arXiv 2309.15363"),
        "model": ".model:LD4MRec",
        "trainer": "recbole_diffusion.training.rows:RowTrainer",
        "settings": ".settings:LD4MRecSettings",
    },
}
