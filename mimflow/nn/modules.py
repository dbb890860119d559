"""Lists of modules that keep the class of their members."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar, cast

from torch import nn

M = TypeVar("M", bound=nn.Module)


class ModulesOf(nn.ModuleList, Generic[M]):
    """`nn.ModuleList` of modules of one class, for type checkers; names in state dicts are the same."""

    def __init__(self, modules: Iterable[M] = ()):
        super().__init__(modules)

    def __getitem__(self, index: int) -> M:  # type: ignore[override]
        return cast(M, super().__getitem__(index))

    def __iter__(self) -> Iterator[M]:
        return cast(Iterator[M], super().__iter__())
