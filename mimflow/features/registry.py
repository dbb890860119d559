"""The frozen networks there are: one line each."""

from mimflow.features.spec import (
    ClassifierExtractorSpec,
    EfficientnetLite0ExtractorSpec,
    EfficientnetLite0Spec,
    InceptionExtractorSpec,
    TimmVitSpec,
)
from mimflow.spec.registry import Registry

NETWORKS = Registry(
    "network",
    (EfficientnetLite0Spec, "mimflow.features.efficientnet_lite0:EfficientnetLite0"),
    (TimmVitSpec, "mimflow.features.timm_vit:TimmVit"),
)


EXTRACTORS = Registry(
    "extractor",
    (ClassifierExtractorSpec, "mimflow.features.extractors:classifier_extractor"),
    (InceptionExtractorSpec, "mimflow.features.inception:inception_extractor"),
    (EfficientnetLite0ExtractorSpec, "mimflow.features.efficientnet_extractor:efficientnet_lite0_extractor"),
)
