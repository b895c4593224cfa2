"""Questions about tensors, and older spellings, as PyTorch answers."""

from __future__ import annotations

from types import ModuleType

import pytest

import flambeau as torch
from tests.outcome import assert_same_outcome

FACTS = [
    't.get_device(t.ones(1))',
    't.get_device(3)',
    't.is_nonzero(t.ones(2))',
    't.is_nonzero(t.ones(0))',
    't.ones(1).is_nonzero()',
    't.is_same_size(t.ones(2), t.zeros(2))',
    't.is_signed(t.ones(1,dtype=t.uint8))',
    't.jagged, t.sparse_csr, t.legacy_contiguous_format, t.newaxis',
    't.result_type(t.ones(1,dtype=t.int8), 2.0)',
    't.result_type(1, 2.0)',
    "t.result_type('a', 2.0)",
    't.result_type(t.ones((),dtype=t.float64), t.ones(2))',
    't.square_(t.ones(2)*3)',
    't.xlogy_(t.ones(2)*3, t.ones(2)*2)',
    't.addmv_(t.ones(2), t.ones(2,2), t.ones(2))',
    't.as_strided_(t.arange(4.), (2,), (2,))',
    't.detach_(t.ones(2))',
    't.ones(2).__delitem__(0)',
    "x=t.ones(2);;exec('del x[0]',{'x':x})",
    't.ones(2).__idiv__(2)',
    't.arange(3).__idiv__(2)',
    't.ones(1).__long__(), t.tensor(1.5).__long__(), t.ones(1).__nonzero__()',
    't.ones(2).__long__()',
    't.ones(2).is_pinned()',
    't.ones(2).pin_memory()',
    't.ones(2).cuda()',
    't.ones(2).is_set_to(t.ones(2))',
    'x=t.ones(2);; x.is_set_to(x), x.is_set_to(x.view(2)), x.is_set_to(x[:1]), x.is_set_to(x.'
    'view(2,1))',
    't.ones(2,3,4).transpose(0,1).dim_order()',
    't.ones(2,3,4,5).to(memory_format=t.channels_last).dim_order()',
    't.zeros(2,1).dim_order(ambiguity_check=True)',
    't.zeros(2,2,2).expand(2,2,2,2).dim_order(ambiguity_check=True)',
    't.zeros(2,2,2).dim_order(ambiguity_check=3)',
    't.zeros(2,2,2,2).dim_order(ambiguity_check=[t.contiguous_format])',
    't.zeros(2,1,2,2).dim_order(ambiguity_check=[t.channels_last, t.contiguous_format])',
    't.zeros(2,2,2).expand(3,2,2,2).dim_order(), t.zeros(()).dim_order(), t.zeros(3,0).dim_or'
    'der(), t.zeros(1,2,1).dim_order(), t.zeros(3,2).t().dim_order()',
    't.ones(2).module_load(t.zeros(2))',
    't.nn.Parameter(t.ones(2)).module_load(t.zeros(2))',
    't.ones(2).as_subclass(t.nn.Parameter)',
    't.ones(2).requires_grad_().as_subclass(t.nn.Parameter)',
    't.ones(2).as_subclass(int)',
    't.ones(2).set_(3)',
]


@pytest.mark.parametrize("code", FACTS)
def test_facts(code: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(code, torch_oracle)


@pytest.mark.parametrize("kind", [int, float, complex])
@pytest.mark.parametrize("count", [0, 2])
def test_several_elements_are_no_number(kind, count):
    with pytest.raises(ValueError, match="only one element tensors can be converted to Python sc"):
        kind(torch.ones(count))


def test_aminmax_of_nothing():
    with pytest.raises(IndexError, match="aminmax: Expected reduction dim 1 to have non-zero size"):
        torch.aminmax(torch.ones(2, 0), dim=1)
    with pytest.raises(RuntimeError, match="operation has no identity"):
        torch.aminmax(torch.ones(0))


def test_what_the_processor_can():
    assert torch.backends.cpu.get_cpu_capability() in ("AVX512", "AVX2", "DEFAULT")
    with pytest.raises(AttributeError, match="nothing"):
        getattr(torch.backends.cpu, "nothing")  # noqa: B009
