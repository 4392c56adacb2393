"""What models share that learn embeddings with metadata of items, and score after convolutions."""

import hashlib
from collections.abc import Mapping
from logging import getLogger
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_diffusion.base.errors import UserError, expect, refusals_of
from recbole_diffusion.data.features import load_item_features, load_named_matrix
from recbole_diffusion.diffusion import make_betas
from recbole_diffusion.models.base import EmbeddingRecommender
from recbole_diffusion.models.metadata import knowledge_metadata, social_metadata
from recbole_diffusion.nn.graph import normalized_adjacency, propagate
from recbole_diffusion.nn.rows import interaction_matrix
from recbole_diffusion.settings.item_features import feature_names

# Channels made from the interactions, and the key of the embeddings that each is made of.
GRAPH_CHANNELS = {
    "social": "pretrained_user_embedding",
    "knowledge": "pretrained_item_embedding",
}


class ChannelRecommender(EmbeddingRecommender):
    """User and item embeddings, and a matrix of item metadata for each channel.

    A channel is one of ``GRAPH_CHANNELS`` or a name under key ``item_features``. A graph channel is
    made by ``set_base_embeddings`` before training and stands in checkpoints; features are read
    from their files, and checkpoints hold a digest of them. Scores come from the embeddings after
    ``n_layers`` graph convolutions.
    """

    train_loader = "interactions"

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.embedding_size = config["embedding_size"]
        self.n_layers = config["n_layers"]
        self.interactions = interaction_matrix(dataset)
        self.register_buffer("norm_adj", normalized_adjacency(self.interactions), persistent=False)
        self.user_embedding = nn.Embedding(self.n_users, self.embedding_size)
        self.item_embedding = nn.Embedding(self.n_items, self.embedding_size)
        self._initialize_embeddings(config["embedding_std"])
        self.graph_channels: list[str] = []
        self._is_ready = False

    def _initialize_embeddings(self, std: float | None) -> None:
        for embedding in (self.user_embedding, self.item_embedding):
            if std is None:
                nn.init.xavier_normal_(embedding.weight)
            else:
                nn.init.normal_(embedding.weight, std=std)

    def _load_channels(self, config: Any, dataset: Any, channels: list[str]) -> dict[str, int]:
        """Read features, and make room for graph channels; gives the width of each channel."""
        self.register_buffer("has_metadata", torch.tensor(False))
        self.graph_channels = [name for name in channels if name in GRAPH_CHANNELS]
        self.n_neighbors = config["n_neighbors"]
        digests = {}
        for name in channels:
            if name in GRAPH_CHANNELS:
                metadata = torch.zeros(self.n_items, base_size(config, dataset, name))
            else:
                features = load_item_features(config, dataset, name)
                digests[name] = digest_of(features)
                metadata = torch.from_numpy(features)
            is_made = name in GRAPH_CHANNELS
            self.register_buffer(f"metadata_{name}", metadata, persistent=is_made)
        for name, digest in digests.items():
            self.register_buffer(f"digest_{name}", digest)
        return {name: self.get_buffer(f"metadata_{name}").shape[1] for name in channels}

    def users_of(self, batch: Any) -> Tensor:
        """The embeddings [B, d] of a batch's users.

        By ``index_select``, whose gradient takes half the time of an embedding layer's.
        """
        users: Tensor = self.user_embedding.weight.index_select(0, batch[self.USER_ID])
        return users

    def metadata(self, channel: str, items: Tensor | None = None) -> Tensor:
        """Metadata [B, width] of items int64 [B], or [n_items, width] of all, as the embeddings."""
        matrix = self.get_buffer(f"metadata_{channel}")
        rows = matrix if items is None else matrix.index_select(0, items)
        return rows.to(self.item_embedding.weight.dtype)  # features may be kept in half precision

    @property
    def needs_base_embeddings(self) -> bool:
        """Whether ``set_base_embeddings`` is still to be called."""
        if self.base_embedding_keys and not self._is_ready:
            self._is_ready = bool(self.has_metadata)  # once: reading a buffer waits for the GPU
        return bool(self.base_embedding_keys) and not self._is_ready

    @property
    def base_embedding_keys(self) -> set[str]:
        """Keys of the pre-trained embeddings that ``set_base_embeddings`` reads."""
        return {GRAPH_CHANNELS[name] for name in self.graph_channels}

    def set_base_embeddings(self, user_embedding: np.ndarray, item_embedding: np.ndarray) -> None:
        """Make the graph channels' metadata (InfoDCL, section 3.1.1) from pre-trained embeddings.

        Args:
            user_embedding: [n_users, width of the social channel], if there is one.
            item_embedding: [n_items, width of the knowledge channel], if there is one.

        Raises:
            ValueError: Embeddings of another width than the channels were built for.
        """
        base = {"social": user_embedding, "knowledge": item_embedding}
        for name in self.graph_channels:
            expected = self.get_buffer(f"metadata_{name}").shape[1]
            if base[name].shape[1] != expected:
                found = base[name].shape[1]
                raise ValueError(f"{name} channel: found width {found}, expected {expected}")
        for name in self.graph_channels:
            if name == "social":
                metadata = social_metadata(self.interactions, base[name])
            else:
                metadata = knowledge_metadata(self.interactions, base[name], self.n_neighbors)
            self.get_buffer(f"metadata_{name}").copy_(torch.from_numpy(metadata))
        if self.base_embedding_keys:
            self.has_metadata.fill_(True)

    def regularization(self, users: Tensor, items: Tensor, counts: Tensor) -> Tensor:
        """Squared lengths of embeddings, as a mean over a batch.

        Args:
            users: [B, d].
            items: Of the distinct items [n, d].
            counts: How often each was drawn, int64 [n].

        Source: Liang et al. 2026, Eq. 15; SimDiff, Eq. 9.
        """
        return (users.square().sum() + (counts * items.square().sum(1)).sum()) / len(users)

    def propagated(self, item_embedding: Tensor) -> tuple[Tensor, Tensor]:
        """The users' and these item embeddings [n_items, d] after ``n_layers`` convolutions."""
        return propagate(self.norm_adj, self.user_embedding.weight, item_embedding, self.n_layers)

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """As PyTorch's.

        Raises:
            UserError: Features have changed since the checkpoint was written.
        """
        check_digests(self, state_dict)
        return super().load_state_dict(state_dict, *args, **kwargs)


def check_channels(config: Any, names: list[str]) -> list[str]:
    """The channels asked for, each a graph channel or a name of ``item_features``, none twice.

    Args:
        config: Settings.
        names: The value of key ``channels``.

    Raises:
        UserError: Unknown names, or base embeddings given for only some graph channels.
    """
    known = [*GRAPH_CHANNELS, *feature_names(config)]
    is_known = all(isinstance(name, str) and name in known for name in names or ())
    if not names or not is_known or len(set(names)) < len(names):
        raise UserError(
            f"key `channels`: found {names}, expected one or more of {known}, each "
            "once (further ones are the names under key `item_features`)"
        )
    needed = [GRAPH_CHANNELS[name] for name in names if name in GRAPH_CHANNELS]
    check_base_files(config, needed, f"channels {names} need")
    return list(names)


def modality_names(config: Any, model: str, at_least_one: bool = False) -> list[str]:
    """Key ``modalities``: by default all features of the data set.

    Args:
        config: Settings.
        model: What the log names.
        at_least_one: Whether the model needs one.

    Raises:
        UserError: A name without features, a name twice, or none where one is needed.
    """
    names = check_modalities(config, at_least_one)
    if config["modalities"] is None:
        listed = ", ".join(names) or "none"
        getLogger().info(f"{model}: modalities {listed} (key `modalities` is null)")
    return names


def check_modalities(config: Any, at_least_one: bool = False) -> list[str]:
    """As ``modality_names``, without a line in the log."""
    known, names = feature_names(config), config["modalities"]
    names = known if names is None else names
    is_known = all(isinstance(name, str) and name in known for name in names)
    is_right = is_known and len(set(names)) == len(names) and (names or not at_least_one)
    if at_least_one and not known:
        raise UserError(
            f"key `item_features`: found {config['item_features']!r}, but this model learns from "
            "features of items; expected some, such as "
            '--item_features="{text: {fields: [title]}}" (docs/features.md)'
        )
    rest = "at least one" if at_least_one else "[] for none"
    expected = f"some of {known} (the names under key `item_features`), each once; {rest}"
    expect(is_right, "modalities", names, expected)
    return list(names)


def check_base_files(config: Any, needed: list[str], reason: str) -> None:
    """Files of base embeddings are given for all that are needed, or for none.

    Args:
        config: Settings.
        needed: Keys of files.
        reason: What needs them, with its verb.

    Raises:
        UserError: For some only; LightGCN would serve, and a file be read for nothing.
    """
    absent = [key for key in needed if config[key] is None]
    if absent and len(absent) < len(needed):
        raise UserError(
            f"keys `{needed[0]}` and `{needed[1]}`: only one is set, but {reason} "
            "both (or none, for LightGCN's embeddings)"
        )


def schedule_of(config: Any, model: str) -> Tensor:
    """Noise of each step [T], float64, of any schedule that ``make_betas`` knows.

    Args:
        config: Settings.
        model: What a refusal names.

    Raises:
        UserError: A key out of its range.
    """
    with refusals_of(model, ValueError):
        return make_betas(
            config["noise_schedule"],
            config["steps"],
            noise_scale=config["noise_scale"],
            noise_min=config["noise_min"],
            noise_max=config["noise_max"],
            beta_start=config["beta_start"],
            beta_end=config["beta_end"],
        )


def check_base_widths(config: Any, dataset: Any, size: int) -> None:
    """Refuse files of base embeddings, where given, that are not of the embeddings' width.

    Raises:
        UserError: One is not, or a file that ``data.features.load_named_matrix`` refuses.
    """
    for channel, key in GRAPH_CHANNELS.items():
        width = base_size(config, dataset, channel)
        expected = f"a file of width {size} (key `embedding_size`), not {width}"
        expect(width == size, key, config[key], expected)


def base_size(config: Any, dataset: Any, channel: str) -> int:
    """Width of a graph channel: of the user's file, else of the pre-training stage.

    Raises:
        UserError: A file that ``data.features.load_named_matrix`` refuses.
    """
    key = GRAPH_CHANNELS[channel]
    if config[key] is None:
        return int(config["embedding_size"])
    return load_named_matrix(config, key, dataset).shape[1]


def digest_of(features: np.ndarray) -> Tensor:
    """SHA-256 of a matrix, uint8 [32]; a model keeps it as a buffer ``digest_<name>``."""
    content = hashlib.sha256(np.ascontiguousarray(features).data.cast("B")).digest()
    return torch.tensor(list(content), dtype=torch.uint8)


def check_digests(model: nn.Module, state_dict: Mapping[str, Any]) -> None:
    """Compare a model's digests of features with those of a checkpoint.

    Raises:
        UserError: Features have changed since the checkpoint was written.
    """
    for name, digest in model.named_buffers():
        saved = state_dict.get(name, digest)
        if name.startswith("digest_") and not torch.equal(saved.cpu(), digest.cpu()):
            raise UserError(
                f"key `item_features`: found other features under {name[7:]!r} than those "
                "that this run was trained with, expected the same"
            )
