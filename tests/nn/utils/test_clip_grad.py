"""Clipping gradients, and parameters as vectors."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from tests.nn.side_by_side import Record, lines_of


def parameters(torch: Any, scale: float = 5.0) -> list:
    torch.manual_seed(1)
    found = [torch.nn.Parameter(torch.zeros(s)) for s in ((3, 2), (2,), (1,))]
    for p in found[:2]:
        p.grad = torch.randn(p.shape) * scale
    return found


def by_norm(torch: Any, show: Record) -> None:
    clip = torch.nn.utils.clip_grad_norm_
    for kind in (2, 1, 3.0, math.inf, -math.inf, 0, 0.5, "inf"):
        ps = parameters(torch)
        show(lambda ps=ps, kind=kind: clip(ps, 1.0, kind))
        show([p.grad for p in ps])
    small = parameters(torch, 0.01)
    show((clip(small, 1.0), small[0].grad, clip(small[0], 2, foreach=True)))
    ps = parameters(torch)
    ps[0].grad[0, 0] = math.inf
    show(lambda: clip(ps, 1.0, error_if_nonfinite=True))
    show((ps[1].grad, clip(ps, 1.0), ps[1].grad))
    show((clip([], 1.0), clip(torch.nn.Parameter(torch.ones(1)), 1.0)))
    show(lambda: clip((p for p in []), 1.0))
    show(lambda: clip(ps, "a"))
    show(lambda: torch.nn.utils.clip_grad_norm(parameters(torch), 1.0))


def in_parts(torch: Any, show: Record) -> None:
    utils, ps = torch.nn.utils, parameters(torch)
    show(utils.get_total_norm([torch.ones(2), torch.ones(2) * 2]))
    show((utils.get_total_norm(torch.ones(3)), utils.get_total_norm([]),
          utils.get_total_norm(iter([torch.ones(2, dtype=torch.float64)]), 1)))
    utils.clip_grads_with_norm_(ps, 1.0, torch.tensor(2.0))
    show([p.grad for p in ps])


def by_value(torch: Any, show: Record) -> None:
    ps = parameters(torch)
    show(torch.nn.utils.clip_grad_value_(ps, 0.5))
    show([p.grad for p in ps])
    torch.nn.utils.clip_grad_value_(ps[0], 0.1, foreach=False)
    show(ps[0].grad)


def vectors(torch: Any, show: Record) -> None:
    utils, net = torch.nn.utils, torch.nn.Linear(2, 3)
    show(utils.parameters_to_vector(net.parameters()))
    given = torch.arange(9.0)
    utils.vector_to_parameters(given, net.parameters())
    given[0] = 50
    show((net.weight, net.bias))
    show(lambda: utils.vector_to_parameters(3, net.parameters()))
    show(lambda: utils.vector_to_parameters(torch.arange(4.0), net.parameters()))
    show(lambda: utils.parameters_to_vector([]))


@pytest.mark.parity
@pytest.mark.parametrize("program", [by_norm, in_parts, by_value, vectors],
                         ids=lambda p: p.__name__)
def test_as_pytorch(program: Any, torch_oracle: ModuleType) -> None:
    assert lines_of(program, fl) == lines_of(program, torch_oracle)


def test_the_norm_after_clipping() -> None:
    ps = parameters(fl)
    before = fl.nn.utils.clip_grad_norm_(ps, 2.0)
    assert before > 2.0
    after = math.sqrt(sum((p.grad ** 2).sum().item() for p in ps[:2]))
    assert after == pytest.approx(2.0, rel=1e-5)
