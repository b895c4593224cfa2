"""What programs ask about devices before they use one, and what they are told if they do."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau
from flambeau import accelerator, cpu, cuda, mps, xpu
from flambeau.backends import cudnn

QUESTIONS = """
cuda.is_available() cuda.device_count() cuda.is_initialized() cuda.manual_seed(0)
cuda.manual_seed_all(0) cuda.seed() cuda.seed_all() cuda.empty_cache() cuda.memory_allocated()
cuda.max_memory_allocated() cuda.memory_reserved() cuda.max_memory_reserved()
cuda.is_bf16_supported() cuda.get_rng_state_all() cuda.set_rng_state_all([]) cuda.set_device(-1)
cuda.get_arch_list() cuda.memory_stats() cuda.stream(None).__enter__() cuda.default_generators
mps.is_available() mps.device_count() mps.manual_seed(0) xpu.is_available() xpu.device_count()
xpu.empty_cache() xpu.manual_seed(0) xpu.manual_seed_all(0) cpu.is_available() cpu.device_count()
cpu.synchronize() cpu.current_device() cpu.set_device(0) accelerator.is_available()
accelerator.current_accelerator() accelerator.device_count() version.cuda version.hip version.xpu
version.debug backends.cudnn.is_available() backends.cudnn.version() backends.cudnn.enabled
backends.cudnn.benchmark backends.cudnn.deterministic backends.cudnn.allow_tf32
backends.cudnn.benchmark_limit backends.cuda.is_built() backends.cuda.matmul.allow_tf32
backends.cuda.flash_sdp_enabled() backends.mps.is_available() backends.mps.is_built()
backends.opt_einsum.is_available()
""".split()

REFUSALS = """
cuda.synchronize() cuda.current_device() cuda.get_device_name(0) cuda.get_device_properties(0)
cuda.get_device_capability() cuda.initial_seed() cuda.mem_get_info() cuda.get_rng_state()
cuda.current_stream() cuda.init() cuda.ipc_collect() mps.empty_cache() mps.synchronize()
mps.seed() mps.current_allocated_memory() xpu.synchronize() xpu.current_device()
accelerator.current_device_index() accelerator.synchronize() accelerator.empty_cache()
""".split()


def ask(root: object, expression: str) -> object:
    path, _, arguments = expression.partition("(")
    return eval(f"root.{path}" + ("(" + arguments if arguments else ""), {"root": root})


@pytest.mark.parity
@pytest.mark.parametrize("expression", QUESTIONS)
def test_answers_are_those_of_torch_on_a_cpu(torch_oracle, expression):
    assert ask(flambeau, expression) == ask(torch_oracle, expression)


@pytest.mark.parity
@pytest.mark.parametrize("expression", REFUSALS)
def test_refusals_are_those_of_torch_on_a_cpu(torch_oracle, expression):
    with pytest.raises((AssertionError, RuntimeError)) as theirs:
        ask(torch_oracle, expression)
    with pytest.raises(type(theirs.value)) as ours:
        ask(flambeau, expression)
    assert str(ours.value).splitlines()[0] == str(theirs.value).splitlines()[0]
    assert "CPU" in str(ours.value)


def test_nothing_is_there_but_the_cpu():
    assert cpu.is_available()
    assert not any(m.is_available() for m in (cuda, mps, xpu, accelerator))


@pytest.mark.parametrize("use", [
    lambda: cuda.set_device(0), lambda: cuda.device(0).__enter__(), cuda.Stream, cuda.Event,
    lambda: cuda.stream(object()).__enter__(),
])
def test_use_says_what_to_write(use):
    with pytest.raises(AssertionError, match="is_available"):
        use()


def test_switches_are_kept_and_put_back():
    with cudnn.flags(enabled=False, deterministic=True):
        assert cudnn.deterministic and not cudnn.enabled
    assert not cudnn.deterministic and cudnn.enabled
    with pytest.raises(AttributeError):
        flambeau.backends.cuda.matmul.no_such_switch = True


@pytest.mark.parametrize("make, said", [(cuda.CUDAGraph, "dummy base class CUDAGraph"),
                                        (lambda: cuda.graph(None), "requires CUDA support")])
def test_cuda_graphs_are_named_and_refused(make: Any, said: str) -> None:
    with pytest.raises(RuntimeError, match=said):
        make()
    with cuda.StreamContext(None):
        assert isinstance(cuda.stream(None), cuda.StreamContext)
