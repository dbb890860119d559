"""The objectives there are: one line each."""

from mimflow.objectives.spec import CrossEntropySpec, MomentsSpec, NllSpec
from mimflow.registry import Registry

OBJECTIVES = Registry(
    "objective",
    (NllSpec, "mimflow.objectives.nll:NegativeLogLikelihood"),
    (MomentsSpec, "mimflow.objectives.moments:Moments"),
    (CrossEntropySpec, "mimflow.objectives.cross_entropy:CrossEntropy"),
)
