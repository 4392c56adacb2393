"""Keys of XSimGCL; symbols are those of the paper."""

from collections.abc import Mapping
from typing import Any

from recbole_diffusion.base.errors import expect
from recbole_diffusion.settings.schema import key
from recbole_diffusion.settings.shared import LEARNER, Training


class XSimGCLSettings(Training, defaults={"stopping_step": 20}):
    """Keys of XSimGCL."""

    learner: str = key("adam", kind=LEARNER)
    embedding_size: int = key(64, "d", within="1..2^20", section="Convolution")
    n_layers: int = key(2, "L", within="1..1000")
    contrast_layer: int = key(1, "l*, whose embeddings are contrasted with the mean", within=">= 1")
    noise: float = key(0.2, "epsilon, length of the noise of each layer", within="[0, 1e6]")
    contrastive_weight: float = key(0.2, "lambda", within=">= 0")
    temperature: float = key(0.2, "tau", within=">= 1e-6")
    reg_weight: float = key(1e-4, "of the embeddings of a batch", within=">= 0")


def check_layers(config: Mapping[str, Any]) -> None:
    """Refuse a contrast with a layer that there is not.

    Raises:
        UserError: There is not.
    """
    most = config["n_layers"]
    found = config["contrast_layer"]
    expect(found <= most, "contrast_layer", found, f"1..{most}, as n_layers")
