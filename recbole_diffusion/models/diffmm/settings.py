"""Keys of DiffMM."""

from typing import Literal

from recbole_diffusion.settings.schema import key
from recbole_diffusion.settings.shared import LEARNER, Training


class DiffMMSettings(
    Training, defaults={"train_batch_size": 1024, "epochs": 200, "stopping_step": 20}
):
    """Keys of DiffMM, with symbols of the paper.

    Values that the paper searches are those that its authors use for TikTok.
    """

    learner: str = key("adam", "of every optimiser", kind=LEARNER)
    learning_rate: float = key(0.001, "of the recommendation task", within=">= 0")
    modalities: list[str] | None = key(
        None,
        "names under item_features; null: all of the data set's",
    )
    generator: Literal["diffusion", "vgae"] = key(
        "diffusion",
        "vgae: w/o DM",
        section="Generated graphs (section 2.2); each modality has a generator and an optimiser"
        " of its own. A VGAE reads neither msi_weight nor normalize_signal, and nothing"
        " of the denoiser",
    )
    generator_learning_rate: float = key(0.001, within=">= 0")
    generator_batch_size: int = key(1024, "users a step", within="> 0")
    generator_reduction: Literal["row", "element"] = key(
        "row",
        "norms of Eq. 13 and 14 summed over a row, or its mean",
    )
    msi_weight: float = key(0.1, "lambda_0 of Eq. 24; 0: w/o MSI", within=">= 0")
    normalize_signal: bool = key(True, "features of Eq. 14 with length 1, as Eq. 15 makes them")
    graph_items: int = key(
        1,
        "k; items that a generated graph joins to each user",
        within="1..2^20",
    )
    edge_keep_rate: float = key(
        1.0,
        "share of a generated graph's edges that an epoch keeps",
        within="(0, 1]",
    )
    hidden_sizes: list[int] = key(
        [1000],
        "from the middle outwards, as DiffRec's",
        within="1..2^20",
        section="The denoiser",
    )
    step_embedding_size: int = key(10, "width of the step's embedding", within="2..2^20")
    dropout: float = key(0.5, "of the noisy row, in training", within="[0, 1)")
    noise_schedule: Literal["linear", "linear-var"] = key(
        "linear-var",
        "exp, cosine and sqrt read no noise_*",
    )
    steps: int = key(5, "T", within="1..2^20")
    noise_scale: float = key(0.1, "s in Eq. 3", within="> 0")
    noise_min: float = key(0.0001, "gamma_min in Eq. 3", within="> 0")
    noise_max: float = key(0.02, "gamma_max in Eq. 3", within="> 0")
    first_beta: float | None = key(
        None,
        "replaces the first step's beta; null keeps it",
        within="[1e-12, 1]",
    )
    reweight: bool = key(False, "weigh steps by signal-to-noise ratios (Eq. 11-12), not as Eq. 13")
    use_half_snr: bool = key(
        False,
        "with the factor 1/2 of Eq. 11; false: without, as the authors' code; of reweight",
    )
    sampling_steps: int = key(
        0,
        "T' of section 2.2.3: forward steps before the reverse",
        within="0..steps",
    )
    embedding_size: int = key(64, "d", within="1..2^20", section="Aggregation (section 2.4)")
    alignment: Literal["linear", "matrix"] = key(
        "linear",
        "Trans in Eq. 15, Table 4; matrix: with LeakyReLU",
    )
    n_layers: int = key(1, "L", within="0..1000")
    self_loops: bool = key(False, "whether nodes of all graphs are their own neighbours too")
    second_hop: Literal["id", "modal"] = key(
        "id",
        "id: A(A E) of Eq. 20; modal: A of the first hop's users and E^i",
    )
    modal_graph_weight: float = key(1.0, "of the generated graphs' term in Eq. 20", within=">= 0")
    residual_weight: float = key(0.5, "omega in Eq. 23", within=">= 0")
    contrastive_weight: float = key(
        0.01,
        "lambda_1 of Eq. 26; 0: w/o CL",
        within=">= 0",
        section="Contrast and loss (sections 2.3, 2.5)",
    )
    contrastive_anchor: Literal["main", "modality"] = key(
        "main",
        "main: Eq. 19, modality: Eq. 18, for two modalities or more",
    )
    temperature: float = key(0.5, "tau", within=">= 1e-6")
    random_ratio: float = key(
        0.0,
        "share of a randomly dropped interaction graph in the contrastive views (Figure"
        " 4); 0: the generated graphs alone",
        within="[0, 1]",
    )
    random_keep_rate: float = key(0.5, "share of the edges that this graph keeps", within="(0, 1]")
    reg_weight: float = key(0.0001, "lambda_2 of Eq. 26", within=">= 0")
    reg_scope: Literal["all", "embeddings"] = key(
        "all",
        "weights under lambda_2: all of the task, or the users' and items' embeddings",
    )
