"""Every public operator with samples, over dtypes, layouts, derivatives and batch positions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flambeau.core.dispatch import TRANSFORMS
from flambeau.core.levels import LEVEL, Tracked, standing
from flambeau.core.op import OPS, Op
from tests.ops import checks
from tests.ops.sample import Sample
from tests.ops.samples import SAMPLES

NAMES = sorted(SAMPLES)
every_operator = pytest.mark.parametrize("name", NAMES)


def _torch() -> Any:
    try:
        import torch  # the oracle is optional
    except ImportError:
        return None
    torch.set_num_threads(1)
    return torch


TORCH = _torch()


def each(name: str, check: Callable, applies: Callable[[Sample], bool]) -> None:
    """Run ``check`` on the samples it applies to; an error says which sample it was."""
    function = checks.resolve(name)
    for at, sample in enumerate(SAMPLES[name]):
        if not applies(sample):
            continue
        try:
            check(function, sample)
        except Exception as error:
            raise AssertionError(f"{name}, sample {at}: {type(error).__name__}: "
                                 f"{error}") from error


def differentiable(sample: Sample) -> bool:
    """Whether there is anything to differentiate by."""
    return sample.grad and bool(checks.movable(sample))


@every_operator
def test_values(name: str) -> None:
    each(name, lambda f, s: checks.check_values(f, s, TORCH, name), lambda s: True)


@every_operator
@pytest.mark.skipif(TORCH is None, reason="PyTorch is not installed")
def test_dtypes(name: str) -> None:
    each(name, lambda f, s: checks.check_dtypes(f, s, TORCH, name),
         lambda s: s.dtypes and s.torch_compare)


@every_operator
def test_layouts(name: str) -> None:
    each(name, checks.check_layouts,
         lambda s: s.layouts and (s.torch_compare or s.reference is not None))


@every_operator
def test_gradient(name: str) -> None:
    each(name, checks.check_gradient, differentiable)


@every_operator
def test_second_derivative(name: str) -> None:
    each(name, checks.check_second, lambda s: differentiable(s) and s.second)


@every_operator
def test_forward_mode(name: str) -> None:
    each(name, checks.check_forward_mode, lambda s: differentiable(s) and s.forward_mode)


@every_operator
def test_batches(name: str) -> None:
    each(name, checks.check_batch, lambda s: differentiable(s) and s.batch)


@every_operator
def test_in_place_and_out(name: str) -> None:
    each(name, lambda f, s: checks.check_in_place(name, f, s),
         lambda s: s.torch_compare or s.reference is not None)
    each(name, checks.check_out, lambda s: s.torch_compare or s.reference is not None)


class Watch:
    """Notes which operators run, on arrays or inside a transform."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seen: set[str] = set()
        process = TRANSFORMS.process

        def noting(op: Op, *rest: Any) -> Any:
            self.seen.add(op.name)
            return process(op, *rest)

        patch.setattr(TRANSFORMS, "process", noting)
        for op in OPS.values():
            patch.setattr(op, "forward", self._noted(op.name, op.forward))

    def _noted(self, name: str, forward: Callable) -> Callable:
        def noting(*args: Any, **kwargs: Any) -> Any:
            self.seen.add(name)
            return forward(*args, **kwargs)

        return noting


def _runs(name: str) -> Iterator[Callable]:
    function = checks.resolve(name)
    for sample in SAMPLES[name]:
        yield lambda s=sample: checks.run(function, s, checks.plain)
        yield lambda s=sample: _tracked(function, s)
        if differentiable(sample):
            yield lambda s=sample: checks._gradient_sum(
                flat := checks.Flat(function, s), flat.leaves())
            yield lambda s=sample: checks.check_forward_mode(function, s)


def _tracked(function: Callable, sample: Sample) -> None:
    with LEVEL as level:
        checks.run(function, sample, lambda a: standing(Tracked(level, checks.plain(a))))


@pytest.mark.xfail(strict=False, reason="convolutions, pools and resizing still lack samples")
def test_every_operator_has_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator that no sample reaches is one that nothing here checks."""
    watch = Watch(monkeypatch)
    for name in NAMES:
        for attempt in _runs(name):
            try:
                attempt()
            except Exception:  # that is for the other tests to say
                continue
    missing = sorted(set(OPS) - watch.seen)
    assert not missing, f"no sample reaches: {', '.join(missing)}"
