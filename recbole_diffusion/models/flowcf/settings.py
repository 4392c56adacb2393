"""Keys of FlowCF; symbols are those of the paper."""

from typing import Literal

from recbole_diffusion.settings.schema import key
from recbole_diffusion.settings.shared import Training


class FlowCFSettings(Training, defaults={"epochs": 500}):
    """Keys of FlowCF."""

    train_batch_size: int = key(400, "users a step", within="> 0")
    flow_steps: int = key(
        9,
        "N; training draws one of the times 0, 1/N, ... 1 - 1/N",
        within="1..2^20",
        section="Flow",
    )
    prior: Literal["popularity", "empty"] = key(
        "popularity",
        "rows at time 0: each item drawn by its share of the users, or no item at all",
    )
    hidden_sizes: list[int] = key(
        [300],
        "from the middle outwards; [300, 600]: n -> 600 -> 300 -> 600 -> n",
        within="1..2^20",
        section="Network",
    )
    step_embedding_size: int = key(10, "width of the time's embedding", within="2..2^20")
    dropout: float = key(0.0, "of the drawn row", within="[0, 1)")
    sampling_steps: int = key(
        2,
        "s, steps from time 1 - s/N, at which the user's row is taken to be, to time 1",
        within="1..flow_steps",
        section="Scores",
    )
    sampling: Literal["mean", "draw"] = key(
        "mean",
        "rows between two steps: their probabilities, or drawn from these",
    )
    keep_history: bool = key(True, "keep a user's items in the rows between two steps")
