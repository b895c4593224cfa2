"""Functions of small arrays as one native call: the NumPy loops that they consist of, replayed.

A function that is called often with small arrays of the same shapes is run once on stand-ins, which
write down its steps; from then on generated code calls the same inner loops of NumPy's ufuncs on
the arrays' memory, so the bits are the same and NumPy's way to each loop is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from flambeau.backends import small

__all__ = ["as_array", "replayed"]

ndarray = np.ndarray
# Uses of one set of shapes before its plan is made, which takes as long as some dozens.
OFTEN = 40
# Sets of shapes and settings that a function counts the uses of; and of shapes that it keeps plans
# for, per settings.
MAX_USES = 256
MAX_SHAPES = 16
# What has no plan for so few elements has none for others.
FEW = 1 << 11


def replayed(function: Callable) -> Callable:
    """``function`` of arrays and settings, which may be replayed where it is called often.

    Arrays are given by position, settings by name and always in the same order. The function is
    made of ufuncs, their reductions, ``np.where``, ``reshape`` and operators, depends on nothing
    else and changes no array that it was given; where it does anything else, it is not replayed.
    Those of an array alone, and of ``x`` along ``dim``, are quicker to look up.

    >>> import numpy as np
    >>> rise = replayed(lambda x, by: np.exp(x) + by)
    >>> rise(np.zeros(3), by=1.0)
    array([2., 2., 2.])
    """
    # None where what the function does has no plan
    sites: dict[Any, tuple | None] = {}
    uses: dict[tuple, int] = {}

    def run(*arrays: Any, **settings: Any) -> Any:
        native = small.replay
        if native is None:
            small.note()
            return function(*arrays, **settings)
        plans = sites.get((*settings.values(),), ())
        if plans is None:
            return function(*arrays, **settings)
        found = native(plans, *arrays)
        return missed(arrays, settings, (*settings.values(),)) if found is None else found

    def run_alone(x: Any) -> Any:
        native = small.replay
        if native is None:
            small.note()
            return function(x)
        found = native(sites.get(()) or (), x)
        return missed((x,), {}, ()) if found is None else found

    def run_along(x: Any, dim: int) -> Any:
        native = small.replay
        if native is None:
            small.note()
            return function(x, dim)
        found = native(sites.get(dim) or (), x)
        return missed((x,), {"dim": dim}, dim) if found is None else found

    def missed(arrays: tuple, settings: dict[str, Any], site: Any) -> Any:
        """The result where there is no plan yet, or none at all; one is made when it is time."""
        if not all([a is None or type(a) is ndarray for a in arrays]):
            return function(*arrays, **settings)
        key = (site, *[None if a is None else (a.shape, a.dtype) for a in arrays])
        count = uses.get(key, 0) + 1
        if len(uses) > MAX_USES:
            uses.clear()
        uses[key] = count
        if count == OFTEN:
            if len(sites) > MAX_USES:
                sites.clear()
            plan = _plan(function, arrays, settings)
            if plan is not None:
                sites[site] = (plan, *(sites.get(site) or ())[:MAX_SHAPES - 1])
            elif not sites.get(site) and all([
                    type(a) is not ndarray or a.size < FEW for a in arrays]):
                sites[site] = None
        return function(*arrays, **settings)

    code = getattr(function, "__code__", None)
    names = code.co_varnames[:code.co_argcount] if code else ()
    quick = run_alone if names == ("x",) else run_along if names == ("x", "dim") else run
    return wraps(function)(quick)


def as_array(found: Any, dtype: Any = None) -> Any:
    """As ``np.asarray``; what stands for an array while a plan is made still stands for one."""
    if not hasattr(found, "writer"):
        return np.asarray(found, dtype)
    return found if dtype is None else found.astype(dtype, copy=False)


def _plan(function: Callable, arrays: tuple, settings: dict[str, Any]) -> ndarray | None:
    # few programs make one
    from flambeau.backends.replay_plan import plan_of

    return plan_of(function, arrays, settings)
