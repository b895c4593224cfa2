"""RMSprop (Hinton, Coursera lecture 6e, 2012), plain and centered (Graves, arXiv 1308.0850)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flambeau.backends.updates import Value, Writer
from flambeau.core.tensor import Tensor
from flambeau.optim.elementwise import Elementwise
from flambeau.optim.optimizer import ParamsT
from flambeau.optim.stepping import check_at_least_zero, check_learning_rate, is_near

__all__ = ["RMSprop", "rmsprop"]


class Settings(NamedTuple):
    """What shapes the rule."""

    maximize: bool
    decays: bool
    moves: bool
    centered: bool
    near: bool


def rule(o: Writer, s: Settings, param: Value, grad: Value, square: Value, *others: Value
         ) -> dict[Value, Value]:
    """One step of one element; the others are the momentum and the mean, where they are."""
    new = {}
    g = o.plain("neg", grad) if s.maximize else grad
    if s.decays:
        g = o.add_scaled(g, param, "decay")
    v = new[square] = o.add_product(o.plain("mul", square, "alpha"), g, g, "gain")
    if s.centered:
        mean = others[-1]
        m = new[mean] = o.lerp(mean, g, "gain", s.near)
        v = o.add_product(v, m, m, -1)
    size = o.plain("add", o.plain("sqrt", v), "eps")
    if s.moves:
        momentum = others[0]
        b = new[momentum] = o.add_quotient(o.plain("mul", momentum, "momentum"), g, size)
        new[param] = o.add_scaled(param, b, "rate")
    else:
        new[param] = o.add_quotient(param, g, size, "rate")
    return new


def plan(h: Mapping[str, Any], step: Any) -> tuple[Settings, dict[str, Any]]:
    """Settings and scalars, the same for every step."""
    decay, alpha, momentum = h["weight_decay"], h["alpha"], h["momentum"]
    settings = Settings(h["maximize"], bool(decay != 0), momentum > 0, h["centered"],
                        is_near(1 - alpha))
    return settings, {"decay": decay, "alpha": alpha, "gain": 1 - alpha, "eps": h["eps"],
                      "momentum": momentum, "rate": -h["lr"]}


class RMSprop(Elementwise):
    """RMSprop: steps along the gradient, over the root of a decaying mean of its squares.

    ``alpha`` is how much of the mean is kept; ``centered`` divides by the standard deviation
    instead. With ``momentum`` steps add up. Raises ValueError for options out of range.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.RMSprop([w], lr=0.25, alpha=0.75)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.item()
    0.5
    """

    rule, plan = staticmethod(rule), staticmethod(plan)
    later_options = {"momentum": 0, "centered": False, **Elementwise.later_options}
    captured_on_xla = (True, True)

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, alpha: float = 0.99,
                 eps: float = 1e-8, weight_decay: float = 0, momentum: float = 0,
                 centered: bool = False, capturable: bool = False, foreach: bool | None = None,
                 maximize: bool = False, differentiable: bool = False) -> None:
        check_learning_rate(lr)
        check_at_least_zero(epsilon=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable})

    @classmethod
    def _names(cls, group: Mapping[str, Any]) -> tuple[str, ...]:
        return ("square_avg", *["momentum_buffer"] * (group["momentum"] > 0),
                *["grad_avg"] * bool(group["centered"]))


def rmsprop(params: list[Tensor], grads: list[Tensor], square_avgs: list[Tensor],
            grad_avgs: list[Tensor], momentum_buffer_list: list[Tensor],
            state_steps: list[Tensor], foreach: bool | None = None, maximize: bool = False,
            differentiable: bool = False, capturable: bool = False, has_complex: bool = False, *,
            lr: float, alpha: float, eps: float, weight_decay: float, momentum: float,
            centered: bool) -> None:
    """One step of RMSprop on lists of tensors, in place; see ``torch.optim.RMSprop``."""
    others = [*[momentum_buffer_list] * (momentum > 0), *[grad_avgs] * bool(centered)]
    RMSprop._update([params, grads, square_avgs, *others, state_steps], {
        "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
        "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach,
        "maximize": maximize, "differentiable": differentiable})
