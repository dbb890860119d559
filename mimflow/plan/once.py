"""Methods of a plan that it runs once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, Protocol, TypeVar, cast


class Remembers(Protocol):
    """What keeps the results of its methods."""

    made: dict[tuple[Hashable, ...], Any]


Method = TypeVar("Method", bound=Callable[..., Any])


def once(method: Method) -> Method:
    """A method that is run once for the same names and seeds: the key of a job is the digest of a whole system."""

    @wraps(method)
    def asked(plan: Remembers, *names: Hashable) -> Any:
        call = method.__name__, *names
        if call not in plan.made:
            plan.made[call] = method(plan, *names)
        return plan.made[call]

    return cast(Method, asked)
