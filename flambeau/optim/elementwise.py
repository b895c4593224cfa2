"""Optimizers whose step is one rule for every element: what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from flambeau.backends.updates import Memory
from flambeau.core.tensor import Tensor
from flambeau.ops.create import full_like
from flambeau.optim.optimizer import Optimizer
from flambeau.optim.stepping import (
    Plan,
    Rule,
    check_capturable,
    check_foreach,
    check_step_tensors,
    drive,
    evaluate,
    gather,
    scalar_state,
)

__all__ = ["Elementwise", "later_numbers"]


class Elementwise(Optimizer):
    """An optimizer with a rule, a plan, and states that are tensors like the parameter.

    A subclass says `states`, the names of the states in the order of the rule's arguments,
    `numbers`, the states that are single numbers, and `later_options`, those that states saved by
    older versions lack.
    """

    rule: ClassVar[Rule]
    plan: ClassVar[Plan]
    states: ClassVar[tuple[str, ...]] = ()
    numbers: ClassVar[tuple[str, ...]] = ("step",)
    later_options: ClassVar[dict[str, Any]] = {
        "foreach": None, "maximize": False, "differentiable": False, "capturable": False}
    sparse_text: ClassVar[str] = ""
    # whether XLA is among the devices that `capturable` is for, without and with `foreach`
    captured_on_xla: ClassVar[tuple[bool, bool]] = (True, False)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        later_numbers(self, self.later_options, self.numbers)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters once; returns what ``closure``, which computes the loss, gave."""
        loss = evaluate(closure)
        for number, group in enumerate(self.param_groups):
            names = self._names(group)
            columns = gather(self, group, (*names, *self.numbers), self._begin, self._sparse())
            self._update(columns, group, self._memory(number), **self._scaling())
        return loss

    def _scaling(self) -> dict[str, Any]:
        """What a gradient scaler tells a fused step."""
        return {}

    def _sparse(self) -> str | None:
        """The error's text for sparse gradients; None where there are steps along them."""
        return self.sparse_text or f"{type(self).__name__} does not support sparse gradients"

    @classmethod
    def _names(cls, group: Mapping[str, Any]) -> tuple[str, ...]:
        """The states that parameters of this group have."""
        return cls.states

    def _begin(self, p: Tensor, state: dict, group: Mapping[str, Any]) -> None:
        """Fill the state of a parameter that has none."""
        state["step"] = scalar_state(fused=group.get("fused"))
        for name in self._names(group):
            state[name] = full_like(p, 0)

    @classmethod
    def _update(cls, columns: Sequence[list], group: Mapping[str, Any],
                memory: Memory | None = None) -> None:
        """One step over lists of parameters, gradients, states and numbers, the steps last."""
        cls._check(columns, group)
        split = len(columns) - len(cls.numbers)
        drive(cls.rule, cls.plan, columns[:split], columns[split:], group, memory,
              rounds=not group.get("fused"))

    @classmethod
    def _check(cls, columns: Sequence[list], group: Mapping[str, Any]) -> None:
        params, foreach = columns[0], bool(group.get("foreach"))
        check_step_tensors(columns[-1])
        check_foreach(group, params)
        check_capturable(group, params, cls._captured(foreach), cls.captured_on_xla[foreach])

    @classmethod
    def _captured(cls, foreach: bool) -> str:
        """What `capturable` asks to be on its devices."""
        return "params and state_steps"


def later_numbers(optimizer: Optimizer, options: Mapping[str, Any], numbers: Sequence[str]
                  ) -> None:
    """Complete what an older version saved: options it lacked, numbers that are tensors now."""
    for group in optimizer.param_groups:
        for key, value in options.items():
            group.setdefault(key, value)
        for p in group["params"]:
            found = optimizer.state.get(p, {})
            for name in numbers if found else ():
                if not isinstance(found[name], Tensor):
                    found[name] = scalar_state(float(found[name]), group.get("fused"))
