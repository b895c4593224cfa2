"""What a trace does not compute, since its result is known or nobody needs it, changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.compiler.trace import traced
from flambeau.compiler.tracer import Tracer
from flambeau.compiler.watch import WATCH
from flambeau.core.dispatch import apply
from flambeau.core.kinds import composite
from flambeau.core.op import OPS
from flambeau.optim import stepping
from tests.compiler.harness import check

OPTIMIZERS = [("SGD", {"lr": 0.1}), ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
              ("Adam", {}), ("AdamW", {"amsgrad": True}), ("RMSprop", {"momentum": 0.5}),
              ("Adagrad", {}), ("Adadelta", {}), ("Adamax", {}), ("NAdam", {}), ("RAdam", {}),
              ("ASGD", {}), ("Rprop", {})]


def build_of(make: Callable[[], list], name: str, options: dict, rates: bool = False) -> Callable:
    """A program that trains ``make()``, parameters of any shapes, on a sum of their squares."""

    def build(wrap: Callable) -> tuple:
        params = make()
        leaves = [p for p in params if p.is_leaf]
        groups = [{"params": leaves[::2]}, {"params": leaves[1::2], "lr": 0.02}]
        optimizer = getattr(torch.optim, name)(groups, **options)

        @wrap
        def step() -> Any:
            optimizer.zero_grad()
            loss = sum([((p - 0.5) ** 2).sum() * (i + 1) for i, p in enumerate(params)])
            loss.backward()
            optimizer.step()
            return loss

        def call(i: int) -> Any:
            if rates:
                for group in optimizer.param_groups:
                    group["lr"] *= 0.9
            return step()

        def state() -> list:
            held = [x for s in optimizer.state.values() for x in s.values()]
            return [*params, *[x for x in held if isinstance(x, torch.Tensor)]]

        return call, state

    return build


def several() -> list:
    shapes = [(3, 4), (7,), (2, 3, 2), (), (1,), (0, 3), (4, 3)]
    params = [nn.Parameter(torch.randn(s)) for s in shapes]
    turned = torch.randn(5, 2).t().requires_grad_()
    return [*params, turned, nn.Parameter(torch.randn(6, dtype=torch.float64))]


@pytest.mark.parametrize("name, options", OPTIMIZERS)
@pytest.mark.parametrize("rates", [False, True])
def test_parameters_of_all_shapes_step_as_in_eager_mode(name: str, options: dict,
                                                        rates: bool) -> None:
    check(build_of(several, name, options, rates), 12, least=4, warns=None)


def test_parameters_that_share_memory() -> None:
    def shared() -> list:
        flat = torch.randn(12)
        return [flat[:6].view(2, 3).detach().requires_grad_(),
                flat[6:].view(2, 3).detach().requires_grad_(),
                flat[3:9].detach().requires_grad_(), nn.Parameter(torch.randn(3))]

    check(build_of(shared, "Adam", {}), 8, compiled=False, warns=None)


def test_of_parameters_that_are_alike_one_is_traced_in_operators(
        monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    run = stepping._run_on_tensors
    monkeypatch.setattr(stepping, "_run_on_tensors",
                        lambda *args: rows.append(1) or run(*args))
    net = nn.Sequential(*[nn.Linear(5, 5) for _ in range(8)])
    optimizer = torch.optim.Adam(net.parameters())
    x = torch.randn(3, 5)

    def step() -> Any:
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    for times in (1, 2):
        with WATCH.lock:
            _, trace = traced(step)
        assert len(rows) == times
    assert sum([n.name == "sqrt" for n in trace.graph.nodes]) == len(list(net.parameters()))


def test_an_error_after_a_step_leaves_everything_as_it_was() -> None:
    net = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))
    optimizer = torch.optim.AdamW(net.parameters())
    x = torch.randn(3, 5)

    @torch.compile
    def step(fails: bool) -> Any:
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()
        if fails:
            raise ValueError("after the step")

    step(False)
    before = [p.detach().clone() for p in net.parameters()]
    states = [{k: v.clone() for k, v in s.items()} for s in optimizer.state.values()]
    with pytest.raises(ValueError, match="after the step"):
        step(True)
    assert all(map(torch.equal, before, net.parameters()))
    for old, new in zip(states, optimizer.state.values()):
        assert all(torch.equal(old[k], new[k]) for k in old)


def test_parts_of_layers_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[str] = []
    compute = Tracer._compute

    def noting(self: Tracer, op: Any, *args: Any) -> Any:
        computed.append(op.name)
        return compute(self, op, *args)

    monkeypatch.setattr(Tracer, "_compute", noting)
    norm, layer, x = nn.LayerNorm(6), nn.Linear(6, 4), torch.randn(5, 6)

    def step() -> Any:
        with torch.no_grad():
            return torch.log_softmax(layer(norm(x)), 1)

    compiled = torch.compile(step)
    first = compiled()
    assert set(computed) - {"detach"} == {"native_layer_norm", "linear", "log_softmax"}
    for _ in range(3):
        assert np.allclose(compiled().numpy(), first.numpy(), atol=1e-6)


@pytest.fixture
def reading() -> Any:
    """An operator whose parts look at values: of an index, of a number, of a condition."""

    def compose(x: torch.Tensor, kind: str) -> torch.Tensor:
        y = x * 2
        if kind == "number":
            return y * 3 if y.sum().item() > 0 else y
        if kind == "index":
            return y[(y > 0).nonzero()[:1, 0]] + y
        if kind == "order":
            return y.sort().values
        return y + 1 if bool((y > 0).any()) else y

    def forward(a: np.ndarray, kind: str) -> np.ndarray:
        return compose(torch.from_numpy(a), kind).numpy()

    before = OPS.copy()
    yield composite("reads_its_parts", compose, forward, inputs=("input",), params=("kind",))
    OPS.clear()
    OPS.update(before)


@pytest.mark.filterwarnings("ignore:.*runs compiled in parts")
@pytest.mark.parametrize("kind", ["number", "index", "order", "condition"])
def test_parts_that_look_at_values_get_them(reading: Any, kind: str) -> None:
    x = torch.tensor([-1.0, 3.0, 2.0])

    def step() -> Any:
        return apply(reading, (x,), {"kind": kind}) + 1

    expected = step()
    compiled = torch.compile(step)
    for _ in range(4):
        assert torch.equal(compiled(), expected)
    x.neg_()
    assert torch.equal(compiled(), step())
