"""Averaged stochastic gradient descent (Polyak and Juditsky, SIAM J. Control Optim. 30, 1992)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flambeau.backends.updates import Value, Writer
from flambeau.base.dtypes import get_default_dtype
from flambeau.core.tensor import Tensor
from flambeau.ops.create import full_like
from flambeau.optim.elementwise import Elementwise
from flambeau.optim.optimizer import ParamsT
from flambeau.optim.stepping import check_at_least_zero, check_learning_rate, scalar_state

__all__ = ["ASGD", "asgd"]


class Settings(NamedTuple):
    """What shapes the rule; until it `averages` the average is the parameter itself."""

    maximize: bool
    decays: bool
    averages: bool


def rule(o: Writer, s: Settings, param: Value, grad: Value, average: Value) -> dict[Value, Value]:
    """One step of one element."""
    g = o.plain("neg", grad) if s.maximize else grad
    if s.decays:
        g = o.add_scaled(g, param, "decay")
    p = o.add_scaled(o.plain("mul", param, "keep"), g, "rate")
    mean = p
    if s.averages:
        mean = o.plain("add", average, o.plain("mul", o.plain("sub", p, average), "share"))
    return {param: p, average: mean}


def plan(h: Mapping[str, Any], step: Any, eta: Any, mu: Any
         ) -> tuple[Settings, dict[str, Any], Any, Any]:
    """Settings and scalars of the step with this number; `eta` is its rate, `mu` its share."""
    lr, lambd, decay = h["lr"], h["lambd"], h["weight_decay"]
    tensors = isinstance(eta, Tensor)
    rate, share = (eta, mu) if tensors else (float(eta), float(mu))
    settings = Settings(h["maximize"], bool(decay != 0), tensors or share != 1)
    scalars = {"decay": decay, "keep": 1 - lambd * rate, "rate": -rate, "share": share}
    since = step - h["t0"]
    since = since.clamp(min=1) if isinstance(since, Tensor) else max(1, since)
    if h.get("foreach") and not tensors:
        # over lists PyTorch computes the rate in the dtype of the steps, by a reciprocal
        rate = 1 / (1 + lambd * lr * get_default_dtype().np.type(step)) ** h["alpha"] * lr
    else:
        rate = lr / (1 + lambd * lr * step) ** h["alpha"]
    return settings, scalars, _kept(rate), _kept(1 / since)


def _kept(value: Any) -> Any:
    """A number as the default dtype holds it."""
    return value if isinstance(value, Tensor) else get_default_dtype().np.type(value)


class ASGD(Elementwise):
    """Averaged SGD: the state "ax" is the average of a parameter since step ``t0``.

    The rate falls as ``lr / (1 + lambd * lr * t) ** alpha``, and weights decay by ``lambd`` times
    it. Raises ValueError for options out of range.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.ASGD([w], lr=0.25, lambd=0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.item(), optimizer.state[w]["ax"].item()
    (0.5, 0.5)
    """

    rule, plan = staticmethod(rule), staticmethod(plan)
    states = ("ax",)
    numbers = ("eta", "mu", "step")

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, lambd: float = 1e-4,
                 alpha: float = 0.75, t0: float = 1e6, weight_decay: float = 0,
                 foreach: bool | None = None, maximize: bool = False,
                 differentiable: bool = False, capturable: bool = False) -> None:
        check_learning_rate(lr)
        check_at_least_zero(weight_decay=weight_decay)
        super().__init__(params, {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
            "capturable": capturable})

    def _begin(self, p: Tensor, state: dict, group: Mapping[str, Any]) -> None:
        lr = group["lr"]
        state["step"] = scalar_state()
        state["eta"] = scalar_state(lr.item() if isinstance(lr, Tensor) else lr)
        state["mu"] = scalar_state(1.0)
        state["ax"] = full_like(p, 0)

    @classmethod
    def _captured(cls, foreach: bool) -> str:
        return "params, mus, etas, and state_steps"


def asgd(params: list[Tensor], grads: list[Tensor], axs: list[Tensor], mus: list[Tensor],
         etas: list[Tensor], state_steps: list[Tensor], foreach: bool | None = None,
         maximize: bool = False, differentiable: bool = False, capturable: bool = False,
         has_complex: bool = False, *, lambd: float, lr: float, t0: float, alpha: float,
         weight_decay: float) -> None:
    """One step of averaged SGD on lists of tensors, in place; see ``torch.optim.ASGD``."""
    ASGD._update([params, grads, axs, etas, mus, state_steps], {
        "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
        "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
        "capturable": capturable})
