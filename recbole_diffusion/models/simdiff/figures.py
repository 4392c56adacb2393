"""SimDiff's diagnostic figures, from the checkpoint of a run."""

from typing import Any

import numpy as np
import torch

from recbole_diffusion.base.randomness import own_randomness
from recbole_diffusion.models.embedding_figures import draw_map
from recbole_diffusion.pages.figure import Figure, Gallery


@torch.no_grad()
def embedding_sets(model: Any, seed: int) -> dict[str, np.ndarray]:
    """Item embeddings, noised, injected and generated, each [n_items, d] without the padding.

    Args:
        model: SimDiff with diffusion, of a checkpoint.
        seed: Of the Gaussian noise.
    """
    with own_randomness(seed, model.item_embedding.weight.device):
        noised = model.noised_embeddings()
    sets = {
        "Pre-trained" if model.target == "pretrained" else "Learned": model.item_embedding.weight,
        "With Gaussian noise": noised,
    }
    if model.channels:
        latent, _ = model.latent_variable()
        sets["With the guide injected"] = latent
    sets["Generated"] = model.generate()
    return {name: tensor[1:].cpu().numpy() for name, tensor in sets.items()}


def draw(run: Any, seed: int, projection: str, key: str, name: str) -> Gallery:
    """The figures of one run; arguments as ``infodcl.draw``."""
    gallery, model = Gallery(), run.network
    if model.use_diffusion:
        figure = draw_map(
            f"item-map{key}",
            embedding_sets(model, seed),
            projection,
            seed,
            "Item embeddings of the best epoch; the same after all forward steps with Gaussian "
            "noise; the latent variable X_T with the guide injected; and what is generated from "
            "it. With target: pretrained the first are LightGCN's, as in the paper.",
            "SimDiff, Figure 1",
        )
        gallery.add(Figure(**{**vars(figure), "title": figure.title + name}))
    return gallery
