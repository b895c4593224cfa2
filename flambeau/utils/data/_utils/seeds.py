"""Seeds drawn from a generator, as samplers and loaders draw them."""

from __future__ import annotations

from flambeau.core.generator import Generator, engine_of

__all__ = ["draw_seed"]


def draw_seed(generator: Generator | None = None) -> int:
    """63 bits of ``generator``, what ``torch.empty((), dtype=torch.int64).random_()`` draws."""
    return int(engine_of("random_", generator).random64(1)[0]) & (2**63 - 1)
