"""The spec of a system, and the shapes of the data that it is built for."""

from __future__ import annotations

from typing import Annotated

from mimflow.classifiers.registry import CLASSIFIERS
from mimflow.classifiers.spec import ClassifierSpec
from mimflow.data.spec import DatasetSpec
from mimflow.priors.registry import PRIORS
from mimflow.priors.spec import PriorSpec
from mimflow.spec.base import Spec
from mimflow.spec.shapes import ImageShape
from mimflow.tokenizers.registry import TOKENIZERS
from mimflow.tokenizers.spec import TokenizerSpec

MODULES = ("tokenizer", "prior", "classifier")
"""The modules that a system can have, in the order in which data passes them."""


class System(Spec):
    """Which networks there are. A system names those that it has: a classifier alone is one too."""

    tokenizer: Annotated[TokenizerSpec, TOKENIZERS] | None = None
    prior: Annotated[PriorSpec, PRIORS] | None = None
    classifier: Annotated[ClassifierSpec, CLASSIFIERS] | None = None

    @property
    def modules(self) -> list[str]:
        """The names of the modules it has."""
        return [name for name in MODULES if getattr(self, name) is not None]

    @property
    def loadable(self) -> list[str]:
        """What weights can be taken for: its modules, and parts of its tokenizer."""
        parts = self.tokenizer.parts if self.tokenizer is not None else ()
        return [*self.modules, *(f"tokenizer.{part}" for part in parts)]


class Shapes(Spec):
    """What a system needs to know of a data set to be built."""

    channels: int
    size: int
    num_classes: int

    @property
    def image(self) -> ImageShape:
        return ImageShape(self.channels, self.size)

    @classmethod
    def of(cls, dataset: DatasetSpec) -> Shapes:
        return cls(channels=dataset.channels, size=dataset.transform.size, num_classes=dataset.num_classes)
