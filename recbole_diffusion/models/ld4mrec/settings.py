"""Keys of LD4MRec."""

from typing import Literal

from recbole_diffusion.settings.schema import key
from recbole_diffusion.settings.shared import Training


class LD4MRecSettings(Training, defaults={"learner": "adam", "epochs": 1000, "stopping_step": 20}):
    """Keys of LD4MRec, with symbols of the paper."""

    learning_rate: float = key(0.001, "the paper gives none", within=">= 0")
    train_batch_size: int = key(400, "users a step", within="> 0")
    steps: int = key(
        10,
        "T; the paper gives none",
        within="1..2^20",
        section="Light diffusion (section 4)",
    )
    noise_scale: float = key(0.1, "s in Eq. 3, the noise of the last step", within="(0, 1]")
    noise_min: float = key(
        0.0001,
        "alpha_min in Eq. 3, the first step's share of it",
        within="(0, 1)",
    )
    importance_sampling: bool = key(True, "draw steps by their last losses (Eq. 8), else uniformly")
    soft_label_prob: float = key(
        0.01,
        "p; share of labels that are softened; 0: w/o SR",
        within="[0, 1]",
    )
    soft_label_shift: float = key(
        0.01,
        "gamma in Eq. 7; how far these are moved",
        within="[0, 0.5]",
    )
    embedding_std: float | None = key(
        1.0,
        "N(0, std^2) start of the users' z_in; null: Xavier",
        within="[1e-6, 1e6]",
    )
    sampling_steps: int = key(
        0,
        "forward steps before the scores; 0: forward-free",
        within="0..steps",
    )
    hidden_size: int = key(1000, "d", within="1..2^20", section="C-Net (section 5)")
    step_embedding_size: int = key(10, "d_forward", within="2..2^20")
    activation: Literal["tanh", "sigmoid", "leaky_relu"] = key("tanh", "sigma in Eq. 18-19")
    use_collaboration: bool = key(True, "false: w/o CG, Eq. 18 alone")
    preference_hidden_size: int = key(
        64,
        "hidden width of MLP_1 and MLP_2; the paper gives none",
        within="1..2^20",
    )
    svd_rank: int = key(
        100,
        "d_svd; the rank of the train matrix where that is lower",
        within="1..2^20",
    )
    modalities: list[str] | None = key(
        None,
        "names under item_features, in the order of their PG blocks; null: all of the "
        "data set's; []: w/o PG",
    )
