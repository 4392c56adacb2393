"""SASRec (ICDM 2018) and GRU4Rec (ICLR 2016): rivals that know the order."""

MODELS = {
    "SASRec": {
        "model": ".model:SASRec",
        "trainer": "recbole_diffusion.training.rows:RowTrainer",
        "settings": ".settings:SASRecSettings",
    },
    "GRU4Rec": {
        "model": ".model:GRU4Rec",
        "trainer": "recbole_diffusion.training.rows:RowTrainer",
        "settings": ".settings:GRU4RecSettings",
    },
}
