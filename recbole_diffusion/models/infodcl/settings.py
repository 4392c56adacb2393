"""Keys of InfoDCL."""

from typing import Literal

from recbole_diffusion.settings.schema import key
from recbole_diffusion.settings.shared import ADAM, ChannelStage, NoiseSchedule, Training


class InfoDCLSettings(
    NoiseSchedule, ChannelStage, Training, defaults={"learning_rate": 0.005, "stopping_step": 20}
):
    """Keys of InfoDCL; symbols are those of Liang et al. 2026."""

    embedding_size: int = key(
        64, "d, width of user and item embeddings", within="1..2^20", section="Embeddings"
    )
    embedding_std: float | None = key(
        None,
        "N(0, std^2) start; null: Xavier, as the paper",
        within="[1e-6, 1e6]",
    )
    learner: str = key("adam", kind=ADAM)
    channels: list[str] | None = key(
        ["social", "knowledge"],
        "social, knowledge, or names under item_features; [knowledge] is InfoDCL-S, "
        "[social, knowledge] InfoDCL-D",
        section="Metadata (section 3.1.1)",
    )
    steps: int = key(
        200,
        "T",
        within="1..2^20",
        section="Diffusion (section 3.2) and PSNet (section 3.1)",
    )
    use_diffusion: bool = key(True, "false: BPR and regularisation only, the control")
    use_psnet: bool = key(True, "false: plain Gaussian noise (w/o PSNet)")
    use_spectral_rectification: bool = key(True, "false: w/o SR")
    use_contextual_reencoding: bool = key(True, "false: w/o CR")
    use_embedded_metadata: bool = key(
        False,
        "Eq. 1 with phi(m), as the authors' code, in place of m; so it is for channels "
        "whose width is not embedding_size, whatever this says",
    )
    use_vector_mlps: bool = key(
        False,
        "Eq. 2 with MLPs for U and V; false: linear maps, as the authors' code",
    )
    reconstruction_weight: float = key(
        0.00625,
        "1 - lambda_b; .4 / 64: the published .4 is of squares averaged over 64 "
        'dimensions (reduction "element")',
        within=">= 0",
        section="Objective (Eq. 14)",
    )
    bpr_weight: float = key(0.6, "lambda_b", within=">= 0")
    contrastive_weight: float = key(
        0.01,
        "lambda_c; the published 5e-6 is of a sum over 2000",
        within=">= 0",
    )
    balance_weight: float = key(
        5e-5,
        'lambda_l; 0: w/o CBL; the published 5e-5 is of squares (form "squared"), '
        "which is some 30 times as strong",
        within=">= 0",
    )
    reg_weight: float = key(0.0015, "lambda_g", within=">= 0")
    temperature: float = key(0.5, "tau", within=">= 1e-6")
    reconstruction_reduction: Literal["row", "element"] = key(
        "row",
        "row: squared norm of a row (Eq. 10), mean over the batch; element: mean over "
        "dimensions too, as the authors' code",
    )
    contrastive_reduction: Literal["mean", "sum"] = key(
        "mean",
        "over the batch; sum as the authors' code",
    )
    balance_form: Literal["norm", "squared"] = key(
        "norm",
        "norm: Eq. 13; squared: squares / batch, as the authors' code",
    )
    n_layers: int = key(
        2,
        "K, graph convolutions",
        within="0..1000",
        section="Inference (section 3.4)",
    )
