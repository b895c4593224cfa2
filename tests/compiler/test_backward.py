"""Histories that a compiled function's results have, and going back through them from outside."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.compiler import compile
from flambeau.compiler.entry import unit_of
from tests.compiler.harness import check

F = nn.functional


def test_a_forward_pass_alone() -> None:
    def build(wrap: Any) -> Any:
        w = torch.randn(3, 4, requires_grad=True)
        b = torch.randn(4, requires_grad=True)

        @wrap
        def forward(x: Any) -> Any:
            return torch.tanh(x @ w + b) * 2

        def call(i: int) -> Any:
            x = torch.randn(5, 3, requires_grad=i % 2 == 1)
            y = forward(x)
            assert y.requires_grad
            (y * y).sum().backward()
            with torch.no_grad():
                for p in (w, b):
                    p -= 0.01 * p.grad
                    p.grad = None
            return y, x

        return call, lambda: (w, b)

    check(build)


def test_several_outputs_of_which_some_are_used() -> None:
    def build(wrap: Any) -> Any:
        w = torch.randn(4, requires_grad=True)
        forward = wrap(lambda x: ((x * w).exp(), (x + w).sum(), x * 2))

        def call(i: int) -> Any:
            w.grad = None
            a, b, c = forward(torch.randn(4))
            (a.sum() if i % 3 == 0 else b if i % 3 == 1 else a.mean() + b).backward()
            return a, b, c, w.grad

        return call, lambda: w

    check(build)


def test_through_an_input_that_has_a_history() -> None:
    def build(wrap: Any) -> Any:
        w = torch.randn(3, requires_grad=True)
        forward = wrap(lambda x: (x * x).sum())

        def call(i: int) -> Any:
            w.grad = None
            y = forward(w * (i + 1))
            y.backward()
            return y, w.grad

        return call, lambda: w

    check(build)


def test_a_module() -> None:
    def build(wrap: Any) -> Any:
        net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
        forward = wrap(net)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

        def call(i: int) -> Any:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(forward(torch.randn(4, 6)),
                                               torch.randint(0, 3, (4,)))
            loss.backward()
            optimizer.step()
            return loss

        return call, lambda: list(net.parameters())

    check(build)


def test_a_loss() -> None:
    def build(wrap: Any) -> Any:
        net = nn.Linear(6, 3)
        loss_of = wrap(lambda y, t: nn.functional.cross_entropy(y, t) + y.pow(2).mean())

        def call(i: int) -> Any:
            net.zero_grad()
            loss = loss_of(net(torch.randn(4, 6)), torch.randint(0, 3, (4,)))
            loss.backward()
            return loss, [p.grad for p in net.parameters()]

        return call, list

    check(build)


def test_gradients_of_kept_outputs() -> None:
    w = torch.randn(3, requires_grad=True)
    forward = compile(lambda x: (x * w).exp())
    xs = [torch.randn(3) for _ in range(5)]
    ys = [forward(x) for x in xs]
    for x, y in zip(xs, ys):
        (g,) = torch.autograd.grad(y.sum(), w)
        assert torch.allclose(g, x * (x * w).exp())


def test_a_second_pass_needs_retain_graph() -> None:
    w = torch.randn(3, requires_grad=True)
    forward = compile(lambda x: (x * w).exp().sum())
    for _ in range(3):
        y = forward(torch.ones(3))
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()


def test_a_changed_parameter_is_noticed() -> None:
    w = torch.randn(3, requires_grad=True)
    forward = compile(lambda x: (x * w * w).sum())
    for _ in range(3):
        y = forward(torch.ones(3))
    with torch.no_grad():
        w.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_what_the_step_overwrites_is_kept() -> None:
    def build(wrap: Any) -> Any:
        w = torch.randn(3, requires_grad=True)
        scale = torch.ones(3)

        @wrap
        def forward(x: Any) -> Any:
            y = (x * w * scale.clone()).sum()
            scale.mul_(1.1)
            return y

        def call(i: int) -> Any:
            w.grad = None
            y = forward(torch.randn(3))
            y.backward()
            return y, w.grad

        return call, lambda: scale

    check(build)


def test_second_derivatives_are_refused() -> None:
    w = torch.randn(3, requires_grad=True)
    forward = compile(lambda x: (x * w).exp().sum())
    for _ in range(3):
        y = forward(torch.ones(3))
    with pytest.raises(RuntimeError, match="double backward"):
        torch.autograd.grad(y, w, create_graph=True)


LAYOUTS = {
    "dropout of a transposed tensor": lambda y: F.dropout(y.transpose(0, 1)).square(),
    "attention with dropout": lambda y: F.scaled_dot_product_attention(y, y, y, dropout_p=0.2),
    "what was laid out by columns": lambda y: y.mT.exp().mT * y.transpose(0, 2).sin().sum(2).sum(),
    "channels last": lambda y: F.dropout(
        y.unsqueeze(1).to(memory_format=torch.channels_last), 0.4).tanh() * 3}


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_kept_for_backward_may_lie_in_any_order(name: str) -> None:
    def build(wrap: Any) -> Any:
        layer = torch.nn.Linear(6, 6)
        run = wrap(lambda x: LAYOUTS[name](layer(x)))

        def step(i: int) -> Any:
            layer.zero_grad()
            out = run(torch.ones(3, 4, 6) * (i + 1) / 9)
            (out * torch.arange(out.numel()).reshape(out.shape)).sum().backward()
            return out

        return step, lambda: [*layer.parameters()]

    check(build, steps=6, tolerance=1e-3)


@pytest.mark.parametrize("used", [lambda x, w: x * w, lambda x, w: w.sin() + x,
                                  lambda x, w: torch.nn.functional.layer_norm(x, (3,), w)])
def test_data_replaced_before_going_back_is_not_taken_for_what_it_was(used: Any) -> None:
    x, w = torch.ones(4, 3, requires_grad=True), torch.ones(3, requires_grad=True)
    step = torch.compile(lambda: used(x, w).sum())
    for _ in range(2):
        step().backward()
    found = step()
    w.data = w.data * 2
    with pytest.raises(RuntimeError, match="data of a tensor that a compiled step used was repl"):
        found.backward()
    w.grad = None
    step().backward()
    assert w.grad is not None


def test_data_replaced_that_backward_does_not_look_at() -> None:
    layer, x = torch.nn.Linear(3, 2), torch.ones(4, 3, requires_grad=True)
    step = torch.compile(lambda: (layer(x) + 1).sum())
    unit = unit_of(step)
    while unit is not None and not unit.runs:
        step()
    for factor in (1.0, 2.0, 3.0):
        x.grad = None
        before = layer.weight.detach().sum(0)
        found = step()
        # what is saved is the transposed weight, which keeps its memory
        layer.weight.data = layer.weight.data * factor
        layer.bias.data = torch.zeros(2)
        found.backward()
        assert x.grad is not None and torch.allclose(x.grad[0], before)
