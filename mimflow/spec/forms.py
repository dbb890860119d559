"""Fields with two forms: a word where a name says it all, a mapping where there is more to say.

`Annotated[Annotated[str, Tag(WORD)] | Annotated[SomeSpec, Tag(MAPPING)], FORM]` reads text as the one and anything else
as the other, so that problems are told of the form that was meant.
"""

from __future__ import annotations

from typing import Any

from pydantic import Discriminator

WORD, MAPPING = "as a word", "as a mapping"
"""What stands for the forms in Pydantic's locations: no field can have such a name."""


def _form(value: Any) -> str:
    return WORD if isinstance(value, str) else MAPPING


FORM = Discriminator(_form)
