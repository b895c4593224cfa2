"""Seeds drawn from a generator, as samplers and loaders draw them."""

from __future__ import annotations

from flambeau.core.generator import Generator, engine_of

__all__ = ["draw_seed"]


def draw_seed(generator: Generator | None = None) -> int:
    """63 bits of ``generator``, what ``torch.empty((), dtype=torch.int64).random_()`` draws."""
    if generator is not None and not isinstance(generator, Generator):
        raise TypeError("random_() received an invalid combination of arguments - got "
                        f"(generator={type(generator).__name__}, ), but expected one of:")
    return int(engine_of("random_", generator).random64(1)[0]) & (2**63 - 1)
