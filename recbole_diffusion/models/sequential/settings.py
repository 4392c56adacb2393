"""Keys of SASRec and GRU4Rec."""

from recbole_diffusion.settings.schema import key
from recbole_diffusion.settings.shared import Training


class SASRecSettings(Training):
    """Keys of SASRec."""

    train_batch_size: int = key(16, "users a step, each with all its prefixes", within="> 0")
    embedding_size: int = key(
        64,
        "width of items and of blocks; a multiple of n_heads",
        within="1..2^20",
        section="Network",
    )
    n_layers: int = key(2, "blocks", within="0..1000")
    n_heads: int = key(2, "of attention", within="1..2^20")
    inner_size: int = key(256, "width within a block", within="1..2^20")
    max_length: int = key(200, "latest items of a history that are read", within="1..2^20")
    dropout: float = key(0.2, "of embeddings and of blocks' outputs", within="[0, 1)")


class GRU4RecSettings(Training):
    """Keys of GRU4Rec."""

    train_batch_size: int = key(16, "users a step, each with all its prefixes", within="> 0")
    embedding_size: int = key(64, "width of items", within="1..2^20", section="Network")
    hidden_size: int = key(128, "units of a layer", within="1..2^20")
    n_layers: int = key(1, "layers of units", within="1..1000")
    max_length: int = key(200, "latest items of a history that are read", within="1..2^20")
    dropout: float = key(0.3, "of embeddings", within="[0, 1)")
