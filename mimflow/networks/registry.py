"""The frozen networks there are: one line each."""

from mimflow.networks.spec import EfficientnetLite0Spec, TimmVitSpec
from mimflow.registry import Registry

NETWORKS = Registry(
    "network",
    (EfficientnetLite0Spec, "mimflow.networks.efficientnet_lite0:EfficientnetLite0"),
    (TimmVitSpec, "mimflow.networks.timm_vit:TimmVit"),
)
