"""Settings of a whole program, as PyTorch answers."""

from __future__ import annotations

from types import ModuleType

import pytest

import flambeau
from tests.outcome import assert_same_outcome

SETTINGS = [
    "t.set_default_device('cuda') or t.ones(1)",
    't.set_default_device(None)',
    't.get_default_device()',
    "t.set_default_device('cpu:0') or t.get_default_device()",
    't.set_default_device(None)',
    "(lambda d: (d.__enter__(), d.__exit__(None,None,None)))(t.device('cpu'))",
    "t.set_deterministic_debug_mode('warn') or t.get_deterministic_debug_mode()",
    "t.set_deterministic_debug_mode('warn') or t.is_deterministic_algorithms_warn_only_enabled()",
    't.set_deterministic_debug_mode(2) or t.empty(2), t.empty_like(t.ones(2,dtype=t.int8)), '
    't.ones(2).new_empty(1), t.Tensor(2)',
    't.set_deterministic_debug_mode(0)',
    't.set_deterministic_debug_mode(3)',
    "t.set_deterministic_debug_mode('x')",
    't.set_deterministic_debug_mode(1.5)',
    't.use_deterministic_algorithms(1)',
    't.use_deterministic_algorithms(True,warn_only=1)',
    "t.set_float32_matmul_precision('high') or t.get_float32_matmul_precision()",
    't.set_float32_matmul_precision(1)',
]


@pytest.mark.parametrize("code", SETTINGS)
def test_settings(code: str, torch_oracle: ModuleType) -> None:
    try:
        assert_same_outcome(code, torch_oracle)
    finally:
        for library in (flambeau, torch_oracle):
            library.set_default_device(None)
            library.set_deterministic_debug_mode(0)
            library.set_float32_matmul_precision("highest")


def test_an_error_leaves_the_setting() -> None:
    with pytest.raises(TypeError):
        flambeau.use_deterministic_algorithms(True, warn_only="no")
    assert not flambeau.are_deterministic_algorithms_enabled()


def test_a_device_block_ends() -> None:
    with pytest.raises(AssertionError), flambeau.device("cuda"):
        flambeau.zeros(1)
    assert flambeau.zeros(1).device == flambeau.get_default_device() == flambeau.device("cpu")


def test_a_default_device_inside_a_block() -> None:
    with flambeau.device("cuda"):
        flambeau.set_default_device("cpu")
        assert flambeau.get_default_device().type == "cuda"
    assert flambeau.get_default_device().type == "cpu"
    flambeau.set_default_device(None)
