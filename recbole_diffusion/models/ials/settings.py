"""Keys of iALS."""

from recbole_diffusion.settings.schema import Settings, key


class IALSSettings(Settings):
    """Keys of iALS; symbols are those of Hu et al. 2008."""

    train_batch_size: int = key(100000, "nothing is trained in batches", within="> 0")
    embedding_size: int = key(
        128, "f, width of the factors", within="1..2^20", section="Factorisation"
    )
    confidence: float = key(
        20.0, "c_ui of an interaction; that of every other pair is 1", within="[1, 1e6]"
    )
    reg_weight: float = key(10.0, "lambda, of the squared lengths of factors", within="(0, 1e9]")
    iterations: int = key(20, "of users, then items", within="1..1000")
