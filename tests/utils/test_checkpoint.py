"""Checkpoints beside PyTorch's: gradients, what runs when, random numbers, autocast, errors."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import flambeau as fl
from flambeau.utils.checkpoint import (
    CheckpointError,
    GraphExecGroup,
    checkpoint,
    set_checkpoint_debug_enabled,
    set_checkpoint_early_stop,
)

T = ModuleType


def tools(t: T) -> Any:
    return importlib.import_module(f"{t.__name__}.utils.checkpoint")


def block(t: T, runs: list | None = None) -> tuple[Any, Callable]:
    t.manual_seed(0)
    net = t.nn.Sequential(t.nn.Linear(4, 8), t.nn.Tanh(), t.nn.Dropout(0.5), t.nn.Linear(8, 4))

    def call(x: Any, scale: float = 1.0) -> Any:
        if runs is not None:
            runs.append(t.is_grad_enabled())
        return net(x) * scale

    return net, call


@pytest.mark.parity
@pytest.mark.parametrize("preserve", [True, False])
@pytest.mark.parametrize("reentrant", [True, False])
def test_gradients_and_random_numbers(reentrant: bool, preserve: bool, torch_oracle: T) -> None:
    results = []
    for t in (fl, torch_oracle):
        runs: list[bool] = []
        net, call = block(t, runs)
        x = t.linspace(-1, 1, 12).reshape(3, 4).requires_grad_()
        t.manual_seed(1)
        y = tools(t).checkpoint(call, x, use_reentrant=reentrant, preserve_rng_state=preserve)
        after = t.rand(2).tolist()
        y.sum().backward()
        results.append([y.tolist(), x.grad.tolist(), after, t.rand(2).tolist(), runs,
                        *[p.grad.tolist() for p in net.parameters()]])
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reentrant", [True, False])
def test_it_equals_the_plain_run(reentrant: bool) -> None:
    grads = []
    for use in (True, False):
        net, call = block(fl)
        x = fl.linspace(-1, 1, 8).reshape(2, 4).requires_grad_()
        fl.manual_seed(3)
        y = checkpoint(call, x, use_reentrant=reentrant) if use else call(x)
        (y * y).sum().backward()
        grads.append([x.grad.tolist(), *[p.grad.tolist() for p in net.parameters()]])
    assert grads[0] == grads[1]


def test_what_is_saved_is_not_kept() -> None:
    import gc
    import weakref
    kept = []

    def call(x: fl.Tensor) -> fl.Tensor:
        middle = x.exp()
        kept.append(weakref.ref(middle._a))
        return middle.sin()

    x = fl.ones(3, requires_grad=True)
    y = checkpoint(call, x, use_reentrant=False)
    gc.collect()
    assert kept[0]() is None
    y.sum().backward()
    np.testing.assert_allclose(x.grad.tolist(), [np.cos(np.e) * np.e] * 3, rtol=1e-5)


@pytest.mark.parity
def test_early_stop(torch_oracle: T) -> None:
    counts = []
    for t in (fl, torch_oracle):
        seen: list[str] = []

        def call(x: Any, seen: list = seen) -> Any:
            y = x.exp().sin()
            seen.append("end")
            return y

        for early, setting in ((True, None), (False, None), (True, False)):
            x = t.ones(2, requires_grad=True)
            around = contextlib.nullcontext() if setting is None else \
                tools(t).set_checkpoint_early_stop(setting)
            with around:
                y = tools(t).checkpoint(call, x, use_reentrant=False, early_stop=early)
                y.sum().backward()
            seen.append("next")
        counts.append(seen)
    assert counts[0] == counts[1]
    assert set_checkpoint_early_stop is not None


def test_keywords_nesting_and_second_derivatives() -> None:
    x = fl.tensor([0.5], dtype=fl.float64, requires_grad=True)

    def inner(x: fl.Tensor) -> fl.Tensor:
        return x.sin()

    def outer(x: fl.Tensor, *, power: int) -> fl.Tensor:
        return checkpoint(inner, x, use_reentrant=False).exp() ** power

    y = checkpoint(outer, x, power=2, use_reentrant=False)
    (first,) = fl.autograd.grad(y, x, create_graph=True)
    (second,) = fl.autograd.grad(first, x)
    plain = (x.sin().exp() ** 2)
    (want,) = fl.autograd.grad(plain, x, create_graph=True)
    assert first.item() == pytest.approx(want.item())
    assert second.item() == pytest.approx(fl.autograd.grad(want, x)[0].item())


@pytest.mark.parametrize("reentrant", [True, False])
def test_autocast_is_as_it_was(reentrant: bool) -> None:
    kinds = []

    def call(x: fl.Tensor) -> fl.Tensor:
        y = x @ x
        kinds.append(y.dtype)
        return y.exp()

    x = fl.ones(2, 2, requires_grad=True)
    with fl.autocast("cpu"):
        y = checkpoint(call, x, use_reentrant=reentrant, preserve_rng_state=False)
    y.sum().backward()
    assert kinds == [fl.bfloat16, fl.bfloat16]


def test_two_passes_and_a_group() -> None:
    runs: list[bool] = []
    _, call = block(fl, runs)
    x = fl.ones(1, 4, requires_grad=True)
    y = checkpoint(call, x, use_reentrant=False)
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    assert len(runs) == 3
    runs.clear()
    z = checkpoint(lambda x: (x.exp(), runs.append(True), x.sin())[::2], x, use_reentrant=False)
    with GraphExecGroup():
        z[0].sum().backward(retain_graph=True)
        z[1].sum().backward()
    assert len(runs) == 2


def test_contexts() -> None:
    seen = []

    @contextlib.contextmanager
    def noted(name: str) -> Iterator[None]:
        seen.append(name)
        yield

    x = fl.ones(2, requires_grad=True)
    y = checkpoint(fl.exp, x, use_reentrant=False,
                   context_fn=lambda: (noted("first"), noted("again")))
    y.sum().backward()
    assert seen == ["first", "again"]
    with fl.no_grad():
        assert not checkpoint(fl.exp, x, use_reentrant=False).requires_grad


@pytest.mark.parity
@pytest.mark.parametrize("change", ["fewer", "more", "shape"])
def test_other_tensors_the_second_time(change: str, torch_oracle: T) -> None:
    errors = []
    for t in (fl, torch_oracle):
        calls: list[int] = []

        def call(x: Any, calls: list = calls, t: T = t) -> Any:
            calls.append(1)
            again = len(calls) > 1
            if change == "shape":
                return (x[:1] if again else x).exp().sin().sum()
            if again == (change == "more"):
                x = x.sin().cos()
            return x.exp()

        x = t.ones(3, requires_grad=True)
        y = tools(t).checkpoint(call, x, use_reentrant=False, early_stop=False)
        with pytest.raises(tools(t).CheckpointError) as caught:
            y.sum().backward()
        errors.append(str(caught.value).split("\n")[0])
    assert errors[0] == errors[1]


@pytest.mark.parametrize(("language", "title"), [
    ("en", "Saved during recomputation:"), ("zh", "重新计算时保存的张量：")])
def test_debug_lists_what_was_saved(language: str, title: str,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAMBEAU_LANG", language)
    calls: list[int] = []

    def call(x: fl.Tensor) -> fl.Tensor:
        calls.append(1)
        return x.exp() if len(calls) > 1 else x.exp().sin()

    x = fl.ones(3, requires_grad=True)
    with set_checkpoint_debug_enabled(True):
        y = checkpoint(call, x, use_reentrant=False)
    with pytest.raises(CheckpointError) as caught:
        y.sum().backward()
    text = str(caught.value)
    assert title in text
    assert "float32[3]" in text
    assert "x.exp()" in text


def test_changed_arguments_are_noticed() -> None:
    x = fl.ones(3, requires_grad=True)
    z = x * 2
    y = checkpoint(fl.exp, z, use_reentrant=False)
    with fl.no_grad():
        z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parity
@pytest.mark.parametrize("act", [
    lambda t, c: c.checkpoint(t.exp, t.ones(1), use_reentrant=True, other=1),
    lambda t, c: c.checkpoint(t.exp, t.ones(1), use_reentrant=True, debug=True),
    lambda t, c: c.checkpoint(t.exp, t.ones(1), use_reentrant=False, determinism_check="no"),
    lambda t, c: c.checkpoint(t.exp, t.ones(1), use_reentrant=False, debug=True,
                              context_fn=lambda: None),
    lambda t, c: c.checkpoint_sequential([t.exp], 1, t.ones(1), use_reentrant=True, other=1),
    lambda t, c: c.detach_variable([t.ones(1)]),
    lambda t, c: t.autograd.grad(c.checkpoint(
        t.exp, t.ones(1, requires_grad=True), use_reentrant=True), t.ones(1, requires_grad=True),
        allow_unused=False),
    lambda t, c: c.checkpoint(lambda x: x.detach(), t.ones(1, requires_grad=True),
                              use_reentrant=True).sum().backward()])
def test_errors(act: Callable, torch_oracle: T) -> None:
    errors = []
    for t in (fl, torch_oracle):
        with pytest.raises(Exception) as caught:
            act(t, tools(t))
        errors.append((type(caught.value).__name__, str(caught.value).split("\n")[0]))
    assert errors[0] == errors[1]


@pytest.mark.parity
def test_grad_does_not_go_through_the_reentrant_way(torch_oracle: T) -> None:
    for t in (fl, torch_oracle):
        x = t.ones(2, requires_grad=True)
        y = tools(t).checkpoint(t.exp, x, use_reentrant=True).sum()
        with pytest.raises(RuntimeError, match="incompatible with .grad"):
            t.autograd.grad(y, x)


@pytest.mark.parity
def test_warnings(torch_oracle: T) -> None:
    told = []
    for t in (fl, torch_oracle):
        with pytest.warns(UserWarning) as caught:
            tools(t).checkpoint(t.exp, t.ones(1))
            tools(t).checkpoint_sequential([t.exp, t.sin], 2, t.ones(1))
        told.append([str(w.message) for w in caught])
    assert told[0] == told[1]


@pytest.mark.parity
@pytest.mark.parametrize("segments", [1, 2, 3])
@pytest.mark.parametrize("reentrant", [True, False])
def test_sequences(reentrant: bool, segments: int, torch_oracle: T) -> None:
    results = []
    for t in (fl, torch_oracle):
        net, _ = block(t)
        x = t.linspace(-1, 1, 8).reshape(2, 4).requires_grad_()
        t.manual_seed(2)
        y = tools(t).checkpoint_sequential(net, segments, x, use_reentrant=reentrant)
        y.sum().backward()
        results.append([y.tolist(), x.grad.tolist()])
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)
