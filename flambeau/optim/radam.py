"""RAdam: Adam with its rate rectified while few gradients are known (Liu and others, ICLR 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flambeau.backends.updates import Value, Writer
from flambeau.core.tensor import Tensor
from flambeau.ops.where import where
from flambeau.optim.elementwise import Elementwise
from flambeau.optim.optimizer import ParamsT
from flambeau.optim.stepping import (
    check_at_least_zero,
    check_betas,
    check_learning_rate,
    is_near,
)

__all__ = ["RAdam", "radam"]

# the length of the average from which its variance is tractable
TRACTABLE = 5.0


class Settings(NamedTuple):
    """What shapes the rule; `adapts` is None where it depends on a step that is a tensor."""

    maximize: bool
    decay: str
    near: bool
    adapts: bool | None


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
    plain = o.plain("mul", o.plain("div", m, "correction"), "lr")
    way = plain
    if s.adapts is not False:
        size = o.plain("add", o.plain("sqrt", v), "eps")
        way = o.plain("mul", o.plain("mul", way, o.plain("div", "root", size)), "rectifier")
    if s.adapts is None:
        way = o.select(o.compare("gt", "length", TRACTABLE), way, plain)
    return {mean: m, square: v, param: o.plain("sub", p, way)}


def plan(h: Mapping[str, Any], step: Any) -> tuple[Settings, dict[str, Any]]:
    """Settings and scalars of the step with this number."""
    beta1, beta2 = h["betas"]
    lr, decay = h["lr"], h["weight_decay"]
    correction2 = 1 - beta2**step
    longest = 2 / (1 - beta2) - 1
    length: Any = longest - 2 * step * beta2**step / correction2
    scalars = {"gain": 1 - beta1, "beta2": beta2, "gain2": 1 - beta2, "eps": h["eps"],
               "correction": 1 - beta1**step, "root": correction2**0.5, "lr": lr, "decay": decay,
               "length": length}
    mode = "" if decay == 0 else "apart" if h["decoupled_weight_decay"] else "added"
    if mode == "apart":
        scalars["keep"] = 1 - lr * decay
    adapts: bool | None = None
    if isinstance(length, Tensor):
        length = where(length > TRACTABLE, length, longest)
    else:
        adapts = bool(length > TRACTABLE)
    if adapts is not False:
        scalars["rectifier"] = ((length - 4) * (length - 2) * longest
                                / ((longest - 4) * (longest - 2) * length)) ** 0.5
    return Settings(h["maximize"], mode, is_near(1 - beta1), adapts), scalars


class RAdam(Elementwise):
    """RAdam: Adam whose adaptive rate sets in when its variance is known, and then by degrees.

    With ``decoupled_weight_decay`` weights decay apart from the gradient. Raises ValueError for
    options out of range.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.RAdam([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    Parameter containing:
    tensor([0.5000], requires_grad=True)
    """

    rule, plan = staticmethod(rule), staticmethod(plan)
    states = ("exp_avg", "exp_avg_sq")
    later_options = {**Elementwise.later_options, "decoupled_weight_decay": False}

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, decoupled_weight_decay: bool = False, *,
                 foreach: bool | None = None, maximize: bool = False, capturable: bool = False,
                 differentiable: bool = False) -> None:
        check_learning_rate(lr)
        check_at_least_zero(epsilon=eps)
        check_betas(betas)
        check_at_least_zero(weight_decay=weight_decay)
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay, "differentiable": differentiable})


def radam(params: list[Tensor], grads: list[Tensor], exp_avgs: list[Tensor],
          exp_avg_sqs: list[Tensor], state_steps: list[Tensor],
          decoupled_weight_decay: bool = False, foreach: bool | None = None,
          differentiable: bool = False, capturable: bool = False, has_complex: bool = False,
          maximize: bool = False, *, beta1: float, beta2: float, lr: float, weight_decay: float,
          eps: float) -> None:
    """One step of RAdam on lists of tensors, in place; see ``torch.optim.RAdam``."""
    RAdam._update([params, grads, exp_avgs, exp_avg_sqs, state_steps], {
        "lr": lr, "betas": (beta1, beta2), "eps": eps, "weight_decay": weight_decay,
        "maximize": maximize, "foreach": foreach, "capturable": capturable,
        "decoupled_weight_decay": decoupled_weight_decay, "differentiable": differentiable})
