"""The gradient scaler beside PyTorch's."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import flambeau as fl

T = ModuleType


def setting(t: T, fused: bool = False, **options: Any) -> tuple[Any, Any, Any]:
    w = t.nn.Parameter(t.tensor([1.0, -2.0]))
    optimizer = t.optim.Adam([w], lr=0.1, fused=fused)
    options = {"init_scale": 8.0, "growth_interval": 2, **options}
    return w, optimizer, t.amp.GradScaler("cpu", **options)


@pytest.mark.parity
@pytest.mark.parametrize("unscale", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_iterations(fused: bool, unscale: bool, torch_oracle: T) -> None:
    results = []
    for t in (fl, torch_oracle):
        w, optimizer, scaler = setting(t, fused)
        seen = []
        for factor in (1.0, 2.0, float("inf"), 1.0, float("nan"), 1.0, 1.0, 1.0):
            optimizer.zero_grad()
            scaler.scale((w * w * factor).sum()).backward()
            if unscale:
                scaler.unscale_(optimizer)
                seen.append(w.grad.tolist())
            scaler.step(optimizer)
            scaler.update()
            seen += [w.tolist(), [scaler.get_scale(), scaler.state_dict()["_growth_tracker"]]]
        results.append(seen)
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def scaled(t: T, scaler: Any, w: Any) -> None:
    scaler.scale((w * w).sum()).backward()


@pytest.mark.parity
@pytest.mark.parametrize("act", [
    lambda t, w, o, s: s.step(o), lambda t, w, o, s: s.update(), lambda t, w, o, s: s.unscale_(o),
    lambda t, w, o, s: (scaled(t, s, w), s.step(o), s.step(o)),
    lambda t, w, o, s: (scaled(t, s, w), s.unscale_(o), s.unscale_(o)),
    lambda t, w, o, s: (scaled(t, s, w), s.step(o), s.unscale_(o)),
    lambda t, w, o, s: (scaled(t, s, w), s.update()),
    lambda t, w, o, s: (scaled(t, s, w), s.step(o, closure=len)),
    lambda t, w, o, s: (scaled(t, s, w), s.update(t.ones(2))),
    lambda t, w, o, s: (scaled(t, s, w), s.unscale_(o), pickle.dumps(s)),
    lambda t, w, o, s: s.scale(3), lambda t, w, o, s: s.load_state_dict({}),
    lambda t, w, o, s: (s.scale(t.ones(1)), s.step(o)),
    lambda t, w, o, s: t.amp.GradScaler("cpu", growth_factor=1.0),
    lambda t, w, o, s: t.amp.GradScaler("cpu", backoff_factor=1.0)])
def test_errors(act: Callable, torch_oracle: T) -> None:
    errors = []
    for t in (fl, torch_oracle):
        with pytest.raises(Exception) as caught:
            act(t, *setting(t))
        errors.append((type(caught.value), str(caught.value)))
    assert errors[0] == errors[1]


def test_half_gradients_are_not_unscaled() -> None:
    w = fl.nn.Parameter(fl.ones(2, dtype=fl.float16))
    optimizer = fl.optim.SGD([w], lr=0.1)
    scaler = fl.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale((w * w).sum()).backward()
    before = w.grad.tolist()
    with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients"):
        scaler.step(optimizer)
    assert w.grad.tolist() == before


@pytest.mark.parity
def test_states(torch_oracle: T) -> None:
    states = []
    for t in (fl, torch_oracle):
        w, optimizer, scaler = setting(t)
        for _ in range(3):
            scaled(t, scaler, w)
            scaler.step(optimizer)
            scaler.update()
        other = t.amp.GradScaler("cpu")
        other.load_state_dict(scaler.state_dict())
        again = pickle.loads(pickle.dumps(scaler))
        scaler.update(32.0)
        states.append([scaler.state_dict(), other.state_dict(), again.state_dict(),
                       again.scale([t.ones(1), (t.ones(1),)])[1][0].tolist()])
        assert list(states[-1][0]) == list(states[0][0])
    assert states[0] == states[1]


def test_switched_off_it_is_not_there() -> None:
    w, optimizer, scaler = setting(fl, enabled=False)
    loss = (w * w).sum()
    assert scaler.scale(loss) is loss
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert w.tolist() != [1.0, -2.0]
    assert scaler.get_scale() == 1.0
    assert scaler.state_dict() == {}
    assert not scaler.is_enabled()
