"""``torch.utils.benchmark``: timing statements, repeated until the numbers can be trusted."""

from __future__ import annotations

from typing import Any

from flambeau.base.missing import missing_attribute as _missing
from flambeau.utils.benchmark import utils
from flambeau.utils.benchmark.utils.common import (
    Measurement,
    TaskSpec,
    ordered_unique,
    select_unit,
    set_torch_threads,
    trim_sigfig,
    unit_to_english,
)
from flambeau.utils.benchmark.utils.compare import Colorize, Compare
from flambeau.utils.benchmark.utils.timer import Language, Timer, timer

__all__ = ["Colorize", "Compare", "Language", "Measurement", "TaskSpec", "Timer", "ordered_unique",
           "select_unit", "set_torch_threads", "timer", "trim_sigfig", "unit_to_english"]


def __getattr__(name: str) -> Any:
    raise _missing(__name__, name, globals())
