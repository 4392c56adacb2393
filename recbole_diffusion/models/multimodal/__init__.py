"""Rivals that know item features: VBPR (AAAI 2016), BM3 (WWW 2023) and FREEDOM (MM 2023)."""

_TRAINER = "recbole_diffusion.training.trainer:DiffusionTrainer"
MODELS = {
    "VBPR": {"model": ".vbpr:VBPR", "trainer": _TRAINER, "settings": ".settings:VBPRSettings"},
    "BM3": {"model": ".bm3:BM3", "trainer": _TRAINER, "settings": ".settings:BM3Settings"},
    "FREEDOM": {
        "model": ".freedom:FREEDOM",
        "trainer": ".freedom:FREEDOMTrainer",
        "settings": ".settings:FREEDOMSettings",
    },
}
