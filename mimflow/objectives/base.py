"""What an objective does: it names its players and gives each a loss."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from mimflow.objectives.spec import ObjectiveSpec
from mimflow.priors.base import Prior
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes
from mimflow.tokenizers.base import Posterior, Tokenizer

SYSTEM = "system."
"""What the names of the system's tensors begin with inside an objective."""


@dataclass(frozen=True)
class Batch:
    """Images with all that an objective may need to know of them, on one device."""

    images: Tensor
    """(B, C, H, W) in [−1, 1]; (B, 0, 0, 0) where stored latents are read instead."""
    labels: Tensor
    """(B,) integers."""
    indices: Tensor
    """(B,) places in the split."""
    features: dict[str, Tensor] = field(default_factory=dict)
    """Targets that a frozen network made of the images, by its name."""
    posterior: Posterior | None = None
    """What a frozen tokenizer made of the images, where that is stored."""


@dataclass(frozen=True)
class Player:
    """One side of a phase: what it trains, and from which step on."""

    name: str
    parameters: dict[str, nn.Parameter]
    """By their names in checkpoints."""
    start: int = 0
    """The first step that it takes part in."""

    def plays(self, step: int) -> bool:
        """Whether it takes part in this step, counted from 0."""
        return step >= self.start


def checkpoint_name(name: str) -> str:
    """An objective's tensor in a checkpoint: `system.prior.x` is `prior.x`, its own `head.x` is `objective.head.x`."""
    return name.removeprefix(SYSTEM) if name.startswith(SYSTEM) else f"objective.{name}"


class Objective(nn.Module):
    """What a phase minimises. Built as `Objective(spec, modules: SystemModules, shapes: Shapes)`.

    The system's modules stand below `self.system`. Networks that only training needs (a discriminator, a head that
    aligns features) are an objective's own submodules, and are trained and saved with it.
    """

    def __init__(self, spec: ObjectiveSpec, modules: SystemModules, shapes: Shapes):
        super().__init__()
        self.system = modules
        self.total, self.step, self.logged = 1, 0, False

    @property
    def tokenizer(self) -> Tokenizer:
        """The system's tokenizer."""
        return self.system.module("tokenizer")

    @property
    def prior(self) -> Prior:
        """The system's prior."""
        return self.system.module("prior")

    def latents(self, batch: Batch) -> Tensor:
        """What training sees of a batch (B, tokens, channels), nothing masked: of images, or of stored posteriors."""
        if batch.posterior is not None:
            return self.tokenizer.latents_of(batch.posterior)
        return self.tokenizer.encode_for_training(batch.images, masked=False).latents

    def players(self, trains: list[str]) -> list[Player]:
        """Who takes turns in a step, in this order, when the modules named in `trains` are trained.

        By default one player: all parameters of those modules and the objective's own.
        """
        parameters = {checkpoint_name(name): parameter for name, parameter in self.named_parameters()}
        chosen = {
            name: parameter for name, parameter in parameters.items() if name.split(".", 1)[0] in (*trains, "objective")
        }
        return [Player("system", chosen)]

    def loss(self, player: str, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """What this player minimises, and the figures to log, all scalars.

        `carry` is shared by the players of a step: a generator leaves its detached output for a discriminator.
        """
        raise NotImplementedError

    def begin(self, total: int) -> None:
        """Told once, before `players` is asked: how many steps the phase has."""
        self.total = total

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Told before the first step of a phase, not when one goes on: what it has to know of the training split.

        `batches` are those of the split, unchanged and in order; an objective that needs none of them takes none. What
        it learns belongs in its state.
        """

    def begin_step(self, step: int, logged: bool) -> None:
        """Told before each step: its number, counted from 0, and whether dear figures are logged with it.

        What is dear to compute and only for people to read is logged with the first, the last and every tenth row.
        """
        self.step, self.logged = step, logged

    def health(self, batches: Iterable[Batch]) -> dict[str, Any]:
        """Figures for the manifest that tell a sound system from a broken one, as plain data, at the end of a phase.

        `batches` are those of the val split, unchanged and in order, and can be gone through more than once.
        """
        return {}

    def forward(self, player: str, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """`loss`, as what a wrapper for several devices calls."""
        return self.loss(player, batch, carry)

    def training_mode(self, trains: list[str]) -> None:
        """Trained modules and the objective's own in training mode, the system's others in evaluation mode."""
        self.train()
        for name, module in self.system.named_children():
            module.train(name in trains)

    def state(self) -> dict[str, Tensor]:
        """All tensors of the system and of the objective itself, by their names in checkpoints."""
        return {checkpoint_name(name): tensor for name, tensor in self.state_dict().items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` gave."""
        self.load_state_dict({name: state[checkpoint_name(name)] for name in self.state_dict()})


class ClosedForm(Objective):
    """An objective that passes over the data solve, rather than steps."""

    def fit(self, batches: Iterable[Batch]) -> None:
        """Set the system's tensors from one pass over the training split, each image once."""
        raise NotImplementedError
