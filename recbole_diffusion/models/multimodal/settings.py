"""Keys of VBPR, BM3 and FREEDOM; symbols are those of the papers."""

from types import NoneType

from recbole_diffusion.settings.kinds import NOT_NEGATIVE, Kind
from recbole_diffusion.settings.schema import key
from recbole_diffusion.settings.shared import LEARNER, Training


class Multimodal(Training, defaults={"epochs": 1000, "stopping_step": 20}):
    """Of models that read features of items."""

    learner: str = key("adam", kind=LEARNER)
    modalities: list[str] | None = key(
        None, "names under item_features; null: all of the data set's"
    )
    embedding_size: int = key(64, "d, width of embeddings", within="1..2^20", section="Embeddings")


class VBPRSettings(Multimodal):
    """Keys of VBPR."""

    modal_size: int = key(64, "D, width that each modality is projected to", within="1..2^20")
    reg_weight: float = key(0.001, "lambda, of the embeddings of a batch", within=">= 0")


class BM3Settings(Multimodal):
    """Keys of BM3."""

    n_layers: int = key(1, "L, graph convolutions", within="0..1000")
    dropout: float = key(0.3, "of embeddings, which makes the second view", within="[0, 1)")
    modal_weight: float = key(2.0, "of the losses that features are in", within=">= 0")
    reg_weight: float = key(0.1, "lambda, of the convolved embeddings", within=">= 0")


class FREEDOMSettings(Multimodal):
    """Keys of FREEDOM."""

    n_layers: int = key(2, "L_ui, convolutions over users and items", within="0..1000")
    n_item_layers: int = key(1, "L_ii, convolutions over the items' graph", within="0..1000")
    n_neighbors: int = key(10, "k, most similar items that an item is joined to", within="1..2^20")
    modality_weights: dict[str, float] | None = key(
        None,
        "alpha, share of each modality's graph; null: the same of each",
        kind=Kind((dict, NoneType), each=NOT_NEGATIVE),
        form="dict, float >= 0 by name",
    )
    prune_ratio: float = key(
        0.8, "rho, share of the interactions that an epoch leaves out", within="[0, 1)"
    )
    modal_weight: float = key(0.001, "lambda, of the ranking by features alone", within=">= 0")


class MGCNSettings(Multimodal):
    """Keys of MGCN."""

    n_layers: int = key(2, "convolutions over users and items", within="0..1000")
    n_item_layers: int = key(1, "convolutions over similar items", within="0..1000")
    n_neighbors: int = key(10, "k, most similar items that an item is joined to", within="1..2^20")
    contrastive_weight: float = key(0.01, "lambda_C", within=">= 0")
    temperature: float = key(0.2, "tau", within=">= 1e-6")
    reg_weight: float = key(1e-4, "lambda_E", within=">= 0")


class LGMRecSettings(Multimodal):
    """Keys of LGMRec."""

    n_layers: int = key(2, "convolutions of embeddings over users and items", within="0..1000")
    n_modal_layers: int = key(2, "convolutions of features over them", within="0..1000")
    n_hyperedges: int = key(4, "A, of each modality", within="1..2^20")
    n_hyper_layers: int = key(1, "H, passes by way of hyperedges", within="1..1000")
    hyper_dropout: float = key(0.3, "of shares of hyperedges", within="[0, 1)")
    assignment_temperature: float = key(
        0.2, "of the softmax that shares out hyperedges", within=">= 1e-6"
    )
    global_weight: float = key(0.3, "alpha, of the global embeddings", within=">= 0")
    contrastive_weight: float = key(1e-4, "lambda_1", within=">= 0")
    temperature: float = key(0.2, "tau, of the contrast", within=">= 1e-6")
    reg_weight: float = key(1e-6, "lambda_2", within=">= 0")
