"""Generators of random numbers: an engine, its seed and its state as tensors."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from flambeau.backends.mt19937 import DEFAULT_SEED, Engine
from flambeau.base import naming
from flambeau.base.device import CPU, device
from flambeau.core.modes import MODES
from flambeau.core.tensor import Tensor, wrap

__all__ = ["Generator", "default_generator", "engine_of"]


class Generator:
    """A stream of random numbers, the same as PyTorch's CPU generator of the same seed.

    A new one has the seed 67280421310721. Functions that draw take it as ``generator=``.

    >>> import flambeau as torch
    >>> g = torch.Generator().manual_seed(0)
    >>> torch.rand(2, generator=g)
    tensor([0.4963, 0.7682])
    """

    __module__ = "flambeau"
    __slots__ = ("__weakref__", "engine")
    engine: Engine

    def __init__(self, device: Any = "cpu") -> None:
        found = _as_device(device)
        if found.type == "cuda":
            raise RuntimeError("Cannot get CUDA generator without ATen_cuda library.\n\n"
                               "  flambeau computes on the CPU: write torch.Generator().")
        if found.type != "cpu":
            raise RuntimeError(f"{found.type.upper()} device type not an accelerator.")

    def __getattr__(self, name: str) -> Any:
        # NumPy's engines take time to import, and many programs draw nothing.
        if name != "engine":
            raise AttributeError(f"'Generator' object has no attribute '{name}'")
        self.engine = found = Engine(DEFAULT_SEED)
        return found

    @property
    def device(self) -> device:
        """Where the numbers are drawn: the CPU."""
        return CPU

    def manual_seed(self, seed: int) -> Generator:
        """Restart the stream from ``seed``, an integer of 64 bits, signed or not; returns self."""
        if not _is_integer(seed):
            raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}")
        if not -2**63 <= seed < 2**64:
            raise ValueError("Overflow when unpacking long long")
        _note("manual_seed")
        self.engine.seed(int(seed))
        return self

    def seed(self) -> int:
        """Restart the stream from a seed of the operating system's, which is returned."""
        _note("seed")
        n = int.from_bytes(os.urandom(8))
        self.engine.seed(n)
        return n

    def initial_seed(self) -> int:
        """The seed given last, as an unsigned number of 64 bits."""
        _note("initial_seed")
        return self.engine.initial_seed

    def get_state(self) -> Tensor:
        """The state: uint8, shape (5056,), laid out as PyTorch's."""
        _note("get_state")
        return wrap(self.engine.get_state())

    def set_state(self, new_state: Tensor) -> None:
        """Go on from a state that ``get_state`` returned.

        TypeError where it is no byte tensor, RuntimeError where it is no state.
        """
        if not isinstance(new_state, Tensor):
            raise TypeError(f"expected a {naming.prefix()}.ByteTensor, but got "
                            f"{type(new_state).__name__}")
        if new_state._a.dtype != np.uint8:
            raise TypeError(f"RNG state must be a {naming.prefix()}.ByteTensor")
        _note("set_state")
        self.engine.set_state(np.ascontiguousarray(new_state._a))

    def clone_state(self) -> Generator:
        """A generator of its own at the same place in the stream."""
        _note("clone_state")
        other = Generator()
        other.engine = self.engine.clone()
        return other

    def get_offset(self) -> int:
        """The offset of a counter-based generator, which the CPU's is not: RuntimeError."""
        raise RuntimeError("CPU Generator does not use offset")

    def set_offset(self, offset: int) -> None:
        """As ``get_offset``."""
        raise RuntimeError("CPU Generator does not use offset")

    def __reduce__(self) -> tuple:
        return Generator, (CPU,), (self.initial_seed(), None, self.get_state())

    def __setstate__(self, state: tuple) -> None:
        self.set_state(state[2])

    def __repr__(self) -> str:
        return f"<{naming.prefix()}._C.Generator object at {hex(id(self))}>"


def _note(name: str) -> None:
    """While a step is traced: it does more than draw."""
    if MODES.tracer is not None:
        MODES.tracer.breaks_at("call", name=name)


def _as_device(value: Any) -> device:
    if isinstance(value, (device, str, int)):
        return device(value)
    raise TypeError("Generator() received an invalid combination of arguments - got "
                    f"({type(value).__name__}), but expected one of:")


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


default_generator = Generator()


def engine_of(name: str, generator: Generator | None) -> Engine:
    """The engine that ``name`` draws from: the generator's, or the default one."""
    if generator is None:
        return default_generator.engine
    if not isinstance(generator, Generator):
        raise TypeError(f"{name}(): argument 'generator' must be {naming.prefix()}.Generator, not "
                        f"{type(generator).__name__}")
    return generator.engine
