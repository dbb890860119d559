"""The priors there are: one line each."""

from mimflow.priors.class_gaussian.spec import ClassGaussianSpec
from mimflow.priors.itarflow.spec import ItarflowSpec
from mimflow.priors.sit.spec import SitSpec
from mimflow.priors.starflow.spec import StarflowSpec
from mimflow.priors.tarflow.spec import TarflowSpec
from mimflow.spec.registry import Registry

PRIORS = Registry(
    "prior",
    (TarflowSpec, "mimflow.priors.tarflow.model:Tarflow"),
    (ItarflowSpec, "mimflow.priors.itarflow.model:Itarflow"),
    (StarflowSpec, "mimflow.priors.starflow.model:Starflow"),
    (SitSpec, "mimflow.priors.sit.model:Sit"),
    (ClassGaussianSpec, "mimflow.priors.class_gaussian.model:ClassGaussian"),
)
