"""Gradients that nobody asked for are not computed."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau as torch
from flambeau.core.op import OPS


@pytest.mark.parametrize("wanted", [0, 1])
def test_grad_runs_only_the_formulas_that_lead_to_what_is_wanted(wanted: int,
                                                                 monkeypatch: Any) -> None:
    x = torch.randn(1, 2, 5, 5, requires_grad=True)
    w = torch.randn(3, 2, 3, 3, requires_grad=True)
    y = torch.nn.functional.conv2d(x, w)
    both = torch.autograd.grad(y.sum(), (x, w), retain_graph=True)
    other = OPS[("convolution_weight", "convolution_input")[wanted]]

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"{other.name} is not needed")

    monkeypatch.setattr(other, "forward", refuse)
    (found,) = torch.autograd.grad(y.sum(), (x, w)[wanted])
    assert torch.equal(found, both[wanted])


def test_a_layer_without_the_gradient_of_its_input() -> None:
    net = torch.nn.LSTM(3, 4)
    x = torch.randn(5, 2, 3, requires_grad=True)
    out = net(x)[0].sum()
    every = torch.autograd.grad(out, (x, *net.parameters()), retain_graph=True)
    for at, p in enumerate((x, *net.parameters())):
        (alone,) = torch.autograd.grad(out, p, retain_graph=True)
        assert torch.equal(alone, every[at])
