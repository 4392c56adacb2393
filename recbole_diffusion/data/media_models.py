"""Models of pictures and sounds from folders of this machine."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_diffusion.base.errors import UserError, refusals_of
from recbole_diffusion.data.media import Sound

Encode = Callable[[Sequence[Any]], np.ndarray]
"""Opened files to their vectors [n, width]."""

RATE = 16_000  # of the sound that a model is tried with
THINNEST = 256  # long sides in short ones
POOLER = "pooler"
NOT_READ = ("masked_spec_embed",)  # by training alone


def load_model(folder: Path, kind: str, device: torch.device) -> Encode:
    """What makes vectors by a model of ``transformers``.

    A model of pictures and texts, or of sounds and texts, gives what it compares with texts. Others
    give their pooled output, or else the mean over places or time.

    Args:
        folder: Of the model, with its weights as safetensors and what prepares its input.
        kind: "images" or "sounds".
        device: Where it computes.

    Raises:
        UserError: A package is absent, or no such model is in the folder, or not of this kind.
    """
    try:
        from safetensors import SafetensorError
        from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoModel
    except ImportError as error:
        raise UserError(
            f"item_features: this encoder needs transformers ({error}); pip install transformers"
        ) from error
    prepare_class = AutoImageProcessor if kind == "images" else AutoFeatureExtractor
    # A folder's own code is not run: without a word, transformers asks whoever is at the terminal.
    only_here = {"local_files_only": True, "trust_remote_code": False}
    kinds = (OSError, ValueError, LookupError, TypeError, ImportError, SafetensorError)
    with refusals_of(f"encoder {folder}", *kinds):
        prepare = prepare_class.from_pretrained(folder, **only_here)
        # Weights of other kinds are pickles.
        model, loading = AutoModel.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, **only_here
        )
    absent = {name for name in loading["missing_keys"] if not name.startswith(NOT_READ)}
    if absent - {name for name in absent if POOLER in name}:
        raise UserError(f"encoder {folder}: found no weights {sorted(absent)[:3]}, expected all")
    is_pooled, model = not absent, model.to(device).eval()
    part = "get_image_features" if kind == "images" else "get_audio_features"
    scores = getattr(model, part, model)

    @torch.no_grad()
    def encode(opened: Sequence[Any]) -> np.ndarray:
        if kind == "images":
            _refuse_thin(opened)
            return _array(
                pooled(scores(**prepare(list(opened), return_tensors="pt").to(device)), is_pooled)
            )
        # One at a time: what fills the shorter ones up would change their means.
        rate = prepare.sampling_rate
        prepared = (
            prepare(sound.at(rate), sampling_rate=rate, return_tensors="pt") for sound in opened
        )
        return _array(torch.cat([pooled(scores(**one.to(device)), is_pooled) for one in prepared]))

    with refusals_of(
        f"encoder {folder}: of no use for {kind}", *kinds, AttributeError, RuntimeError
    ):
        encode([_example(kind)])
    return encode


def _example(kind: str) -> Any:
    """Something that every model of a kind can encode."""
    draw = np.random.default_rng(0)
    if kind == "images":
        from PIL import Image

        return Image.fromarray(draw.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    return Sound(0.1 * draw.standard_normal(RATE, dtype=np.float32), RATE)


def _refuse_thin(pictures: Sequence[Any]) -> None:
    """Brought to one height, a line of pixels would fill the memory."""
    for width, height in (picture.size for picture in pictures):
        if max(width, height) > THINNEST * min(width, height):
            raise ValueError(
                f"found {width} x {height} pixels, expected sides within a factor of {THINNEST}"
            )


def pooled(output: Any, is_pooled: bool) -> Tensor:
    """One vector for each input [n, width].

    Args:
        output: Of a model.
        is_pooled: Whether to take its own pooling, whose weights may not have been in the folder.
    """
    if isinstance(output, Tensor):
        return output
    of_model: Tensor | None = getattr(output, "pooler_output", None) if is_pooled else None
    if of_model is not None:
        return of_model.flatten(1)
    last: Tensor = output.last_hidden_state  # [n, places, width], or [n, width, rows, columns]
    return last.mean(dim=1) if last.ndim == 3 else last.flatten(2).mean(dim=2)


def _array(vectors: Tensor) -> np.ndarray:
    return np.asarray(vectors.float().cpu().numpy())
