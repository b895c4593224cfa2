"""Adadelta (Zeiler, arXiv 1212.5701)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flambeau.backends.updates import Value, Writer
from flambeau.core.tensor import Tensor
from flambeau.optim.elementwise import Elementwise
from flambeau.optim.optimizer import ParamsT
from flambeau.optim.stepping import check_at_least_zero, check_learning_rate

__all__ = ["Adadelta", "adadelta"]


class Settings(NamedTuple):
    """What shapes the rule."""

    maximize: bool
    decays: bool


def rule(o: Writer, s: Settings, param: Value, grad: Value, square: Value, change: Value
         ) -> dict[Value, Value]:
    """One step of one element; `change` is the mean square of earlier steps."""
    g = o.plain("neg", grad) if s.maximize else grad
    if s.decays:
        g = o.add_scaled(g, param, "decay")
    v = o.add_product(o.plain("mul", square, "rho"), g, g, "gain")
    size = o.plain("sqrt", o.plain("add", v, "eps"))
    way = o.plain("sqrt", o.plain("add", change, "eps"))
    way = o.plain("mul", o.plain("div", way, size), g)
    u = o.add_product(o.plain("mul", change, "rho"), way, way, "gain")
    return {square: v, change: u, param: o.add_scaled(param, way, "rate")}


def plan(h: Mapping[str, Any], step: Any) -> tuple[Settings, dict[str, Any]]:
    """Settings and scalars, the same for every step."""
    rho, decay = h["rho"], h["weight_decay"]
    return Settings(h["maximize"], bool(decay != 0)), {
        "rho": rho, "gain": 1 - rho, "eps": h["eps"], "decay": decay, "rate": -h["lr"]}


class Adadelta(Elementwise):
    """Adadelta: the root mean square of earlier steps, over that of gradients, times the gradient.

    ``rho`` is how much of both means is kept. Raises ValueError for options out of range.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.Adadelta([w], lr=100.0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    Parameter containing:
    tensor([0.6838], requires_grad=True)
    """

    rule, plan = staticmethod(rule), staticmethod(plan)
    states = ("square_avg", "acc_delta")
    captured_on_xla = (False, False)

    def __init__(self, params: ParamsT, lr: float | Tensor = 1.0, rho: float = 0.9,
                 eps: float = 1e-6, weight_decay: float = 0, foreach: bool | None = None, *,
                 capturable: bool = False, maximize: bool = False,
                 differentiable: bool = False) -> None:
        check_learning_rate(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_at_least_zero(epsilon=eps, weight_decay=weight_decay)
        super().__init__(params, {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable, "foreach": foreach, "differentiable": differentiable})


def adadelta(params: list[Tensor], grads: list[Tensor], square_avgs: list[Tensor],
             acc_deltas: list[Tensor], state_steps: list[Tensor], capturable: bool = False,
             foreach: bool | None = None, differentiable: bool = False,
             has_complex: bool = False, *, lr: float, rho: float, eps: float,
             weight_decay: float, maximize: bool) -> None:
    """One step of Adadelta on lists of tensors, in place; see ``torch.optim.Adadelta``."""
    Adadelta._update([params, grads, square_avgs, acc_deltas, state_steps], {
        "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
        "capturable": capturable, "foreach": foreach, "differentiable": differentiable})
