"""Keys of GiffCF; symbols are those of the paper."""

from recbole_diffusion.settings.schema import key
from recbole_diffusion.settings.shared import Training


class GiffCFSettings(Training, defaults={"epochs": 500, "stopping_step": 30}):
    """Keys of GiffCF."""

    train_batch_size: int = key(64, "users a step", within="> 0")
    steps: int = key(3, "T, of the diffusion", within="1..1000", section="Diffusion")
    smoothing: float = key(
        1.0, "alpha, how far step T is from a row to the smoothed row", within="> 0"
    )
    svd_rank: int = key(
        200, "singular vectors that the ideal low-pass filter keeps", within="1..2^20"
    )
    ideal_weight: float = key(
        0.3, "omega, of the ideal low-pass filter beside the graph of items; 0: none", within=">= 0"
    )
    noise_scale: float = key(0.0, "sigma_T, of the Gaussian noise at step T", within=">= 0")
    noise_decay: float = key(
        1.0, "sigma_(t-1) / sigma_t, and what a reverse step keeps of an error", within="[0, 1]"
    )
    embedding_size: int = key(200, "d, width of the items", within="1..2^20", section="Network")
    mixer_size: int = key(8, "hidden units that mix the signals of an entry", within="1..1024")
    step_embedding_size: int = key(20, "width of the steps' embeddings", within="2..2^20")
    smoothed_history: bool = key(
        True, "whether the second stage sees the history after the graph, beside the history"
    )
    dropout: float = key(
        0.5, "share of a row's items that training hides from the network", within="[0, 1)"
    )
