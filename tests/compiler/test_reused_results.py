"""Results of compiled calls are made in arrays of earlier ones, once nobody has these any more."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.backends import large, memory
from flambeau.compiler.entry import unit_of


def doubled() -> Any:
    """A compiled function that has its quick way."""
    f = torch.compile(lambda x: x * 2)
    for i in range(3):
        f(torch.full((4,), float(i)))
    return f


def test_what_somebody_has_stays() -> None:
    f = doubled()
    kept = [f(torch.full((4,), float(i))) for i in range(8)]
    arrays = [f(torch.full((4,), float(i))).numpy() for i in range(8)]
    views = [f(torch.full((4,), float(i)))[1:3] for i in range(8)]
    buffers = [memoryview(f(torch.full((4,), float(i))).numpy()) for i in range(8)]
    for i in range(8):
        assert kept[i].tolist() == arrays[i].tolist() == [2.0 * i] * 4
        assert views[i].tolist() == [2.0 * i] * 2 and buffers[i].tolist() == [2.0 * i] * 4


def test_what_nobody_has_is_used_again() -> None:
    f = doubled()
    if unit_of(f).programs[0].gate is None:
        pytest.skip("no quick way here")
    places = {f(torch.ones(4)).numpy().__array_interface__["data"][0] for _ in range(20)}
    assert len(places) <= 2


def test_an_array_that_was_changed_in_shape_or_made_readonly_is_not() -> None:
    f = doubled()
    for change in (lambda a: setattr(a, "shape", (2, 2)), lambda a: a.setflags(write=False),
                   lambda a: setattr(a, "dtype", np.int32)):
        for _ in range(3):
            array = f(torch.ones(4)).numpy()
            change(array)
            del array
            found = f(torch.ones(4))
            assert found.tolist() == [2.0] * 4 and found.shape == (4,)
            assert found.numpy().flags.writeable


def test_parameters_that_are_replaced_at_every_call() -> None:
    w = torch.ones(3, requires_grad=True)
    seen = []

    @torch.compile
    def step() -> Any:
        (w * w).sum().backward()
        w.data = w.data - 0.25 * w.grad
        w.grad = None
        return w.detach() * 1

    for _ in range(6):
        held = w.data
        seen.append((held, step()))
    for i, (held, after) in enumerate(seen):
        assert held.tolist() == [0.5 ** i] * 3 and after.tolist() == [0.5 ** (i + 1)] * 3


def test_arrays_die_with_the_function() -> None:
    f = doubled()
    alive = weakref.ref(f(torch.ones(4)).numpy())
    del f
    torch.compiler.reset()
    gc.collect()
    assert alive() is None


def test_threads_get_arrays_of_their_own() -> None:
    f = doubled()
    wrong: list[int] = []

    def work(number: int) -> None:
        for i in range(300):
            value = float(number * 1000 + i)
            if f(torch.full((4,), value)).tolist() != [2 * value] * 4:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


@pytest.mark.skipif(not large.available(), reason="needs kernels")
def test_buffers_that_tracing_used_are_given_back() -> None:
    x = torch.randn(1200, 1000)

    @torch.compile
    def step() -> Any:
        return ((x * 2).exp() + x.sin()).sum()

    x.exp(), x.sin()
    assert memory.cached_bytes() >= x.numpy().nbytes
    expected = step()
    while not unit_of(step).programs and unit_of(step).traces < 5:
        step()
    assert memory.cached_bytes() < x.numpy().nbytes
    torch.testing.assert_close(step(), expected)


@pytest.mark.skipif(not large.available(), reason="needs kernels")
def test_kernels_write_over_what_they_read_last() -> None:
    x, w = torch.randn(64, 64), torch.randn(64, 64) / 8
    places = {}
    for name, step in (
            ("one", lambda: (x @ w).exp() @ w),
            ("rows", lambda: (x @ w).softmax(1) @ w),
            ("turned", lambda: (x @ w + (x @ w).t()).exp() @ w),
            ("later", lambda: (lambda y: y.exp() @ w + y @ w)(x @ w)),
            ("twice", lambda: (lambda y: (y.exp() @ w) * (y.sin() @ w))(x @ w))):
        f = torch.compile(step)
        for _ in range(3):
            torch.testing.assert_close(f(), step())
        places[name] = unit_of(f).programs[0].executor.arena_size // x.numpy().nbytes
    assert places["one"] == 1 and places["later"] > 1 and places["twice"] > 1
