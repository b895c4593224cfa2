"""The parts of ``torch.utils.benchmark``: measurements, the timer, tables of results."""

from flambeau.utils.benchmark.utils import common, compare, timer

__all__ = ["common", "compare", "timer"]
