"""Reductions of segments: empty ones, ties, zeros and errors."""

from __future__ import annotations

from types import ModuleType

import pytest

import flambeau
from tests.outcome import assert_same_outcome

CALLS = [
    "t.segment_reduce(t.arange(6.), 'mean', lengths=t.tensor([2,0,4]))",
    "t.segment_reduce(t.arange(6.), 'min', lengths=t.tensor([2,0,4])), t.segment_reduce(t.a"
    "range(6.), 'max', lengths=t.tensor([2,0,4])), t.segment_reduce(t.arange(6.), 'prod', l"
    'engths=t.tensor([2,0,4]))',
    "t.segment_reduce(t.arange(6.), 'sum', lengths=t.tensor([2,0,4]), initial=5), t.segment"
    "_reduce(t.arange(6.), 'mean', lengths=t.tensor([2,0,4]), initial=5), t.segment_reduce("
    "t.arange(6.), 'max', lengths=t.tensor([2,0,4]), initial=5), t.segment_reduce(t.arange("
    "6.), 'prod', lengths=t.tensor([2,0,4]), initial=5)",
    "t.segment_reduce(t.arange(6.), 'sum', offsets=t.tensor([0,2,6])), t.segment_reduce(t.a"
    "range(6.), 'sum', offsets=t.tensor([0,2,5]))",
    "t.segment_reduce(t.arange(6.), 'sum', lengths=t.tensor([2,3]))",
    "t.segment_reduce(t.arange(6.), 'sum', lengths=t.tensor([2,-3]))",
    "t.segment_reduce(t.arange(6.), 'sum', lengths=t.tensor([2,3]), unsafe=True)",
    "t.segment_reduce(t.arange(6.), 'foo', lengths=t.tensor([2,4]))",
    "t.segment_reduce(t.arange(6.), 'sum')",
    "t.segment_reduce(t.arange(6), 'sum', lengths=t.tensor([2,4]))",
    "t.segment_reduce(t.arange(6.), 'sum', lengths=t.tensor([2.,4]), unsafe=True)",
    "t.segment_reduce(t.arange(12.).reshape(2,6), 'sum', lengths=t.tensor([[2,4],[3,3]]), a"
    'xis=1)',
    "t.segment_reduce(t.arange(12.).reshape(2,6), 'sum', lengths=t.tensor([2,4]), axis=1)",
    "t.segment_reduce(t.arange(12.).reshape(6,2), 'sum', lengths=t.tensor([2,4]), axis=0)",
    "t.segment_reduce(t.arange(12.).reshape(6,2), 'sum', indices=t.tensor([2,4]))",
    "t.segment_reduce(t.tensor([1.,float('nan'),3.,4.]), 'max', lengths=t.tensor([2,2]))",
    "x=t.tensor([1.,3.,3.,4.],requires_grad=True);;t.segment_reduce(x, 'max', lengths=t.ten"
    'sor([2,2]))',
    'x=t.tensor([3.,3.,3.,4.],requires_grad=True);;[t.autograd.grad(t.segment_reduce(x, k, '
    "lengths=t.tensor([2,0,2]),initial=i).sum(), x) for k in ('sum','mean','max','min','pro"
    "d') for i in (None,4)]",
    "x=t.tensor([0.,3.,3.,4.],requires_grad=True);;t.autograd.grad(t.segment_reduce(x, 'pro"
    "d', lengths=t.tensor([2,2])).sum(), x)",
    "x=t.tensor([0.,0.,3.,4.],requires_grad=True);;t.autograd.grad(t.segment_reduce(x, 'pro"
    "d', lengths=t.tensor([2,2]),initial=2).sum(), x)",
    "x=t.arange(12.).reshape(2,6).requires_grad_();;y=t.segment_reduce(x, 'prod', lengths=t"
    '.tensor([[2,4],[3,3]]), axis=1);;y.backward(t.arange(4.).reshape(2,2));;x.grad',
    "x=t.arange(24.).reshape(2,6,2).requires_grad_();;y=t.segment_reduce(x, 'mean', lengths"
    '=t.tensor([[2,4],[3,3]]), axis=1);;y.backward(t.arange(8.).reshape(2,2,2));;(y,x.grad)',
    "t.segment_reduce(t.zeros(0), 'sum', lengths=t.zeros(0,dtype=t.int64))",
    "t.segment_reduce(t.zeros(0), 'sum', lengths=t.zeros(2,dtype=t.int64))",
    "t.segment_reduce(t.zeros(3,0), 'sum', lengths=t.tensor([1,2]))",
    "t.segment_reduce(t.arange(6.), 'sum', lengths=t.tensor([2,4]), axis=-1)",
    "t.segment_reduce(t.arange(6.), 'sum', lengths=t.tensor([2,4]), axis=1)",
    "t.segment_reduce(t.arange(6.).half(), 'sum', lengths=t.tensor([2,4]))",
]


@pytest.mark.parametrize("code", CALLS)
def test_as_pytorch(code: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(code, torch_oracle)


@pytest.mark.parametrize("kind", ["sum", "mean", "max", "min", "prod"])
def test_second_derivatives(kind: str) -> None:
    x = (flambeau.arange(6, dtype=flambeau.float64) + 1).requires_grad_()
    lengths = flambeau.tensor([2, 1, 3])

    def reduced(x: flambeau.Tensor) -> flambeau.Tensor:
        return flambeau.segment_reduce(x, kind, lengths=lengths)

    assert flambeau.autograd.gradgradcheck(reduced, x)
