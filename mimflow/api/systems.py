"""A trained system in Python: images to latents and back, samples, likelihoods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from mimflow.api.trained import Trained, from_folder, from_run
from mimflow.compute.devices import resolve
from mimflow.data.pixels import to_uint8, to_unit
from mimflow.errors import ArtifactError, DeviceError, NotFiniteError, SpecError
from mimflow.nn.draws import Draws
from mimflow.nn.modes import evaluating
from mimflow.outputs.prior import PriorSampler
from mimflow.outputs.registry import OUTPUTS
from mimflow.outputs.spec import OutputSpec, SamplerSpec
from mimflow.priors.base import NULL_CLASS, FlowPrior, Prior
from mimflow.project.locate import find_project
from mimflow.seeds import derive
from mimflow.spec.compose import nearest
from mimflow.system.modules import SystemModules, load_weights
from mimflow.tokenizers.base import Tokenizer

BATCH_SIZE = 250
"""Images that pass through the networks at once."""


def load(
    source: str | Path,
    *,
    seed: int | None = None,
    averaged: bool | None = None,
    device: str | torch.device = "auto",
    project: Path | str | None = None,
) -> TrainedSystem:
    """A trained system: `load("mimflow-mnist5k", seed=0)`, ready to encode, decode, sample and judge.

    `source` is a run of the project that has been trained, or the folder of an artifact: one of the store, or what
    `mimflow import-checkpoint` wrote. `seed` is the run's, its first one by default. `averaged` asks for the averaged
    weights or for those of the last step; by default averaged ones where there are any. `device` is `auto` (a GPU where
    there is one), `cpu`, `cuda`, or any that PyTorch knows, `cuda:1`. `project` is the folder that holds `specs`; by
    default the one that the working folder lies in.

    Raises PlanError for a run that no spec describes or that has no such seed, ArtifactError for weights that are
    missing, corrupt or do not fit, and DeviceError.
    """
    folder = Path(source)
    if folder.is_dir():
        trained = from_folder(folder, averaged)
    else:
        trained = from_run(find_project(project), str(source), seed, averaged)
    return TrainedSystem(trained, _device(device))


def _device(asked: str | torch.device) -> torch.device:
    """The device that is asked for. DeviceError if it is not there."""
    if asked in ("auto", "cpu", "cuda"):
        return resolve(str(asked))
    try:
        device = torch.device(asked)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter where PyTorch is built without CUDA
        reason = str(error).splitlines()[0]
        raise DeviceError(
            f"device '{asked}': {reason} (auto, cpu, cuda, or another that PyTorch finds here)"
        ) from error
    return device


class TrainedSystem:
    """A system with its weights, in evaluation mode: what `load` gives."""

    def __init__(self, trained: Trained, device: torch.device):
        self.spec = trained.system
        """Which networks it is made of."""
        self.shapes = trained.shapes
        """Channels, size and number of classes of its images."""
        self.outputs: Mapping[str, OutputSpec] = trained.outputs
        """The run's outputs by name, samplers among them; none of an artifact that was opened by its folder."""
        self.seed = trained.seed
        """The run's seed, which `sample` draws from."""
        self.device = device
        self._averaged = trained.averaged
        self.modules = SystemModules(trained.system, trained.shapes)
        """The networks: `modules.tokenizer`, `modules.prior`."""
        found = {name for path, only in trained.weights for name in load_weights(self.modules, path, only)}
        self._missing = {
            name: trained.weights[0][0].parent
            for name, module in self.modules.named_children()
            if name not in found and module.state_dict()
        }
        self.modules.to(device).eval().requires_grad_(False)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={getattr(self.spec, name).kind}" for name in self.spec.modules)
        side = self.shapes.size
        return f"TrainedSystem({parts}, images={side}×{side}×{self.shapes.channels}, classes={self.shapes.num_classes})"

    @torch.no_grad()
    def encode(self, images: np.ndarray | Tensor) -> Tensor:
        """Images → latents (N, tokens, channels) float32 on the CPU, of whole images and without noise.

        Images are uint8 (N, H, W, C), or float (N, C, H, W) in [−1, 1]. ValueError for others.
        """
        tokenizer = self._module("tokenizer")
        return self._in_batches(lambda part: tokenizer.encode(part), self._images(images))

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents (N, tokens, channels) → images (N, C, H, W) float32 on the CPU, not clamped; `pixels` rounds them."""
        tokenizer = self._module("tokenizer")
        return self._in_batches(lambda part: tokenizer.decode(part), latents)

    def pixels(self, images: Tensor) -> np.ndarray:
        """Images (N, C, H, W) in [−1, 1], clamped → uint8 (N, H, W, C). NotFiniteError for NaN and infinities."""
        return to_uint8(images, "round")

    def sample(
        self,
        labels: Sequence[int] | np.ndarray | int,
        *,
        output: str | Mapping[str, Any] | OutputSpec | None = None,
        guidance: float | None = None,
        seed: int | None = None,
        first: int = 0,
    ) -> np.ndarray:
        """Images uint8 (N, H, W, C) of these classes: `sample([3] * 16, guidance=2)`.

        `labels` are N classes, −1 for none; a number asks for so many without a class. `output` is a sampler of the
        run by name, or one in a spec's words; by default the run's first one, or the first that is guided where
        `guidance`, its weight, is given. Image i is drawn from `seed`, by default the run's, and its number
        `first + i`: the same whatever is drawn beside it. With a table's labels these are the table's samples.

        Raises SpecError for a sampler that does not exist or does not fit, and NotFiniteError.
        """
        spec = self._sampler(output, guidance)
        sampler: PriorSampler = OUTPUTS.build(spec)
        tokenizer, prior = self._module("tokenizer"), self._module("prior")
        asked = np.full(labels, NULL_CLASS) if isinstance(labels, int) else np.asarray(labels)
        classes = torch.as_tensor(asked, dtype=torch.int64)
        self._require_classes(classes)
        start = self.seed if seed is None else seed
        images = []
        for rows in torch.arange(len(classes)).split(BATCH_SIZE):
            draws = Draws(derive(start, 0, "sample", first + row) for row in rows.tolist())
            images.append(sampler.sample(tokenizer, prior, classes[rows].to(self.device), draws).cpu())
        drawn = torch.cat(images) if images else torch.empty(0, self.shapes.channels, *[self.shapes.size] * 2)
        if not drawn.isfinite().all():
            raise NotFiniteError(f"samples are not finite ({sampler.remedy})")
        return to_uint8(drawn, "round")

    @torch.no_grad()
    def log_prob(
        self,
        images: np.ndarray | Tensor,
        labels: Sequence[int] | np.ndarray | None = None,
        *,
        level: float | None = None,
    ) -> Tensor:
        """The log-density (N,) of images' latents in nats, constants included, float32 on the CPU.

        Images as for `encode`; `labels` are their classes, none by default. It is a density of latents: of pixels in
        [−1, 1] where the tokenizer cuts patches, of what the encoder gives otherwise, which is not comparable between
        tokenizers. No noise is added. `level` is the noise level of a prior that has a density at each.

        Raises SpecError where the prior has no density, or has one only at a level.
        """
        prior = self._density(level)
        given = self._images(images)
        classes = torch.full((len(given),), NULL_CLASS) if labels is None else torch.as_tensor(np.asarray(labels))
        if len(classes) != len(given):
            raise ValueError(f"{len(classes)} labels for {len(given)} images")
        self._require_classes(classes)
        tokenizer = self._module("tokenizer")

        def judge(part: Tensor, of: Tensor) -> Tensor:
            return prior.log_prob(tokenizer.encode(part), of)

        return self._in_batches(judge, given, classes.long())

    # -- what they share -------------------------------------------------------------------------------------------

    @overload
    def _module(self, name: Literal["tokenizer"]) -> Tokenizer: ...

    @overload
    def _module(self, name: Literal["prior"]) -> Prior: ...

    def _module(self, name: Literal["tokenizer", "prior"]) -> nn.Module:
        """A network that is there with its weights. SpecError if the system has none, ArtifactError if they are not."""
        if getattr(self.modules, name) is None:
            raise SpecError(f"the system has no {name} ({', '.join(self.spec.modules)} is what it has)")
        if name in self._missing:
            raise ArtifactError(
                f"{self._missing[name]}: holds no weights of the {name} "
                "(a run without training takes both files in its weights: load that run)"
            )
        return self.modules.module(name)

    def _in_batches(self, function: Any, *tensors: Tensor) -> Tensor:
        with evaluating(*self.modules.children()):
            parts = zip(*(tensor.split(BATCH_SIZE) for tensor in tensors), strict=True)
            return torch.cat([function(*(part.to(self.device) for part in each)).float().cpu() for each in parts])

    def _images(self, images: np.ndarray | Tensor) -> Tensor:
        given = images.numpy() if isinstance(images, Tensor) and images.dtype == torch.uint8 else images
        side, channels = self.shapes.size, self.shapes.channels
        shape = tuple(given.shape[1:])
        if isinstance(given, np.ndarray) and given.dtype == np.uint8 and shape == (side, side, channels):
            return to_unit(given)
        planes = torch.as_tensor(given)
        if planes.is_floating_point() and shape == (channels, side, side):
            return planes.float()
        raise ValueError(
            f"images of type {given.dtype} and shape {tuple(given.shape)}: uint8 (N, {side}, {side}, {channels}), "
            f"or float (N, {channels}, {side}, {side}) in [−1, 1]"
        )

    def _require_classes(self, classes: Tensor) -> None:
        wrong = classes[(classes < NULL_CLASS) | (classes >= self.shapes.num_classes)]
        if len(wrong):
            raise ValueError(f"class {int(wrong[0])}: classes are 0 to {self.shapes.num_classes - 1}, −1 for none")

    def _density(self, level: float | None) -> FlowPrior:
        prior, spec = self._module("prior"), self.spec.prior
        if not isinstance(prior, FlowPrior) or spec is None:
            raise SpecError(f"prior '{getattr(spec, 'kind', None)}' has no density (a flow has one)")
        if spec.noise_levels and level is None:
            raise SpecError(f"prior '{spec.kind}' has a density at each noise level (level=0.1)")
        if level is None:
            return prior
        if not spec.noise_levels:
            raise SpecError(f"prior '{spec.kind}' has no noise levels (leave level out)")
        return prior.at(level)

    def _sampler(self, output: str | Mapping[str, Any] | OutputSpec | None, guidance: float | None) -> OutputSpec:
        spec = self._named(output, guidance)
        if not isinstance(spec, SamplerSpec):
            raise SpecError(f"output '{spec.kind}' does not draw from the prior")
        if isinstance(output, str) and spec.ema is not self._averaged:
            raise SpecError(f"output '{output}' takes other weights (load(…, averaged={spec.ema}))")
        if guidance is not None:
            rule = getattr(spec, "guidance", None)
            if rule is None:
                raise SpecError("the sampler is not guided (name an output that is, or leave guidance out)")
            spec = spec.model_copy(update={"guidance": rule.model_copy(update={"weight": float(guidance)})})
        problems = [f"{'.'.join(map(str, each.path))}: {each.message}" for each in spec.system_problems(self.spec)]
        if problems:
            raise SpecError("\n".join(problems))
        return spec

    def _named(self, output: str | Mapping[str, Any] | OutputSpec | None, guidance: float | None) -> OutputSpec:
        if isinstance(output, OutputSpec):
            return output
        if isinstance(output, Mapping):
            try:
                return _OUTPUT.validate_python(dict(output))
            except ValidationError as error:
                raise SpecError(f"output: {error.errors()[0]['msg']}") from error
        samplers = {name: spec for name, spec in self.outputs.items() if isinstance(spec, SamplerSpec)}
        if output is not None:
            if output not in self.outputs:
                hint = nearest(output, list(self.outputs))
                raise SpecError(f"there is no output '{output}'" + (f" ({hint})" if hint else ""))
            return self.outputs[output]
        guided = [spec for spec in samplers.values() if getattr(spec, "guidance", None) is not None]
        found = [spec for spec in (guided if guidance is not None else samplers.values()) if spec.ema is self._averaged]
        if not found:
            raise SpecError('no sampler is named (output={"kind": "inverse"} runs a flow backwards)')
        return found[0]


_OUTPUT: TypeAdapter[OutputSpec] = TypeAdapter(OUTPUTS.union)
