"""DiffMM (MM 2024)."""

MODELS = {
    "DiffMM": {
        "model": ".model:DiffMM",
        "trainer": ".trainer:DiffMMTrainer",
        "settings": ".settings:DiffMMSettings",
    },
}
