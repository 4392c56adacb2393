"""Rivals that know item features.

VBPR (AAAI 2016), BM3 (WWW 2023), FREEDOM and MGCN (MM 2023), LGMRec (AAAI 2024).
"""

from recbole_diffusion.settings.about import About

_TRAINER = "recbole_diffusion.training.trainer:DiffusionTrainer"
MODELS = {
    "VBPR": {
        "about": About("features of items", "interactions, features", "AAAI 2016"),
        "model": ".vbpr:VBPR",
        "trainer": _TRAINER,
        "settings": ".settings:VBPRSettings",
    },
    "BM3": {
        "about": About("features of items", "interactions, features", "WWW 2023"),
        "model": ".bm3:BM3",
        "trainer": _TRAINER,
        "settings": ".settings:BM3Settings",
    },
    "FREEDOM": {
        "about": About("features of items", "interactions, features", "MM 2023"),
        "model": ".freedom:FREEDOM",
        "trainer": ".freedom:FREEDOMTrainer",
        "settings": ".settings:FREEDOMSettings",
    },
    "MGCN": {
        "about": About("features of items", "interactions, features", "MM 2023"),
        "model": ".mgcn:MGCN",
        "trainer": _TRAINER,
        "settings": ".settings:MGCNSettings",
    },
    "LGMRec": {
        "about": About("features of items", "interactions, features", "AAAI 2024"),
        "model": ".lgmrec:LGMRec",
        "trainer": _TRAINER,
        "settings": ".settings:LGMRecSettings",
    },
}
