"""The specs of what is measured on latents and of images' spectra, borders and bands.

SimFlow (arXiv 2512.04084, Figs. 3 and 4) names the measures of latents and does not define them; the definitions here
are those of its reproduction: each channel is standardised by the mean and standard deviation of all latents first, so
that scale does not enter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mimflow.metrics.number import CurveNumber, Number
from mimflow.metrics.reference.spec import Part
from mimflow.metrics.spec import MetricSpec
from mimflow.spec.base import Count, Problem

LATENTS = ("latents",)
IMAGES = ("samples", "reconstructions", "interpolations")


class LatentMomentsSpec(MetricSpec):
    """Mean and standard deviation of latents over all of them and all dimensions: the scale that noise is to be judged
    on.
    """

    measures: ClassVar[tuple[str, ...]] = LATENTS
    numbers: ClassVar[tuple[Number, ...]] = (
        Number("latent_mean", label="Mean", sentence="the mean of the latents over all dimensions", digits=3),
        Number("latent_std", label="Std", sentence="the standard deviation of the latents, all dimensions", digits=3),
    )
    source: ClassVar[str] = "this project's"

    kind: Literal["latent_moments"] = "latent_moments"


class SpectralEntropySpec(MetricSpec):
    """−Σ q ln q / ln K of the K powers of the discrete Fourier transform that are not of frequency 0, q = P / Σ P.

    Of each channel on its grid (of a sequence without one, along it), averaged over channels and images:
    `spectral_entropy`. `spectral_entropy_pooled` adds the channels' powers up first. 1 for a flat spectrum, lower where
    few frequencies have the power.
    """

    measures: ClassVar[tuple[str, ...]] = LATENTS
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "spectral_entropy",
            label="Spectral entropy",
            sentence="the entropy of the latents' power spectrum over its maximum, averaged over channels and images",
            digits=3,
        ),
        Number(
            "spectral_entropy_pooled",
            label="Spectral entropy, pooled",
            sentence="the entropy of the power spectrum of all channels together over its maximum",
            digits=3,
        ),
    )
    source: ClassVar[str] = "SimFlow (arXiv 2512.04084), Fig. 4, which names it; the definition is of its reproduction"

    kind: Literal["spectral_entropy"] = "spectral_entropy"


class HighFrequencySpec(MetricSpec):
    """The share of the latents' power above a radial frequency of 0.125, 0.25 and 0.35 cycles a token, the mean aside.

    The Nyquist frequency of a row or column is 0.5. Averaged over channels, then over images.
    """

    measures: ClassVar[tuple[str, ...]] = LATENTS
    numbers: ClassVar[tuple[Number, ...]] = tuple(
        Number(
            f"high_frequency{name}",
            label=f"Power above {cutoff}",
            sentence=f"the share of the latents' power above {cutoff} cycles a token",
            digits=3,
        )
        for name, cutoff in (("_0125", "0.125"), ("", "0.25"), ("_035", "0.35"))
    )
    source: ClassVar[str] = "SimFlow (arXiv 2512.04084), Fig. 4, which names it; the definition is of its reproduction"

    kind: Literal["high_frequency"] = "high_frequency"


class TotalVariationSpec(MetricSpec):
    """How much latents change from token to token: mean absolute differences of standardised channels, three numbers.

    `total_variation` runs along the sequence in raster order, as an autoregressive flow does; `…_rows` leaves out the
    steps from one row's end to the next row's start; `…_2d` adds the means over steps down and steps to the right.
    """

    measures: ClassVar[tuple[str, ...]] = LATENTS
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "total_variation",
            label="TV, sequence",
            sentence="the mean absolute difference of neighbours in the sequence, averaged over channels",
            digits=3,
        ),
        Number(
            "total_variation_rows",
            label="TV, rows",
            sentence="the mean absolute difference of neighbours in a row, averaged over channels",
            digits=3,
        ),
        Number(
            "total_variation_2d",
            label="TV, grid",
            sentence="the mean absolute differences of neighbours in a row and in a column, added up",
            digits=3,
        ),
    )
    source: ClassVar[str] = "SimFlow (arXiv 2512.04084), Fig. 4, which names it; the definition is of its reproduction"

    kind: Literal["total_variation"] = "total_variation"


class AutocorrelationSpec(MetricSpec):
    """ρ_k = N / (N − k) · Σ ⟨x_n − m, x_{n+k} − m⟩ / Σ ‖x_n − m‖² along the N tokens, m an image's mean.

    `autocorrelation` is ρ₁, `…_row` ρ at the width of the grid, where the token below is, and `…_mean` the mean up to
    there; without a grid, up to 16. Averaged over images; ρ of each lag is the curve.
    """

    measures: ClassVar[tuple[str, ...]] = LATENTS
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "autocorrelation",
            label="Autocorrelation",
            sentence="the correlation of the latents' tokens with the next one of the sequence",
            digits=3,
        ),
        Number(
            "autocorrelation_row",
            label="Autocorrelation, below",
            sentence="the correlation of the latents' tokens with the one below",
            digits=3,
        ),
        Number(
            "autocorrelation_mean",
            label="Autocorrelation, mean",
            sentence="the correlation of the latents' tokens with the next ones, averaged over a row's lags",
            digits=3,
        ),
    )
    curves: ClassVar[tuple[CurveNumber, ...]] = (
        CurveNumber("autocorrelation_curve", label="Autocorrelation", of="lag in tokens"),
    )
    source: ClassVar[str] = "SimFlow (arXiv 2512.04084), Fig. 4, which names it; the definition is of its reproduction"

    kind: Literal["autocorrelation"] = "autocorrelation"


class LatentSpectrumSpec(MetricSpec):
    """The power spectrum of latents along their sequence and, on a grid, over rings of equal radial frequency.

    Power is |F|² of the orthonormal transform of standardised channels, averaged over channels and images: 1 at every
    frequency for white noise. The slopes are those of ln P over ln f, by least squares: 0 for white noise, −2 where
    power falls with the square of the frequency.
    """

    measures: ClassVar[tuple[str, ...]] = LATENTS
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "spectrum_slope_1d",
            label="Slope, sequence",
            sentence="the exponent with which the latents' power falls with the frequency along the sequence",
        ),
        Number(
            "spectrum_slope_2d",
            label="Slope, grid",
            sentence="the exponent with which the latents' power falls with the radial frequency",
        ),
    )
    curves: ClassVar[tuple[CurveNumber, ...]] = (
        CurveNumber("latent_spectrum_1d", label="Power, sequence", of="frequency in cycles a token"),
        CurveNumber("latent_spectrum_2d", label="Power, grid", of="radial frequency in cycles a token"),
    )
    source: ClassVar[str] = "SimFlow (arXiv 2512.04084), Fig. 4, which names it; the definition is of its reproduction"

    kind: Literal["latent_spectrum"] = "latent_spectrum"


class ImageSpectrumSpec(MetricSpec):
    """The radial power spectrum of images beside that of what they are compared with, and how far they are apart.

    Power as of latents, of pixels in [0, 1], averaged over channels and images. `spectrum_error` is the mean over rings
    of |10 log₁₀ P / P_ref|; `spectrum_high` the mean of 10 log₁₀ P / P_ref over frequencies above 0.25 cycles a pixel:
    below 0 dB where images are smoother than the reference.
    """

    measures: ClassVar[tuple[str, ...]] = IMAGES
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "spectrum_error",
            label="Spectrum error",
            sentence="the distance of the images' radial power spectrum from the reference's, over frequencies",
            direction="lower",
            unit="dB",
        ),
        Number(
            "spectrum_high",
            label="Power above 0.25 over real",
            sentence="how much power above 0.25 cycles a pixel the images have over the reference",
            unit="dB",
        ),
    )
    curves: ClassVar[tuple[CurveNumber, ...]] = (
        CurveNumber("image_spectrum", label="Power", of="radial frequency in cycles a pixel"),
        CurveNumber("reference_spectrum", label="Power of the reference", of="radial frequency in cycles a pixel"),
    )
    compares: ClassVar[Part | None] = "images"
    source: ClassVar[str] = "this project's: a radial average of the periodogram"

    kind: Literal["image_spectrum"] = "image_spectrum"


class PatchArtifactsSpec(MetricSpec):
    """Traces of patches in images, beside those that the reference has: differences at borders, and spectral peaks.

    `blockiness` is the mean absolute difference of neighbouring pixels on both sides of a border of patches over that
    of neighbours inside of one: 1 without borders to see (after Wang, Sheikh and Bovik 2002). `patch_peak` is how far
    the power of absolute differences along rows and columns stands out at multiples of the patch frequency over the
    median of the frequencies around (after Wang, Bovik and Evans 2000), averaged over the multiples; the
    reference's own is the same of real images.
    """

    measures: ClassVar[tuple[str, ...]] = IMAGES
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "blockiness",
            label="Blockiness",
            sentence="the differences of pixels across borders of patches over those within patches",
            digits=3,
        ),
        Number(
            "blockiness_reference",
            label="Blockiness, real",
            sentence="the differences of the reference's pixels across borders of patches over those within patches",
            digits=3,
        ),
        Number(
            "patch_peak",
            label="Patch peak",
            sentence="the power of pixel differences at the patch frequency over that of the frequencies around it",
            unit="dB",
        ),
        Number(
            "patch_peak_reference",
            label="Patch peak, real",
            sentence="the power of the reference's pixel differences at the patch frequency over that around it",
            unit="dB",
        ),
    )
    curves: ClassVar[tuple[CurveNumber, ...]] = (
        CurveNumber("difference_spectrum", label="Power of differences", of="frequency in cycles a pixel"),
        CurveNumber(
            "difference_spectrum_reference",
            label="Power of differences, real",
            of="frequency in cycles a pixel",
        ),
    )
    compares: ClassVar[Part | None] = "images"
    source: ClassVar[str] = "after Wang, Sheikh and Bovik 2002, and Wang, Bovik and Evans 2000"

    kind: Literal["patch_artifacts"] = "patch_artifacts"
    patch_size: Annotated[int, Field(ge=2)]
    """Pixels of a patch's side: of a pixel flow its own, of a masked autoencoder its encoder's."""


class MseSpec(MetricSpec):
    """The mean squared error of 8-bit images over all their pixels, which are taken as in [0, 1]."""

    measures: ClassVar[tuple[str, ...]] = ("reconstructions", "bands")
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "mse",
            label="MSE",
            sentence="the mean squared error of the images' pixels in [0, 1]",
            digits=5,
            direction="lower",
        ),
    )
    compares: ClassVar[Part | None] = "originals"
    source: ClassVar[str] = "the mean squared error"

    kind: Literal["mse"] = "mse"


class BandErrorSpec(MetricSpec):
    """The mean squared error of what a box filter leaves of reconstructions, and of what it takes away: low and high.

    Each image and its original are split into a moving mean over `window` × `window` pixels, beyond borders 0 as in
    MIMFlow's tools, and the rest. MIMFlow's own numbers are of reconstructions of filtered images: outputs `band`.
    """

    measures: ClassVar[tuple[str, ...]] = ("reconstructions",)
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "mse_low",
            label="MSE, low",
            sentence="the mean squared error of what a moving mean leaves of the images' pixels in [0, 1]",
            digits=5,
            direction="lower",
        ),
        Number(
            "mse_high",
            label="MSE, high",
            sentence="the mean squared error of what a moving mean takes from the images' pixels in [0, 1]",
            digits=5,
            direction="lower",
        ),
    )
    compares: ClassVar[Part | None] = "originals"
    source: ClassVar[str] = "after the box filter of MIMFlow's tools (arXiv 2606.26016)"

    kind: Literal["band_error"] = "band_error"
    window: Count = 21
    """Pixels of the mean's side, an odd number: 21 in MIMFlow's tools."""

    def problems(self) -> Iterator[Problem]:
        if self.window % 2 == 0:
            yield Problem(("window",), f"{self.window} has no middle", "an odd number")
