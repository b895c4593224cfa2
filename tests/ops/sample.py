"""What a sample is: one call of a public function, with small inputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Sample"]


@dataclass
class Sample:
    """The arguments of one call of a public function.

    ``args`` and ``kwargs`` hold NumPy arrays and Python values, nested in lists and tuples as the
    call takes them. Arrays become tensors; float64 and complex128 ones are differentiated by,
    where ``grad``. Inputs should lie away from kinks and ties, so that slopes can be measured.

    ``torch_compare`` is False where PyTorch's values may rightly differ (random numbers, signs of
    eigenvectors). ``reference`` computes the expected arrays from the arrays, without PyTorch.
    ``second``, ``forward_mode`` and ``batch`` are False where PyTorch has no such derivative or
    no batching rule either. ``dtypes`` is False where only the inputs' own dtypes make sense,
    ``layouts`` where it matters how they lie in memory.
    ``fixed`` numbers those of the floating inputs, in order, that have no gradient.
    ``atol`` and ``rtol`` widen the comparison of values.
    """

    args: tuple = ()
    kwargs: dict = field(default_factory=dict)
    grad: bool = True
    torch_compare: bool = True
    reference: Any = None
    second: bool = True
    forward_mode: bool = True
    batch: bool = True
    dtypes: bool = True
    layouts: bool = True
    fixed: tuple[int, ...] = ()
    atol: float = 1e-9
    rtol: float = 1e-7
