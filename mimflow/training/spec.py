"""The specs of a phase of training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from mimflow.data.spec import Augment
from mimflow.objectives.registry import OBJECTIVES
from mimflow.objectives.spec import ObjectiveSpec
from mimflow.spec.base import OUTSIDE_KEY, Count, Fraction, NonNegative, Positive, Problem, Spec
from mimflow.spec.weights import Weights
from mimflow.tokenizers.spec import TokenizerSpec


class Adamw(Spec):
    """AdamW, decoupled weight decay on every trained tensor."""

    kind: Literal["adamw"] = "adamw"
    lr: Positive
    betas: list[Fraction] = Field(default=[0.9, 0.999], min_length=2, max_length=2)
    weight_decay: NonNegative = 0.0
    eps: Positive = 1e-8


class Schedule(Spec):
    """The learning rate over a phase, as a share of the optimiser's: warm-up, hold, decay."""

    decay: Literal["constant", "cosine", "linear"] = "constant"
    """What follows the hold: nothing, half a cosine, or a line down to `final`."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps of linear warm-up from `initial`."""
    warmup_epochs: NonNegative = 0.0
    """Epochs of linear warm-up from `initial`, in place of steps."""
    hold: Fraction = 0.0
    """Share of the phase, warm-up included, before the decay begins."""
    initial: Fraction = 0.0
    """Share of the learning rate that the warm-up starts from."""
    final: Fraction = 0.0
    """Share of the learning rate that the decay ends at."""

    def problems(self) -> Iterator[Problem]:
        if self.warmup_steps and self.warmup_epochs:
            yield Problem(("warmup_epochs",), "the warm-up is given in steps and in epochs", "keep one")


class Phase(Spec):
    """One train job: an objective, where it starts, how long and with what optimiser."""

    objective: Annotated[ObjectiveSpec, OBJECTIVES]
    trains: list[str] | None = None
    """The modules that are trained; not given: all that the objective needs."""
    start: list[Weights] | None = None
    """Where weights come from; not given: a first phase from scratch, a later one from the phase before."""
    continues: Annotated[bool, Field(alias="continue")] = False
    """Whether the phase goes on where the one before it ended: with the weights of its last step, its objective's own
    networks (discriminator, projectors), its optimisers' moments and its averages. Otherwise a phase takes over weights
    of the system's modules alone. Steps, and with them schedule and draws, are counted anew in any case."""
    steps: Count | None = None
    """How many optimiser steps the phase has; or `epochs`."""
    epochs: Positive | None = None
    """How many passes over the training split the phase has; or `steps`."""
    batch_size: Count = 256
    """Images a step, over all devices and parts."""
    accumulate: Count = 1
    """How many parts a step's batch is cut into. One process computes them one after the other, several share them out.
    What looks at a batch (batch norm, a mask ratio of the whole batch, an adaptive weight) looks at a part."""
    optimizer: Adamw | None = None
    schedule: Schedule = Schedule()
    clip: Positive | None = None
    """Largest norm of each player's gradient; not given: gradients are not clipped."""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """What becomes of a step whose loss or gradient is NaN or infinite. `stop`: training ends and says so, and so does
    every later attempt, since a step draws the same again. `skip`: the step changes nothing (TARFlow's and iTARFlow's
    releases); the manifest and tables say how many were skipped, and a hundred in a row end the training."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of the averaged weights; not given: none are kept."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision that losses are computed in. bf16 is autocast: weights and optimiser stay in fp32."""
    augment: Augment = Augment()
    stored_latents: bool = False
    """Compute what a frozen tokenizer makes of the data's images, and of their mirror images, once, in a job of its own
    (stage `latents`), and read that instead of images: for objectives that read latents alone, where images are at most
    mirrored. Means and spreads are kept in 16 bits, images × tokens × channels × 8 bytes where the variance is learned
    (half of that where not): ImageNet in MAR's 256 tokens of 16 channels takes 42 GB. Results differ from those of
    `false` by that rounding."""
    snapshots: list[Fraction] = [0.25, 0.5, 0.75]
    """Shares of the phase at which weights are kept for figures over training."""
    checkpoint_seconds: Annotated[Positive | None, OUTSIDE_KEY] = None
    """Seconds between checkpoints of work in progress; not given: as many as it takes that they cost 2 % of the time,
    at least 30."""

    def identity(self) -> dict[str, Any]:
        """Every field but those outside the key, and whether latents are stored only where they are."""
        found = super().identity()
        if not self.stored_latents:
            del found["stored_latents"]
        return found

    @property
    def trained(self) -> list[str]:
        """The modules that are trained."""
        return list(self.objective.needs if self.trains is None else self.trains)

    def problems(self) -> Iterator[Problem]:
        if self.objective.closed_form:
            for field in ("steps", "epochs", "optimizer", "ema"):
                if getattr(self, field) is not None:
                    yield Problem((field,), f"objective '{self.objective.kind}' is solved in closed form", "remove it")
            if self.continues:
                yield Problem(("continue",), f"objective '{self.objective.kind}' is solved in closed form", "remove it")
            return
        if self.continues and self.start is not None:
            yield Problem(
                ("start",), "a phase that continues the one before starts from it alone", "remove one of them"
            )
        if (self.steps is None) == (self.epochs is None):
            yield Problem(("steps",), "give one of steps and epochs", "steps: 1000")
        for unit in ("steps", "epochs"):
            warmup, length = getattr(self.schedule, f"warmup_{unit}"), getattr(self, unit)
            if length is not None and warmup > length:
                yield Problem(
                    ("schedule", f"warmup_{unit}"), f"{warmup:g} {unit} of warm-up, the phase has {length:g}", "fewer"
                )
        if self.optimizer is None:
            yield Problem(("optimizer",), "missing", "optimizer: {kind: adamw, lr: 1e-4}")
        if self.batch_size % self.accumulate:
            yield Problem(
                ("accumulate",),
                f"{self.accumulate} parts do not divide a batch of {self.batch_size}",
                "choose a divisor",
            )

    def latents_problems(self, tokenizer: TokenizerSpec | None, weights: bool) -> Iterator[Problem]:
        """Why latents of this tokenizer can't be stored for the phase; `weights` says whether it has any to start from.

        Paths are relative to the phase.
        """
        if not self.stored_latents:
            return
        here = ("stored_latents",)
        if not self.objective.latents_alone:
            yield Problem(here, f"objective '{self.objective.kind}' reads more than latents", "false")
        elif tokenizer is None or not tokenizer.stores_latents:
            kind = "none" if tokenizer is None else tokenizer.kind
            yield Problem(here, f"the latents of tokenizer '{kind}' are no mean and spread", "false")
        elif "tokenizer" in self.trained:
            yield Problem(here, "the tokenizer is trained, and its latents change", "trains: [prior], or false")
        elif not weights:
            yield Problem(here, "the tokenizer starts from scratch", "weights of the tokenizer, or start")
        if self.augment.shift:
            yield Problem(("augment", "shift"), "stored latents are of images that are not moved", "0")

    def data_problems(self, images: int) -> Iterator[Problem]:
        """Contradictions between the phase and the number of images that there are to train on."""
        if self.objective.closed_form:
            return
        if self.batch_size > images:
            yield Problem(
                ("batch_size",), f"{self.batch_size} is more than the {images} training images", f"at most {images}"
            )
            return
        epoch = images // self.batch_size
        if self.schedule.warmup_steps and self.epochs is not None and self.schedule.warmup_steps > self.epochs * epoch:
            length = f"{self.epochs:g} epochs of {epoch}"
            yield Problem(
                ("schedule", "warmup_steps"),
                f"{self.schedule.warmup_steps} steps of warm-up, the phase has {length}",
                "fewer",
            )
        if self.steps is not None and self.schedule.warmup_epochs * epoch > self.steps:
            length = f"{self.steps} steps, and an epoch {epoch}"
            yield Problem(
                ("schedule", "warmup_epochs"),
                f"{self.schedule.warmup_epochs:g} epochs of warm-up, the phase has {length}",
                "fewer",
            )

    def continuation_problems(self, before: Phase, name: str) -> Iterator[Problem]:
        """Why it can't continue the phase `before`, whose name is given."""
        if self.objective.kind != before.objective.kind:
            yield Problem(
                ("objective", "kind"),
                f"'{self.objective.kind}' can't continue phase '{name}', which has '{before.objective.kind}'",
                "the same kind, or no `continue`",
            )
        else:
            for field, own in self.objective.carried.items():
                if own != before.objective.carried[field]:
                    yield Problem(
                        ("objective", field),
                        f"differs in what it is built of from phase '{name}', which it continues",
                        "the same, or no `continue`",
                    )
        if self.trained != before.trained:
            yield Problem(
                ("trains",),
                f"trains {', '.join(self.trained)}; phase '{name}', which it continues, {', '.join(before.trained)}",
                "the same modules, or no `continue`",
            )
        if self.ema is not None and before.ema is None:
            yield Problem(
                ("ema",), f"phase '{name}', which it continues, keeps no averages", "give that phase an ema too"
            )
