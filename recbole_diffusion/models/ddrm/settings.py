"""Keys of DDRM; symbols are those of the paper."""

from recbole_diffusion.settings.schema import key
from recbole_diffusion.settings.shared import LightGCNStage, NoiseSchedule, Training


class DDRMSettings(
    NoiseSchedule,
    LightGCNStage,
    Training,
    defaults={
        "noise_schedule": "linear-var",
        "noise_scale": 0.01,
        "noise_min": 1e-4,
        "noise_max": 1e-3,
    },
):
    """Keys of DDRM."""

    learning_rate: float = key(0.001, "of the denoisers", within=">= 0")
    embedding_learning_rate: float = key(
        1e-5, "of the embeddings, which begin as LightGCN's", within=">= 0"
    )
    embedding_size: int = key(64, "d, width of LightGCN's embeddings", within="1..2^20")
    pretrained_user_embedding: str | None = key(
        None, "file of user embeddings in place of LightGCN's"
    )
    pretrained_item_embedding: str | None = key(None, "the same for items; both or none are given")
    hidden_sizes: list[int] = key(
        [200],
        "of each denoiser, from its input on",
        within="1..2^20",
        section="Denoisers",
    )
    step_embedding_size: int = key(10, "width of the step's embedding", within="2..2^20")
    steps: int = key(50, "T", within="1..2^20", section="Diffusion")
    sampling_steps: int = key(
        50,
        "T', steps forward and back from the mean of a user's items",
        within="1..steps",
    )
    reconstruction_weight: float = key(
        0.1,
        "lambda, of the reconstruction; 1 - lambda is that of BPR",
        within="[0, 1]",
        section="Loss",
    )
    reweight_power: float = key(
        0.0,
        "gamma; a pair's loss times sigmoid(score)^gamma; 0: all pairs alike",
        within=">= 0",
    )
