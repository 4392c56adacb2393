"""InfoDCL (KDD 2026)."""

from recbole_diffusion.settings.about import About

MODELS = {
    "InfoDCL": {
        "about": About("diffusion", "interactions, features", "KDD 2026"),
        "model": ".model:InfoDCL",
        "trainer": "recbole_diffusion.training.channels:ChannelTrainer",
        "settings": ".settings:InfoDCLSettings",
        "figures": ".figures:draw",
    },
}
