"""Keys of DiffRec, T-DiffRec, L-DiffRec and LT-DiffRec."""

from typing import Literal

from recbole_diffusion.settings.schema import Settings, key
from recbole_diffusion.settings.shared import LightGCNStage, Training


class DiffRecSettings(Training, defaults={"epochs": 1000, "stopping_step": 3}):
    """Keys of DiffRec; symbols are those of Wang et al. 2023."""

    train_batch_size: int = key(400, "users a step", within="> 0")
    eval_step: int = key(5, "epochs between two validations", within=">= 0")
    hidden_sizes: list[int] = key(
        [200, 600],
        "from the middle outwards: n -> 600 -> 200 -> 600 -> n",
        within="1..2^20",
        section="Denoiser",
    )
    step_embedding_size: int = key(10, "width of the step's embedding", within="2..2^20")
    dropout: float = key(0.5, "of the noisy row", within="[0, 1)")
    norm: bool = key(False, "divide the noisy row by its length")
    noise_schedule: Literal["linear", "linear-var"] = key(
        "linear-var",
        "exp, cosine and sqrt read no noise_*",
        section="Diffusion",
    )
    steps: int = key(5, "T", within="1..2^20")
    noise_scale: float = key(0.1, "s in Eq. 4; 0 means no noise", within=">= 0")
    noise_min: float = key(0.001, "alpha_min in Eq. 4", within="> 0")
    noise_max: float = key(0.02, "alpha_max in Eq. 4", within="> 0")
    first_beta: float | None = key(
        1e-5,
        "replaces the first step's beta; null keeps it",
        within="[1e-12, 1]",
    )
    mean_type: Literal["x0", "eps"] = key("x0", "what the denoiser predicts")
    reweight: bool = key(True, "weigh steps by their signal-to-noise ratios (Eq. 11-12)")
    use_half_snr: bool = key(
        False,
        "with the factor 1/2 of Eq. 11; false: without, as the authors' code; of "
        "reweight, with mean_type: x0",
    )
    importance_sampling: bool = key(
        True,
        "draw steps by their last losses (Eq. 14), else uniformly",
    )
    sampling_steps: int = key(
        0,
        "T' of Algorithm 2: forward steps before the reverse",
        within="0..steps",
        section="Inference",
    )
    sampling_noise: bool = key(False, "add noise in the reverse steps")
    respaced_steps: int | None = key(
        None,
        "reverse steps that are taken; null means all",
        within="1..steps",
    )


class RecencySettings(Settings):
    """Of rows whose later interactions weigh more (section 3.6)."""

    recency: Literal["linear", "power", "exponential"] = key(
        "linear",
        "linear is the paper's: w_min to w_max",
        section="Weights by age (section 3.6)",
    )
    recency_decay: float = key(
        0.75,
        "power: (1 + age)^-decay, exponential: exp(-decay * age); age is the number of "
        "later interactions of the same user",
        within=">= 0",
    )
    w_min: float = key(0.1, "value of a user's first interaction", within="[0, w_max]")
    w_max: float = key(1.0, "value of the last", within="> 0")


class TDiffRecSettings(RecencySettings, DiffRecSettings):
    """Keys of T-DiffRec; symbols are those of Wang et al. 2023."""


class LDiffRecSettings(
    LightGCNStage, DiffRecSettings, defaults={"pretrain_stopping_step": 3, "first_beta": None}
):
    """Keys of L-DiffRec; symbols are those of Wang et al. 2023."""

    learning_rate: float = key(0.001, "of the autoencoder", within=">= 0")
    denoiser_learning_rate: float = key(0.0005, within=">= 0")
    n_clusters: int = key(
        2,
        "C, at most the number of items; 1 needs no embeddings",
        within="1..2^20",
        section="Clusters of items (section 3.5): by k-means on item embeddings",
    )
    embedding_size: int = key(64, "width of LightGCN's embeddings", within="1..2^20")
    encoder_sizes: list[int] = key(
        [300],
        "from the latent outwards: n -> 300; divided among the clusters by their numbers of items",
        within="n_clusters..2^20",
        section="Autoencoder",
    )
    decoder_sizes: list[int] = key(
        [],
        "hidden layers from the latent outwards: 300 -> n",
        within="1..2^20",
    )
    split_decoder: bool = key(
        False,
        "one decoder a cluster, which reads its own part of the latent",
    )
    split_likelihood: bool = key(
        False,
        "one likelihood a cluster (Eq. 15); false: one over all items",
    )
    encoder_dropout: float = key(0.1, "of the row's interactions", within="[0, 1)")
    lamda: float = key(
        0.03,
        "lambda, weight of the diffusion (with reweight: false, of the autoencoder) in "
        "the first epoch",
        within=">= 0",
        section="Loss",
    )
    lamda_min: float = key(0.005, "its least value", within=">= 0")
    lamda_anneal_epochs: int = key(
        500,
        "epochs in which it would fall to 0; 0: it does not fall",
        within=">= 0",
    )
    kl_weight: float = key(0.3, "gamma", within=">= 0")
    kl_anneal_updates: int = key(
        200,
        "updates in which it would rise to 1; 0: it does not rise",
        within=">= 0",
    )
    hidden_sizes: list[int] = key(
        [300],
        "from the middle outwards: 300 -> 300 -> 300",
        within="1..2^20",
        section="Diffusion of the latent",
    )
    dropout: float = key(0.5, "of the noisy latent", within="[0, 1)")
    norm: bool = key(False, "divide the noisy latent by its length")


class LTDiffRecSettings(RecencySettings, LDiffRecSettings):
    """Keys of LT-DiffRec; symbols are those of Wang et al. 2023."""
