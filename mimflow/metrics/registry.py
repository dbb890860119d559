"""The metrics and the feature extractors there are: one line each."""

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
    SfidSpec,
    SsimSpec,
)
from mimflow.spec.registry import Registry

METRICS = Registry(
    "metric",
    (FidSpec, "mimflow.metrics.fidelity:fid"),
    (SfidSpec, "mimflow.metrics.fidelity:sfid"),
    (IsSpec, "mimflow.metrics.fidelity:inception_score"),
    (KidSpec, "mimflow.metrics.kernels:kid"),
    (CmmdSpec, "mimflow.metrics.kernels:cmmd"),
    (PrecisionRecallSpec, "mimflow.metrics.manifolds:precision_recall"),
    (DensityCoverageSpec, "mimflow.metrics.manifolds:density_coverage"),
    (ClassAccuracySpec, "mimflow.metrics.accuracy:class_accuracy"),
    (PsnrSpec, "mimflow.metrics.similarity:psnr"),
    (SsimSpec, "mimflow.metrics.similarity:ssim"),
    (LpipsAlexSpec, "mimflow.metrics.perceptual:lpips_alex"),
    (LpipsVggSpec, "mimflow.metrics.perceptual:lpips_vgg"),
    (PerceptualSpec, "mimflow.metrics.perceptual:perceptual"),
    (LinearProbeSpec, "mimflow.metrics.probe:linear_probe"),
)
