"""What is to be known of what an output holds, without torch: what opens it for metrics is imported then."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.metrics import EvaluateFacts
from mimflow.contents.spec import GivenSamples
from mimflow.features.spec import ExtractorSpec
from mimflow.metrics.reference.spec import ReferenceSpec
from mimflow.outputs.drawing import Drawing
from mimflow.outputs.drawing import Samples as Draws
from mimflow.outputs.spec import OutputSpec
from mimflow.system.spec import Shapes, System

if TYPE_CHECKING:
    import torch

    from mimflow.metrics.context import ImageComparison, RepresentedSplits
    from mimflow.metrics.likelihood import Densities
    from mimflow.metrics.spectra.latents import LatentMaps

QUANTISATION = {"round": "rounded to 8 bits", "truncate": "truncated to 8 bits"}


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation has at hand to open an output with."""

    shapes: Shapes
    """Those that the protocol's data set has."""
    reference: ReferenceSpec | None
    extractor: ExtractorSpec | None
    extractor_system: System | None
    """The system that the extractor's weights belong to, where a run trained it."""
    output: Artifact | None
    """None where samples are given that were made elsewhere."""
    given: GivenSamples | None
    asked: Draws | None
    """How many samples of which classes the protocol asks for, of given ones."""
    data: Artifact | None
    """The data set whose images are the originals, where metrics compare with these."""
    compared: Artifact | None
    """The reference, where metrics compare features with it."""
    compared_by: Mapping[str, Artifact]
    """The references of metrics that have one of their own, by the metric's kind."""
    extractor_weights: Artifact | None
    device: torch.device


@dataclass(frozen=True)
class Opened:
    """An output as metrics are given it."""

    given: ImageComparison | RepresentedSplits | LatentMaps | Densities
    facts: EvaluateFacts
    """How many images are measured, and how."""
    own: Mapping[str, ImageComparison] = field(default_factory=dict)
    """What those metrics are given, by kind, that have a reference of their own."""


class Content(ABC):
    """What an output holds, as one object that plan, stages and tables ask instead of telling contents apart.

    A new one is a class, a line in the registry, and metrics that say they measure it.
    """

    name: ClassVar[str]
    """What outputs and metrics call it."""
    file: ClassVar[str]
    """The file of the output that metrics read."""
    pictured: ClassVar[str | None]
    """The file of the output whose images a table's picture shows; None where there are none to show."""
    pictured_as: ClassVar[str] = ""
    """What the picture's title says of the images."""
    extracts: ClassVar[bool]
    """Whether its metrics look through the protocol's feature extractor."""
    opener: ClassVar[str]
    """`module:function` of what makes an `Opened` of it. This is where torch may be imported."""

    @abstractmethod
    def heading(self, name: str, outputs: Iterable[OutputSpec]) -> str:
        """What stands above the columns of outputs (one a row of the table) that share a name."""

    @abstractmethod
    def drawing(self, draws: Draws) -> Drawing:
        """The part of a protocol's drawing that it depends on."""

    @abstractmethod
    def reference(self, output: OutputSpec, asked: ReferenceSpec) -> ReferenceSpec | None:
        """What it is compared with, given what the protocol asks for; None where nothing is."""

    @abstractmethod
    def count(self, draws: Draws) -> int | None:
        """How many there will be, as far as the protocol tells."""

    @abstractmethod
    def lines(
        self, draws: Draws, reference: ReferenceSpec, dataset: str, facts: EvaluateFacts | None
    ) -> Iterable[tuple[str, str]]:
        """Terms and texts under a table: what is measured, and against what. `facts` are an evaluation's, if any."""

    @abstractmethod
    def line(self, draws: Draws, reference: ReferenceSpec) -> str:
        """The same in one line."""

    @abstractmethod
    def measured(self, facts: EvaluateFacts) -> str:
        """What one evaluation measured: `2,000 samples against 4,000 images`."""

    def open(self, evaluation: Evaluation) -> Opened:
        """What metrics are given. ArtifactError for files that are not of the shapes."""
        module, _, function = self.opener.partition(":")
        opened: Opened = getattr(import_module(module), function)(self, evaluation)
        return opened
