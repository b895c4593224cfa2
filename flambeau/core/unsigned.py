"""What PyTorch does not compute of uint16, uint32 and uint64, which it only stores and converts."""

from __future__ import annotations

from flambeau.base.dtypes import dtype, uint16, uint32, uint64

__all__ = ["UNSIGNED", "refuse_unsigned"]

UNSIGNED = frozenset((uint16, uint32, uint64))
# Operators whose kernels have no such types, by the kernel's name where it is not their own.
_KERNELS = {
    "add": "add_stub", "add_scaled": "add_stub", "sub": "add_stub", "sub_scaled": "add_stub",
    "floor_divide": "div_floor_cpu", "bitwise_left_shift": "lshift_cpu",
    "bitwise_right_shift": "rshift_cpu", "sgn": "sign_cpu", "fmax": "maximum_cpu",
    "fmin": "minimum_cpu", "clamp_min": "maximum_cpu", "clamp_max": "minimum_cpu", "pow": "pow",
    "square": "pow", "relu": "clamp_min_scalar_cpu",
    **{name: f"{name}_cpu" for name in (
        "remainder fmod neg lt le gt ge logical_and logical_or logical_xor logical_not bitwise_not "
        "sign abs maximum minimum clamp heaviside gcd lcm").split()},
}


def refuse_unsigned(name: str, held: dtype) -> None:
    """Raise where the operator of this name does not compute in such a dtype."""
    kernel = _KERNELS.get(name)
    if kernel is not None:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{held.title}'")
