"""What the sweep checks of one call of a public function; each check raises AssertionError."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

import flambeau
from flambeau.core.levels import LEVEL, Batched, Dual, standing
from flambeau.core.tensor import Tensor
from tests.ops.sample import Sample

STEP = 1e-6
CHECKED_ENTRIES = 40
ROUNDING = {"float32": 2e-5, "complex64": 2e-5, "float16": 4e-3, "bfloat16": 3e-2}


def resolve(name: str, package: Any = flambeau) -> Callable:
    """The public function ``name``, or the tensor method (or property) of that name."""
    found: Any = package
    for part in name.split("."):
        found = getattr(found, part, None)
        if found is None:
            found = getattr(package.Tensor, name)
            break
    if callable(found):
        return found
    return lambda t: getattr(t, name)


def mapped(value: Any, change: Callable, kinds: Any = np.ndarray) -> Any:
    """``value`` with ``change`` of every array (or value of ``kinds``) in it."""
    if isinstance(value, kinds):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)([mapped(v, change, kinds) for v in value])
    if isinstance(value, dict):
        return {k: mapped(v, change, kinds) for k, v in value.items()}
    return value


def arrays_in(value: Any) -> Iterator[np.ndarray]:
    """Every array in nested arguments, in order."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from arrays_in(v)
    elif isinstance(value, dict):
        for v in value.values():
            yield from arrays_in(v)


def tensors_in(value: Any) -> list:
    """Every tensor in a result, in order."""
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in tensors_in(v)]
    return [value] if hasattr(value, "requires_grad") else []


def run(function: Callable, sample: Sample, make: Callable, kinds: Any = np.ndarray) -> Any:
    """The call, with tensors that ``make`` gives for the arrays."""
    args, kwargs = mapped(sample.args, make, kinds), mapped(sample.kwargs, make, kinds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


def run_torch(torch: ModuleType, name: str, sample: Sample) -> Any:
    """The same call of PyTorch's function, with its dtypes in place of ours."""

    def theirs(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return torch.from_numpy(np.array(value))
        return getattr(torch, value.name) if isinstance(value, flambeau.dtype) else value

    everything = Sample(sample.args, sample.kwargs)
    return run(resolve(name, torch), everything, theirs, (np.ndarray, flambeau.dtype))


def plain(array: np.ndarray) -> Tensor:
    """A tensor of a copy of ``array``."""
    return flambeau.from_numpy(np.array(array))


def strided(array: np.ndarray) -> Tensor:
    """A tensor of the same values whose elements lie apart in memory."""
    if not array.ndim:
        return plain(array)
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return flambeau.from_numpy(wide[..., ::2])


def transposed(array: np.ndarray) -> Tensor:
    """A tensor of the same values in column order."""
    return flambeau.from_numpy(np.array(array.T, order="C").T)


def as_array(t: Any) -> np.ndarray:
    """The values of a tensor of either package."""
    t = t.detach()
    if str(t.dtype).endswith("bfloat16"):
        t = t.float()
    return np.asarray(t.resolve_conj().numpy() if hasattr(t, "resolve_conj") else t.numpy())


def assert_same(got: Any, want: Any, sample: Sample) -> None:
    """Equal structure, shapes, dtypes and (nearly, for the dtype) values."""
    ours, theirs = tensors_in(got), tensors_in(want)
    assert len(ours) == len(theirs), f"{len(ours)} results, not {len(theirs)}"
    for a, b in zip(ours, theirs):
        assert str(a.dtype).split(".")[-1] == str(b.dtype).split(".")[-1], (
            f"dtype {a.dtype}, not {b.dtype}")
        x, y = as_array(a), as_array(b)
        assert x.shape == y.shape, f"shape {x.shape}, not {y.shape}"
        floor = ROUNDING.get(str(b.dtype).split(".")[-1], 0.0)
        np.testing.assert_allclose(x, y, rtol=max(sample.rtol, floor),
                                   atol=max(sample.atol, floor))


# Values.


def check_values(function: Callable, sample: Sample, torch: ModuleType | None,
                 name: str) -> None:
    """The values are PyTorch's, or the reference's."""
    got = run(function, sample, plain)
    if sample.reference is not None:
        want = sample.reference(*sample.args, **sample.kwargs)
        want = want if isinstance(want, (list, tuple)) else (want,)
        for t, y in zip(tensors_in(got), want):
            np.testing.assert_allclose(as_array(t), y, rtol=sample.rtol, atol=sample.atol)
    if torch is not None and sample.torch_compare:
        assert_same(got, run_torch(torch, name, sample), sample)


def _recast(kind: str) -> Callable[[np.ndarray], np.ndarray]:
    def change(a: np.ndarray) -> np.ndarray:
        if a.dtype == np.complex128:
            return a.astype(np.complex64) if kind == "float32" else a
        if a.dtype != np.float64:
            return a
        if kind == "complex128":
            return a + 1j * np.cos(a)
        return (a * 4).astype(np.int64) if kind == "int64" else a.astype(kind)

    return change


def check_dtypes(function: Callable, sample: Sample, torch: ModuleType, name: str) -> None:
    """In float32, complex and integer dtypes the values are PyTorch's, where it takes them."""
    for kind in ("float32", "complex128", "int64"):
        change = _recast(kind)
        cast = Sample(mapped(sample.args, change), mapped(sample.kwargs, change),
                      rtol=sample.rtol, atol=sample.atol)
        try:
            theirs = run_torch(torch, name, cast)
        except (RuntimeError, TypeError, NotImplementedError, IndexError, ValueError):
            continue
        got = run(function, cast, plain)
        try:
            assert_same(got, theirs, cast)
        except AssertionError as error:
            raise AssertionError(f"{kind}: {error}") from None


def check_layouts(function: Callable, sample: Sample) -> None:
    """How the elements of the inputs lie in memory does not matter."""
    want = run(function, sample, plain)
    for make in (strided, transposed):
        assert_same(run(function, sample, make), want, sample)


# Derivatives.


def _differentiable(a: np.ndarray) -> bool:
    return a.dtype in (np.float64, np.complex128)


def movable(sample: Sample) -> list[np.ndarray]:
    """The inputs of a sample to differentiate by."""
    floating = [a for a in arrays_in((sample.args, sample.kwargs)) if _differentiable(a)]
    return [a for i, a in enumerate(floating) if i not in sample.fixed]


class Flat:
    """The differentiable inputs of a sample, and its results as real and imaginary parts."""

    def __init__(self, function: Callable, sample: Sample) -> None:
        self.function, self.sample = function, sample
        self.points = movable(sample)

    def results(self, inputs: list[Tensor]) -> list[Tensor]:
        """The floating results with ``inputs`` in place of the differentiable arrays."""
        supply, count = iter(inputs), itertools.count()

        def make(a: np.ndarray) -> Tensor:
            if _differentiable(a) and next(count) not in self.sample.fixed:
                return next(supply)
            return plain(a)

        out = run(self.function, self.sample, make)
        return [t for t in tensors_in(out) if t.is_floating_point() or t.is_complex()]

    def leaves(self) -> list[Tensor]:
        """New leaves at the points."""
        return [plain(a).requires_grad_() for a in self.points]


def _weights(shape: tuple, dtype: Any, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    w = rng.uniform(0.5, 1.5, shape)
    if np.dtype(dtype).kind == "c":
        w = w + 1j * rng.uniform(0.5, 1.5, shape)
    return w.astype(dtype)


def _real_dot(t: Tensor, seed: int) -> Tensor:
    """The real part of the inner product of ``t`` with fixed weights."""
    product = t * plain(_weights(t._a.shape, t._a.dtype, seed))
    total = product.sum()
    return total.real if total.is_complex() else total


def weighted(flat: Flat, inputs: list[Tensor]) -> Tensor | None:
    """One number made of all results; None where there are none to differentiate."""
    total = None
    for i, t in enumerate(flat.results(inputs)):
        part = _real_dot(t, i)
        part = part if part.dtype is flambeau.float64 else part.to(flambeau.float64)
        total = part if total is None else total + part
    return total


def _entries(points: list[np.ndarray]) -> Iterator[tuple[int, tuple]]:
    found = [(i, at) for i, a in enumerate(points) for at in np.ndindex(a.shape)]
    step = max(1, len(found) // CHECKED_ENTRIES)
    return itertools.islice(found, 0, None, step)


def numerical(function: Callable, points: list[np.ndarray], i: int, at: tuple,
              unit: complex) -> float:
    """The slope of ``function(points)`` along one entry, by central differences."""
    values = []
    for sign in (1, -1):
        moved = [np.array(a) for a in points]
        moved[i][at] += sign * STEP * unit
        values.append(function(moved))
    return (values[0] - values[1]) / (2 * STEP)


def _compare_slopes(gradients: list, function: Callable, points: list[np.ndarray],
                    what: str) -> None:
    for i, at in _entries(points):
        g = gradients[i][at] if gradients[i] is not None else 0.0
        units = (1.0, 1j) if points[i].dtype == np.complex128 else (1.0,)
        for unit in units:
            slope = numerical(function, points, i, at, unit)
            have = g.imag if unit == 1j else np.real(g)
            assert abs(have - slope) <= 2e-5 * (1 + abs(slope)), (
                f"{what} of input {i} at {at}: {have}, measured {slope}")


def _as_gradients(found: Any) -> list:
    return [None if g is None else as_array(g) for g in found]


def check_gradient(function: Callable, sample: Sample) -> None:
    """First derivatives agree with measured slopes."""
    flat = Flat(function, sample)
    leaves = flat.leaves()
    total = weighted(flat, leaves)
    if total is None:
        return
    assert total.requires_grad, "the result does not require grad"
    found = flambeau.autograd.grad(total, leaves, allow_unused=True)

    def value(points: list[np.ndarray]) -> float:
        return float(weighted(flat, [plain(a) for a in points])._a)  # type: ignore[union-attr]

    _compare_slopes(_as_gradients(found), value, flat.points, "gradient")


def _gradient_sum(flat: Flat, leaves: list[Tensor]) -> Tensor | None:
    """One number made of all first derivatives."""
    total = weighted(flat, leaves)
    if total is None:
        return None
    found = flambeau.autograd.grad(total, leaves, create_graph=True, allow_unused=True)
    parts = [_real_dot(g, 100 + i) for i, g in enumerate(found) if g is not None]
    return None if not parts else sum(parts[1:], parts[0])


def check_second(function: Callable, sample: Sample) -> None:
    """Second derivatives agree with measured slopes of the first."""
    flat = Flat(function, sample)
    leaves = flat.leaves()
    total = _gradient_sum(flat, leaves)
    if total is None:
        return
    found: Any = [None] * len(leaves)
    if total.requires_grad:
        found = flambeau.autograd.grad(total, leaves, allow_unused=True)

    def value(points: list[np.ndarray]) -> float:
        inputs = [plain(a).requires_grad_() for a in points]
        return float(_gradient_sum(flat, inputs)._a)  # type: ignore[union-attr]

    _compare_slopes(_as_gradients(found), value, flat.points, "second derivative")


def check_forward_mode(function: Callable, sample: Sample) -> None:
    """Forward mode agrees with the slope measured along the same direction."""
    flat = Flat(function, sample)
    directions = [_weights(a.shape, a.dtype, 7 + i) for i, a in enumerate(flat.points)]
    with LEVEL as level:
        duals = [standing(Dual(level, plain(a), plain(d)))
                 for a, d in zip(flat.points, directions)]
        outs = flat.results(duals)
        tangents = [t._a.tangent if isinstance(t._a, Dual) else None for t in outs]
    sides = []
    for sign in (1, -1):
        moved = [plain(a + sign * STEP * d) for a, d in zip(flat.points, directions)]
        sides.append([as_array(t) for t in flat.results(moved)])
    for t, high, low in zip(tangents, *sides):
        slope = (high - low) / (2 * STEP)
        have = np.zeros_like(slope) if t is None else as_array(t)
        assert have.shape == slope.shape, f"tangent of shape {have.shape}, not {slope.shape}"
        np.testing.assert_allclose(have, slope, rtol=2e-5, atol=2e-5, err_msg="forward mode")


# Batching.


def _batches(points: list[np.ndarray]) -> Iterator[tuple]:
    """Which inputs are batched and where their batch dimension lies."""
    count = len(points)
    yield (0,) * count
    yield tuple(a.ndim for a in points)
    for i in range(count if count > 1 else 0):
        yield tuple(0 if k == i else None for k in range(count))


def _batch_of(a: np.ndarray, dim: int | None) -> np.ndarray:
    if dim is None:
        return a
    variants = [a, a * 1.01, a * 0.99] if _differentiable(a) else [a, a, a]
    return np.stack(variants, axis=dim)


def check_batch(function: Callable, sample: Sample) -> None:
    """Over a hidden batch dimension the results are those of a Python loop."""
    flat = Flat(function, sample)
    for places in _batches(flat.points):
        whole = [_batch_of(a, d) for a, d in zip(flat.points, places)]
        with LEVEL as level:
            outs = flat.results([
                plain(a) if d is None else standing(Batched(level, plain(a), d))
                for a, d in zip(whole, places)])
        for k in range(3):
            one = [a if d is None else a.take(k, axis=d) for a, d in zip(whole, places)]
            for got, want in zip(outs, flat.results([plain(a) for a in one])):
                _compare_element(got, want, k, places)


def _compare_element(got: Tensor, want: Tensor, k: int, places: tuple) -> None:
    handle = got._a
    if isinstance(handle, Batched):
        have = as_array(handle.value).take(k, axis=handle.dim)
    else:
        have = as_array(got)
    assert have.shape == want._a.shape, f"batch {places}: shape {have.shape}, not {want.shape}"
    np.testing.assert_allclose(have, as_array(want), rtol=1e-9, atol=1e-9,
                               err_msg=f"batched at {places}")


# In place, and out=.


def check_in_place(name: str, function: Callable, sample: Sample) -> None:
    """The method ``name_`` gives the values of ``name``, in the memory of its tensor."""
    method = getattr(Tensor, f"{name}_", None)
    if method is None or not sample.args or not isinstance(sample.args[0], np.ndarray):
        return
    want = run(function, sample, plain)
    first = plain(sample.args[0])
    if want.shape != first.shape or want.dtype is not first.dtype:
        return
    rest = Sample(sample.args[1:], sample.kwargs)
    before = first._version
    memory = first.data_ptr()
    got = run(lambda *args, **kwargs: method(first, *args, **kwargs), rest, plain)
    assert got is first and first.data_ptr() == memory, "not done in place"
    assert first._version > before or not first.numel(), "the version did not rise"
    assert_same(got, want, sample)


def check_out(function: Callable, sample: Sample) -> None:
    """With ``out=`` the same values are written into the tensor given."""
    if not hasattr(function, "__wrapped__") or "out" in sample.kwargs:
        return
    want = run(function, sample, plain)
    outs = [flambeau.from_numpy(np.full(t._a.shape, 77).astype(t._a.dtype))
            for t in tensors_in(want)]
    given = outs[0] if isinstance(want, Tensor) else tuple(outs)
    got = run(lambda *args, **kwargs: function(*args, out=given, **kwargs), sample, plain)
    assert all(a is b for a, b in zip(tensors_in(got), outs)), "out= is not what came back"
    assert_same(given, want, sample)
