"""Streams and events of the CPU."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.outcome import assert_same_outcome

CALLS = [
    't.AcceleratorError, t.OutOfMemoryError, t.AcceleratorError.__mro__',
    "t.Stream(), t.Stream('cpu'), t.Event(), t.Stream, t.Event",
    't.Stream().query(), t.Stream().synchronize(), t.Stream().wait_event(t.Event()), t.Stream'
    '().device, t.Stream()==t.Stream()',
    't.Stream().record_event()',
    't.Event().record()',
    't.Event().elapsed_time(t.Event())',
    't.Event(enable_timing=True).elapsed_time(t.Event(enable_timing=True))',
]


@pytest.mark.parametrize("code", CALLS)
def test_calls(code: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(code, torch_oracle)
