"""Latents and images under the microscope: what is known of impulses, waves, noise and stripes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from measuring import context_of
from scipy import ndimage, signal

from mimflow.artifacts.curves import Curve
from mimflow.metrics.registry import METRICS
from mimflow.metrics.spec import MetricSpec
from mimflow.metrics.spectra.latents import LatentMaps
from mimflow.metrics.spectra.spec import (
    AutocorrelationSpec,
    BandErrorSpec,
    HighFrequencySpec,
    ImageSpectrumSpec,
    LatentMomentsSpec,
    LatentSpectrumSpec,
    MseSpec,
    PatchArtifactsSpec,
    SpectralEntropySpec,
    TotalVariationSpec,
)
from mimflow.nn.box import band, box_mean

SIDE = 16
LATENT_SPECS = [
    LatentMomentsSpec(),
    SpectralEntropySpec(),
    HighFrequencySpec(),
    TotalVariationSpec(),
    AutocorrelationSpec(),
    LatentSpectrumSpec(),
]


def maps(latents: np.ndarray) -> LatentMaps:
    return LatentMaps(latents.astype(np.float32), np.zeros(len(latents), np.int64))


def measured(spec: MetricSpec, context: object) -> dict[str, float]:
    """The numbers that have a value."""
    found = METRICS.build(spec, context)
    values = {name: number for name, number in found.items() if not isinstance(number, Curve)}
    assert set(values) == set(spec.reports)
    assert {name for name in found if name not in values} <= {curve.name for curve in spec.curves}
    return {name: number.value for name, number in values.items() if number.value is not None}


def curve(spec: MetricSpec, context: object, name: str) -> Curve:
    found = METRICS.build(spec, context)[name]
    assert isinstance(found, Curve)
    return found


def wave(cycles_across: int, cycles_down: int = 0, side: int = SIDE) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    return np.cos(2 * math.pi * (cycles_across * x + cycles_down * y) / side)[None, None]


def white(count: int = 200, channels: int = 3, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, channels, side, side))


# -- latents ---------------------------------------------------------------------------------------------------------


def test_the_spectrum_of_an_impulse_is_flat_and_that_of_a_wave_has_two_lines() -> None:
    impulse = np.zeros((1, 1, SIDE, SIDE))
    impulse[0, 0, 3, 5] = 1
    assert measured(SpectralEntropySpec(), maps(impulse))["spectral_entropy"] == pytest.approx(1, abs=1e-6)
    two_lines = math.log(2) / math.log(SIDE * SIDE - 1)
    for across, down in ((1, 0), (3, 5), (7, 2)):
        found = measured(SpectralEntropySpec(), maps(wave(across, down)))
        assert found["spectral_entropy"] == pytest.approx(two_lines, abs=1e-4)


def test_no_gaussian_field_has_a_higher_spectral_entropy_than_white_noise() -> None:
    """Powers of white noise are exponential: E −q ln q over n of them is (ln n − 1 + γ) in the limit."""
    expected = (math.log(SIDE * SIDE - 1) - 1 + np.euler_gamma) / math.log(SIDE * SIDE - 1)
    entropies = [
        measured(SpectralEntropySpec(), maps(ndimage.gaussian_filter(white(), (0, 0, std, std), mode="wrap")))
        for std in (0, 0.5, 1, 2)
    ]
    single = [found["spectral_entropy"] for found in entropies]
    assert single[0] == pytest.approx(expected, abs=0.01)
    assert single == sorted(single, reverse=True)
    assert entropies[0]["spectral_entropy_pooled"] > single[0]


def test_two_waves_in_two_channels_are_one_line_each_and_two_pooled() -> None:
    both = np.concatenate([wave(1), wave(0, 3)], axis=1)
    found = measured(SpectralEntropySpec(), maps(both))
    assert found["spectral_entropy"] == pytest.approx(math.log(2) / math.log(255), abs=1e-4)
    assert found["spectral_entropy_pooled"] == pytest.approx(math.log(4) / math.log(255), abs=1e-4)


def test_power_is_above_a_cutoff_where_the_wave_is() -> None:
    """Of 16 places: 2 cycles are 0.125 a place, 3 are 0.19, 5 are 0.31, and 5 down and 5 across are 0.44."""
    expected = {(2, 0): (0, 0, 0), (3, 0): (1, 0, 0), (5, 0): (1, 1, 0), (5, 5): (1, 1, 1), (4, 0): (1, 0, 0)}
    for cycles, shares in expected.items():
        found = measured(HighFrequencySpec(), maps(wave(*cycles)))
        assert list(found.values()) == pytest.approx(shares, abs=1e-6), cycles
        assert list(found) == ["high_frequency_0125", "high_frequency", "high_frequency_035"]


def test_white_noise_has_its_share_of_power_above_a_cutoff() -> None:
    """As many bins as lie beyond the circle, by numpy's own frequencies."""
    f = np.fft.fftfreq(SIDE)
    radius = np.hypot(*np.meshgrid(f, f))
    found = measured(HighFrequencySpec(), maps(white(1000)))
    for name, cutoff in (("high_frequency_0125", 0.125), ("high_frequency", 0.25), ("high_frequency_035", 0.35)):
        assert found[name] == pytest.approx((radius > cutoff).sum() / 255, abs=0.005)


def test_total_variation_by_hand() -> None:
    """2 × 3 tokens of two values ±1 whose mean is 0 and whose variance is 1; a step is 0 or 2."""
    latents = np.array([[[[1, -1, -1], [1, 1, -1]]]])
    found = measured(TotalVariationSpec(), maps(latents))
    assert found["total_variation"] == pytest.approx((2 + 0 + 2 + 0 + 2) / 5)
    assert found["total_variation_rows"] == pytest.approx((2 + 0 + 0 + 2) / 4)
    assert found["total_variation_2d"] == pytest.approx(4 / 4 + (0 + 2 + 0) / 3)


def test_scale_and_offset_of_a_channel_change_nothing() -> None:
    noise = ndimage.gaussian_filter(white(50), (0, 0, 1, 1))
    other = noise * np.array([1.0, 7.0, 0.1])[:, None, None] + np.array([0.0, 5.0, -3.0])[:, None, None]
    for spec in LATENT_SPECS[1:]:
        assert measured(spec, maps(other)) == pytest.approx(measured(spec, maps(noise)), rel=1e-4), spec.kind


def test_autocorrelation_is_that_of_scipy() -> None:
    smooth = ndimage.gaussian_filter(white(1, 1), (0, 0, 1, 1))
    sequence = smooth.ravel() - smooth.mean()
    whole = signal.correlate(sequence, sequence, method="direct")[sequence.size - 1 :]
    lags = np.arange(1, SIDE + 1)
    expected = whole[lags] / whole[0] * sequence.size / (sequence.size - lags)
    found = measured(AutocorrelationSpec(), maps(smooth))
    assert found["autocorrelation"] == pytest.approx(expected[0], rel=1e-5)
    assert found["autocorrelation_row"] == pytest.approx(expected[-1], rel=1e-5)
    assert found["autocorrelation_mean"] == pytest.approx(expected.mean(), rel=1e-5)
    drawn = curve(AutocorrelationSpec(), maps(smooth), "autocorrelation_curve")
    assert drawn.places.tolist() == lags.tolist()
    assert drawn.values == pytest.approx(expected, rel=1e-5)


def test_autocorrelation_of_white_noise_is_nothing_and_of_rows_alike_is_whole() -> None:
    found = measured(AutocorrelationSpec(), maps(white(500)))
    assert list(found.values()) == pytest.approx([0, 0, 0], abs=0.01)
    rows_alike = np.broadcast_to(white(20)[:, :, :1], (20, 3, SIDE, SIDE))
    assert measured(AutocorrelationSpec(), maps(rows_alike))["autocorrelation_row"] == pytest.approx(1, abs=1e-5)


def test_the_spectrum_of_white_noise_is_one_and_a_wave_peaks_at_its_frequency() -> None:
    noise = maps(white(500))
    for name in ("latent_spectrum_1d", "latent_spectrum_2d"):
        assert curve(LatentSpectrumSpec(), noise, name).values == pytest.approx(1, abs=0.1)
    assert list(measured(LatentSpectrumSpec(), noise).values()) == pytest.approx([0, 0], abs=0.05)
    little = 0.01 * white(1, 1)
    drawn = curve(LatentSpectrumSpec(), maps(wave(3) + little), "latent_spectrum_2d")
    assert drawn.places == pytest.approx(np.arange(1, 9) / SIDE)
    assert drawn.places[drawn.values.argmax()] == 3 / SIDE
    # Rows alike are a sequence of period 16: three cycles a row.
    drawn = curve(LatentSpectrumSpec(), maps(wave(3) + little), "latent_spectrum_1d")
    assert drawn.places[drawn.values.argmax()] == pytest.approx(3 / SIDE)


def test_the_slope_is_that_of_the_law_which_the_field_was_made_by() -> None:
    """White noise filtered so that its power falls as f^−2."""
    side = 64
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    f[0, 0] = 1
    pink = np.fft.ifft2(np.fft.fft2(white(50, 1, side)) / f).real
    assert measured(LatentSpectrumSpec(), maps(pink))["spectrum_slope_2d"] == pytest.approx(-2, abs=0.1)


def test_latents_without_a_grid_are_sequences() -> None:
    tokens = np.random.default_rng(1).standard_normal((300, 32, 4))
    found = {spec.kind: measured(spec, maps(tokens)) for spec in LATENT_SPECS}
    assert list(found["total_variation"]) == ["total_variation"]
    assert found["total_variation"]["total_variation"] == pytest.approx(2 / math.sqrt(math.pi), rel=0.01)
    assert list(found["latent_spectrum"]) == ["spectrum_slope_1d"]
    assert set(found["autocorrelation"]) == {"autocorrelation", "autocorrelation_mean"}
    line = np.cos(2 * math.pi * 5 * np.arange(32) / 32)[None, :, None]
    drawn = curve(LatentSpectrumSpec(), maps(line + 0.01 * tokens[:1, :, :1]), "latent_spectrum_1d")
    assert drawn.places[drawn.values.argmax()] == 5 / 32
    entropy = measured(SpectralEntropySpec(), maps(line))["spectral_entropy"]
    assert entropy == pytest.approx(math.log(2) / math.log(31), abs=1e-4)


def test_the_moments_are_those_of_all_dimensions() -> None:
    latents = np.array([[[[1.0, 3.0]], [[5.0, 7.0]]]])
    found = measured(LatentMomentsSpec(), maps(latents))
    assert found == pytest.approx({"latent_mean": 4.0, "latent_std": math.sqrt(5)})


@pytest.mark.parametrize("spec", LATENT_SPECS[1:], ids=lambda spec: spec.kind)
def test_latents_of_which_nothing_can_be_said_have_no_value_and_a_reason(spec: MetricSpec) -> None:
    for latents, reason in (
        (np.ones((3, 2, 4, 4)), "the latents do not vary"),
        (np.where(np.arange(96).reshape(3, 2, 4, 4) == 40, np.nan, 1.0), "latents of 1 of 3 images are not finite"),
    ):
        found = METRICS.build(spec, maps(latents))
        assert {name: number.reason for name, number in found.items()} == dict.fromkeys(spec.reports, reason)


# -- images ----------------------------------------------------------------------------------------------------------


def as_uint8(images: np.ndarray) -> np.ndarray:
    """Maps (N, C, H, W) about 0, of size 1 → images of contrast ±100."""
    return np.rint(128 + 100 * images).clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def noisy(side: int = 32, count: int = 64) -> np.ndarray:
    return as_uint8(0.3 * np.random.default_rng(2).standard_normal((count, 3, side, side)))


def test_images_have_the_spectrum_of_themselves_and_blur_takes_their_high_frequencies(tmp_path: Path) -> None:
    images = noisy()
    found = measured(ImageSpectrumSpec(), context_of(images, images, tmp_path))
    assert found == {"spectrum_error": 0, "spectrum_high": 0}
    blurred = [ndimage.gaussian_filter(images, (0, std, std, 0)) for std in (0.4, 0.6, 0.8)]
    values = [measured(ImageSpectrumSpec(), context_of(some, images, tmp_path)) for some in blurred]
    errors, high = ([value[name] for value in values] for name in ("spectrum_error", "spectrum_high"))
    assert errors == sorted(errors) and errors[0] > 0
    assert high == sorted(high, reverse=True) and high[0] < 0


def test_twice_the_contrast_is_four_times_the_power_at_every_frequency(tmp_path: Path) -> None:
    some = noisy()
    twice = (2 * (some.astype(int) - 128) + 128).clip(0, 255).astype(np.uint8)
    half = ((twice.astype(int) - 128) // 2 + 128).astype(np.uint8)
    found = measured(ImageSpectrumSpec(), context_of(twice, half, tmp_path))
    assert found["spectrum_error"] == pytest.approx(20 * math.log10(2), abs=0.1)
    drawn = curve(ImageSpectrumSpec(), context_of(as_uint8(wave(5, side=32)), half, tmp_path), "image_spectrum")
    assert drawn.places[drawn.values.argmax()] == 5 / 32


def tiled(contrast: float, patch: int = 4, side: int = 32) -> np.ndarray:
    """Noise, each patch of it with a grey of its own."""
    greys = np.random.default_rng(3).standard_normal((64, 3, side // patch, side // patch))
    noise = 0.2 * np.random.default_rng(4).standard_normal((64, 3, side, side))
    return as_uint8(noise + contrast * greys.repeat(patch, 2).repeat(patch, 3))


def test_borders_of_patches_show_where_there_are_patches(tmp_path: Path) -> None:
    smooth = tiled(0.0)
    found = measured(PatchArtifactsSpec(patch_size=4), context_of(tiled(0.3), smooth, tmp_path))
    assert found["blockiness"] > 1.5 and found["patch_peak"] > 3
    assert found["blockiness_reference"] == pytest.approx(1, abs=0.02)
    assert found["patch_peak_reference"] == pytest.approx(0, abs=0.5)
    other = measured(PatchArtifactsSpec(patch_size=2), context_of(tiled(0.3, patch=8), smooth, tmp_path))
    assert other["blockiness"] < found["blockiness"]
    more = [
        measured(PatchArtifactsSpec(patch_size=4), context_of(tiled(contrast), smooth, tmp_path))["blockiness"]
        for contrast in (0.0, 0.1, 0.2, 0.4)
    ]
    assert more == sorted(more)


def test_blockiness_and_its_peak_by_hand(tmp_path: Path) -> None:
    """Ramps of slope 1 with steps of 5 every fourth pixel along rows; columns are the same read downwards."""
    steps = np.ones(31)
    steps[3::4] = 5
    ramp = np.concatenate([[0], steps.cumsum()])
    image = (ramp[:, None] + ramp[None, :]).astype(np.uint8)[None, :, :, None]
    context = context_of(image, noisy(count=1)[..., :1], tmp_path)
    assert measured(PatchArtifactsSpec(patch_size=4), context)["blockiness"] == pytest.approx(5)
    drawn = curve(PatchArtifactsSpec(patch_size=4), context, "difference_spectrum")
    peaks = drawn.places[drawn.values > 1e-9]
    assert peaks == pytest.approx([0.25, 0.5])


def test_images_without_borders_have_no_blockiness(tmp_path: Path) -> None:
    found = METRICS.build(PatchArtifactsSpec(patch_size=5), context_of(noisy(), noisy(), tmp_path))
    assert found["blockiness"].reason == "images of 32 pixels have no borders between patches of 5"
    few = METRICS.build(PatchArtifactsSpec(patch_size=16), context_of(noisy(), noisy(), tmp_path))
    assert few["blockiness"].value is not None
    assert few["patch_peak"].reason == "fewer than 4 patches along a side"


def test_the_box_filter_is_scipys_with_zeros_around(tmp_path: Path) -> None:
    images = torch.rand(2, 3, 20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = ndimage.uniform_filter(images.numpy(), (0, 0, 7, 7), mode="constant")
    assert box_mean(images, 7).numpy() == pytest.approx(expected, abs=1e-12)
    assert band(images, "low", 7).numpy() == pytest.approx(expected, abs=1e-12)
    assert band(images, "high", 7).numpy() == pytest.approx((images.numpy() - expected + 0.5).clip(0, 1), abs=1e-12)


def test_the_error_of_a_band_is_that_of_the_filtered_difference(tmp_path: Path) -> None:
    images, others = noisy(count=300), noisy(count=300)[::-1]
    difference = (images.astype(float) - others) / 255
    smooth = ndimage.uniform_filter(difference, (0, 21, 21, 0), mode="constant")
    found = measured(BandErrorSpec(), context_of(images, others, tmp_path))
    assert found["mse_low"] == pytest.approx(np.square(smooth).mean())
    assert found["mse_high"] == pytest.approx(np.square(difference - smooth).mean())
    assert measured(MseSpec(), context_of(images, others, tmp_path))["mse"] == pytest.approx(
        np.square(difference).mean()
    )


def test_a_shade_of_grey_is_an_error_of_low_frequencies(tmp_path: Path) -> None:
    images = noisy(64, count=4).clip(50, 200)
    found = measured(BandErrorSpec(window=5), context_of(images + 20, images, tmp_path))
    assert found["mse_high"] < 0.1 * found["mse_low"]
