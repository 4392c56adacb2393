"""Figures of runs that the page of one run and that of a comparison share."""

from logging import getLogger
from pathlib import Path

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.log import run_logger
from recbole_diffusion.pages.figure import Gallery, Missing
from recbole_diffusion.runs.quick_start import saved_run
from recbole_diffusion.studies.analyze.training import (
    History,
    draw_change,
    draw_learning_curves,
    draw_loss_terms,
    draw_snr_over_epochs,
)

RESULTS, REPORT = "results.json", "report.html"


def told_missing(name: str, reason: str) -> Missing:
    """What a page lacks for a fault, which is told at once too."""
    getLogger().warning(f"not in the page: {name}: {reason}")
    return Missing(name, reason)


def add_training_figures(gallery: Gallery, histories: list[History], metric: str) -> None:
    """What the histories of runs show.

    Args:
        gallery: Takes the figures.
        histories: One for each run.
        metric: Of validation.
    """
    gallery.add(
        draw_learning_curves(histories, metric),
        draw_loss_terms(histories),
        draw_snr_over_epochs(histories),
        draw_change(histories),
    )


def checkpoint_figures(
    folder: Path, seed: int, projection: str, key: str = "", name: str = ""
) -> Gallery:
    """Figures of the best epoch of a run; a run that cannot be loaded has none, and says why.

    Args:
        folder: Of the run, of a model that has figures.
        seed: Of the run.
        projection: Of the map of items.
        key: Put behind the keys of the figures.
        name: Put behind their titles.
    """
    try:
        run, _ = saved_run(folder, {"state": "error"})
    except UserError as error:
        return Gallery(missing=[told_missing(f"Figures of the best epoch{name}", str(error))])
    run.network.eval()
    with run_logger(None, "warning"):  # what is solved anew for a figure is told by no log
        gallery: Gallery = run.config.registration.draw(run, seed, projection, key, name)
    return gallery
