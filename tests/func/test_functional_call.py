"""Modules as functions of their tensors: what is replaced, put back, tied, stacked."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from tests.nn.side_by_side import Record, lines_of


def counting(torch: Any) -> Any:
    """A module with every kind of tensor, whose forward replaces its buffer."""

    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = torch.nn.Linear(2, 2)
            self.plain = torch.ones(2)
            self.register_buffer("b", torch.zeros(1))
            self.register_parameter("no", None)
            self.none, self.k = None, 3

        def forward(self, x, s=1):
            self.b = self.b + 1
            return self.lin(x) * self.plain * s + self.b

    return Counting()


def replaced(torch: Any, show: Record) -> None:
    m, x, one, call = counting(torch), torch.ones(1, 2), torch.ones(1), torch.func.functional_call
    given = {"plain": torch.zeros(2), "b": one * 5}
    show(lambda: call(m, given, x))
    show((given["b"], m.b, m.plain))
    for other in ({"nope": one}, {"lin.nope": one}, {"q.w": one}, {"k": one}, {"lin": one},
                  {"lin.weight": 3}, {"none": one}, {"no": one}, {"": one}, {"plain.x": one},
                  {"lin.weight": None}, {"lin.weight": torch.ones(3, 5)}):
        show(lambda other=other: call(m, other, (x,), {"s": 2}))
        show((hasattr(m, "nope"), m.none, m.k, m.lin.weight.shape, m.no, list(m._parameters)))
    for dicts in ([given, given], [given, 3], 3, ({"lin.bias": one}, {"plain": one})):
        show(lambda dicts=dicts: call(m, dicts, x))


def tied(torch: Any, show: Record) -> None:
    nn, x, call = torch.nn, torch.ones(1, 2), torch.func.functional_call
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    one, zero = torch.eye(2), torch.zeros(2, 2)
    for options in ({}, {"tie_weights": False}, {"strict": True}):
        show(lambda options=options: call(net, {"0.weight": one}, x, **options))
        show(lambda options=options: call(net, {"0.weight": one, "1.weight": zero}, x, **options))
    show(net[0].weight is net[1].weight)


def stacked(torch: Any, show: Record) -> None:
    nn, x, of = torch.nn, torch.ones(1, 2), torch.func
    models = [nn.Linear(2, 1) for _ in range(3)]
    params, buffers = of.stack_module_state(models)
    show(({k: (v.shape, v.requires_grad, v.is_leaf) for k, v in params.items()}, buffers))
    show(of.vmap(lambda p, b: of.functional_call(models[0], (p, b), (x,)))(params, buffers))
    models[0].weight.requires_grad_(False)
    show(lambda: of.stack_module_state(models))
    models[0].eval()
    show(lambda: of.stack_module_state(models))
    show(lambda: of.stack_module_state([]))
    show(lambda: of.stack_module_state([nn.ReLU(), nn.Tanh()]))
    norms = nn.ModuleList([nn.BatchNorm1d(2) for _ in range(2)])
    show({k: v.shape for k, v in of.stack_module_state(norms)[1].items()})


def derivatives(torch: Any, show: Record) -> None:
    m, of = counting(torch), torch.func
    params = {k: v.detach() for k, v in m.named_parameters()}

    def loss(p, x):
        return of.functional_call(m, p, (x,)).pow(2).sum()

    show(of.grad(loss)(params, torch.ones(1, 2)))
    many = of.vmap(of.grad(loss), in_dims=(None, 0))(params, torch.randn(5, 1, 2))
    show({k: v.shape for k, v in many.items()})


@pytest.mark.parity
@pytest.mark.parametrize("program", [replaced, tied, stacked, derivatives],
                         ids=lambda p: p.__name__)
def test_as_pytorch(program: Any, torch_oracle: ModuleType) -> None:
    assert lines_of(program, fl) == lines_of(program, torch_oracle)


def test_the_module_is_as_before_after_an_error() -> None:
    net = fl.nn.Linear(2, 1)
    before = dict(net.named_parameters())
    with pytest.raises(RuntimeError):
        fl.func.functional_call(net, {"weight": fl.ones(3, 5)}, fl.ones(1, 2))
    assert all(p is before[k] for k, p in net.named_parameters())
