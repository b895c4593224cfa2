"""Every public operator with samples, traced and compiled, against itself run eagerly."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.backends import large
from flambeau.compiler import compile
from flambeau.compiler import program as programs
from flambeau.compiler.entry import unit_of
from flambeau.compiler.interpreter import Interpreter
from tests.ops import checks
from tests.ops.sample import Sample
from tests.ops.samples import SAMPLES

NAMES = sorted(SAMPLES)
CALLS = 4


def arguments(sample: Sample, make: Callable) -> tuple[tuple, dict, list]:
    """New tensors for a sample's arrays: arguments, keywords, and all tensors in order."""
    made: list = []

    def note(array: np.ndarray) -> Any:
        made.append(make(array))
        return made[-1]

    return checks.mapped(sample.args, note), checks.mapped(sample.kwargs, note), made


def outcome(call: Callable, sample: Sample, make: Callable) -> tuple:
    """Results, the inputs afterwards, and the random state; or the error."""
    torch.manual_seed(5)
    args, kwargs, made = arguments(sample, make)
    try:
        found = call(*args, **kwargs)
    except Exception as error:
        return (type(error), str(error).splitlines()[:1])
    results = checks.tensors_in(found)
    shared = [[r._a is t._a or np.may_share_memory(checks.as_array(r), checks.as_array(t))
               for t in made] for r in results]
    strides = [r.stride() for r in results]
    other = found if not results and not isinstance(found, (list, tuple)) else None
    return results, shared, strides, made, torch.get_rng_state(), other


def assert_equal(got: tuple, want: tuple, where: str) -> None:
    assert len(got) == len(want), f"{where}: {got} and {want}"
    if len(got) == 2:
        assert got == want, where
        return
    for part, a, b in zip(("results", "inputs"), (got[0], got[3]), (want[0], want[3])):
        assert len(a) == len(b), f"{where}: {part}"
        for x, y in zip(a, b):
            assert x.dtype == y.dtype and x.shape == y.shape, f"{where}: {part}: {x} and {y}"
            tolerance = 1e-4 if x.dtype in (torch.float32, torch.complex64) else 1e-9
            np.testing.assert_allclose(checks.as_array(x), checks.as_array(y), rtol=tolerance,
                                       atol=tolerance, err_msg=f"{where}: {part}")
    assert got[1] == want[1], f"{where}: shared memory"
    assert got[2] == want[2], f"{where}: strides"
    assert torch.equal(got[4], want[4]), f"{where}: random numbers"
    assert got[5] is want[5] or got[5] == want[5] or got[5] != got[5], f"{where}: {got[5]}"


def with_gradient(function: Callable) -> Callable:
    """Results and the gradients of their sum with respect to the floating inputs."""

    def step(*args: Any, **kwargs: Any) -> Any:
        leaves = [t for t in checks.tensors_in([*args, *kwargs.values()])
                  if t.dtype.is_floating_point]
        for t in leaves:
            t.requires_grad_()
        outs = [o for o in checks.tensors_in(function(*args, **kwargs))
                if o.requires_grad and o.dtype.is_floating_point]
        if outs:
            sum((o * o).sum() for o in outs).backward()
        found = [t.grad for t in leaves if t.grad is not None]
        for t in leaves:
            t.grad = None
            t.requires_grad_(False)
        return found

    return step


def sweep(name: str, change: Callable, make: Callable, applies: Callable) -> int:
    function = change(checks.resolve(name))
    ran = 0
    for at, sample in enumerate(SAMPLES[name]):
        if not applies(sample):
            continue
        compiled = compile(lambda *args, **kwargs: function(*args, **kwargs))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = outcome(function, sample, make)
            for i in range(CALLS):
                got = outcome(compiled, sample, make)
                if sample.torch_compare or i == 0:
                    assert_equal(got, want, f"{name}, sample {at}, call {i}")
        ran += unit_of(compiled).runs
    return ran


def single(array: np.ndarray) -> Any:
    t = checks.plain(array)
    return t.float() if t.dtype == torch.float64 else t


@pytest.fixture
def by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    def executor(graph: Any, inputs: int, targets: Any, recomputes: bool = False) -> Any:
        return Interpreter(graph, [value for value, _, _ in targets])

    monkeypatch.setattr(programs, "_executor", executor)


@pytest.mark.usefixtures("by_numpy")
@pytest.mark.parametrize("name", NAMES)
def test_interpreted(name: str) -> None:
    sweep(name, lambda f: f, checks.plain, lambda s: True)


@pytest.mark.usefixtures("by_numpy")
@pytest.mark.parametrize("name", NAMES)
def test_gradients_interpreted(name: str) -> None:
    sweep(name, with_gradient, checks.plain, lambda s: s.grad and bool(checks.movable(s)))


@pytest.mark.slow
@pytest.mark.skipif(not large.available(), reason="generated kernels are off")
@pytest.mark.parametrize("name", NAMES)
def test_native(name: str) -> None:
    sweep(name, lambda f: f, single, lambda s: s.torch_compare)


@pytest.mark.slow
@pytest.mark.skipif(not large.available(), reason="generated kernels are off")
@pytest.mark.parametrize("name", NAMES)
def test_gradients_native(name: str) -> None:
    sweep(name, with_gradient, single,
          lambda s: s.torch_compare and s.grad and bool(checks.movable(s)))
