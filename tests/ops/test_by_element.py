"""Python functions of elements and diagonals, in place."""

from __future__ import annotations

from types import ModuleType

import pytest

import flambeau
from tests.outcome import assert_same_outcome

CALLS = [
    't.arange(4.).apply_(lambda x: x*2)',
    't.arange(4.).apply_(3)',
    't.arange(4).apply_(lambda x: x*2.7)',
    't.arange(4.).requires_grad_().apply_(lambda x: x)',
    "t.arange(4.).apply_(lambda x: 'a')",
    "t.zeros(0).apply_(lambda x: 'a')",
    't.arange(6.).reshape(2,3).t().apply_(lambda x: x+1)',
    't.arange(4.).map_(t.ones(4), lambda a,b: a+b)',
    't.arange(4.).map_(t.ones(1), lambda a,b: a+b)',
    't.arange(4.).map_(t.ones(4).double(), lambda a,b: a+b)',
    't.arange(4.).map_(t.ones(4,2), lambda a,b: a+b)',
    't.arange(4.).map_(3, lambda a,b: a+b)',
    't.arange(4.).map2_(t.ones(4), t.ones(4), lambda a,b,c: a+b+c)',
    't.arange(4.).map2_(t.ones(4), 3, lambda a,b,c: a+b+c)',
    't.arange(4.).map2_(t.ones(4), t.ones(4).double(), lambda a,b,c: a+b+c)',
    't.arange(4.).map_(t.ones(4).requires_grad_(), lambda a,b: a+b)',
    't.zeros(3,3).fill_diagonal_(2), t.zeros(7,3).fill_diagonal_(2, wrap=True), t.zeros(3,7).'
    'fill_diagonal_(2, wrap=True)',
    't.zeros(3).fill_diagonal_(2)',
    't.zeros(3,3,3).fill_diagonal_(2)',
    't.zeros(3,3,2).fill_diagonal_(2)',
    't.zeros(3,3,dtype=t.int64).fill_diagonal_(2.7)',
    't.zeros(3,3).requires_grad_().fill_diagonal_(2)',
    't.zeros(3,3).fill_diagonal_(t.tensor(3))',
    "t.zeros(3,3).fill_diagonal_('a')",
    't.zeros(3,3).fill_diagonal_(t.tensor([3]))',
    't.zeros(10,3).fill_diagonal_(1,wrap=True).nonzero().tolist(), t.zeros(4,3).fill_diagonal'
    '_(1,wrap=True).nonzero().tolist(), t.zeros(5,3).fill_diagonal_(1,wrap=True).nonzero().to'
    'list(), t.zeros(3,1).fill_diagonal_(1,wrap=True).nonzero().tolist()',
    't.zeros(0,3).fill_diagonal_(1), t.zeros(3,0).fill_diagonal_(1, wrap=True), t.zeros(3,0).'
    'fill_diagonal_(1)',
    'x=t.zeros(8,8);;x[::2,1::3].fill_diagonal_(4);;x',
    'x=t.zeros(8,8);;x[::2,1::3].t().fill_diagonal_(4);;x',
    'x=t.zeros(14,8);;x[::2,1::3].fill_diagonal_(4,wrap=True);;x',
    'x=t.ones(3,3,requires_grad=True);;y=x*2;;y.fill_diagonal_(7);;y.sum().backward();;(y.det'
    'ach(), x.grad)',
]


@pytest.mark.parametrize("code", CALLS)
def test_calls(code: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(code, torch_oracle)


def test_an_error_of_the_function_changes_nothing() -> None:
    x = flambeau.arange(3.0)
    with pytest.raises(ZeroDivisionError):
        x.apply_(lambda v: 1 / (v - 1))
    assert x.tolist() == [0.0, 1.0, 2.0]
