"""``torch.nn.attention``: which kernels ``scaled_dot_product_attention`` may use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NoReturn

from flambeau.base.missing import missing_attribute

__all__ = ["SDPBackend", "sdpa_kernel"]


class SDPBackend(IntEnum):
    """PyTorch's kernels for attention; on a CPU it has the first two."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


ON_CPU = frozenset({SDPBackend.MATH, SDPBackend.FLASH_ATTENTION})


@contextlib.contextmanager
def sdpa_kernel(backends: Sequence[SDPBackend] | SDPBackend, set_priority: bool = False
                ) -> Iterator[dict]:
    """Allow only some kernels within a block; flambeau's serves as the first two.

    Raises RuntimeError where none of them runs on a CPU, and AssertionError for what is no backend.

    >>> import flambeau as torch
    >>> from flambeau.nn.attention import SDPBackend, sdpa_kernel
    >>> q = torch.ones(1, 2, 4)
    >>> with sdpa_kernel(SDPBackend.MATH):
    ...     torch.nn.functional.scaled_dot_product_attention(q, q, q).shape
    torch.Size([1, 2, 4])
    """
    if isinstance(backends, SDPBackend):
        backends = [backends]
    if not isinstance(backends, (list, tuple)) or not all(
            isinstance(b, SDPBackend) for b in backends):
        raise AssertionError("Backend must be an instance of SDPBackend or a list of SDPBackend "
                             "instances")
    if not ON_CPU.intersection(backends):
        raise RuntimeError("No available kernel. Aborting execution.")
    yield {}


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, __all__)
