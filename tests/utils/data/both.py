"""Running one function of ``t`` with PyTorch and with flambeau, and comparing what comes of it."""

from __future__ import annotations

import gc
import multiprocessing
import random
import re
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

import flambeau

Run = Callable[[Any], Any]


def plain(value: Any) -> Any:
    """``value`` without its framework: tensors as (dtype, shape, values)."""
    if hasattr(value, "untyped_storage"):
        return str(value.dtype).rpartition(".")[2], tuple(value.shape), value.tolist()
    if isinstance(value, dict):
        return type(value).__name__, {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return "ndarray", str(value.dtype), value.tolist()
    return value


def outcome(t: Any, run: Run) -> Any:
    """What ``run(t)`` gives from a fixed seed, what it warns of, and the generator afterwards.

    Of an exception the type and the first line; not how young PyTorch's sparse tensors are.
    """
    t.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = plain(run(t))
        except Exception as error:
            result = type(error).__name__, [*str(error).splitlines(), ""][0]
    left = multiprocessing.active_children()
    for worker in left:
        worker.terminate()
    if left:
        # An iterator in an error's frames, for whose workers PyTorch would wait ten seconds, here
        # or, worse, in a process forked later whose own they are not.
        gc.collect()
    said = sorted({(w.category.__name__, str(w.message)) for w in caught
                   if not re.search("fork|[Ss]parse", str(w.message))})
    return result, said, t.rand(2).tolist()


def assert_same(torch: ModuleType, run: Run) -> None:
    """Both frameworks do the same in ``run``."""
    want = outcome(torch, run)
    got = outcome(flambeau, run)
    said, expected = repr(got).replace("flambeau", "torch"), repr(want)
    assert said == expected, f"got {said}\nexpected {expected}"
