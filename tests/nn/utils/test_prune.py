"""Pruning: masks, several methods on one tensor, amounts, and making it permanent."""

from __future__ import annotations

import copy
import importlib
from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from tests.nn.side_by_side import Record, lines_of


def pruning(torch: Any) -> Any:
    return importlib.import_module(f"{torch.__name__}.nn.utils.prune")


def methods(torch: Any) -> list:
    """Ways to prune the weight of a Linear(2, 3)."""
    of = pruning(torch)
    inf = float("inf")
    scores = torch.arange(6.0).reshape(3, 2)
    return [
        lambda m: of.identity(m, "weight"),
        lambda m: of.random_unstructured(m, "weight", 2),
        lambda m: of.random_unstructured(m, "weight", 0.3),
        lambda m: of.l1_unstructured(m, "weight", 3),
        lambda m: of.l1_unstructured(m, "weight", 0),
        lambda m: of.l1_unstructured(m, "weight", 0.5, importance_scores=scores),
        lambda m: of.random_structured(m, "weight", 1, 0),
        lambda m: of.random_structured(m, "weight", 0.5, 1),
        lambda m: of.ln_structured(m, "weight", 0.5, 2, 0),
        lambda m: of.ln_structured(m, "weight", 1, inf, -1),
        lambda m: of.ln_structured(m, "weight", 0, 2, 0),
        lambda m: of.custom_from_mask(m, "weight", torch.tensor([[1, 0], [0, 1], [1, 1]])),
        lambda m: of.l1_unstructured(of.random_unstructured(m, "weight", 1), "weight", 2),
        lambda m: of.random_structured(of.ln_structured(m, "weight", 1, 2, 0), "weight", 1, 0),
        lambda m: of.custom_from_mask(of.l1_unstructured(m, "weight", 1), "weight",
                                      torch.ones(3, 2))]


def each(torch: Any, show: Record) -> None:
    of = pruning(torch)
    for method in methods(torch):
        m = torch.nn.Linear(2, 3)
        show(method(m) is m)
        show((m.weight, m.state_dict(), [type(h) for h in m._forward_pre_hooks.values()]))
        out = m(torch.ones(1, 2))
        out.sum().backward()
        show((out, m.weight_orig.grad, of.is_pruned(m)))
        show((of.remove(m, "weight").weight, list(m.state_dict()), of.is_pruned(m)))


def refused(torch: Any, show: Record) -> None:
    of, m, one = pruning(torch), torch.nn.Linear(2, 3), torch.ones(2)
    for act in (lambda: of.l1_unstructured(m, "weight", 7),
                lambda: of.l1_unstructured(m, "weight", 1.5),
                lambda: of.l1_unstructured(m, "weight", -1),
                lambda: of.l1_unstructured(m, "weight", "a"),
                lambda: of.ln_structured(m, "bias", 1, 2, 0),
                lambda: of.ln_structured(m, "weight", 1, 2, 3),
                lambda: of.remove(m, "weight"), lambda: of.l1_unstructured(m, "q", 1),
                lambda: of.custom_from_mask(m, "weight", one),
                lambda: of.l1_unstructured(m, "weight", 1, importance_scores=one),
                lambda: of.global_unstructured(3, of.L1Unstructured, amount=1),
                lambda: of.global_unstructured([(m, "weight")], of.L1Unstructured, 3, amount=1),
                lambda: of.global_unstructured([(m, "weight")], of.LnStructured, amount=1, n=2),
                lambda: of.BasePruningMethod(), lambda: of.PruningContainer(3)):
        show(act)
        show(list(m.state_dict()))


def over_modules(torch: Any, show: Record) -> None:
    of, nn = pruning(torch), torch.nn
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    places = [(net[0], "weight"), (net[2], "weight")]
    of.global_unstructured(places, of.L1Unstructured, amount=5)
    show(net.state_dict())
    of.global_unstructured(places, of.RandomUnstructured, amount=0.5)
    show((net.state_dict(), of.is_pruned(net)))
    show(copy.deepcopy(of.L1Unstructured(2)).prune(torch.arange(4.0)))

    class EveryOther(of.BasePruningMethod):
        PRUNING_TYPE = "unstructured"

        def compute_mask(self, t, default_mask):
            mask = default_mask.clone()
            mask.view(-1)[::2] = 0
            return mask

    m = nn.Linear(2, 3)
    EveryOther.apply(m, "bias")
    of.random_unstructured(m, "bias", 1)
    container = next(iter(m._forward_pre_hooks.values()))
    show((m.bias, len(container), [type(c).__name__ for c in container], container[0]._tensor_name))


@pytest.mark.parity
@pytest.mark.parametrize("program", [each, refused, over_modules], ids=lambda p: p.__name__)
def test_as_pytorch(program: Any, torch_oracle: ModuleType) -> None:
    assert lines_of(program, fl) == lines_of(program, torch_oracle)


@pytest.mark.parametrize("at", range(15))
def test_a_pruned_element_stays_zero(at: int) -> None:
    m = fl.nn.Linear(2, 3)
    methods(fl)[at](m)
    with fl.no_grad():
        m.weight_orig.fill_(1.0)
    m(fl.ones(1, 2))
    assert fl.equal(m.weight.detach(), m.weight_mask)
