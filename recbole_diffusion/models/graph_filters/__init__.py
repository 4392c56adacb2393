"""Rivals that filter a user's row by the graph of items, without training.

GF-CF (CIKM 2021), BSPM (SIGIR 2023) and Turbo-CF (SIGIR 2024).
"""

_TRAINER = "recbole_diffusion.training.solved:SolvedTrainer"
MODELS = {
    "GFCF": {
        "model": ".gfcf:GFCF",
        "trainer": _TRAINER,
        "settings": ".settings:GFCFSettings",
    },
    "BSPM": {
        "model": ".bspm:BSPM",
        "trainer": _TRAINER,
        "settings": ".settings:BSPMSettings",
    },
    "TurboCF": {
        "model": ".turbocf:TurboCF",
        "trainer": _TRAINER,
        "settings": ".settings:TurboCFSettings",
    },
}
