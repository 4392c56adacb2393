"""DDRM (SIGIR 2024): embeddings of LightGCN, noised and denoised, each guided by the other side."""

from recbole_diffusion.settings.about import About

MODELS = {
    "DDRM": {
        "about": About("diffusion", "interactions", "SIGIR 2024"),
        "model": ".model:DDRM",
        "trainer": ".trainer:DDRMTrainer",
        "settings": ".settings:DDRMSettings",
    },
}
