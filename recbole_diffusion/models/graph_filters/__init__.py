"""Rivals that filter a user's row by the graph of items, without training.

from recbole_diffusion.settings.about import About

GF-CF (CIKM 2021), BSPM (SIGIR 2023) and Turbo-CF (SIGIR 2024).
"""

from recbole_diffusion.settings.about import About

_TRAINER = "recbole_diffusion.training.solved:SolvedTrainer"
MODELS = {
    "GFCF": {
        "about": About("graph filters", "interactions", "CIKM 2021"),
        "model": ".gfcf:GFCF",
        "trainer": _TRAINER,
        "settings": ".settings:GFCFSettings",
    },
    "BSPM": {
        "about": About("graph filters", "interactions", "SIGIR 2023"),
        "model": ".bspm:BSPM",
        "trainer": _TRAINER,
        "settings": ".settings:BSPMSettings",
    },
    "TurboCF": {
        "about": About("graph filters", "interactions", "SIGIR 2024"),
        "model": ".turbocf:TurboCF",
        "trainer": _TRAINER,
        "settings": ".settings:TurboCFSettings",
    },
}
