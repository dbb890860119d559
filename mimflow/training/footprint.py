"""How much memory a phase of training needs, found out without any: a step of tensors that have shapes and no values.

Every tensor that a step makes on the device is PyTorch's fake one, and a storage counts from the moment it is made to
the moment it is let go. What kernels need inside themselves, and what an allocator keeps beyond, is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from mimflow.data.spec import Augment
from mimflow.features.networks import FrozenNetwork, build_network
from mimflow.features.spec import NetworkSpec
from mimflow.nn.attention import as_on_a_gpu
from mimflow.objectives.base import Batch, Objective, Player
from mimflow.objectives.reconstructing import Reconstructing
from mimflow.objectives.registry import OBJECTIVES
from mimflow.objectives.targets import Targets
from mimflow.objectives.terms.spec import FeaturePerceptual
from mimflow.spec.base import Spec
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes, System
from mimflow.training.spec import Phase

DEVICE = torch.device("cpu")
"""The device of the fake tensors. PyTorch differentiates none of a GPU's where there is no GPU; what a step does
otherwise there is done as there."""
SMALL, LARGE = 2, 4
"""Images of the parts that are measured: what a part takes is a line in their number. Statistics need two."""
MOMENTS = 2
"""Tensors that AdamW keeps of each parameter."""


@dataclass(frozen=True)
class Footprint:
    """Bytes on the device that a phase needs; parts of a batch come one after the other."""

    parameters: int
    """Of the system and of what only training needs, trained or not, with their buffers."""
    frozen: int
    """Of networks that judge images or give targets."""
    gradients: int
    moments: int
    """The optimiser's."""
    averages: int
    batch: int
    """The images of a step, all its parts together, and what is kept of them."""
    activations: int
    """What an image of a part adds while its loss is computed and differentiated."""
    rest: int
    """What a part takes besides, however many images it has: weights in another precision, say."""
    trained: int
    """Numbers, not bytes: the scalars that are trained."""

    @property
    def fixed(self) -> int:
        """What is there whatever the size of a part."""
        held = self.parameters + self.frozen + self.gradients + self.moments + self.averages
        return held + self.batch + self.rest

    def total(self, images: int) -> int:
        """With parts of so many images."""
        return self.fixed + images * self.activations

    @property
    def checkpoint(self) -> int:
        """Of work in progress, on disk: weights, averages and moments."""
        return self.parameters + self.averages + self.moments

    @property
    def result(self) -> int:
        """Of the finished phase, on disk: weights, averages with what is not averaged, and moments."""
        return self.parameters + (self.parameters if self.averages else 0) + self.moments


def footprint(system: System, phase: Phase, shapes: Shapes) -> Footprint:
    """What a phase that is trained by steps needs in the device's memory."""
    with torch.device("meta"):
        objective: Objective = OBJECTIVES.build(phase.objective, SystemModules(system, shapes), shapes)
    with FakeTensorMode(allow_non_fake_inputs=True):
        _give_shapes(objective)
        frozen = _give_frozen(objective)
        objective.begin(1)
        players = objective.players(phase.trained)
        objective.training_mode(phase.trained)
        parameters = {name: p for player in players for name, p in player.parameters.items()}
        # As in every part of a batch but the first: gradients are there already.
        for parameter in parameters.values():
            parameter.grad = torch.empty_like(parameter)
        held = [*_tensors(objective), *(p.grad for p in parameters.values() if p.grad is not None), *frozen]
        small, large = (_peak(objective, players, phase, _batch(phase, shapes, n), held) for n in (SMALL, LARGE))
    trained = _bytes(parameters.values())
    each = (large - small) // (LARGE - SMALL)
    averaged = [p for name, p in parameters.items() if not name.startswith("objective.")]
    kept = len(players)  # another player is handed images of the first one's
    return Footprint(
        parameters=_bytes(_tensors(objective)),
        frozen=_bytes(frozen),
        gradients=trained,
        moments=MOMENTS * trained,
        averages=_bytes(averaged) if phase.ema is not None else 0,
        batch=kept * phase.batch_size * shapes.image.dimensions * torch.float32.itemsize,
        activations=each,
        rest=max(0, small - SMALL * each),
        trained=sum(p.numel() for p in parameters.values()),
    )


def _peak(objective: Objective, players: list[Player], phase: Phase, batch: Batch, held: list[Tensor]) -> int:
    """Most bytes that are there at once beyond what is held anyway, while all players take their turns on a part."""
    counted = _Counted([*held, batch.images, *batch.features.values()])
    carry: dict[str, Any] = {}
    for player in players:
        objective.requires_grad_(False)
        for parameter in player.parameters.values():
            parameter.requires_grad_(True)
        objective.begin_step(0, logged=False)
        with as_on_a_gpu(), _NormsInFp32(), counted:
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=phase.precision == "bf16"):
                loss, _ = objective(player.name, batch, carry)
            loss.backward()
            del loss
    return counted.peak


def _batch(phase: Phase, shapes: Shapes, images: int) -> Batch:
    """A part of a batch, with the features that a frozen network has stored where it does."""
    stored = phase.objective.networks if phase.augment == Augment() else []
    return Batch(
        torch.empty(images, shapes.channels, shapes.size, shapes.size, device=DEVICE),
        torch.empty(images, dtype=torch.long, device=DEVICE),
        torch.empty(images, dtype=torch.long, device=DEVICE),
        {spec.name: torch.empty(images, spec.side**2, spec.channels, device=DEVICE) for spec in stored},
    )


def _give_frozen(objective: Objective) -> list[Tensor]:
    """Build the frozen networks of an objective that has reconstructions, and return all that they hold."""
    if not isinstance(objective, Reconstructing):
        return []
    found: list[Tensor] = []
    for term in objective.perceptual:
        if not isinstance(term.spec, FeaturePerceptual):
            with unset_fake_temporarily(), torch.device("meta"):
                network = term.build()
            _give_shapes(network)
            term.use(network)
            found += _tensors(network)
    objective.targets = targets = _Shapes()
    for term in objective.perceptual:
        term.targets = targets
    for spec in {spec.name: spec for spec in _networks(objective.spec)}.values():
        found += _tensors(targets.network(spec, DEVICE))
    return found


def _networks(value: Any) -> Iterator[NetworkSpec]:
    """The frozen networks that an objective's spec names, wherever it does."""
    if isinstance(value, NetworkSpec):
        yield value
    elif isinstance(value, Spec):
        for name in type(value).model_fields:
            yield from _networks(getattr(value, name))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _networks(item)


class _NormsInFp32(TorchFunctionMode):
    """Under autocast a GPU normalises in fp32, and keeps that for the backward pass; a CPU does not."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (F.layer_norm, F.group_norm) and torch.is_autocast_enabled(DEVICE.type):
            args = (args[0].float(), *args[1:])
        return func(*args, **(kwargs or {}))


class _Counted(TorchDispatchMode):
    """Counts what is there of fake tensors. What is drawn on the CPU alone, such as masks, is drawn for real."""

    def __init__(self, known: Iterable[Tensor]):
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._now = 0
        self._seen: WeakIdKeyDictionary = WeakIdKeyDictionary()
        for tensor in known:
            self._seen[tensor.untyped_storage()] = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if any(isinstance(leaf, FakeTensor) for leaf in tree_leaves((args, kwargs))):
            result = func(*args, **kwargs)
        else:
            with unset_fake_temporarily():
                result = func(*args, **kwargs)
        for leaf in tree_leaves(result):
            if isinstance(leaf, FakeTensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._seen:
            return
        size = self._seen[storage] = storage.nbytes()
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._let_go, size)

    def _let_go(self, size: int) -> None:
        self._now -= size


class _Shapes(Targets):
    """Frozen networks of shapes alone, whose files nobody needs to have."""

    def network(self, spec: NetworkSpec, device: torch.device) -> FrozenNetwork:
        if spec.name not in self._networks:
            with unset_fake_temporarily(), torch.device("meta"):
                network = build_network(spec)
            _give_shapes(network)
            self._networks[spec.name] = network
        return self._networks[spec.name]


def _give_shapes(module: nn.Module) -> None:
    """Fake tensors of the device in place of a module's own, which have no memory either."""
    made: dict[int, Tensor] = {}
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    empty = torch.empty_like(tensor, device=DEVICE)
                    made[id(tensor)] = (
                        nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
                    )
                tensors[name] = made[id(tensor)]  # type: ignore[assignment]


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
