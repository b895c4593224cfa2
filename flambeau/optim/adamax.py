"""Adamax: Adam with the infinity norm of gradients (Kingma and Ba, ICLR 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flambeau.backends.updates import Value, Writer
from flambeau.core.tensor import Tensor
from flambeau.optim.elementwise import Elementwise
from flambeau.optim.optimizer import ParamsT
from flambeau.optim.stepping import (
    check_at_least_zero,
    check_betas,
    check_learning_rate,
    is_near,
)

__all__ = ["Adamax", "adamax"]


class Settings(NamedTuple):
    """What shapes the rule."""

    maximize: bool
    decays: bool
    near: bool


def rule(o: Writer, s: Settings, param: Value, grad: Value, mean: Value, norm: Value
         ) -> dict[Value, Value]:
    """One step of one element."""
    g = o.plain("neg", grad) if s.maximize else grad
    if s.decays:
        g = o.add_scaled(g, param, "decay")
    m = o.lerp(mean, g, "gain", s.near)
    size = o.plain("add", o.plain("abs", g), "eps")
    n = o.plain("maximum", o.plain("mul", norm, "beta2"), size)
    return {mean: m, norm: n, param: o.add_quotient(param, m, n, "rate")}


def plan(h: Mapping[str, Any], step: Any) -> tuple[Settings, dict[str, Any]]:
    """Settings and scalars of the step with this number."""
    beta1, beta2 = h["betas"]
    gain, decay = 1 - beta1, h["weight_decay"]
    return Settings(h["maximize"], bool(decay != 0), is_near(gain)), {
        "gain": gain, "beta2": beta2, "eps": h["eps"], "decay": decay,
        "rate": -(h["lr"] / (1 - beta1**step))}


class Adamax(Elementwise):
    """Adamax: steps along the mean of gradients, over a decaying maximum of their sizes.

    Raises ValueError for options out of range.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.Adamax([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.item()
    0.75
    """

    rule, plan = staticmethod(rule), staticmethod(plan)
    states = ("exp_avg", "exp_inf")

    def __init__(self, params: ParamsT, lr: float | Tensor = 2e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False,
                 differentiable: bool = False, capturable: bool = False) -> None:
        check_learning_rate(lr)
        check_at_least_zero(epsilon=eps)
        check_betas(betas)
        check_at_least_zero(weight_decay=weight_decay)
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
            "capturable": capturable})


def adamax(params: list[Tensor], grads: list[Tensor], exp_avgs: list[Tensor],
           exp_infs: list[Tensor], state_steps: list[Tensor], foreach: bool | None = None,
           maximize: bool = False, differentiable: bool = False, capturable: bool = False,
           has_complex: bool = False, *, eps: float, beta1: float, beta2: float, lr: float,
           weight_decay: float) -> None:
    """One step of Adamax on lists of tensors, in place; see ``torch.optim.Adamax``."""
    group = {"lr": lr, "betas": (beta1, beta2), "eps": eps, "weight_decay": weight_decay,
             "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
             "capturable": capturable}
    Adamax._update([params, grads, exp_avgs, exp_infs, state_steps], group)
