"""Seeds derive from what they are for, never from history: so work can stop and go on anywhere."""

from __future__ import annotations

import hashlib


def derive(*parts: int | str) -> int:
    """A seed of 63 bits for this use: `derive(seed, "noise", step)`."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
