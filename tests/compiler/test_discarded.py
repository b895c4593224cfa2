"""Programs that are let go leave nothing behind."""

from __future__ import annotations

import gc
import weakref
from collections import deque
from typing import Any

import pytest

import flambeau as torch
from flambeau.backends import large
from flambeau.compiler.entry import unit_of


def trained(k: float) -> Any:
    """A step that has run compiled, whose kernels hold a constant of its own."""
    w = torch.ones(5, requires_grad=True)

    @torch.compile
    def step(x: Any) -> Any:
        ((w * x).tanh() * k).sum().backward()
        grad, w.grad = w.grad, None
        return grad

    for _ in range(4):
        step(torch.ones(5))
    assert unit_of(step).runs
    return step


def test_a_program_is_freed_with_its_function() -> None:
    step = trained(0.125)
    program = weakref.ref(unit_of(step).programs[0])
    del step
    gc.collect()
    assert program() is None


@pytest.mark.skipif(not large.available(), reason="generated kernels are off")
def test_code_is_unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from flambeau.compiler import kernels
    monkeypatch.setattr(kernels, "_LATEST", deque(maxlen=0))
    steps = [trained(0.1 + k / 7) for k in range(3)]
    loaded = len(kernels._LOADED)
    assert loaded >= 3
    grads = steps[0](torch.ones(5))
    del steps[1:]
    gc.collect()
    assert len(kernels._LOADED) < loaded
    assert torch.equal(steps[0](torch.ones(5)), grads)


@pytest.mark.skipif(not large.available(), reason="generated kernels are off")
def test_code_stays_while_a_backward_needs_it() -> None:
    w = torch.ones(5, requires_grad=True)
    step = torch.compile(lambda x: (w * x).exp() * 0.375)
    for _ in range(3):
        out = step(torch.ones(5))
    del step
    gc.collect()
    out.sum().backward()
    assert torch.allclose(w.grad, 0.375 * torch.ones(5).exp())


@pytest.mark.skipif(not large.available(), reason="generated kernels are off")
def test_engines_go_with_the_last_of_their_code(monkeypatch: pytest.MonkeyPatch) -> None:
    from flambeau.backends.llvm import jit
    monkeypatch.setattr(jit, "_LIBRARIES", 2)
    monkeypatch.setattr(jit._Passing, "left", 0)
    # As where objects are not placed by a loader of our own.
    monkeypatch.setattr(jit.loader, "load", lambda *_: None)
    text = "define i64 @f() {\n  ret i64 7\n}\n"
    made = [jit.load(text, ("f",), passing=True) for _ in range(5)]
    engines = [weakref.ref(library.owner.engine) for library in made]
    assert len({id(engine()) for engine in engines}) == 3
    del made[:3]
    gc.collect()
    assert engines[0]() is None
    assert engines[3]() is not None and made[0].address("f")
