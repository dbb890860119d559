"""Power spectra of maps and sequences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

PART = 256
"""Images whose transforms are in memory at once."""


def parts(array: np.ndarray) -> Iterator[np.ndarray]:
    """An array (N, …) piece by piece."""
    for start in range(0, len(array), PART):
        yield array[start : start + PART]


def power(signals: np.ndarray, dimensions: int) -> np.ndarray:
    """|F|² of the orthonormal transform over the last one or two dimensions, their mean taken off first: float64.

    Frequencies are in the order of `numpy.fft.fftfreq`, that of 0 first.
    """
    axes = tuple(range(-dimensions, 0))
    centred = signals.astype(np.float64)
    centred -= centred.mean(axes, keepdims=True)
    return np.square(np.abs(np.fft.fftn(centred, axes=axes, norm="ortho")))


def radii(*lengths: int) -> np.ndarray:
    """The radial frequency of each bin of `power` over such lengths, in cycles a place: √(f_y² + f_x²), or |f|."""
    squares = [np.square(np.fft.fftfreq(length)) for length in lengths]
    return np.sqrt(squares[0] if len(squares) == 1 else squares[0][:, None] + squares[1][None])


def rings(spectrum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of a spectrum (T,) or (H, W) over rings of frequency k / n, k from 1 to n / 2: places and means.

    n is the shorter side, and a ring reaches half of 1 / n to both sides. The corners beyond a row's Nyquist frequency
    are left out.
    """
    size = min(spectrum.shape)
    numbers = np.rint(radii(*spectrum.shape) * size).astype(int).ravel()
    most = size // 2
    inside = numbers <= most
    sums = np.bincount(numbers[inside], spectrum.ravel()[inside], minlength=most + 1)
    counts = np.bincount(numbers[inside], minlength=most + 1)
    return np.arange(1, most + 1) / size, sums[1:] / counts[1:]


def slope(frequencies: np.ndarray, powers: np.ndarray) -> float:
    """The exponent of a power law P ∝ f^s, by least squares of ln P over ln f."""
    return float(np.polyfit(np.log(frequencies), np.log(powers), 1)[0])
