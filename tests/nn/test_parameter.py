"""Parameters and buffers as tensors, and those whose shape is not known yet."""

from __future__ import annotations

import copy
import pickle
from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from tests.nn.side_by_side import Record, lines_of


def parameters(torch: Any, show: Record) -> None:
    Parameter, one = torch.nn.Parameter, torch.ones(2)
    for make in (lambda: Parameter(one), lambda: Parameter(), lambda: Parameter([1.0]),
                 lambda: Parameter(one.to(torch.int64)), lambda: Parameter(one * 1j),
                 lambda: Parameter(one.to(torch.int64), requires_grad=False),
                 lambda: Parameter(one, False), lambda: Parameter(torch.tensor(2.0)),
                 lambda: Parameter(one.requires_grad_() * 2)):
        show(make)
    p = Parameter(torch.ones(3))
    p.grad, p.note = torch.ones(3), "kept"
    copied = copy.deepcopy(p)
    show((copied, copied.grad, hasattr(copied, "note"), copied.requires_grad))
    back = pickle.loads(pickle.dumps(p))
    show((type(back), back, back.grad, back.note))
    for t in (p * 2, p.data, p.detach(), p.clone(), p[0], p.view(3, 1)):
        show((type(t), isinstance(t, Parameter)))
    show((f"{p}", str(p), repr(p), p.is_leaf, type(p)))
    memory = torch.zeros(2)
    Parameter(memory).data[0] = 5
    show(memory)
    memory._is_param = True
    show(isinstance(memory, Parameter))


def buffers(torch: Any, show: Record) -> None:
    Buffer, one = torch.nn.Buffer, torch.ones(2)
    held = Buffer(one)
    show((held, type(held), isinstance(held, Buffer), held.persistent, isinstance(one, Buffer)))
    show((Buffer(one, persistent=False).persistent, Buffer(), Buffer(one.requires_grad_() * 2)))
    show(lambda: Buffer([1.0]))


def without_shape(torch: Any, show: Record) -> None:
    of = torch.nn.parameter
    p, b = of.UninitializedParameter(), of.UninitializedBuffer()
    for t in (p, b):
        show((t, type(t), t.requires_grad, of.is_lazy(t), t.dtype, t.device, t.is_leaf, t.grad))
        show((isinstance(t, torch.nn.Parameter), isinstance(t, torch.nn.Buffer), t.ndim))
        for act in (lambda t=t: t.shape, lambda t=t: t + 1, lambda t=t: t.sum(),
                    lambda t=t: t.size(), lambda t=t: t.data, lambda t=t: t.detach(),
                    lambda t=t: t.share_memory_(), lambda t=t: t.numel(), lambda t=t: t.view(-1),
                    lambda t=t: t.float(), lambda t=t: t.zero_(), lambda t=t: t.tolist(),
                    lambda t=t: t.is_floating_point(), lambda t=t: t.requires_grad_(False),
                    lambda t=t: hash(t) == hash(t), lambda t=t: torch.nn.init.zeros_(t),
                    lambda t=t: t.stride(), lambda t=t: t.new_empty(2),
                    lambda t=t: torch.is_tensor(t)):
            show(act)
    show((copy.deepcopy(p), pickle.loads(pickle.dumps(p))))
    p.materialize((2, 3))
    b.materialize((2,))
    show((type(p), p.shape, p.requires_grad, p.dtype))
    show((type(b), b.shape, b.persistent, isinstance(b, torch.nn.Buffer)))
    p = of.UninitializedParameter(requires_grad=False, dtype=torch.float64)
    show((p.dtype, p.requires_grad))
    p.materialize((1,), dtype=torch.float16)
    show((p.dtype, p.requires_grad))


PROGRAMS = [parameters, buffers, without_shape]


@pytest.mark.parity
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_as_pytorch(program: Any, torch_oracle: ModuleType) -> None:
    assert lines_of(program, fl) == lines_of(program, torch_oracle)


@pytest.mark.parametrize("use", [
    lambda p: fl.nn.functional.linear(fl.ones(1, 2), p), lambda p: fl.relu(p), lambda p: len(p),
    lambda p: p[0], lambda p: bool(p), lambda p: p == p, lambda p: fl.cat([p, p]),
    lambda p: fl.empty_like(p), lambda p: fl.ones(2) * p, lambda p: iter(p)])
def test_using_a_parameter_without_shape_is_an_error(use: Any) -> None:
    with pytest.raises(ValueError, match="Attempted to use an uninitialized parameter in"):
        use(fl.nn.UninitializedParameter())
