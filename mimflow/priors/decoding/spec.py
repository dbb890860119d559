"""The spec of iterations in place of steps."""

from __future__ import annotations

from typing import Literal

from mimflow.spec.base import Count, NonNegative, Spec


class JacobiDecoding(Spec):
    """Find all tokens of a chunk at once, as the fixed point of u_t = μ(u_<t) + σ(u_<t) z_t, from u = z.

    Jacobi iterations where the chunk is the whole sequence, and Gauss-Seidel-Jacobi ones, chunk after chunk, otherwise
    (Song et al., arXiv 2002.03629; of flows STARFlow, arXiv 2506.06276). After as many iterations as a chunk has tokens
    they are what token by token gives. A way for a few images at a time, on a device that is idle with one token.
    """

    kind: Literal["jacobi"] = "jacobi"
    chunk: Count | None = None
    """Tokens of a chunk; not given: the whole sequence. STARFlow's images: 16."""
    tolerance: NonNegative = 0.0
    """An image's chunk is done once an iteration moves it by no more than this, the mean square of its change over
    that of its values. At 0, which is exact, once it stands still. STARFlow: 0.001."""
