"""Made pictures and sounds."""

from pathlib import Path

import numpy as np

RATE = 22_050
READ_RATE = 16_000  # of a sound at this one nothing is resampled, which takes longest


def write_picture(path: Path, style: int, draw: np.random.Generator, n_styles: int = 5) -> None:
    """Noisy stripes whose direction and colour are the style's."""
    from PIL import Image

    rows, columns = np.mgrid[:48, :64]
    angle = np.pi * style / n_styles
    phase = rows * np.sin(angle) + columns * np.cos(angle) + draw.uniform(0, 8)
    stripes = 0.5 + 0.4 * np.sign(np.sin(phase * 0.8))
    tint = 0.6 + 0.4 * np.cos(2 * np.pi * (style / n_styles + np.arange(3) / 3))
    pixels = stripes[..., None] * tint + 0.15 * draw.normal(size=(48, 64, 3))
    Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8)).save(path)


def write_sound(path: Path, style: int, draw: np.random.Generator, rate: int = RATE) -> None:
    """Half a second of a noisy tone whose pitch and overtones are the style's."""
    import soundfile

    time = np.arange(rate // 2) / rate
    pitch = 200 * 1.5**style * draw.uniform(0.97, 1.03)
    tone = sum(np.sin(2 * np.pi * pitch * n * time) / n ** (1 + style % 2) for n in (1, 2, 3))
    soundfile.write(path, 0.2 * tone + 0.05 * draw.normal(size=len(time)), rate)
