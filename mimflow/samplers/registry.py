"""The samplers there are: one line each."""

from mimflow.registry import Registry
from mimflow.samplers.spec import InverseSpec

SAMPLERS = Registry(
    "sampler",
    (InverseSpec, "mimflow.samplers.inverse:InverseSampler"),
)
