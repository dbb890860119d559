"""The references there are: one line each."""

from mimflow.metrics.reference.spec import ImagesReferenceSpec, SplitReferenceSpec, StatisticsReferenceSpec
from mimflow.spec.registry import Registry

REFERENCES = Registry(
    "reference",
    (SplitReferenceSpec, "mimflow.metrics.reference.sources:split_images"),
    (ImagesReferenceSpec, "mimflow.metrics.reference.sources:given_images"),
    (StatisticsReferenceSpec, "mimflow.metrics.reference.sources:given_statistics"),
    default="split",
)
