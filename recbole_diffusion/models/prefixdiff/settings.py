"""Keys of PrefixDiff."""

from typing import Any, Literal

from recbole_diffusion.models.lindiffrec.settings import ClosedForm
from recbole_diffusion.settings.kinds import SHARE, Kind
from recbole_diffusion.settings.schema import key
from recbole_diffusion.settings.shared import Training


class PrefixDiffSettings(
    ClosedForm, Training, defaults={"weight_decay": 0.01, "epochs": 200, "stopping_step": 5}
):
    """Keys of PrefixDiff; numbered steps are those of docs/models/prefixdiff.md."""

    train_batch_size: int = key(32, "users a step", within="> 0")
    weight_average: float = key(
        0.998,
        "of the weights that score: what a step keeps of their average; 0: the weights "
        "of the last step",
        within="[0, 1)",
        section="Average of the weights",
    )
    absorption: Literal["age", "random", "both"] = key(
        "both",
        "what vanishes: the latest items, any, or the latest, with some of the rest "
        "hidden from the denoiser",
        section="Forward process (step 2)",
    )
    absorbed_share: float = key(0.1, "of both: what is hidden of the rest", within="[0, 1)")
    levels: list[float] = key(
        [0.0, 1.0],
        "a prefix lacks this share of its history, drawn between the two; attention: at"
        " most so much that an item is left of those that are read",
        kind=Kind((list,), each=SHARE),
        form="two floats in [0, 1]",
    )
    prefix_share: float = key(
        1.0,
        "prefixes of a history in a step, as a share of its items, of 500 at most "
        "(attention: max_length); one at least",
        within="(0, 1]",
    )
    denoiser: Literal["attention", "views"] = key("attention", section="Denoiser (step 3)")
    dropout: float = key(
        0.2,
        "of hidden units, or of embeddings and blocks' outputs",
        within="[0, 1)",
    )
    views: list[Any] = key(
        [["power", 0.75], ["exponential", 0.5], ["exponential", 0.1], ["none", 0.0]],
        "kinds and decays as those of `recency`",
        kind=Kind((list,), each=Kind((list,))),
        form="list of [kind, decay]",
        section="Of denoiser: views",
    )
    view_length: float = key(4.0, "Euclidean length of a view's weights", within="[1e-6, 1e6]")
    age: Literal["rank", "time"] = key(
        "rank",
        "of an item in a view: number of later items, or time to the last, in units of "
        "the median gap; attention: rank",
    )
    hidden_sizes: list[int] = key([400], "widths of the layers behind the views", within="1..2^20")
    level_embedding_size: int = key(
        0,
        "width of an embedding of the level; 0: none",
        within="0..2^20",
        form="int >= 0, not 1",
    )
    embedding_size: int = key(
        128,
        "a multiple of n_heads",
        within="1..2^20",
        section="Of denoiser: attention",
    )
    n_layers: int = key(2, "blocks", within="0..1000")
    n_heads: int = key(4, within="1..2^20")
    inner_size: int = key(256, "width within a block", within="1..2^20")
    max_length: int = key(200, "latest items of a history that are read", within="2..2^20")
    horizon: int = key(
        5,
        "items to be given back, at most",
        within="1..2^20",
        section="Loss (step 4)",
    )
    horizon_decay: float = key(
        1.0,
        "the k-th of them weighs (1 + k)^-decay, k from 0",
        within="[0, 100]",
    )
    softmax_items: int = key(
        50000,
        "up to so many items the softmax is over all of them; beyond, over sampled_items",
        within="> 0",
    )
    sampled_items: int = key(
        4096,
        "so many drawn by popularity for a step, and its targets",
        within="1..2^20",
    )
    reverse_steps: int = key(
        1,
        "each but the last takes the likeliest items for what comes next: more look further ahead",
        within="1..1000",
        section="Scores (step 5)",
    )
    given_back: int = key(5, "items that such a step takes", within="1..2^20")
    skip: bool = key(
        True,
        "add the closed-form score to the logits",
        section="Closed-form skip (step 3): a LinDiffRec, by its keys (docs/models/lindiffrec.md)",
    )
    skip_gain: float = key(
        0.3,
        "what it is multiplied by at first, of what is likeliest alone",
        within=">= 0",
    )
