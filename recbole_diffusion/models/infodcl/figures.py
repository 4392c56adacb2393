"""InfoDCL's diagnostic figures, from the checkpoint of a run."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from recbole_diffusion.base.randomness import own_randomness
from recbole_diffusion.models.embedding_figures import draw_map, singular_cosines, snr_over_steps
from recbole_diffusion.pages.figure import Figure, Gallery, Panel, Series

GAUSSIAN = "Gaussian noise"


@dataclass(frozen=True)
class Process:
    """What goes into the diffusion process of a trained model and what comes out.

    Attributes:
        items: Learned embeddings [n_items, d], without the padding.
        noises: [n_items, d] by name; "Gaussian noise" and, made of it, each channel's.
        alphas_cumprod: [T].
        inputs: Of the denoiser, each item at a random step as in training, by channel.
        outputs: The denoiser's.
    """

    items: np.ndarray
    noises: dict[str, np.ndarray]
    alphas_cumprod: np.ndarray
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


@torch.no_grad()
def run_process(model: Any, seed: int) -> Process:
    """Take all items through Eq. 8 and 9 and the denoiser, as one batch.

    Args:
        model: InfoDCL with diffusion, of a checkpoint.
        seed: Of noise and steps.
    """
    embedding = model.item_embedding.weight[1:]
    device = embedding.device
    items = torch.arange(1, model.n_items, device=device)
    with own_randomness(seed, device):
        gaussian = torch.randn_like(embedding)
        timesteps = torch.randint(model.diffusion.num_timesteps, items.shape, device=device)
    noises = {name: gaussian for name in model.channels}
    if model.use_psnet:
        noises = {n: model.psnet[n](gaussian, model.metadata(n, items)) for n in model.channels}
    inputs = {n: model.diffusion.q_sample(embedding, timesteps, e) for n, e in noises.items()}
    outputs = {n: model.denoiser[n](x_t, timesteps) for n, x_t in inputs.items()}
    named = {f"informative noise, {n}": e for n, e in noises.items()} if model.use_psnet else {}
    return Process(
        embedding.cpu().numpy(),
        {GAUSSIAN: gaussian.cpu().numpy(), **_arrays(named)},
        model.diffusion.alphas_cumprod.double().cpu().numpy(),
        _arrays(inputs),
        _arrays(outputs),
    )


def _arrays(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}


def snr_table(process: Process) -> pd.DataFrame:
    """A row for each noise and step from 1 to T: noise, step, SNR."""
    parts = [
        pd.DataFrame(
            {
                "noise": name,
                "step": np.arange(1, len(process.alphas_cumprod) + 1),
                "SNR": snr_over_steps(process.items, noise, process.alphas_cumprod),
            }
        )
        for name, noise in process.noises.items()
    ]
    return pd.concat(parts, ignore_index=True)


def cosine_table(process: Process) -> pd.DataFrame:
    """A row for each channel and pair of singular vectors: channel, number, left, right."""
    parts = []
    for name, before in process.inputs.items():
        left, right = singular_cosines(before, process.outputs[name])
        numbers = np.arange(1, len(right) + 1)
        columns = {"channel": name, "pair": numbers, "left": left, "right": right}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def draw(run: Any, seed: int, projection: str, key: str, name: str) -> Gallery:
    """The figures of one run.

    Args:
        run: With the parameters of its best epoch.
        seed: Of the run; noise and steps are drawn from it.
        projection: See ``embeddings.project``.
        key: Put behind the keys of the figures, if not empty.
        name: Of the run, for titles.
    """
    gallery, model = Gallery(), run.network
    if model.use_diffusion:
        process = run_process(model, seed)
        gallery.add(
            _draw_snr(process, key, name),
            _draw_map(process, seed, projection, key, name),
            _draw_cosines(process, key, name),
        )
    return gallery


def _draw_snr(process: Process, key: str, name: str) -> Figure:
    table = snr_table(process)
    series = [
        Series(str(noise), number, "line", own["step"], own["SNR"])
        for number, (noise, own) in enumerate(table.groupby("noise", sort=False))
    ]
    return Figure(
        f"snr-steps{key}",
        f"Signal-to-noise ratio over steps{name}",
        "Squared mean over variance (Eq. 17), over all elements of all items, of the item "
        "embeddings noised as Eq. 9 does it, step by step, with the best epoch's parameters. All "
        "curves start from the same Gaussian draw; all items pass PSNet as one batch. Where the "
        "mean changes its sign, the ratio is 0.",
        "InfoDCL, Figures 4 and 8",
        [Panel("", "step t", "SNR", series)],
        table,
    )


def _draw_map(process: Process, seed: int, projection: str, key: str, name: str) -> Figure:
    last = process.alphas_cumprod[-1]
    sets = {"Learned": process.items}
    for noise_name, noise in process.noises.items():
        noised = np.sqrt(last) * process.items + np.sqrt(1 - last) * noise
        sets[f"With {noise_name}" if noise_name == GAUSSIAN else noise_name.capitalize()] = noised
    for channel, generated in process.outputs.items():
        sets[f"Generated, {channel}"] = generated
    figure = draw_map(
        f"item-map{key}",
        sets,
        projection,
        seed,
        "Item embeddings of the best epoch; the same after all forward steps with Gaussian and "
        "with informative noise; and what the denoiser makes of the latter at a random step each.",
        "InfoDCL, Figure 5",
    )
    return _named(figure, name)


def _named(figure: Figure, name: str) -> Figure:
    return Figure(**{**vars(figure), "title": figure.title + name})


def _draw_cosines(process: Process, key: str, name: str) -> Figure:
    table = cosine_table(process)
    panels = [
        Panel(
            f"Channel {channel}",
            "pair of singular vectors",
            "|cosine|",
            [
                Series("right vectors", 0, "points", rows["pair"], rows["right"]),
                Series("left vectors", 1, "points", rows["pair"], rows["left"]),
            ],
        )
        for channel, rows in table.groupby("channel", sort=False)
    ]
    return Figure(
        f"singular-vectors{key}",
        f"Singular vectors before and after the denoiser{name}",
        "Size of the cosine between the k-th singular vectors of the denoiser's input (all items, "
        "each noised at a random step as in training) and of its output, with the best epoch's "
        "parameters. Vectors of near-equal singular values may trade places, and then show low.",
        "InfoDCL, Figure 7",
        panels,
        table,
    )
