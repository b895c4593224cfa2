"""Adagrad (Duchi, Hazan and Singer, JMLR 12, 2011)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flambeau.autograd.modes import no_grad
from flambeau.backends.updates import Memory, Value, Writer
from flambeau.core.tensor import Tensor
from flambeau.ops.create import full_like
from flambeau.optim.elementwise import Elementwise
from flambeau.optim.optimizer import ParamsT
from flambeau.optim.stepping import (
    add_at,
    are_sparse,
    check_at_least_zero,
    check_fused,
    check_learning_rate,
    number_of,
    scalar_state,
    scaled_group,
)

__all__ = ["Adagrad", "adagrad"]


class Settings(NamedTuple):
    """What shapes the rule."""

    maximize: bool
    decays: bool
    scaled: bool


def rule(o: Writer, s: Settings, param: Value, grad: Value, total: Value) -> dict[Value, Value]:
    """One step of one element."""
    new = {}
    g = grad
    if s.scaled:
        g = new[grad] = o.plain("div", g, "scale")
    if s.maximize:
        g = o.plain("neg", g)
    if s.decays:
        g = o.add_scaled(g, param, "decay")
    v = new[total] = o.add_product(total, g, g)
    size = o.plain("add", o.plain("sqrt", v), "eps")
    new[param] = o.add_quotient(param, g, size, "rate")
    return new


def plan(h: Mapping[str, Any], step: Any) -> tuple[Settings, dict[str, Any]]:
    """Settings and scalars of the step with this number."""
    scale, decay = h.get("grad_scale"), h["weight_decay"]
    return Settings(h["maximize"], bool(decay != 0), scale is not None), {
        "decay": decay, "eps": h["eps"], "scale": scale,
        "rate": -(h["lr"] / (1 + (step - 1) * h["lr_decay"]))}


class Adagrad(Elementwise):
    """Adagrad: steps along the gradient, over the root of the sum of all squares so far.

    The rate is ``lr / (1 + (t - 1) * lr_decay)`` at step t; the sum starts at
    ``initial_accumulator_value``. Raises ValueError for options out of range.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.Adagrad([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.item()
    0.75
    """

    rule, plan = staticmethod(rule), staticmethod(plan)
    states = ("sum",)
    later_options = {"foreach": None, "maximize": False, "differentiable": False, "fused": None}

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, lr_decay: float = 0,
                 weight_decay: float = 0, initial_accumulator_value: float = 0,
                 eps: float = 1e-10, foreach: bool | None = None, *, maximize: bool = False,
                 differentiable: bool = False, fused: bool | None = None) -> None:
        check_learning_rate(lr)
        check_at_least_zero(lr_decay=lr_decay, weight_decay=weight_decay,
                            initial_accumulator_value=initial_accumulator_value, epsilon=eps)
        super().__init__(params, {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "fused": fused})
        if fused:
            if differentiable:
                raise RuntimeError("`fused` does not support `differentiable`")
            if foreach:
                raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
            self._step_supports_amp_scaling = True
        for group in self.param_groups:
            for p in group["params"]:
                self._begin(p, self.state[p], group)

    def _begin(self, p: Tensor, state: dict, group: Mapping[str, Any]) -> None:
        start = self.defaults["initial_accumulator_value"]
        state["step"] = scalar_state(fused=group["fused"])
        state["sum"] = full_like(p, complex(start, start) if p.dtype.is_complex else start)

    def _sparse(self) -> None:
        return None

    def share_memory(self) -> None:
        """Move the sums to memory that processes share."""
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["sum"].share_memory_()

    def _scaling(self) -> dict[str, Any]:
        return {name: getattr(self, name, None) for name in ("grad_scale", "found_inf")}

    @classmethod
    def _update(cls, columns: Sequence[list], group: Mapping[str, Any],
                memory: Memory | None = None, grad_scale: Tensor | None = None,
                found_inf: Tensor | None = None) -> None:
        if group["fused"]:
            check_fused(columns[0])
            if group["differentiable"]:
                raise RuntimeError("adagrad with fused=True does not support differentiable=True")
        if are_sparse(columns[1]):
            if group["fused"]:
                raise RuntimeError("`fused` does not support sparse grad or complex param")
            _update_each(cls, columns, group)
            return
        scaled = scaled_group(columns[0], group, grad_scale, found_inf)
        if scaled is not None:
            super()._update(columns, scaled, memory)


def _update_each(cls: type[Adagrad], columns: Sequence[list], group: Mapping[str, Any]) -> None:
    """Parameter after parameter, as some gradients are sparse."""
    if group["weight_decay"] != 0:
        raise RuntimeError("weight_decay option is not compatible with sparse gradients")
    for row in zip(*columns):
        if row[1].is_sparse:
            _update_sparse(*row, group)
        else:
            cls._update([[t] for t in row], group)


@no_grad()
def _update_sparse(param: Tensor, grad: Tensor, total: Tensor, step: Tensor,
                   group: Mapping[str, Any]) -> None:
    """The rule at the places of a sparse gradient; the other elements rest."""
    step.add_(1)
    rate = number_of(group["lr"]) / (1 + (step.item() - 1) * group["lr_decay"])
    # the update is not linear: every place may come up but once
    merged = (-grad if group["maximize"] else grad).coalesce()
    values, places = merged._values(), tuple(merged._indices())
    sums = add_at(total, places, lambda old: values.pow(2))
    way = values.div(sums.sqrt_().add_(group["eps"])).mul_(-float(rate))
    add_at(param, places, lambda old: way)


def adagrad(params: list[Tensor], grads: list[Tensor], state_sums: list[Tensor],
            state_steps: list[Tensor], fused: bool | None = None,
            grad_scale: Tensor | None = None, found_inf: Tensor | None = None,
            has_sparse_grad: bool = False, foreach: bool | None = None,
            differentiable: bool = False, has_complex: bool = False, *, lr: float,
            weight_decay: float, lr_decay: float, eps: float, maximize: bool) -> None:
    """One step of Adagrad on lists of tensors, in place; see ``torch.optim.Adagrad``."""
    Adagrad._update([params, grads, state_sums, state_steps], {
        "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
        "maximize": maximize, "foreach": foreach, "differentiable": differentiable,
        "fused": fused}, None, grad_scale, found_inf)
