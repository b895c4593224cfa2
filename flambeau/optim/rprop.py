"""Rprop (Riedmiller and Braun, ICNN 1993), the variant without weight backtracking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flambeau.backends.updates import Value, Writer
from flambeau.core.tensor import Tensor
from flambeau.ops.create import full_like
from flambeau.optim.elementwise import Elementwise
from flambeau.optim.optimizer import ParamsT
from flambeau.optim.stepping import check_learning_rate, scalar_state

__all__ = ["Rprop", "rprop"]


class Settings(NamedTuple):
    """What shapes the rule."""

    maximize: bool


def rule(o: Writer, s: Settings, param: Value, grad: Value, before: Value, size: Value
         ) -> dict[Value, Value]:
    """One step of one element; `before` is the gradient of the step before."""
    g = o.plain("neg", grad) if s.maximize else grad
    agrees = o.plain("mul", g, before)
    turned = o.compare("lt", agrees, 0.0)
    factor = o.select(turned, "shrink", 1.0)
    factor = o.select(o.compare("gt", agrees, 0.0), "grow", factor)
    step = o.plain("maximum", o.plain("mul", size, factor), "least")
    step = o.plain("minimum", step, "most")
    g = o.select(turned, 0.0, g)
    sign = o.select(o.compare("lt", g, 0.0), -1.0, 0.0)
    sign = o.select(o.compare("gt", g, 0.0), 1.0, sign)
    return {before: g, size: step, param: o.add_product(param, sign, step, -1)}


def plan(h: Mapping[str, Any], step: Any) -> tuple[Settings, dict[str, Any]]:
    """Settings and scalars, the same for every step."""
    shrink, grow = h["etas"]
    least, most = h["step_sizes"]
    return Settings(h["maximize"]), {"shrink": shrink, "grow": grow, "least": least, "most": most}


class Rprop(Elementwise):
    """Rprop: each element has a step size of its own, led by the sign of its gradient alone.

    The size, ``lr`` at first, is multiplied by ``etas[1]`` while the sign stays and by ``etas[0]``
    when it turns, within ``step_sizes``; an element whose sign turned waits. Raises ValueError for
    options out of range.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.Rprop([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.item()
    0.75
    """

    rule, plan = staticmethod(rule), staticmethod(plan)
    states = ("prev", "step_size")
    captured_on_xla = (True, True)

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2,
                 etas: tuple[float, float] = (0.5, 1.2),
                 step_sizes: tuple[float, float] = (1e-6, 50), *, capturable: bool = False,
                 foreach: bool | None = None, maximize: bool = False,
                 differentiable: bool = False) -> None:
        check_learning_rate(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(params, {
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable})

    def _begin(self, p: Tensor, state: dict, group: Mapping[str, Any]) -> None:
        lr = group["lr"].item() if isinstance(group["lr"], Tensor) else group["lr"]
        state["step"] = scalar_state()
        state["prev"] = full_like(p, 0)
        # the real and the imaginary part are two elements
        state["step_size"] = full_like(p, complex(lr, lr) if p.dtype.is_complex else lr)


def rprop(params: list[Tensor], grads: list[Tensor], prevs: list[Tensor],
          step_sizes: list[Tensor], state_steps: list[Tensor], foreach: bool | None = None,
          capturable: bool = False, maximize: bool = False, differentiable: bool = False,
          has_complex: bool = False, *, step_size_min: float, step_size_max: float,
          etaminus: float, etaplus: float) -> None:
    """One step of Rprop on lists of tensors, in place; see ``torch.optim.Rprop``."""
    Rprop._update([params, grads, prevs, step_sizes, state_steps], {
        "etas": (etaminus, etaplus), "step_sizes": (step_size_min, step_size_max),
        "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
        "capturable": capturable})
