"""The objectives there are: one line each."""

from mimflow.objectives.spec import (
    AutoencoderSpec,
    CrossEntropySpec,
    DecoderTrainingSpec,
    JointSpec,
    LatentScaleSpec,
    MomentsSpec,
    NllSpec,
    VelocitySpec,
)
from mimflow.spec.registry import Registry

OBJECTIVES = Registry(
    "objective",
    (NllSpec, "mimflow.objectives.nll:NegativeLogLikelihood"),
    (VelocitySpec, "mimflow.objectives.velocity:VelocityRegression"),
    (MomentsSpec, "mimflow.objectives.moments:Moments"),
    (LatentScaleSpec, "mimflow.objectives.latent_scale:LatentScale"),
    (CrossEntropySpec, "mimflow.objectives.cross_entropy:CrossEntropy"),
    (JointSpec, "mimflow.objectives.joint:Joint"),
    (AutoencoderSpec, "mimflow.objectives.autoencoder:Autoencoder"),
    (DecoderTrainingSpec, "mimflow.objectives.decoder:DecoderTraining"),
)
