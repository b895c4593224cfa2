"""New tensors of random numbers, and the seed of the default generator."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.backends import memory, random_choice, random_fill
from flambeau.base import dtypes
from flambeau.base.dtypes import as_dtype, dtype, get_default_dtype
from flambeau.base.shapes import Size
from flambeau.core.drawn import filled, random_batch
from flambeau.core.face import FACES, public
from flambeau.core.generator import Generator, default_generator, engine_of
from flambeau.core.inplace import bump, check_writeable
from flambeau.core.levels import BATCHES
from flambeau.core.modes import MODES
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.construct import finish_new, sizes_from
from flambeau.ops.create import array_like
from flambeau.ops.random_inplace import (
    check_mean_std,
    check_range,
    draw_integers,
    refill,
    whole,
)

__all__ = ["drawn", "rand", "randint", "randn", "randperm"]

LARGE = 1 << 15
FACES["torch"].update(Generator=Generator, default_generator=default_generator)
_SEQUENCES = (tuple, list, Size)


@public("torch")
def manual_seed(seed: int) -> Generator:
    """Restart the default generator from ``seed``, an integer of 64 bits; returns it.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.rand(2)
    tensor([0.4963, 0.7682])
    """
    return default_generator.manual_seed(int(seed))


@public("torch")
def seed() -> int:
    """Restart the default generator from a seed of the operating system's, which is returned."""
    return default_generator.seed()


@public("torch")
def initial_seed() -> int:
    """The default generator's seed."""
    return default_generator.initial_seed()


@public("torch")
def get_rng_state() -> Tensor:
    """The default generator's state: uint8, shape (5056,)."""
    return default_generator.get_state()


@public("torch")
def set_rng_state(new_state: Tensor) -> None:
    """Let the default generator go on from ``new_state``."""
    default_generator.set_state(new_state)


def room(shape: tuple[int, ...], held: np.dtype) -> np.ndarray:
    """Memory for random numbers; a small array's is NumPy's own."""
    return memory.empty(shape, held) if math.prod(shape) >= LARGE else np.empty(shape, held)


def drawn(array: np.ndarray, draw: Callable, name: str, generator: Generator | None = None,
          device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor over ``array``, which ``draw(array, engine)`` fills.

    Every new tensor of random numbers comes by here or by ``into``.
    """
    engine = engine_of(name, generator)
    if BATCHES.sizes:
        return random_batch(array, lambda a: draw(a, engine))
    if MODES.tracer is None:
        draw(array, engine)
    else:
        array = filled(array, lambda a: draw(a, engine))
    if device is None and not requires_grad:
        return wrap(array)
    return finish_new(array, device, requires_grad)


def into(out: Tensor, shape: tuple, draw: Callable, name: str, generator: Generator | None,
         dtype: dtype | None = None, fits: Callable | None = None) -> Tensor:
    """Fill ``out``, resized to ``shape``, by ``draw(array, engine)``.

    ``fits(dtype)`` raises where ``out`` cannot hold what is drawn.
    """
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}() received an invalid combination of arguments - got "
                        f"(out={type(out).__name__}), but expected one of:")
    if MODES.grad and out._node is not None:
        raise RuntimeError(f"aten::{name}(): functions with out=... arguments don't support "
                           "automatic differentiation, but one of the arguments requires grad.")
    if dtype is not None and dtype.np != out._a.dtype:
        raise RuntimeError(f"dtype {dtype.title} does not match dtype of out parameter "
                           f"({out.dtype.title})")
    if fits is not None:
        fits(out.dtype)
    if out._a.shape != shape:
        out._a = np.empty(shape, out._a.dtype)
    check_writeable(out._a)
    engine = engine_of(name, generator)
    if MODES.tracer is None:
        draw(out._a, engine)
    else:
        refill(out, lambda a: draw(a, engine))
    bump(out)
    return out


def shape_of(name: str, sizes: tuple) -> tuple[int, ...]:
    """A shape given as integers or as one sequence; raises where one is negative."""
    if len(sizes) == 1 and type(sizes[0]) in _SEQUENCES:
        sizes = tuple(sizes[0])
    for n in sizes:
        if type(n) is not int:
            return shape_of(name, tuple(map(int, sizes_from(name, sizes))))
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: "
                               f"{list(sizes)}")
    return sizes


def _normals_fit(held: dtype) -> None:
    check_mean_std(held, 1)


def _uniforms_fit(held: dtype) -> None:
    check_range(held, 0, 1)


def _declare(name: str, draw: Callable, fits: Callable, text: str) -> Callable:
    """Declare ``name`` by sizes and ``name_like``."""

    def sized(*sizes: Any, size: Any = None, generator: Generator | None = None,
              out: Tensor | None = None, dtype: dtype | None = None, layout: Any = None,
              device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
        if size is not None:
            sizes = (size,)
        elif not sizes:
            raise TypeError(f"{name}() received an invalid combination of arguments - got (), "
                            "but expected one of:")
        shape = shape_of(name, sizes)
        held = None if dtype is None else as_dtype(dtype, name)
        if out is not None:
            return into(out, shape, draw, name, generator, held, fits)
        if held is None:
            held = get_default_dtype()
        fits(held)
        return drawn(room(shape, held.np), draw, name, generator, device, requires_grad)

    def like(input: Tensor, *, generator: Generator | None = None, dtype: dtype | None = None,
             layout: Any = None, device: Any = None, requires_grad: bool = False,
             memory_format: Any = None, pin_memory: bool = False) -> Tensor:
        array = array_like(f"{name}_like", input, dtype, memory_format)
        fits(dtypes.FROM_NUMPY[array.dtype])
        return drawn(array, draw, f"{name}_like", generator, device, requires_grad)

    sized.__doc__ = (f"A tensor of the sizes given, of {text}.\n\n    ``dtype`` is floating or "
                     "complex, the default one if not given.\n    ")
    like.__doc__ = f"A tensor of {text}, of the shape, dtype and strides of ``input``."
    public("torch", name=f"{name}_like")(like)
    return public("torch", name=name)(sized)


rand = _declare("rand", random_fill.uniform, _uniforms_fit, "uniforms of [0, 1)")
randn = _declare("randn", random_fill.normal, _normals_fit, "normals of mean 0 and variance 1")


def _integer(name: str, argument: str, position: int, value: Any) -> int:
    if isinstance(value, (float, str)) or value is None:
        raise TypeError(f"{name}(): argument '{argument}' (position {position}) must be int, not "
                        f"{type(value).__name__}")
    return whole(name, value)


def _low_high(name: str, bounds: tuple, low: Any, high: Any) -> tuple[int, int]:
    """The bounds of integers: given by place (high, or low and high) or by name."""
    if len(bounds) > 2 or not bounds and high is None:
        got = ", ".join([type(b).__name__ for b in bounds])
        raise TypeError(f"{name}() received an invalid combination of arguments - got ({got}), "
                        "but expected one of:")
    if len(bounds) == 2:
        return _integer(name, "low", 1, bounds[0]), _integer(name, "high", 2, bounds[1])
    if bounds and high is not None:
        low = bounds[0]
    elif bounds:
        high = bounds[0]
    return (0 if low is None else _integer(name, "low", 1, low),
            _integer(name, "high", 1 if low is None else 2, high))


@public("torch")
def randint(*bounds: Any, size: Any = None, low: int | None = None, high: int | None = None,
            generator: Generator | None = None, out: Tensor | None = None,
            dtype: dtype | None = None, layout: Any = None, device: Any = None,
            requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """``randint(low=0, high, size)``: a tensor of integers of [low, high), int64 by default.

    RuntimeError where there are none or the dtype cannot hold them.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.randint(10, (4,))
    tensor([4, 9, 3, 0])
    """
    if size is None:
        if len(bounds) < (2 if high is None else 1):
            got = ", ".join([type(b).__name__ for b in bounds])
            raise TypeError(f"randint() received an invalid combination of arguments - got ({got})"
                            ", but expected one of:")
        size = bounds[-1]
        bounds = bounds[:-1]
    low, high = _low_high("randint", bounds, low, high)
    if isinstance(size, int):
        raise TypeError(f"randint(): argument 'size' (position {len(bounds) + 1}) must be tuple of"
                        f" ints, not {type(size).__name__}")
    shape = shape_of("randint", (size,))
    held = as_dtype(dtype, "randint")
    if out is not None:
        of = out.dtype if isinstance(out, Tensor) else dtypes.int64
        return into(out, shape, draw_integers(of, low, high), "randint", generator, held)
    held = held or dtypes.int64
    return drawn(room(shape, held.np), draw_integers(held, low, high), "randint", generator,
                 device, requires_grad)


@public("torch")
def randint_like(input: Tensor, *bounds: Any, low: int | None = None, high: int | None = None,
                 generator: Generator | None = None, dtype: dtype | None = None,
                 layout: Any = None, device: Any = None, requires_grad: bool = False,
                 memory_format: Any = None, pin_memory: bool = False) -> Tensor:
    """``randint_like(input, low=0, high)``: integers, of the shape, dtype, strides of ``input``."""
    array = array_like("randint_like", input, dtype, memory_format)
    low, high = _low_high("randint_like", bounds, low, high)
    draw = draw_integers(dtypes.FROM_NUMPY[array.dtype], low, high)
    return drawn(array, draw, "randint_like", generator, device, requires_grad)


_MANTISSAS = {"float16": ("2049", 2049), "float32": ("2^24+1", 2**24 + 1),
              "float64": ("2^53+1", 2**53 + 1)}


def _check_permutation(n: int, held: dtype) -> None:
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    if held is dtypes.bool_ or held.is_complex or held.name in ("uint16", "uint32", "uint64"):
        raise NotImplementedError(f"\"randperm\" not implemented for '{held.title}'")
    if held.is_floating_point:
        spelled, most = _MANTISSAS.get(held.name, ("", math.inf))
        if n > most:
            raise RuntimeError(f"n cannot be greater than {spelled} for {held.title} type.")
    elif n - 1 > np.iinfo(held.np).max:
        raise RuntimeError(f"value cannot be converted to type {held.name}_t without overflow")


@public("torch")
def randperm(n: int, *, generator: Generator | None = None, out: Tensor | None = None,
             dtype: dtype | None = None, layout: Any = None, device: Any = None,
             requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """A random permutation of 0..n-1, shape (n,), int64 by default.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.randperm(5)
    tensor([4, 0, 1, 3, 2])
    """
    if isinstance(n, (float, str, bool)) or n is None:
        raise TypeError(f"randperm(): argument 'n' (position 1) must be int, not "
                        f"{type(n).__name__}")
    n = whole("randperm", n)
    held = as_dtype(dtype, "randperm")
    _check_permutation(n, held or (out.dtype if isinstance(out, Tensor) else dtypes.int64))
    if out is not None:
        return into(out, (n,), _permute, "randperm", generator, held)
    array = np.empty(n, (held or dtypes.int64).np)
    return drawn(array, _permute, "randperm", generator, device, requires_grad)


def _permute(a: np.ndarray, engine: Any) -> None:
    a[...] = random_choice.randperm(a.size, engine, a.dtype)

