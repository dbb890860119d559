"""The contents there are: one line each, in the order in which tables tell of them."""

from __future__ import annotations

from collections.abc import Mapping

from mimflow.contents.bands import Bands
from mimflow.contents.base import Content
from mimflow.contents.interpolations import Interpolations
from mimflow.contents.latents import Latents
from mimflow.contents.likelihood import Likelihood
from mimflow.contents.reconstructions import Reconstructions
from mimflow.contents.representation import Representation
from mimflow.contents.samples import Samples

CONTENTS: Mapping[str, Content] = {
    content.name: content
    for content in (
        Samples(),
        Reconstructions(),
        Representation(),
        Latents(),
        Interpolations(),
        Bands(),
        Likelihood(),
    )
}
