"""DiffMM's generated graphs, as tables and a picture (the paper's Figure 5)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import written_whole
from recbole_diffusion.models.diffmm.model import DiffMM
from recbole_diffusion.nn.layers import unit_rows
from recbole_diffusion.nn.rows import RowBatch


def write_graphs(
    model: DiffMM, data: Any, output: str | Path, n_users: int = 8, seed: int = 0
) -> list[Path]:
    """Write each modality's generated graph.

    ``<modality>.csv`` holds all its edges: user, item, rank of the item for the user, whether the
    pair is a training interaction, and the mean cosine of the item's features with those of the
    user's other training items (empty without any). ``<modality>.similarity.csv`` holds the cosines
    between the items of some users' edges, and ``<modality>.svg`` draws these edges and cosines.

    Args:
        model: Trained.
        data: RecBole's dataset of the train split.
        output: Folder of the files, made if missing.
        n_users: Users drawn for the picture.
        seed: Of that draw.

    Returns:
        The files written.

    Raises:
        UserError: Fewer users, a file that is there already, or no matplotlib.
    """
    figure_class = _figure_class()
    if not 1 <= n_users < model.n_users:
        raise UserError(f"--users: found {n_users}, expected 1..{model.n_users - 1} (the users)")
    suffixes = (".csv", ".similarity.csv", ".svg")
    paths = [Path(output) / f"{name}{s}" for name in model.modalities for s in suffixes]
    for path in paths:
        if path.exists():
            raise UserError(f"--output: found {path}, expected a folder without it")
    Path(output).mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed).choice(model.n_users - 1, n_users, replace=False) + 1
    users, items = (data.field2id_token[f].astype(str) for f in (data.uid_field, data.iid_field))
    for name, triples in zip(model.modalities, _triples(paths), strict=True):
        generated = model.get_buffer(f"generated_{name}").cpu()
        features = unit_rows(model.get_buffer(f"features_{name}").cpu().float())
        rows = model.rows.batch(torch.arange(1, model.n_users)).to(torch.device("cpu"))
        _write(triples[0], edge_table(generated, features, rows, users, items).to_csv(index=False))
        shown = generated[torch.from_numpy(draw)]
        nodes = shown.unique()
        cosines = (features[nodes] @ features[nodes].T).numpy()
        names = items[nodes.numpy()]
        table = pd.DataFrame(cosines, names, names)
        _write(triples[1], table.to_csv(index_label=data.iid_field))
        places = torch.searchsorted(nodes, shown).numpy()
        with written_whole(triples[2]) as stream:
            _draw(figure_class, name, users[draw], table, places).savefig(stream, format="svg")
    return paths


def edge_table(
    generated: Tensor, features: Tensor, rows: RowBatch, users: np.ndarray, items: np.ndarray
) -> pd.DataFrame:
    """All edges of a generated graph, by user and rank.

    Args:
        generated: Items [n_users, k] by rank; the padding user's are left out.
        features: Of the items, each of length 1 [n_items, width].
        rows: Training items of all users but the padding.
        users: Original ids [n_users].
        items: Original ids [n_items].
    """
    chosen = generated[1:]
    n_nodes, k = chosen.shape
    is_met = rows.dense(len(features)).gather(1, chosen)  # [n_users - 1, k]
    sums = rows.product(features)[:, None]  # over all items met
    cosines = (sums * features[chosen]).sum(dim=2) - is_met * features[chosen].square().sum(dim=2)
    n_others = rows.lengths[:, None] - is_met
    similarity = torch.where(n_others > 0, cosines / n_others, torch.nan)
    return pd.DataFrame(
        {
            "user_id": np.repeat(users[1:], k),
            "item_id": items[chosen.flatten().numpy()],
            "rank": np.tile(np.arange(1, k + 1), n_nodes),
            "is_interaction": is_met.flatten().int().numpy(),
            "similarity": similarity.flatten().numpy(),
        }
    )


def _triples(paths: Sequence[Path]) -> list[Sequence[Path]]:
    return [paths[start : start + 3] for start in range(0, len(paths), 3)]


def _write(path: Path, text: str) -> None:
    with written_whole(path) as stream:
        stream.write(text.encode())


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(
            f"graph_export: pictures need matplotlib ({error}): pip install matplotlib"
        ) from error
    return Figure


def _draw(
    figure_class: Any, name: str, users: np.ndarray, cosines: pd.DataFrame, places: np.ndarray
) -> Any:
    """Users beside their generated items, and the items' cosines.

    Args:
        figure_class: Of matplotlib.
        name: Of the modality.
        users: Ids [n].
        cosines: Between items.
        places: Of each user's items among these [n, k].
    """
    n_items = len(cosines)
    figure = figure_class(figsize=(10, max(4.0, 0.4 * n_items)), layout="constrained")
    graph, heat = figure.subplots(1, 2)
    heights = np.linspace(0, max(n_items - 1, 1), len(users))
    for height, user, row in zip(heights, users, places, strict=True):
        graph.text(-0.04, height, user, ha="right", va="center")
        for place in row:
            graph.plot([0, 1], [height, place], color="tab:blue", marker="o")
    for place, item in enumerate(cosines.index):
        graph.text(1.04, place, item, ha="left", va="center")
    graph.set(xlim=(-0.5, 1.5), title=f"generated graph: {name} (users, items)")
    graph.axis("off")
    heat.imshow(cosines, vmin=-1, vmax=1, cmap="RdBu_r", origin="lower")
    for (row_place, column), value in np.ndenumerate(cosines.to_numpy()):
        heat.text(column, row_place, f"{value:.2f}", ha="center", va="center", fontsize=7)
    heat.set_xticks(range(n_items), cosines.index, rotation=90)
    heat.set_yticks(range(n_items), cosines.index)
    heat.set_title("cosine of the items' features")
    return figure
