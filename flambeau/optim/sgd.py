"""Stochastic gradient descent, with momentum (Polyak, 1964; Sutskever and others, ICML 2013)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from flambeau.autograd.modes import no_grad
from flambeau.backends.updates import Memory, Value, Writer
from flambeau.core.tensor import Tensor
from flambeau.ops.create import full_like
from flambeau.optim.optimizer import Optimizer, ParamsT
from flambeau.optim.stepping import (
    are_sparse,
    check_fused,
    check_learning_rate,
    drive,
    evaluate,
    gather,
    number_of,
    scaled_group,
)

__all__ = ["SGD", "sgd"]


class Settings(NamedTuple):
    """What shapes the rule; `starts` where the momentum is not there yet."""

    maximize: bool
    decays: bool
    nesterov: bool
    starts: bool
    scaled: bool


def rule(o: Writer, s: Settings, param: Value, grad: Value, momentum: Value | None = None
         ) -> dict[Value, Value]:
    """One step of one element."""
    new = {}
    g = grad
    if s.scaled:
        g = new[grad] = o.plain("div", g, "scale")
    if s.maximize:
        g = o.plain("neg", g)
    if s.decays:
        g = o.add_scaled(g, param, "decay")
    if momentum is not None:
        if s.starts:
            kept = o.detached(g)
        else:
            kept = o.add_scaled(o.plain("mul", momentum, "momentum"), g, "gain")
        new[momentum] = kept
        g = o.add_scaled(g, kept, "momentum") if s.nesterov else kept
    new[param] = o.add_scaled(param, g, "rate")
    return new


def plan(h: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Settings and scalars; steps are not counted."""
    scale, decay = h.get("grad_scale"), h["weight_decay"]
    settings = Settings(h["maximize"], bool(decay != 0), h["nesterov"], h["starts"],
                        scale is not None)
    return settings, {"decay": decay, "momentum": h["momentum"], "gain": 1 - h["dampening"],
                      "rate": -h["lr"], "scale": scale}


class SGD(Optimizer):
    """Stochastic gradient descent: ``param -= lr * grad``, with momentum where it is not 0.

    The momentum starts as the first gradient; then it is ``momentum`` times itself plus
    ``1 - dampening`` times the gradient. ``nesterov`` steps along the gradient plus ``momentum``
    times the new momentum. ``weight_decay`` times the weights is added to the gradient. ``lr`` may
    be a tensor of one element. ``foreach`` and ``fused`` change nothing but rounding of half types.
    Raises ValueError for options out of range.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.SGD([w], lr=0.25, momentum=0.9)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.item()
    0.5
    """

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-3, momentum: float = 0,
                 dampening: float = 0, weight_decay: float | Tensor = 0, nesterov: bool = False,
                 *, maximize: bool = False, foreach: bool | None = None,
                 differentiable: bool = False, fused: bool | None = None) -> None:
        check_learning_rate(lr)
        if momentum < 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if weight_decay < 0.0:  # type: ignore[operator]
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {"lr": lr, "momentum": momentum, "dampening": dampening,
                    "weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize,
                    "foreach": foreach, "differentiable": differentiable, "fused": fused}
        super().__init__(params, defaults)
        if fused:
            self._step_supports_amp_scaling = True
            if differentiable:
                raise RuntimeError("`fused` does not support `differentiable`")
            if foreach:
                raise RuntimeError("`fused` and `foreach` cannot be `True` together.")

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name in ("nesterov", "maximize", "foreach", "differentiable", "fused"):
                group.setdefault(name, None if name == "foreach" else False)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters once; returns what ``closure``, which computes the loss, gave."""
        loss = evaluate(closure)
        for number, group in enumerate(self.param_groups):
            if group["momentum"] == 0:
                params, grads = _with_grads(group["params"])
                buffers: list = []
            else:
                params, grads = gather(self, group, (), _no_state)
                buffers = [self.state[p].get("momentum_buffer") for p in params]
            if group["fused"]:
                check_fused(params)
            _update(params, grads, buffers, group, self._memory(number),
                    getattr(self, "grad_scale", None), getattr(self, "found_inf", None))
            for p, buffer in zip(params, buffers):
                self.state[p]["momentum_buffer"] = buffer
        return loss


def _with_grads(params: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    found = [p for p in params if p._x is not None and p._x.grad is not None]
    return found, [p._x.grad for p in found]  # type: ignore[union-attr, misc]


def _no_state(p: Tensor, state: dict, group: Mapping[str, Any]) -> None:
    """The momentum is made by the first step."""


def _update(params: list, grads: list, buffers: list, group: Mapping[str, Any],
            memory: Memory | None, grad_scale: Tensor | None, found_inf: Tensor | None) -> None:
    rounds = not group["fused"]
    if are_sparse(grads):
        if group["fused"]:
            raise RuntimeError("`_fused_sgd` does not support sparse gradients")
        _update_sparse(params, grads, buffers, group)
        return
    scaled = scaled_group(params, group, grad_scale, found_inf)
    if scaled is None:
        return
    options = {**scaled, "starts": False}
    if not group["momentum"]:
        drive(rule, plan, [params, grads], (), options, memory, rounds)
        return
    new = [n for n, buffer in enumerate(buffers) if buffer is None]
    columns = [params, grads, buffers]
    if new:
        _start(columns, new, {**options, "starts": True}, rounds)
        columns = [[x for n, x in enumerate(c) if n not in new] for c in columns]
    drive(rule, plan, columns, (), options, memory, rounds)


@no_grad()
def _update_sparse(params: list, grads: list, buffers: list, group: Mapping[str, Any]) -> None:
    """The rule in operators on tensors: momenta of sparse gradients are sparse themselves."""
    momentum, decay = group["momentum"], number_of(group["weight_decay"])
    for n, (p, g) in enumerate(zip(params, grads)):
        if group["maximize"]:
            g = -g
        if decay != 0:
            g = g.add(p, alpha=float(decay))
        if momentum != 0:
            if buffers[n] is None:
                buffers[n] = g.detach().clone()
            else:
                buffers[n].mul_(momentum).add_(g, alpha=1 - group["dampening"])
            g = g.add(buffers[n], alpha=momentum) if group["nesterov"] else buffers[n]
        p.add_(g, alpha=-float(number_of(group["lr"])))


def _start(columns: list[list], new: list[int], options: Mapping[str, Any], rounds: bool) -> None:
    """The first step of those parameters that have no momentum: it becomes the gradient."""
    params, grads, buffers = columns
    for n in new:
        buffers[n] = full_like(grads[n], 0)
    drive(rule, plan, [[c[n] for n in new] for c in columns], (), options, None, rounds)


def sgd(params: list[Tensor], d_p_list: list[Tensor], momentum_buffer_list: list[Tensor | None],
        has_sparse_grad: bool = False, foreach: bool | None = None, fused: bool | None = None,
        grad_scale: Tensor | None = None, found_inf: Tensor | None = None, *,
        weight_decay: float, momentum: float, lr: float, dampening: float, nesterov: bool,
        maximize: bool) -> None:
    """One step of SGD on lists of tensors, in place; see ``torch.optim.SGD``.

    Where a momentum is None the new one takes its place in the list.
    """
    group = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
             "nesterov": nesterov, "maximize": maximize, "foreach": foreach, "fused": fused}
    _update(params, d_p_list, momentum_buffer_list, group, None, grad_scale, found_inf)
