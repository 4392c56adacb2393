"""GiffCF (SIGIR 2024): rows are smoothed by the graph of items, and a network sharpens them."""

from recbole_diffusion.settings.about import About

MODELS = {
    "GiffCF": {
        "about": About("diffusion", "interactions", "SIGIR 2024"),
        "model": ".model:GiffCF",
        "trainer": "recbole_diffusion.training.rows:RowTrainer",
        "settings": ".settings:GiffCFSettings",
    },
}
