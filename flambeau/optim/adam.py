"""Adam (Kingma and Ba, ICLR 2015), and AMSGrad (Reddi and others, ICLR 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flambeau.backends.updates import Memory, Value, Writer
from flambeau.core.tensor import Tensor
from flambeau.optim.elementwise import Elementwise
from flambeau.optim.optimizer import ParamsT
from flambeau.optim.stepping import (
    check_at_least_zero,
    check_betas,
    check_fused,
    check_learning_rate,
    is_near,
    scaled_group,
)

__all__ = ["Adam", "adam"]

_TENSOR_LR = "lr as a Tensor is not supported for capturable=False and foreach=True"


class Settings(NamedTuple):
    """What shapes the rule; `decay` is "", "added" to the gradient or "apart" from it."""

    maximize: bool
    decay: str
    near: bool
    scaled: bool


def rule(o: Writer, s: Settings, param: Value, grad: Value, mean: Value, square: Value,
         largest: Value | None = None) -> dict[Value, Value]:
    """One step of one element; `largest` is there with AMSGrad."""
    new = {}
    g, p = grad, param
    if s.scaled:
        g = new[grad] = o.plain("div", g, "scale")
    if s.maximize:
        g = o.plain("neg", g)
    if s.decay == "apart":
        p = o.plain("mul", p, "keep")
    elif s.decay:
        g = o.add_scaled(g, p, "decay")
    m = new[mean] = o.lerp(mean, g, "gain", s.near)
    v = new[square] = o.add_product(o.plain("mul", square, "beta2"), g, g, "gain2")
    if largest is not None:
        v = new[largest] = o.plain("maximum", largest, v)
    size = o.plain("add", o.plain("div", o.plain("sqrt", v), "root"), "eps")
    new[param] = o.add_quotient(p, m, size, "rate")
    return new


def plan(h: Mapping[str, Any], step: Any) -> tuple[Settings, dict[str, Any]]:
    """Settings and scalars of the step with this number."""
    beta1, beta2 = h["betas"]
    lr, decay = h["lr"], h["weight_decay"]
    scale = h.get("grad_scale")
    mode = "" if decay == 0 else "apart" if h["decoupled_weight_decay"] else "added"
    scalars = {
        "gain": 1 - beta1,
        "beta2": beta2,
        "gain2": 1 - beta2,
        "root": (1 - beta2**step) ** 0.5,
        "eps": h["eps"],
        "rate": -(lr / (1 - beta1**step)),
        "decay": decay,
    }
    if mode == "apart":
        scalars["keep"] = 1 - lr * decay
    if scale is not None:
        scalars["scale"] = scale
    return Settings(h["maximize"], mode, is_near(1 - beta1), scale is not None), scalars


class Adam(Elementwise):
    """Adam: steps along the mean of gradients, over the root of the mean of their squares.

    ``amsgrad`` divides by the largest such root so far. With ``decoupled_weight_decay`` weights
    decay by ``lr * weight_decay`` of themselves (AdamW), otherwise ``weight_decay`` times the
    weights is added to the gradient. ``lr`` and both ``betas`` may be tensors of one element.
    ``foreach`` and ``fused`` change nothing but rounding of half types: all parameters of a group
    are updated at once anyway. ``differentiable`` records the step. Raises ValueError for options
    out of range.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.Adam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.item()
    0.9000000357627869
    """

    rule, plan = staticmethod(rule), staticmethod(plan)
    states = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    later_options = {**Elementwise.later_options, "amsgrad": False,
                     "decoupled_weight_decay": False, "fused": None}
    sparse_text = "Adam does not support sparse gradients, please consider SparseAdam instead"

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-3,
                 betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None,
                 maximize: bool = False, capturable: bool = False, differentiable: bool = False,
                 fused: bool | None = None, decoupled_weight_decay: bool = False) -> None:
        if isinstance(lr, Tensor) and foreach and not capturable:
            raise ValueError(_TENSOR_LR)
        check_learning_rate(lr)
        check_at_least_zero(epsilon=eps)
        check_betas(betas)
        check_at_least_zero(weight_decay=weight_decay)
        betas = _checked_betas(betas, capturable, foreach)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                    "amsgrad": amsgrad, "maximize": maximize, "foreach": foreach,
                    "capturable": capturable, "differentiable": differentiable, "fused": fused,
                    "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, defaults)
        if fused:
            if differentiable:
                raise RuntimeError("`fused` does not support `differentiable`")
            self._step_supports_amp_scaling = True
            if foreach:
                raise RuntimeError("`fused` and `foreach` cannot be `True` together.")

    @classmethod
    def _names(cls, group: Mapping[str, Any]) -> tuple[str, ...]:
        return cls.states if group["amsgrad"] else cls.states[:2]

    def _begin(self, p: Tensor, state: dict, group: Mapping[str, Any]) -> None:
        if group["fused"]:
            check_fused([p])
        super()._begin(p, state, group)

    def _scaling(self) -> dict[str, Any]:
        return {name: getattr(self, name, None) for name in ("grad_scale", "found_inf")}

    @classmethod
    def _update(cls, columns: Sequence[list], group: Mapping[str, Any],
                memory: Memory | None = None, grad_scale: Tensor | None = None,
                found_inf: Tensor | None = None) -> None:
        scaled = scaled_group(columns[0], group, grad_scale, found_inf)
        if scaled is not None:
            super()._update(columns, scaled, memory)

    @classmethod
    def _check(cls, columns: Sequence[list], group: Mapping[str, Any]) -> None:
        if group["differentiable"]:
            if group["fused"]:
                raise RuntimeError("Adam with fused=True does not support differentiable=True")
            if any(t.requires_grad for t in columns[-1]):
                raise RuntimeError("`requires_grad` is not supported for `step` in differentiable "
                                   "mode")
        if group["foreach"] and columns[0]:
            _check_lists(group)
        super()._check(columns, group)


def _checked_betas(betas: Any, capturable: bool, foreach: bool | None) -> tuple:
    if not (all(isinstance(b, float) for b in betas[:2])
            or all(isinstance(b, Tensor) for b in betas[:2])):
        raise ValueError("betas must be either both floats or both Tensors")
    for number, beta in enumerate(betas[:2]):
        if isinstance(beta, Tensor):
            if not capturable and foreach:
                raise ValueError(f"betas[{number}] as a Tensor is not supported for "
                                 "capturable=False and foreach=True")
            if beta.numel() != 1:
                raise ValueError(f"Tensor betas[{number}] must be 1-element")
    return tuple([b.squeeze() if isinstance(b, Tensor) and b.ndim else b for b in betas])


def _check_lists(group: Mapping[str, Any]) -> None:
    if isinstance(group["lr"], Tensor) and not group["capturable"]:
        raise RuntimeError(_TENSOR_LR)
    for number, beta in enumerate(group["betas"], 1):
        if isinstance(beta, Tensor) and not group["capturable"]:
            raise ValueError(f"beta{number} as a Tensor is not supported for capturable=False and "
                             "foreach=True")


def adam(params: list[Tensor], grads: list[Tensor], exp_avgs: list[Tensor],
         exp_avg_sqs: list[Tensor], max_exp_avg_sqs: list[Tensor], state_steps: list[Tensor],
         foreach: bool | None = None, capturable: bool = False, differentiable: bool = False,
         fused: bool | None = None, grad_scale: Tensor | None = None,
         found_inf: Tensor | None = None, has_complex: bool = False,
         decoupled_weight_decay: bool = False, *, amsgrad: bool, beta1: float | Tensor,
         beta2: float | Tensor, lr: float | Tensor, weight_decay: float, eps: float,
         maximize: bool) -> None:
    """One step of Adam on lists of tensors, in place; see ``torch.optim.Adam``."""
    group = {"lr": lr, "betas": (beta1, beta2), "eps": eps, "weight_decay": weight_decay,
             "maximize": maximize, "foreach": foreach, "capturable": capturable,
             "differentiable": differentiable, "fused": fused,
             "decoupled_weight_decay": decoupled_weight_decay}
    largest = [max_exp_avg_sqs] if amsgrad else []
    Adam._update([params, grads, exp_avgs, exp_avg_sqs, *largest, state_steps], group, None,
                 grad_scale, found_inf)
