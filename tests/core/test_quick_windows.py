"""Pooling where not all windows are alike gives what it gives, also once quick calls are asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as torch
import flambeau.nn.functional as F
from flambeau.backends import large
from flambeau.core import quick_calls

pytestmark = pytest.mark.skipif(not large.available(), reason="there are no generated kernels")
IMAGE, LINE = (2, 3, 6, 5), (2, 3, 7)
CASES: dict[str, tuple[Any, Callable, tuple[int, ...]]] = {
    "means, padded": (F.avg_pool2d, lambda f, x: f(x, 3, padding=1), IMAGE),
    "maxima, padded": (F.max_pool2d, lambda f, x: f(x, 3, 2, 1), IMAGE),
    "maxima that hang over": (F.max_pool2d, lambda f, x: f(x, 2, ceil_mode=True), IMAGE),
    "means of uneven parts": (F.adaptive_avg_pool2d, lambda f, x: f(x, (4, 3)), IMAGE),
    "means of lines": (F.avg_pool1d, lambda f, x: f(x, 2), LINE),
    "maxima of lines": (F.max_pool1d, lambda f, x: f(x, 3, 1), LINE),
    "crops": (F.pad, lambda f, x: f(x, (-2, 1), value=0.5), LINE),
    "areas": (F.interpolate, lambda f, x: f(x, size=(4, 3), mode="area"), IMAGE)}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_calls, "EVERY", 1)
    monkeypatch.setattr(quick_calls, "OFTEN", 1)
    function, call, shape = CASES[name]
    known = quick_calls.quicken(function)
    if known is None:
        pytest.skip("this interpreter's objects are not known")
    try:
        for seed in range(4):
            a = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
            a.reshape(-1)[:3] = (np.nan, np.inf, -0.0) if seed > 1 else a.reshape(-1)[3:6]
            for needs in (False, True):
                found, want = (call(f, torch.from_numpy(a.copy()).requires_grad_(needs))
                               for f in (function, known.original))
                assert found.detach().numpy().tobytes() == want.detach().numpy().tobytes()
                assert type(found.grad_fn) is type(want.grad_fn)
    finally:
        known.undo()
