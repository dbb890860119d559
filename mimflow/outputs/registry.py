"""The outputs there are: one line each."""

from mimflow.outputs.band.spec import BandSpec
from mimflow.outputs.interpolation.spec import InterpolationSpec
from mimflow.outputs.inverse.spec import InverseSpec
from mimflow.outputs.latents.spec import LatentsSpec
from mimflow.outputs.likelihood.spec import LikelihoodSpec
from mimflow.outputs.oracle.spec import OracleSpec
from mimflow.outputs.reconstruction.spec import ReconstructionSpec
from mimflow.outputs.representation.spec import RepresentationSpec
from mimflow.outputs.velocity.spec import OdeSpec, SdeSpec
from mimflow.spec.registry import Registry

OUTPUTS = Registry(
    "output",
    (InverseSpec, "mimflow.outputs.inverse.output:InverseSampler"),
    (OdeSpec, "mimflow.outputs.velocity.output:OdeSampler"),
    (SdeSpec, "mimflow.outputs.velocity.output:SdeSampler"),
    (OracleSpec, "mimflow.outputs.oracle.output:Oracle"),
    (ReconstructionSpec, "mimflow.outputs.reconstruction.output:Reconstructions"),
    (RepresentationSpec, "mimflow.outputs.representation.output:Representations"),
    (LatentsSpec, "mimflow.outputs.latents.output:Latents"),
    (InterpolationSpec, "mimflow.outputs.interpolation.output:Interpolations"),
    (BandSpec, "mimflow.outputs.band.output:BandReconstructions"),
    (LikelihoodSpec, "mimflow.outputs.likelihood.output:Likelihoods"),
)
