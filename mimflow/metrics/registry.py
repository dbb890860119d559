"""The metrics and the feature extractors there are: one line each."""

from mimflow.metrics.spec import (
    ClassAccuracySpec,
    FidSpec,
    IsSpec,
    KidSpec,
    LikelihoodCheckSpec,
    LikelihoodMetricSpec,
    LinearProbeSpec,
    PrecisionRecallSpec,
    PsnrSpec,
    SsimSpec,
)
from mimflow.spec.registry import Registry

METRICS = Registry(
    "metric",
    (FidSpec, "mimflow.metrics.fidelity:fid"),
    (IsSpec, "mimflow.metrics.fidelity:inception_score"),
    (KidSpec, "mimflow.metrics.fidelity:kid"),
    (PrecisionRecallSpec, "mimflow.metrics.fidelity:precision_recall"),
    (ClassAccuracySpec, "mimflow.metrics.accuracy:class_accuracy"),
    (PsnrSpec, "mimflow.metrics.similarity:psnr"),
    (SsimSpec, "mimflow.metrics.similarity:ssim"),
    (LinearProbeSpec, "mimflow.metrics.probe:linear_probe"),
    (LikelihoodMetricSpec, "mimflow.metrics.likelihood:likelihood"),
    (LikelihoodCheckSpec, "mimflow.metrics.likelihood:likelihood_check"),
)
