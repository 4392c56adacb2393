"""Vectors of pictures and sounds without a trained model."""

from typing import Any

import numpy as np

from recbole_diffusion.data.media import Sound

SIDE = 128  # pixels that a picture is scaled to
HUES, TONES = 12, 8  # bins of the histograms of colour
CELLS, DIRECTIONS = 4, 8  # of edges: cells a side, directions in each
RINGS = ((8, 1), (16, 2))  # of texture: points, and their distance in pixels
SAMPLE_RATE = 16_000
MELS, COEFFICIENTS = 40, 20
FRAME, HOP = 400, 160  # samples: 25 and 10 ms


def picture_vector(picture: Any) -> np.ndarray:
    """Colour, edges and texture of a picture.

    Args:
        picture: In RGB, of the library Pillow.

    Returns:
        float32: shares of hues, of saturations and of brightnesses; mean and deviation of red,
        green and blue; histograms of gradients' directions in 4 x 4 cells (Dalal and Triggs 2005);
        shares of local binary patterns of two sizes (Ojala et al. 2002).
    """
    from skimage.color import rgb2gray, rgb2hsv
    from skimage.feature import hog, local_binary_pattern

    pixels = np.asarray(picture.resize((SIDE, SIDE)), dtype=np.float64) / 255
    hsv, gray = rgb2hsv(pixels), rgb2gray(pixels)
    # A grey pixel has no hue: hues count by saturation.
    hue = np.histogram(hsv[..., 0], HUES, (0, 1), weights=hsv[..., 1])[0] / SIDE**2
    tones = [np.histogram(hsv[..., c], TONES, (0, 1))[0] / SIDE**2 for c in (1, 2)]
    moments = [pixels.mean(axis=(0, 1)), pixels.std(axis=(0, 1))]
    edges = hog(
        gray,
        orientations=DIRECTIONS,
        pixels_per_cell=(SIDE // CELLS, SIDE // CELLS),
        cells_per_block=(1, 1),
    )
    whole = np.round(gray * 255).astype(np.uint8)
    texture = [
        np.bincount(
            local_binary_pattern(whole, points, radius, "uniform").astype(int).ravel(),
            minlength=points + 2,
        )
        / SIDE**2
        for points, radius in RINGS
    ]
    return np.concatenate([hue, *tones, *moments, edges / CELLS, *texture]).astype(np.float32)


def sound_vector(sound: Sound) -> np.ndarray:
    """Mean and deviation in time of a sound's mel-frequency cepstral coefficients.

    Args:
        sound: Of any rate; it is brought to 16 kHz.

    Returns:
        float32 [80]: of the 20 coefficients and of their changes from frame to frame (Davis and
        Mermelstein 1980).
    """
    import torch
    from scipy.fft import dct
    from transformers.audio_utils import mel_filter_bank

    samples = torch.from_numpy(sound.at(SAMPLE_RATE))
    samples = torch.nn.functional.pad(samples, (0, max(0, 2 * FRAME - len(samples))))
    spectrum = torch.stft(
        samples, FRAME, HOP, window=torch.hann_window(FRAME), center=False, return_complex=True
    )
    filters = mel_filter_bank(
        FRAME // 2 + 1, MELS, 0.0, SAMPLE_RATE / 2, SAMPLE_RATE, "slaney", "slaney"
    )
    power = filters.T @ spectrum.abs().square().double().numpy()
    decibels = 10 * np.log10(np.maximum(power, 1e-10))
    coefficients = dct(decibels, axis=0, norm="ortho")[:COEFFICIENTS]
    changes = np.diff(coefficients, axis=1)
    parts = [f(x, axis=1) for x in (coefficients, changes) for f in (np.mean, np.std)]
    return np.concatenate(parts).astype(np.float32)
