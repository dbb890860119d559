"""The samplers there are: one line each."""

from mimflow.registry import Registry
from mimflow.samplers.reconstruction.spec import ReconstructionSpec
from mimflow.samplers.representation.spec import RepresentationSpec
from mimflow.samplers.spec import InverseSpec

SAMPLERS = Registry(
    "sampler",
    (InverseSpec, "mimflow.samplers.inverse:InverseSampler"),
    (ReconstructionSpec, "mimflow.samplers.reconstruction.sampler:ReconstructionSampler"),
    (RepresentationSpec, "mimflow.samplers.representation.sampler:RepresentationSampler"),
)
