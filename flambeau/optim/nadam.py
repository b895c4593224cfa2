"""NAdam: Adam with Nesterov's momentum (Dozat, ICLR workshop 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flambeau.backends.updates import Value, Writer
from flambeau.core.tensor import Tensor
from flambeau.ops.create import full_like
from flambeau.optim.elementwise import Elementwise
from flambeau.optim.optimizer import ParamsT
from flambeau.optim.stepping import (
    check_at_least_zero,
    check_betas,
    check_learning_rate,
    check_step_tensors,
    is_near,
    scalar_state,
)

__all__ = ["NAdam", "nadam"]

# how the momentum approaches beta1 with the number of steps
APPROACH = 0.96


class Settings(NamedTuple):
    """What shapes the rule."""

    maximize: bool
    decay: str
    near: bool


def rule(o: Writer, s: Settings, param: Value, grad: Value, mean: Value, square: Value
         ) -> dict[Value, Value]:
    """One step of one element."""
    g = o.plain("neg", grad) if s.maximize else grad
    p = param
    if s.decay == "apart":
        p = o.plain("mul", p, "keep")
    elif s.decay:
        g = o.add_scaled(g, p, "decay")
    m = o.lerp(mean, g, "gain", s.near)
    v = o.add_product(o.plain("mul", square, "beta2"), g, g, "gain2")
    size = o.plain("sqrt", o.plain("div", v, "correction"))
    size = o.plain("add", size, "eps")
    p = o.add_quotient(p, g, size, "rate")
    return {mean: m, square: v, param: o.add_quotient(p, m, size, "rate_mean")}


def plan(h: Mapping[str, Any], step: Any, product: Any) -> tuple[Settings, dict[str, Any], Any]:
    """Settings and scalars of the step with this number; `product` is that of all momenta."""
    beta1, beta2 = h["betas"]
    lr, decay, slow = h["lr"], h["weight_decay"], h["momentum_decay"]
    now = beta1 * (1.0 - 0.5 * APPROACH ** (step * slow))
    following = beta1 * (1.0 - 0.5 * APPROACH ** ((step + 1) * slow))
    product = product * now
    exact: Any = product if isinstance(product, Tensor) else float(product)
    mode = "" if decay == 0 else "apart" if h["decoupled_weight_decay"] else "added"
    scalars = {"gain": 1 - beta1, "beta2": beta2, "gain2": 1 - beta2, "eps": h["eps"],
               "correction": 1 - beta2**step, "decay": decay,
               "rate": -lr * (1.0 - now) / (1.0 - exact),
               "rate_mean": -lr * following / (1.0 - exact * following)}
    if mode == "apart":
        scalars["keep"] = 1 - lr * decay
    return Settings(h["maximize"], mode, is_near(1 - beta1)), scalars, product


class NAdam(Elementwise):
    """NAdam: Adam that looks one step of its momentum ahead.

    The momentum grows from half of ``betas[0]`` to all of it, the slower the smaller
    ``momentum_decay``. Raises ValueError for options out of range.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.NAdam([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    Parameter containing:
    tensor([0.7359], requires_grad=True)
    """

    rule, plan = staticmethod(rule), staticmethod(plan)
    states = ("exp_avg", "exp_avg_sq")
    numbers = ("mu_product", "step")
    later_options = {**Elementwise.later_options, "decoupled_weight_decay": False}

    def __init__(self, params: ParamsT, lr: float | Tensor = 2e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, momentum_decay: float = 4e-3,
                 decoupled_weight_decay: bool = False, *, foreach: bool | None = None,
                 maximize: bool = False, capturable: bool = False,
                 differentiable: bool = False) -> None:
        check_learning_rate(lr)
        check_at_least_zero(epsilon=eps)
        check_betas(betas)
        check_at_least_zero(weight_decay=weight_decay, momentum_decay=momentum_decay)
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "differentiable": differentiable})

    def _begin(self, p: Tensor, state: dict, group: Mapping[str, Any]) -> None:
        state["step"] = scalar_state()
        state["mu_product"] = scalar_state(1.0)
        for name in self.states:
            state[name] = full_like(p, 0)

    @classmethod
    def _check(cls, columns: Sequence[list], group: Mapping[str, Any]) -> None:
        check_step_tensors(columns[-2], "mu_products")
        super()._check(columns, group)

    @classmethod
    def _captured(cls, foreach: bool) -> str:
        return f"params, mu_products{',' * foreach} and state_steps"


def nadam(params: list[Tensor], grads: list[Tensor], exp_avgs: list[Tensor],
          exp_avg_sqs: list[Tensor], mu_products: list[Tensor], state_steps: list[Tensor],
          decoupled_weight_decay: bool = False, foreach: bool | None = None,
          capturable: bool = False, differentiable: bool = False, has_complex: bool = False,
          maximize: bool = False, *, beta1: float, beta2: float, lr: float, weight_decay: float,
          momentum_decay: float, eps: float) -> None:
    """One step of NAdam on lists of tensors, in place; see ``torch.optim.NAdam``."""
    NAdam._update([params, grads, exp_avgs, exp_avg_sqs, mu_products, state_steps], {
        "lr": lr, "betas": (beta1, beta2), "eps": eps, "weight_decay": weight_decay,
        "momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay,
        "maximize": maximize, "foreach": foreach, "capturable": capturable,
        "differentiable": differentiable})
