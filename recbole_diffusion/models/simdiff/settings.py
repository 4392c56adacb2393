"""Keys of SimDiff."""

from typing import Literal

from recbole_diffusion.settings.schema import key
from recbole_diffusion.settings.shared import ADAM, ChannelStage, NoiseSchedule, Training


class SimDiffSettings(NoiseSchedule, ChannelStage, Training, defaults={"stopping_step": 30}):
    """Keys of SimDiff, with symbols of the paper.

    The defaults are, but for the learning rate, those that validation picked among ten on
    Amazon-Office with text.
    """

    embedding_size: int = key(
        64, "d, width of user and item embeddings", within="2..2^20", section="Embeddings"
    )
    embedding_std: float | None = key(
        0.1,
        "N(0, std^2) start, as the authors' code; null: Xavier",
        within="[1e-6, 1e6]",
    )
    learner: str = key("adam", kind=ADAM)
    learning_rate: float = key(
        0.01,
        ".02 is better on Office, and diverged on MicroLens",
        within=">= 0",
    )
    weight_decay: float = key(0.0, "on all parameters, decoupled with adamw", within="[0, 1e6]")
    channels: list[str] | None = key(
        None,
        "names under item_features, social, knowledge; null: all of the data set's "
        "item_features, or [knowledge] where it has none",
        section="Guide (section V-A): item features, or a graph channel of InfoDCL",
    )
    guide_fusion: Literal["concat", "mean"] = key(
        "concat",
        "concat: one MLP of several channels, mean: mean of one each",
    )
    alignment_hidden_size: int | None = key(
        64,
        "hidden layer of Eq. 2's MLP; null: one linear layer",
        within="1..2^20",
    )
    pretrain_epochs: int = key(
        200,
        "at most this many epochs of LightGCN, for graph channels",
        within="> 0",
    )
    use_diffusion: bool = key(
        True,
        "false: BPR on the embeddings only, the control",
        section="Generation (section V-B)",
    )
    latent: Literal["mixed", "guide", "item", "noise"] = key(
        "mixed",
        "X_T; mixed: Eq. 3, noise: w/o modal",
    )
    target: Literal["item", "mixed", "pretrained"] = key(
        "item",
        "mixed: item + guide, pretrained: LightGCN's, fixed",
    )
    injection_ratio: float = key(0.6, "psi, share of the item embedding in X_T", within="[0, 1]")
    denoiser_hidden_size: int | None = key(
        None,
        "hidden layer of the denoiser; null: one linear layer",
        within="1..2^20",
    )
    steps: int = key(100, "T", within="1..2^20")
    guidance_scale: float = key(0.0, "w of classifier-free guidance", within=">= 0")
    guide_dropout: float = key(
        0.1,
        "share of rows without guide, with guidance only",
        within="[0, 1)",
    )
    bpr_weight: float = key(
        0.9,
        "alpha_1; reconstruction has the rest",
        within="[0, 1]",
        section="Objective (Eq. 10)",
    )
    reg_weight: float = key(0.001, "alpha_2", within=">= 0")
    balance_weight: float = key(0.3, "weight of Eq. 8; 0: w/o CTO", within=">= 0")
    reconstruction_reduction: Literal["element", "row"] = key(
        "element",
        "element: squares averaged over rows and dimensions, as the authors' code; row:"
        " squared norm of a row (Eq. 6), mean over rows",
    )
    balance_form: Literal["squared", "norm"] = key(
        "squared",
        "squared: squares / batch, as the authors' code; norm: Eq. 8, under which the "
        "steps of generation blow up",
    )
    n_layers: int = key(
        1,
        "graph convolutions",
        within="0..1000",
        section="Inference (section V-C)",
    )
    reverse_step: Literal["posterior", "direct"] = key(
        "posterior",
        "posterior: the mean of Eq. 5's posterior, as the authors' code; direct: the "
        "output is the next state (Eq. 4), which overflows where 200 powers of a "
        "learned matrix do",
    )
    respaced_steps: int | None = key(None, "number of steps taken; null: all", within="1..steps")
    sampling_noise: bool = key(False, "noise after each posterior step but the last")
