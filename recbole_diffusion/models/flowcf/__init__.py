"""FlowCF (KDD 2025): discrete flow matching from items' popularity to users' rows."""

from recbole_diffusion.settings.about import About

MODELS = {
    "FlowCF": {
        "about": About("flow", "interactions", "KDD 2025"),
        "model": ".model:FlowCF",
        "trainer": "recbole_diffusion.training.rows:RowTrainer",
        "settings": ".settings:FlowCFSettings",
    },
}
