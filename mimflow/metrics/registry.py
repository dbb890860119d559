"""The metrics and the feature extractors there are: one line each."""

from mimflow.metrics.likelihood_spec import LikelihoodCheckSpec, LikelihoodMetricSpec
from mimflow.metrics.perceptual_spec import LpipsAlexSpec, LpipsVggSpec, PerceptualSpec
from mimflow.metrics.spec import (
    ClassAccuracySpec,
    CmmdSpec,
    DensityCoverageSpec,
    FidSpec,
    IsSpec,
    KidSpec,
    LinearProbeSpec,
    PrecisionRecallSpec,
    PsnrSpec,
    SamplingSpeedSpec,
    SfidSpec,
    SsimSpec,
)
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
from mimflow.spec.registry import Registry

METRICS = Registry(
    "metric",
    (FidSpec, "mimflow.metrics.fidelity:fid"),
    (SfidSpec, "mimflow.metrics.fidelity:sfid"),
    (IsSpec, "mimflow.metrics.inception_score:inception_score"),
    (KidSpec, "mimflow.metrics.kernels:kid"),
    (CmmdSpec, "mimflow.metrics.kernels:cmmd"),
    (PrecisionRecallSpec, "mimflow.metrics.manifolds:precision_recall"),
    (DensityCoverageSpec, "mimflow.metrics.manifolds:density_coverage"),
    (ClassAccuracySpec, "mimflow.metrics.accuracy:class_accuracy"),
    (SamplingSpeedSpec, "mimflow.metrics.speed:sampling_speed"),
    (PsnrSpec, "mimflow.metrics.similarity:psnr"),
    (SsimSpec, "mimflow.metrics.similarity:ssim"),
    (LpipsAlexSpec, "mimflow.metrics.perceptual:lpips_alex"),
    (LpipsVggSpec, "mimflow.metrics.perceptual:lpips_vgg"),
    (PerceptualSpec, "mimflow.metrics.perceptual:perceptual"),
    (LinearProbeSpec, "mimflow.metrics.probe:linear_probe"),
    (LatentMomentsSpec, "mimflow.metrics.spectra.latents:latent_moments"),
    (SpectralEntropySpec, "mimflow.metrics.spectra.latents:spectral_entropy"),
    (HighFrequencySpec, "mimflow.metrics.spectra.latents:high_frequency"),
    (TotalVariationSpec, "mimflow.metrics.spectra.latents:total_variation"),
    (AutocorrelationSpec, "mimflow.metrics.spectra.latents:autocorrelation"),
    (LatentSpectrumSpec, "mimflow.metrics.spectra.latents:latent_spectrum"),
    (ImageSpectrumSpec, "mimflow.metrics.spectra.images:image_spectrum"),
    (PatchArtifactsSpec, "mimflow.metrics.spectra.images:patch_artifacts"),
    (MseSpec, "mimflow.metrics.spectra.images:mse"),
    (BandErrorSpec, "mimflow.metrics.spectra.images:band_error"),
    (LikelihoodMetricSpec, "mimflow.metrics.likelihood:likelihood"),
    (LikelihoodCheckSpec, "mimflow.metrics.likelihood:likelihood_check"),
)
