"""Keys that several models read."""

from typing import Literal

from recbole_diffusion.settings.kinds import LEARNERS, Kind
from recbole_diffusion.settings.schema import Settings, key

LEARNER = Kind((str,), choices=LEARNERS, any_case=True)
ADAM = Kind((str,), choices=("adam", "adamw"), any_case=True)


class Training(Settings):
    """Of models that are trained."""

    learner: str = key("adamw", kind=LEARNER)
    learning_rate: float = key(1e-3, within=">= 0")
    weight_decay: float = key(0.0, within="[0, 1e6]")
    train_batch_size: int = key(2048, "interactions a step", within="> 0")
    epochs: int = key(300, "at most this many", within=">= 0")
    eval_step: int = key(1, "epochs between two validations; 0 means none", within=">= 0")
    stopping_step: int = key(
        10,
        "validations without a better score that are let pass",
        within=">= 0",
    )


class LightGCNStage(Settings):
    """Of models that begin with embeddings of LightGCN."""

    pretrained_item_embedding: str | None = key(
        None, "file of item embeddings in place of LightGCN's", section="Embeddings of LightGCN"
    )
    pretrain_epochs: int = key(200, "at most this many epochs of LightGCN", within="> 0")
    pretrain_batch_size: int = key(2048, "interactions a step", within="> 0")
    pretrain_learning_rate: float = key(0.005, within=">= 0")
    pretrain_n_layers: int = key(3, within="1..1000")
    pretrain_reg_weight: float = key(1e-4, within=">= 0")
    pretrain_stopping_step: int = key(5, "as stopping_step", within=">= 0")


class ChannelStage(LightGCNStage):
    """Of models that know items by channels, some of them graphs."""

    pretrained_user_embedding: str | None = key(
        None, "file of base embeddings in place of LightGCN's"
    )
    pretrained_item_embedding: str | None = key(None, "the same for items; both or none are used")
    n_neighbors: int = key(20, "most similar items of the knowledge channel", within="1..2^20")


class NoiseSchedule(Settings):
    """Of diffusion of embeddings."""

    noise_schedule: Literal["linear", "linear-var", "exp", "cosine", "sqrt"] = key(
        "exp", section="Noise schedule"
    )
    beta_start: float = key(0.1, "exp schedule", within=">= 0")
    beta_end: float = key(10.0, "exp schedule", within=">= beta_start")
    noise_scale: float = key(0.1, "linear and linear-var schedules", within="> 0")
    noise_min: float = key(1e-4, "linear and linear-var schedules", within="> 0")
    noise_max: float = key(0.02, "linear and linear-var schedules", within="> noise_min")
