"""InfoDCL (KDD 2026)."""

MODELS = {
    "InfoDCL": {
        "model": ".model:InfoDCL",
        "trainer": "recbole_diffusion.training.channels:ChannelTrainer",
        "figures": ".figures:draw",
    },
}
