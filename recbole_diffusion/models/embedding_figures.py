"""What several papers show of item embeddings: their map, their singular vectors, their noise."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from recbole_diffusion.pages.figure import Figure, Panel, Series

PROJECTIONS = ("pca", "tsne")
N_MAPPED_ITEMS = 500


def signal_to_noise(values: np.ndarray) -> float:
    """Squared mean over variance, over all elements.

    Source: InfoDCL, Eq. 17; SimDiff, Eq. 22.
    """
    return float(values.mean() ** 2 / values.var())


def snr_over_steps(start: np.ndarray, noise: np.ndarray, alphas_cumprod: np.ndarray) -> np.ndarray:
    """``signal_to_noise`` of x_t = sqrt(a_t) start + sqrt(1 - a_t) noise at every step t.

    From the moments of both, in O(n d + T).

    Args:
        start: [n, d].
        noise: [n, d].
        alphas_cumprod: a [T].

    Returns:
        float64 [T].
    """
    start, noise = start.astype(np.float64), noise.astype(np.float64)
    of_start, of_noise = np.sqrt(alphas_cumprod), np.sqrt(1 - alphas_cumprod)
    mean = of_start * start.mean() + of_noise * noise.mean()
    covariance = ((start - start.mean()) * (noise - noise.mean())).mean()
    variance = (
        of_start**2 * start.var() + of_noise**2 * noise.var() + 2 * of_start * of_noise * covariance
    )
    ratio: np.ndarray = mean**2 / variance
    return ratio


def singular_cosines(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Size of the cosine between the k-th singular vectors of two matrices [n, d], n >= d.

    Returns:
        Of left and of right vectors, each float64 [d], in the order of falling singular values.
    """
    left, _, right = np.linalg.svd(before.astype(np.float64), full_matrices=False)
    left_after, _, right_after = np.linalg.svd(after.astype(np.float64), full_matrices=False)
    return np.abs((left * left_after).sum(axis=0)), np.abs((right * right_after).sum(axis=1))


def sampled_rows(n_items: int, n_sampled: int = N_MAPPED_ITEMS) -> np.ndarray:
    """At most so many row numbers from 0 to n_items - 1, evenly spaced."""
    return np.linspace(0, n_items - 1, min(n_sampled, n_items)).astype(np.int64)


def project(points: np.ndarray, projection: str, seed: int) -> np.ndarray:
    """Points [n, d] in two dimensions, each set for itself.

    Args:
        points: At least two.
        projection: One of ``PROJECTIONS``.
        seed: Of t-SNE, which starts at the principal components.
    """
    points = points.astype(np.float64)
    if projection == "pca":
        return PCA(n_components=2, svd_solver="full").fit_transform(points)
    perplexity = min(30.0, (len(points) - 1) / 3)
    return TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(points)


def map_table(sets: Mapping[str, np.ndarray], projection: str, seed: int) -> pd.DataFrame:
    """Sampled items of each set [n_items, d] in two dimensions: set, item row, x, y."""
    parts = []
    for name, points in sets.items():
        rows = sampled_rows(len(points))
        x, y = project(points[rows], projection, seed).T
        parts.append(pd.DataFrame({"set": name, "item": rows + 1, "x": x, "y": y}))
    return pd.concat(parts, ignore_index=True)


def draw_map(
    key: str, sets: Mapping[str, np.ndarray], projection: str, seed: int, caption: str, source: str
) -> Figure:
    """Sets of item embeddings side by side.

    Args:
        key: Of the figure.
        sets: [n_items, d] by title of the panel.
        projection: One of ``PROJECTIONS``.
        seed: Of t-SNE.
        caption: What the sets are.
        source: Paper and figure.
    """
    table = map_table(sets, projection, seed)
    name = {"pca": "two principal components", "tsne": "t-SNE"}[projection]
    panels = [
        Panel(
            title,
            "",
            "",
            [Series("items", 0, "points", rows["x"], rows["y"])],
            has_ticks=False,
        )
        for title, rows in table.groupby("set", sort=False)
    ]
    shown = f"{table['item'].nunique()} items at even distances in the order of their ids"
    return Figure(
        key,
        "Map of item embeddings",
        f"{caption} By {name}, each panel for itself, so that its axes have no common scale; "
        f"{shown}.",
        source,
        panels,
        table,
    )
