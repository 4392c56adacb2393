"""InfoDCL (KDD 2026)."""

MODELS = {
    "InfoDCL": {
        "model": ".model:InfoDCL",
        "trainer": "recbole_diffusion.training.channels:ChannelTrainer",
        "settings": ".settings:InfoDCLSettings",
        "figures": ".figures:draw",
    },
}
