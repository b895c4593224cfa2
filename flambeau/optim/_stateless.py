"""An optimizer's parameters and state replaced for a while."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.core.tensor import Tensor
from flambeau.optim.optimizer import Optimizer

__all__ = ["swap_in_optimizer_params_and_state"]

_OWN = "swap_in_optimizer_params_and_state"


@contextmanager
def swap_in_optimizer_params_and_state(optimizer: Optimizer,
                                       swapin_parameters: dict[str, Tensor],
                                       swapin_optim_state: dict[str, Any]) -> Iterator[None]:
    """Within this block the optimizer has other parameters, and the state of a ``state_dict``.

    ``swapin_parameters`` are in the order of the optimizer's own. Tensors of the given state are
    changed in place by steps; other changes to it are lost. Raises RuntimeError where the state
    does not fit the groups, or the optimizer has no state yet.

    >>> import flambeau as torch
    >>> w, other = torch.zeros(1), torch.ones(1)
    >>> optimizer = torch.optim.SGD([w], lr=0.5, momentum=0.9)
    >>> w.grad = torch.ones(1)
    >>> optimizer.step()
    >>> other.grad = torch.ones(1)
    >>> with torch.optim.swap_in_optimizer_params_and_state(
    ...         optimizer, {"w": other}, optimizer.state_dict()):
    ...     optimizer.step()
    >>> w, other
    (tensor([-0.5000]), tensor([0.0500]))
    """
    state, pairs = _checked(optimizer, swapin_parameters, swapin_optim_state)
    own_state, own_groups = optimizer.state, [dict(g) for g in optimizer.param_groups]
    try:
        found: defaultdict[Any, Any] = defaultdict(dict)
        for group, (saved, params) in zip(optimizer.param_groups, pairs, strict=True):
            group.update({k: v for k, v in saved.items() if k != "params"}, params=params)
            for p, number in zip(params, saved["params"], strict=True):
                found[p] = dict(state.get(number, {}))
        optimizer.state = found
        yield
    finally:
        for group, own in zip(optimizer.param_groups, own_groups, strict=True):
            group.clear()
            group.update(own)
        optimizer.state = own_state


def _checked(optimizer: Optimizer, parameters: dict[str, Tensor], saved: Any
             ) -> tuple[dict, list[tuple[dict, list[Tensor]]]]:
    """The state by numbers, and for each group what was saved of it and its new parameters."""
    if not optimizer.state:
        raise RuntimeError(f"{_OWN} requires initialized optimizer state.")
    if not isinstance(saved, dict):
        raise RuntimeError(f"{_OWN} requires a DCP-style optimizer state_dict.")
    state = _checked_state(saved.get("state"))
    groups = saved.get("param_groups")
    if not isinstance(groups, list):
        raise RuntimeError(f"{_OWN} requires swapin_optim_state['param_groups'] to be a list of "
                           f"param-group dicts, got {type(groups).__name__}.")
    if len(optimizer.param_groups) != len(groups):
        raise RuntimeError("swapin_optim_state has a different number of parameter groups than "
                           "the live optimizer.")
    left, pairs, known = list(parameters.values()), [], set()
    for number, (own, group) in enumerate(zip(optimizer.param_groups, groups)):
        numbers = _checked_group(number, own, group)
        known.update(numbers)
        if len(left) < len(numbers):
            raise RuntimeError(f"{_OWN} requires the explicit parameter state to match "
                               "optimizer.param_groups ordering.")
        pairs.append((group, left[:len(numbers)]))
        del left[:len(numbers)]
    extra = [k for k in state if k not in known]
    if extra:
        raise RuntimeError(f"{_OWN} requires swapin_optim_state['state'] to be keyed only by "
                           "packed parameter ids from param_groups[*]['params']; got extra keys "
                           f"{extra!r}.")
    return state, pairs


def _checked_state(state: Any) -> dict:
    if not isinstance(state, dict):
        raise RuntimeError(f"{_OWN} requires swapin_optim_state['state'] to be a dict mapping "
                           "packed parameter ids to per-param state dicts, got "
                           f"{type(state).__name__}.")
    if any(isinstance(k, Tensor) for k in state):
        raise RuntimeError(f"{_OWN} requires optimizer.state_dict()-style state keyed by packed "
                           "parameter ids.")
    if any(isinstance(k, int) and not isinstance(v, dict) for k, v in state.items()):
        raise RuntimeError(f"{_OWN} requires per-parameter optimizer state entries to be "
                           "dictionaries.")
    return state


def _checked_group(number: int, own: dict, group: Any) -> list[int]:
    """The numbers of the group's parameters."""
    if not isinstance(group, dict):
        raise RuntimeError(f"{_OWN} requires each optimizer param group to be a dictionary.")
    numbers = group.get("params")
    if not isinstance(numbers, list) or not all(isinstance(n, int) for n in numbers):
        raise RuntimeError(f"{_OWN} requires optimizer.state_dict()-style "
                           "param_groups[*]['params'] entries keyed by packed parameter ids.")
    if len(own["params"]) != len(numbers):
        raise RuntimeError(f"swapin_optim_state param group {number} has a different number of "
                           "params than the live optimizer param group.")
    if own.keys() != group.keys():
        raise RuntimeError(
            f"{_OWN} requires optimizer.state_dict()-style param group keys to exactly match the "
            f"live optimizer group keys for group {number}. Keys only in swap-in: "
            f"{[k for k in group if k not in own]}. Keys only in live: "
            f"{[k for k in own if k not in group]}.")
    return numbers
