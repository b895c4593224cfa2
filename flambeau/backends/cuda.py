"""CUDA's libraries as a backend: they are not there.

Their switches are kept, as programs set them whether they have a GPU or not, and change nothing.

>>> import flambeau as torch
>>> torch.backends.cuda.matmul.allow_tf32 = True
>>> torch.backends.cuda.is_built(), torch.backends.cuda.matmul.allow_tf32
(False, True)
>>> torch.backends.cuda.matmul.allow_tf32 = False
"""

from __future__ import annotations

from typing import NoReturn

from flambeau.base.missing import missing_attribute

__all__ = ["enable_cudnn_sdp", "enable_flash_sdp", "enable_math_sdp", "enable_mem_efficient_sdp",
           "cudnn_sdp_enabled", "flash_sdp_enabled", "is_built", "is_flash_attention_available",
           "math_sdp_enabled", "matmul", "mem_efficient_sdp_enabled"]


class _Matmul:
    """The switches of cuBLAS; a name that is not one of them raises AttributeError."""

    __slots__ = ("allow_tf32", "allow_fp16_reduced_precision_reduction",
                 "allow_bf16_reduced_precision_reduction", "allow_fp16_accumulation")

    def __init__(self) -> None:
        self.allow_tf32 = False
        self.allow_fp16_reduced_precision_reduction = True
        self.allow_bf16_reduced_precision_reduction = True
        self.allow_fp16_accumulation = False


matmul = _Matmul()
_sdp = {"flash": True, "math": True, "mem_efficient": True, "cudnn": True}


def is_built() -> bool:
    """False."""
    return False


def is_flash_attention_available() -> bool:
    """False."""
    return False


def flash_sdp_enabled() -> bool:
    """Whether attention may use this kernel of CUDA's."""
    return _sdp["flash"]


def math_sdp_enabled() -> bool:
    """Whether attention may use this kernel of CUDA's."""
    return _sdp["math"]


def mem_efficient_sdp_enabled() -> bool:
    """Whether attention may use this kernel of CUDA's."""
    return _sdp["mem_efficient"]


def cudnn_sdp_enabled() -> bool:
    """Whether attention may use this kernel of CUDA's."""
    return _sdp["cudnn"]


def enable_flash_sdp(enabled: bool) -> None:
    """Allow or forbid attention this kernel of CUDA's."""
    _sdp["flash"] = enabled


def enable_math_sdp(enabled: bool) -> None:
    """Allow or forbid attention this kernel of CUDA's."""
    _sdp["math"] = enabled


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Allow or forbid attention this kernel of CUDA's."""
    _sdp["mem_efficient"] = enabled


def enable_cudnn_sdp(enabled: bool) -> None:
    """Allow or forbid attention this kernel of CUDA's."""
    _sdp["cudnn"] = enabled


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, globals())
