"""Keys of CF-Diff."""

from recbole_diffusion.settings.schema import key
from recbole_diffusion.settings.shared import NoiseSchedule, Training


class CFDiffSettings(
    NoiseSchedule,
    Training,
    defaults={
        "epochs": 500,
        "stopping_step": 4,
        "noise_schedule": "linear-var",
        "noise_scale": 0.1,
        "noise_min": 0.001,
        "noise_max": 0.02,
    },
):
    """Keys of CF-Diff."""

    train_batch_size: int = key(100, "users a step", within="> 0")
    eval_step: int = key(5, "epochs between two validations", within=">= 0")
    steps: int = key(5, "T", within="1..2^20", section="Diffusion")
    sampling_steps: int = key(5, "T', reverse steps from the user's row itself", within="1..steps")
    hops: list[int] = key(
        [2, 3],
        "whose vectors attend to the row: 2, the users who share items; 3, the items of "
        "these; []: the row attends to itself",
        within="2..3",
        section="Network",
    )
    latent_size: int = key(128, "k, numbers that a row is encoded to", within="2..2^20")
    token_size: int = key(16, "d, width of the token of each", within="1..2^20")
    n_layers: int = key(2, "L, of cross-attention", within=">= 0")
    dropout: float = key(0.5, "of the noisy row", within="[0, 1)")
