"""XSimGCL (TKDE 2023): a contrast of two layers of one noisy convolution."""

from recbole_diffusion.settings.about import About

MODELS = {
    "XSimGCL": {
        "about": About("contrast", "interactions", "TKDE 2023"),
        "model": ".model:XSimGCL",
        "trainer": "recbole_diffusion.training.trainer:DiffusionTrainer",
        "settings": ".settings:XSimGCLSettings",
    },
}
