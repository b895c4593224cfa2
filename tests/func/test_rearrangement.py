"""Rearranging by names of dimensions; what looks inside or prepares for a transform."""

from __future__ import annotations

from types import ModuleType

import pytest

import flambeau
from tests.outcome import assert_same_outcome

CALLS = [
    "t.func.rearrange(t.arange(24).reshape(2,3,4),'a b c -> c (a b)')",
    "t.func.rearrange(t.arange(24).reshape(2,3,4),'a (b1 b2) c -> a b2 b1 c',b1=3)",
    "t.func.rearrange(t.arange(24).reshape(2,3,4),'a ... -> ... a')",
    "t.func.rearrange(t.arange(24).reshape(2,3,4),'a ... -> (a ...)')",
    "t.func.rearrange(t.arange(24).reshape(2,3,4),'... a -> a ...')",
    "t.func.rearrange(t.arange(24).reshape(2,3,4),'a b c ... -> c ... a b')",
    "t.func.rearrange(t.arange(24).reshape(2,3,4),'a b c -> a 1 b c').shape",
    "t.func.rearrange(t.arange(24).reshape(2,1,12),'a 1 c -> c a').shape",
    "t.func.rearrange(t.arange(24).reshape(2,1,12),'a () c -> c a').shape",
    "t.func.rearrange([t.ones(2,3),t.ones(2,3)],'a b c -> b c a').shape",
    "t.func.rearrange(t.arange(24).reshape(2,3,4),'a b -> b a')",
    "t.func.rearrange(t.arange(24).reshape(2,3,4),'a b c -> a b')",
    "t.func.rearrange(t.arange(24).reshape(2,3,4),'a b c')",
    "t.func.rearrange(t.arange(24).reshape(2,3,4),'a b c -> c b a', e=3)",
    "t.func.rearrange(t.arange(24).reshape(2,3,4),'a a c -> c a')",
    "t.func.rearrange(t.arange(24).reshape(2,3,4),'a b c -> (c b) (a')",
    "t.func.rearrange(t.arange(24).reshape(2,3,4),'a 2 c -> c a')",
    "t.func.rearrange(t.arange(24).reshape(2,3,4),'a b c -> 2 a b c')",
    "t.func.rearrange(t.arange(24).reshape(2,3,4),'a b! c -> a b c')",
    "t.func.rearrange(t.arange(24).reshape(2,3,4),'a b c -> () a b c').shape",
    "t.func.rearrange(t.arange(24).reshape(2,3,4),'(a) b c -> (b a) c').shape",
    "t.func.rearrange(t.ones(2,12,3,requires_grad=True),'b (h w) c -> b c h w',h=3).shape",
    't.func.functionalize(lambda x: x.add_(1))(t.ones(1))',
    "t.func.functionalize(lambda x: x.add_(1), remove='x')(t.ones(1))",
    't.set_anomaly_enabled(True, False), t.is_anomaly_enabled(), t.is_anomaly_check_nan_ena'
    'bled(), t.set_anomaly_enabled(False)',
    't.set_anomaly_enabled(1)',
    "[hasattr(t.autograd.Function,n) for n in ('save_for_backward','mark_dirty','saved_tens"
    "ors','needs_input_grad')]",
    'm=t.nn.Sequential(t.nn.BatchNorm1d(2),t.nn.InstanceNorm1d(2,track_running_stats=True))'
    ';;t.func.replace_all_batch_norm_modules_(m);;(m[0].running_mean,m[0].track_running_sta'
    'ts,m[1].running_mean)',
]


@pytest.mark.parametrize("code", CALLS)
def test_as_pytorch(code: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(code, torch_oracle)


@pytest.mark.parametrize("pattern, lengths", [
    ("a (b d) c -> a b c d", {}), ("a (b d) c -> a b c d", {"b": 2}), ("a b c -> a b c", {"a": 5}),
    ("a (b ...) -> a b ...", {"b": 1}),
])
def test_sizes_that_do_not_fit(pattern: str, lengths: dict) -> None:
    with pytest.raises(ValueError):
        flambeau.func.rearrange(flambeau.zeros(2, 3, 4), pattern, **lengths)


def test_debug_unwrap() -> None:
    seen = []

    def look(x: flambeau.Tensor) -> flambeau.Tensor:
        seen.append(flambeau.func.debug_unwrap(x))
        seen.append(flambeau.func.debug_unwrap(x, recurse=False))
        return x.sum()

    flambeau.func.grad(look)(flambeau.ones(2))
    assert [t.tolist() for t in seen] == [[1.0, 1.0]] * 2
    assert flambeau.func.debug_unwrap(flambeau.ones(1)).tolist() == [1.0]
