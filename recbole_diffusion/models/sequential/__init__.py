"""SASRec (ICDM 2018) and GRU4Rec (ICLR 2016): rivals that know the order."""

from recbole_diffusion.settings.about import About

MODELS = {
    "SASRec": {
        "about": About("sequences", "interactions, order", "ICDM 2018"),
        "model": ".model:SASRec",
        "trainer": "recbole_diffusion.training.rows:RowTrainer",
        "settings": ".settings:SASRecSettings",
    },
    "GRU4Rec": {
        "about": About("sequences", "interactions, order", "ICLR 2016"),
        "model": ".model:GRU4Rec",
        "trainer": "recbole_diffusion.training.rows:RowTrainer",
        "settings": ".settings:GRU4RecSettings",
    },
}
