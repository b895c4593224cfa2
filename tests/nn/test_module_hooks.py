"""Hooks around forward and backward, of one module and of all."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from flambeau.nn.modules.module_hooks import HOOKED
from tests.nn.side_by_side import Record, lines_of


def scaled(torch: Any) -> Any:
    """A module with a keyword argument and a module inside."""

    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = torch.nn.Linear(2, 2)

        def forward(self, x, k=1):
            return self.lin(x) * k

    return Scaled()


def failing(torch: Any) -> Any:
    class Failing(torch.nn.Module):
        def forward(self, x):
            raise ValueError("boom")

    return Failing()


def noting(show: Record, name: str, give: Any = None) -> Any:
    """A hook that shows how it was called and returns what ``give`` makes of the arguments."""

    def hook(*args):
        show((name, [type(a).__name__ for a in args]))
        return give(*args) if give else None

    return hook


def forward(torch: Any, show: Record) -> None:
    m, x = scaled(torch), torch.ones(1, 2)
    handles = [
        m.register_forward_pre_hook(noting(show, "a")),
        m.register_forward_pre_hook(noting(show, "b", lambda m, a: (a[0] * 2,)), prepend=True),
        m.register_forward_pre_hook(noting(show, "c", lambda m, a, k: (a, {**k, "k": 3})),
                                    with_kwargs=True),
        m.register_forward_pre_hook(noting(show, "d", lambda m, a: a[0] + 1)),
        m.register_forward_hook(noting(show, "e")),
        m.register_forward_hook(noting(show, "f", lambda m, a, o: o * 0 + 1), prepend=True),
        m.register_forward_hook(noting(show, "g", lambda m, a, k, o: o + k["k"]),
                                with_kwargs=True),
        m.register_forward_hook(noting(show, "h"), always_call=True)]
    show(lambda: m(x))
    show(lambda: m(x, k=5))
    for handle in handles:
        handle.remove()
        handle.remove()
    show(lambda: m(x))
    show([len(getattr(m, f"_forward_{kind}")) for kind in (
        "hooks", "pre_hooks", "hooks_with_kwargs", "hooks_always_called", "pre_hooks_with_kwargs")])
    with m.register_forward_hook(noting(show, "inside")):
        m(x)
    m(x)
    m.register_forward_pre_hook(lambda m, a, k: 3, with_kwargs=True)
    show(lambda: m(x))


def always_called(torch: Any, show: Record) -> None:
    m, x = failing(torch), torch.ones(1, 2)
    m.register_forward_hook(noting(show, "a"), always_call=True)
    m.register_forward_hook(noting(show, "b"))
    m.register_forward_hook(noting(show, "c", lambda m, a, o: 1 / 0), always_call=True)
    m.register_forward_hook(noting(show, "d"), always_call=True, with_kwargs=True)
    show(lambda: m(x))
    m = scaled(torch)
    m.register_forward_hook(noting(show, "fails", lambda m, a, o: 1 / 0))
    m.register_forward_hook(noting(show, "after"), always_call=True)
    show(lambda: m(x))


def of_all_modules(torch: Any, show: Record) -> None:
    of = torch.nn.modules.module
    m, x = scaled(torch), torch.ones(1, 2)
    handles = [of.register_module_forward_pre_hook(noting(show, "before")),
               of.register_module_forward_hook(noting(show, "after")),
               of.register_module_forward_hook(noting(show, "kwargs"), with_kwargs=True),
               of.register_module_forward_hook(noting(show, "always"), always_call=True)]
    show(lambda: m(x))
    show(lambda: failing(torch)(x))
    for handle in handles:
        handle.remove()
    show(lambda: m(x))
    handles = [of.register_module_full_backward_hook(noting(show, "backward")),
               of.register_module_full_backward_pre_hook(noting(show, "before backward"))]
    show(lambda: m(x).sum().backward())
    show(lambda: of.register_module_backward_hook(noting(show, "old")))
    for handle in handles:
        handle.remove()
    show(lambda: m(x).sum().backward())


def at_registration(torch: Any, show: Record) -> None:
    of = torch.nn.modules.module

    def replaced(m, name, given):
        return torch.nn.ReLU() if isinstance(given, torch.nn.Linear) else None

    handles = [of.register_module_buffer_registration_hook(noting(show, "buffer")),
               of.register_module_parameter_registration_hook(noting(show, "parameter")),
               of.register_module_module_registration_hook(noting(show, "module", replaced))]
    m = scaled(torch)
    m.register_buffer("b", torch.ones(1))
    m.c = torch.nn.Buffer(torch.ones(1))
    m.p = torch.nn.Parameter(torch.ones(1))
    m.p = None
    m.add_module("y", torch.nn.Linear(1, 1))
    for handle in handles:
        handle.remove()
    show(m)


def backward(torch: Any, show: Record) -> None:
    m = scaled(torch)
    m.register_full_backward_hook(lambda m, *g: show(("1", *g)))
    m.register_full_backward_pre_hook(lambda m, g: show(("before", *g)) or (g[0] * 2,))
    m.register_full_backward_hook(lambda m, i, o: show(("0", i, o)) or (i[0] * 10,), prepend=True)
    m.lin.register_full_backward_hook(lambda m, *g: show(("lin", *g)))
    x = torch.ones(1, 2, requires_grad=True)
    y = m(x)
    show(y)
    y.sum().backward()
    show((x.grad, m.lin.weight.grad))
    show(lambda: m.register_backward_hook(lambda *a: None))
    show(lambda: m(x).add_(1))
    with torch.no_grad():
        show(m(x))


def backward_without_inputs(torch: Any, show: Record) -> None:
    m = scaled(torch)
    m.register_full_backward_hook(lambda m, *g: show(g))
    show(lambda: m(torch.ones(1, 2)).sum().backward())
    m.register_full_backward_hook(lambda m, *g: (torch.ones(1, 2),))
    show(lambda: m(torch.ones(1, 2)).sum().backward())


def wrong_numbers_of_gradients(torch: Any, show: Record) -> None:
    x = torch.ones(1, 2, requires_grad=True)
    m = scaled(torch)
    m.register_full_backward_hook(lambda m, i, o: (i[0], i[0]))
    show(lambda: m(x).sum().backward())
    m = scaled(torch)
    m.register_full_backward_pre_hook(lambda m, o: (o[0], o[0]))
    show(lambda: m(x).sum().backward())


def several_values(torch: Any, show: Record) -> None:
    class Several(torch.nn.Module):
        def forward(self, a, b, c=None):
            return a * 2, 3, b * 3

    a, b = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    m = Several()
    m.register_full_backward_hook(lambda m, *g: show(g))
    out = m(a, torch.ones(1))
    show(out)
    out[0].sum().backward()
    out = m(a, b, c=a)
    (out[0] + out[2]).sum().backward()
    m(a, torch.tensor([1]))[0].sum().backward()

    class Named(torch.nn.Module):
        def forward(self, a):
            return {"a": a * 2}

    m = Named()
    m.register_full_backward_hook(lambda m, *g: show(g))
    show(lambda: m(a)["a"])


def old_backward(torch: Any, show: Record) -> None:
    x = torch.ones(1, 2, requires_grad=True)
    m = torch.nn.Linear(2, 2)
    m.register_backward_hook(lambda m, *g: show(g))
    show(lambda: m(x).sum().backward())
    show(lambda: m.register_full_backward_hook(lambda *a: None))
    m = scaled(torch)
    m.register_backward_hook(lambda *a: None)
    show(lambda: m(x))
    show(lambda: m(x=x))

    class Pair(torch.nn.Module):
        def forward(self, a, b):
            return a * 2, b * 3

    m = Pair()
    m.register_backward_hook(lambda *a: None)
    show(lambda: m(x, x))


def held_hooks(torch: Any, show: Record) -> None:
    m, x = scaled(torch), torch.ones(1, 2)
    m.register_forward_hook(lambda m, a, o: o + 1)
    copied = copy.deepcopy(m)
    m._forward_hooks.clear()
    show((len(copied._forward_hooks), torch.equal(copied(x), m(x) + 1)))
    m.forward = lambda x: "own"
    show(m(1))
    del m.forward
    handle = torch.utils.hooks.RemovableHandle(m._forward_hooks)
    m._forward_hooks[handle.id] = lambda m, a, o: "direct"
    show(m(x))
    handle.remove()
    m._forward_pre_hooks = OrderedDict({0: lambda m, a: (a[0] * 0,)})
    show(torch.equal(m(x), m.lin.bias[None]))
    m = torch.nn.Identity()
    m.register_forward_hook(print)
    show(len(pickle.loads(pickle.dumps(m))._forward_hooks))


def recursion(torch: Any, show: Record) -> None:
    class Down(torch.nn.Module):
        def forward(self, n):
            return n if n == 0 else self(n - 1)

    m = Down()
    m.register_forward_hook(lambda m, a, o: o + 1)
    show(m(3))


PROGRAMS = [forward, always_called, of_all_modules, at_registration, backward,
            backward_without_inputs, wrong_numbers_of_gradients, several_values, old_backward,
            held_hooks, recursion]


@pytest.mark.parity
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_as_pytorch(program: Any, torch_oracle: ModuleType) -> None:
    assert lines_of(program, fl) == lines_of(program, torch_oracle)


def test_calls_stop_looking_for_hooks_of_all_modules() -> None:
    module = fl.nn.Identity()
    handle = fl.nn.modules.module.register_module_forward_hook(lambda m, a, o: o + 1)
    assert module(1) == 2
    handle.remove()
    assert module(1) == 1
    assert not HOOKED


def test_a_module_without_init_is_told_so() -> None:
    class Late(fl.nn.Module):
        def __init__(self) -> None:
            pass

        def forward(self, x: object) -> object:
            return x

    with pytest.raises(AttributeError, match="'Late' object has no attribute '_backward_hooks'"):
        Late()(1)
