"""The samplers there are: one line each."""

from mimflow.registry import Registry
from mimflow.samplers.reconstruction.spec import ReconstructionSpec
from mimflow.samplers.representation.spec import RepresentationSpec
from mimflow.samplers.spec import InverseSpec
from mimflow.samplers.velocity.spec import OdeSpec, SdeSpec

SAMPLERS = Registry(
    "sampler",
    (InverseSpec, "mimflow.samplers.inverse:InverseSampler"),
    (OdeSpec, "mimflow.samplers.velocity.sampler:OdeSampler"),
    (SdeSpec, "mimflow.samplers.velocity.sampler:SdeSampler"),
    (ReconstructionSpec, "mimflow.samplers.reconstruction.sampler:ReconstructionSampler"),
    (RepresentationSpec, "mimflow.samplers.representation.sampler:RepresentationSampler"),
)
