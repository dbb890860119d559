"""The classifiers there are: one line each."""

from mimflow.classifiers.convnet.spec import ConvnetSpec
from mimflow.spec.registry import Registry

CLASSIFIERS = Registry(
    "classifier",
    (ConvnetSpec, "mimflow.classifiers.convnet.model:Convnet"),
)
