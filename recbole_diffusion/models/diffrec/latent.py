"""L-DiffRec and LT-DiffRec: diffusion of the latent that variational autoencoders make of rows.

Wang et al. 2023, "Diffusion Recommender Model", https://doi.org/10.1145/3539618.3591663. Departures
from the paper, and from RecBole's model of this name, stand in ``docs/models/diffrec.md``.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits
from torch import Tensor

from recbole_diffusion.base.errors import UserError, expect
from recbole_diffusion.diffusion.inference import HiddenChain
from recbole_diffusion.models.diffrec.model import DiffRec, TDiffRec, check_sizes
from recbole_diffusion.models.diffrec.settings import LDiffRecSettings
from recbole_diffusion.nn.autoencoder import ClusteredAutoencoder, gaussian_kl
from recbole_diffusion.nn.rows import DenseRows, RowBatch
from recbole_diffusion.training.carry import ITEMS

# Starts of k-means, of which the best counts.
KMEANS_STARTS = 10


class LDiffRec(DiffRec):
    """Items in clusters, one variational encoder a cluster, and DiffRec on what they encode.

    The autoencoder's sizes follow from the clusters, which are known once item embeddings are: it
    is made by ``cluster_items``, or with the clusters of a checkpoint that is loaded.

    Source: Wang et al. 2023, section 3.5.
    """

    loss_names = ("reconstruction", "KL", "diffusion")
    why_no_refresh: str | None = None
    clusters: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        keys = LDiffRecSettings(config)
        self.n_clusters = keys.n_clusters
        self.encoder_sizes = keys.encoder_sizes
        self.decoder_sizes = keys.decoder_sizes
        self.split_decoder = keys.split_decoder
        self.split_likelihood = keys.split_likelihood
        self.encoder_dropout = keys.encoder_dropout
        self.lamda = keys.lamda
        self.lamda_min = keys.lamda_min
        self.lamda_anneal_epochs = keys.lamda_anneal_epochs
        self.kl_weight = keys.kl_weight
        self.kl_anneal_updates = keys.kl_anneal_updates
        self.learning_rates = keys.learning_rate, keys.denoiser_learning_rate
        self.seed = config["seed"]
        # Epochs and updates before the next update; the trainer sets the first.
        self.epoch = self.n_updates = 0
        self.autoencoder: ClusteredAutoencoder | None = None
        self.register_buffer("clusters", torch.full((self.n_items,), -1))
        n_hidden = len(self.decoder_sizes or ())
        self.id_axes = {
            "autoencoder.encoders.0.weight": (ITEMS,),
            f"autoencoder.decoders.0.{2 * n_hidden}.*": (ITEMS,),
        }
        if self.n_clusters > 1:
            self.why_no_refresh = (
                "the parts of its autoencoder follow from clusters that newer data change; "
                "expected n_clusters: 1"
            )
        else:
            self._set_clusters(torch.arange(self.n_items).clamp_max(1) - 1)

    def _diffused_size(self, config: Any) -> int:
        """Width of the latent."""
        size: int = config["encoder_sizes"][0]
        return size

    def _check_settings(self, config: Any) -> None:
        super()._check_settings(config)
        n_clusters = config["n_clusters"]
        last = self.n_items - 1
        expect(n_clusters <= last, "n_clusters", n_clusters, f"1..{last} (the items)")
        check_sizes("encoder_sizes", config["encoder_sizes"], n_clusters)
        least = n_clusters if config["split_decoder"] else 1
        check_sizes("decoder_sizes", config["decoder_sizes"], least, at_least_one=False)

    @property
    def is_clustered(self) -> bool:
        """Whether the clusters, and with them the autoencoder, are there."""
        return self.autoencoder is not None

    def cluster_items(self, item_embedding: np.ndarray) -> None:
        """Divide the items by k-means, and make the autoencoder.

        Args:
            item_embedding: [n_items, d]; row 0 (padding) does not count.

        Raises:
            UserError: Fewer distinct embeddings than clusters.
        """
        kmeans = KMeans(self.n_clusters, n_init=KMEANS_STARTS, random_state=self.seed)
        # One thread: several add up centres in the order in which they end.
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # told below
            labels = kmeans.fit_predict(item_embedding[1:])
        n_found = len(np.unique(labels))
        if n_found < self.n_clusters:
            raise UserError(
                f"key `n_clusters`: found {self.n_clusters}, but the item embeddings fall into "
                f"{n_found} only"
            )
        self._set_clusters(torch.from_numpy(np.concatenate([[-1], labels])))

    def _set_clusters(self, clusters: Tensor) -> None:
        self.clusters.copy_(clusters)
        self.autoencoder = ClusteredAutoencoder(
            self.clusters,
            self.encoder_sizes,
            self.decoder_sizes or (),
            self.split_decoder,
            self.encoder_dropout,
            self.split_likelihood,
        ).to(self.clusters.device)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As PyTorch does, after making the autoencoder for the clusters that come."""
        clusters = state_dict.get("clusters", self.clusters).to(self.clusters.device)
        is_known = len(clusters) == self.n_items and bool((clusters[1:] >= 0).all())
        if is_known and not torch.equal(clusters, self.clusters):
            self._set_clusters(clusters)
        return super().load_state_dict(state_dict, *args, **kwargs)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Autoencoder and denoiser for an optimiser, each with its learning rate."""
        parameters = list(self.autoencoder.parameters()) if self.autoencoder is not None else []
        parts = parameters, list(self.denoiser.parameters())
        return [
            {"params": part, "lr": rate}
            for part, rate in zip(parts, self.learning_rates, strict=True)
        ]

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """Weighted terms of the loss of the users in a batch that have interactions.

        Returns:
            Reconstruction, KL divergence, and diffusion of the latent.

        Source: Wang et al. 2023, section 3.5; without ``reweight`` the weight lies on the first
        two, as in the authors' experiments.
        """
        users = self.rows.non_empty(interaction[self.USER_ID])
        if not len(users):
            return (self._no_loss(),) * 3
        autoencoder = self._autoencoder()
        rows = autoencoder.drop(self.rows.batch(users))
        mean, log_variance = autoencoder.encode(rows)
        latent = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        diffusion_loss, pred_latent = self._diffusion_loss(latent)
        # The rows after dropout are the target too.
        reconstruction = autoencoder.reconstruction_loss(pred_latent, rows)
        kl = self._kl_weight() * gaussian_kl(mean, log_variance)
        lamda = self._lamda()
        self.n_updates += 1
        if self.reweight:
            return reconstruction, kl, lamda * diffusion_loss
        return lamda * reconstruction, lamda * kl, diffusion_loss

    def _lamda(self) -> float:
        """Weight of one part of the loss, falling from epoch to epoch."""
        left = 1 - self.epoch / self.lamda_anneal_epochs if self.lamda_anneal_epochs else 1
        return float(max(left * self.lamda, self.lamda_min))

    def _kl_weight(self) -> float:
        """Rises with the updates: gamma."""
        if not self.kl_anneal_updates:
            return float(self.kl_weight)
        return float(min(self.kl_weight, self.n_updates / self.kl_anneal_updates))

    def _autoencoder(self) -> ClusteredAutoencoder:
        if self.autoencoder is None:
            raise RuntimeError("LDiffRec: cluster_items (done by its trainer) comes first")
        return self.autoencoder

    def _chain_scores(self, rows: RowBatch | DenseRows, chain: HiddenChain) -> Tensor:
        """Encoded by the mean alone; the chain runs in the denoiser's hidden layer."""
        x_t = self._start(self._autoencoder().encode(rows)[0])
        return self._autoencoder().scores(chain.scores(x_t @ chain.input_weight, x_t))

    def scores_step_by_step(self, rows: RowBatch | DenseRows) -> Tensor:
        """The chain as Algorithm 2 writes it, on the mean of the latent.

        Args:
            rows: Of the users.

        Returns:
            [B, n_items].
        """
        x_t = self._start(self._autoencoder().encode(rows)[0])
        return self._autoencoder().scores(self._reverse(x_t))


class LTDiffRec(LDiffRec, TDiffRec):
    """L-DiffRec on rows whose later interactions weigh more.

    Source: Wang et al. 2023, sections 3.5 and 3.6.
    """
