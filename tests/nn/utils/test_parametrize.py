"""Parametrizations: registering, reading, setting, removing, and what is refused."""

from __future__ import annotations

import copy
import pickle
from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from tests.nn.side_by_side import Record, lines_of


def maps(torch: Any) -> Any:
    """Some parametrizations."""

    class Maps:
        class Symmetric(torch.nn.Module):
            def forward(self, x):
                return x.triu() + x.triu(1).transpose(-1, -2)

            def right_inverse(self, a):
                return a.triu()

        class Skew(torch.nn.Module):
            def forward(self, x):
                return x.triu(1) - x.triu(1).transpose(-1, -2)

        class Exp(torch.nn.Module):
            def forward(self, x):
                return x.exp()

            def right_inverse(self, y):
                return y.log()

        class Two(torch.nn.Module):
            def forward(self, a, b):
                return a * b

            def right_inverse(self, w):
                return w * 0 + 2, w / 2

        class Cut(torch.nn.Module):
            def forward(self, x):
                return x[:1]

        class Double(torch.nn.Module):
            def forward(self, x):
                return x.double()

        class Three(torch.nn.Module):
            def forward(self, x):
                return 3

        class BadInverse(torch.nn.Module):
            def __init__(self, back):
                super().__init__()
                self.back = back

            def forward(self, *x):
                return x[0]

            def right_inverse(self, y):
                return self.back(y)

    return Maps


def one_tensor(torch: Any, show: Record) -> None:
    p, of = torch.nn.utils.parametrize, maps(torch)
    m = torch.nn.Linear(3, 3)
    show(p.register_parametrization(m, "weight", of.Symmetric()) is m)
    show((m, type(m), m.weight, m.parametrizations.weight.original, list(m.state_dict())))
    show((p.is_parametrized(m), p.is_parametrized(m, "weight"), p.is_parametrized(m, "bias"),
          p.type_before_parametrizations(m), p.type_before_parametrizations(torch.nn.ReLU())))
    m.weight = torch.eye(3) * 2
    show((m.weight, m.parametrizations.weight.original))
    m(torch.ones(1, 3)).sum().backward()
    show(m.parametrizations.weight.original.grad)
    with p.cached():
        show((m.weight is m.weight, torch.equal(m.weight, m.weight)))
    show(m.weight is m.weight)
    show(lambda: pickle.dumps(m))
    copied = copy.deepcopy(m)
    copied.weight = torch.eye(3)
    show((type(copied) is type(m), copied, copied.weight, m.weight[0, 0]))
    p.remove_parametrizations(m, "weight")
    show((m, type(m), m.weight, isinstance(m.weight, torch.nn.Parameter), list(m.state_dict())))
    show(lambda: p.remove_parametrizations(m, "weight"))


def several_tensors(torch: Any, show: Record) -> None:
    p, of = torch.nn.utils.parametrize, maps(torch)
    m = torch.nn.Linear(2, 2)
    p.register_parametrization(m, "weight", of.Two())
    show((m.parametrizations.weight.original0, m.parametrizations.weight.original1, m.weight))
    m.weight = torch.ones(2, 2)
    show((m.parametrizations.weight.original1, list(m.state_dict())))
    p.register_parametrization(m, "weight", of.Symmetric())
    show((m, m.weight))
    show(lambda: p.remove_parametrizations(m, "weight", leave_parametrized=False))
    show(p.remove_parametrizations(m, "weight").weight)


def several_names(torch: Any, show: Record) -> None:
    p, of = torch.nn.utils.parametrize, maps(torch)
    m = torch.nn.Linear(2, 2)
    p.register_parametrization(m, "weight", of.Exp(), unsafe=True)
    p.register_parametrization(m, "bias", of.Exp(), unsafe=True)
    show((m, [name for name, _ in m.named_modules()], m.eval().parametrizations.bias[0].training))
    show(m.double().weight.dtype)
    held = torch.nn.Module()
    held.register_buffer("b", torch.ones(2))
    p.register_parametrization(held, "b", of.Exp())
    show((held.b, list(held.state_dict()), held))
    skew = p.register_parametrization(torch.nn.Linear(3, 3), "weight", of.Skew())
    show(lambda: setattr(skew, "weight", torch.eye(3)))
    show(p.remove_parametrizations(skew, "weight", leave_parametrized=False).weight)
    a = p.register_parametrization(torch.nn.Linear(3, 3), "weight", of.Symmetric())
    b = p.transfer_parametrizations_and_params(a, torch.nn.Linear(3, 3))
    show((b, torch.equal(a.weight, b.weight)))


def refused(torch: Any, show: Record) -> None:
    p, of = torch.nn.utils.parametrize, maps(torch)
    for make in (of.Cut, of.Double, of.Three, lambda: of.BadInverse(lambda y: 3),
                 lambda: of.BadInverse(lambda y: y.double()),
                 lambda: of.BadInverse(lambda y: (y, 3))):
        m = torch.nn.Linear(2, 2)
        show(lambda m=m, make=make: p.register_parametrization(m, "weight", make()))
        show((m, list(m.state_dict())))
        m = p.register_parametrization(torch.nn.Linear(2, 2), "weight", of.Symmetric())
        show(lambda m=m, make=make: p.register_parametrization(m, "weight", make()))
        show(m)
    show(lambda: p.register_parametrization(torch.nn.Linear(1, 1), "nope", of.Exp()))
    show(lambda: p.ParametrizationList([], torch.ones(1)))
    unsafe = p.register_parametrization(torch.nn.Linear(2, 2), "weight", of.Double(), unsafe=True)
    show(unsafe.weight.dtype)


@pytest.mark.parity
@pytest.mark.parametrize("program", [one_tensor, several_tensors, several_names, refused],
                         ids=lambda p: p.__name__)
def test_as_pytorch(program: Any, torch_oracle: ModuleType) -> None:
    assert lines_of(program, fl) == lines_of(program, torch_oracle)


def test_a_cache_is_of_each_copy() -> None:
    of = fl.nn.utils.parametrize
    m = of.register_parametrization(fl.nn.Linear(2, 2), "weight", maps(fl).Symmetric())
    copied = copy.deepcopy(m)
    copied.weight = fl.zeros(2, 2)
    with of.cached():
        assert not fl.equal(m.weight, copied.weight)
