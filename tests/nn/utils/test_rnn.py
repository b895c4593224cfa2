"""Packed and padded sequences."""

from __future__ import annotations

import copy
import pickle
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import flambeau as fl
from tests.nn.side_by_side import Record, lines_of


def batch(torch: Any) -> Any:
    return torch.arange(24.0).reshape(4, 3, 2)


def packing(torch: Any, show: Record) -> None:
    rnn, x = torch.nn.utils.rnn, batch(torch).requires_grad_()
    packed = rnn.pack_padded_sequence(x, [4, 2, 1])
    show(packed)
    packed.data.sum().backward()
    show(x.grad)
    packed = rnn.pack_padded_sequence(x, torch.tensor([2, 4, 1]), enforce_sorted=False)
    show(packed)
    padded, lengths = rnn.pad_packed_sequence(packed)
    (padded * padded).sum().backward()
    show((padded, lengths, x.grad))
    show(rnn.pad_packed_sequence(packed, batch_first=True, padding_value=-1.0, total_length=6))
    rows = x.detach().transpose(0, 1)
    packed = rnn.pack_padded_sequence(rows, [4, 3, 1], batch_first=True)
    show((packed, rnn.pad_packed_sequence(packed, batch_first=True)))
    show(rnn.pad_packed_sequence(rnn.pack_padded_sequence(x.detach(), [2, 1, 1])))
    show(rnn.pack_padded_sequence(rows[..., 0], [3, 2, 2, 1]))


def refused(torch: Any, show: Record) -> None:
    rnn, x = torch.nn.utils.rnn, batch(torch)
    for lengths in ([1, 2, 3], [4, 2], [4, 2, 0], [4, 2, 1.5], torch.tensor([[4, 2, 1]]), []):
        show(lambda lengths=lengths: rnn.pack_padded_sequence(x, lengths))
    show(lambda: rnn.pack_padded_sequence(torch.ones(3), [3]))
    show(lambda: rnn.pack_padded_sequence(torch.ones(0, 3, 2), [0, 0, 0]))
    show(lambda: rnn.pad_packed_sequence(x))
    show(lambda: rnn.pad_packed_sequence(rnn.pack_padded_sequence(x, [4, 2, 1]), total_length=2))
    show(lambda: rnn.PackedSequence(x))


def padding(torch: Any, show: Record) -> None:
    rnn = torch.nn.utils.rnn
    held = [torch.ones(2, 2), torch.zeros(3, 2), torch.ones(1, 2) * 7]
    for options in ({}, {"batch_first": True, "padding_value": 9}, {"padding_side": "left"},
                    {"batch_first": True, "padding_side": "left"}, {"padding_side": "up"}):
        show(lambda options=options: rnn.pad_sequence(held, **options))
    for other in (torch.ones(2, 3), [], [torch.ones(2, 2), torch.ones(2, 3)], 3, iter(held),
                  [torch.tensor(1.0)], [torch.tensor([1, 2]), torch.tensor([3.7])],
                  [torch.ones(2, 2), torch.ones(3, 1)]):
        show(lambda other=other: rnn.pad_sequence(other))
    leaves = [t.clone().requires_grad_() for t in held]
    padded = rnn.pad_sequence(leaves, padding_side="left")
    (padded ** 2).sum().backward()
    show((padded, [t.grad for t in leaves]))
    packed = rnn.pack_sequence(held, enforce_sorted=False)
    show((packed, rnn.unpack_sequence(packed)))
    show(lambda: rnn.pack_sequence(held))
    show(rnn.unpad_sequence(rnn.pad_sequence(held, True), torch.tensor([2, 3, 1]), True))


def packed_sequence(torch: Any, show: Record) -> None:
    rnn = torch.nn.utils.rnn
    packed = rnn.pack_sequence([torch.ones(1, 2), torch.ones(2, 2)], enforce_sorted=False)
    for name in ("double", "half", "int", "long", "short", "char", "byte"):
        show((name, getattr(packed, name)().data.dtype))
    show((packed.float() is packed, packed.cpu() is packed, packed.to("cpu") is packed,
          packed.is_cuda, packed.is_pinned(), packed.to(torch.float64)))
    show((type(packed), packed._fields, len(packed), isinstance(packed, tuple), packed[0].shape))
    show((pickle.loads(pickle.dumps(packed)), copy.deepcopy(packed)))
    sizes = torch.tensor([2, 1])
    show(rnn.PackedSequence(torch.ones(3, 2), sizes, torch.tensor([1, 0])))
    show(rnn.PackedSequence((torch.ones(3, 2), sizes)))
    show((rnn.invert_permutation(torch.tensor([2, 0, 1])), rnn.invert_permutation(None)))


@pytest.mark.parity
@pytest.mark.parametrize("program", [packing, refused, padding, packed_sequence],
                         ids=lambda p: p.__name__)
def test_as_pytorch(program: Any, torch_oracle: ModuleType) -> None:
    assert lines_of(program, fl) == lines_of(program, torch_oracle)


rnn = fl.nn.utils.rnn
ROUNDS = [
    lambda x: rnn.pack_padded_sequence(x, [3, 2]).data,
    lambda x: rnn.pack_padded_sequence(x.transpose(0, 1), [3, 1], batch_first=True).data,
    lambda x: rnn.pad_packed_sequence(rnn.pack_padded_sequence(x, [2, 1]), padding_value=3.0)[0],
    lambda x: rnn.pad_sequence([x[:, 0], x[1:, 1]], padding_value=2.0),
    lambda x: rnn.pad_sequence([x[:, 0], x[1:, 1]], True, padding_side="left")]


@pytest.mark.parametrize("function", ROUNDS)
def test_derivatives(function: Any) -> None:
    fl.manual_seed(0)
    x = fl.randn(3, 2, 4, dtype=fl.float64, requires_grad=True)
    assert fl.autograd.gradcheck(function, (x,))
    assert fl.autograd.gradgradcheck(function, (x,))
    moved = fl.randn(3, 2, 4, dtype=fl.float64)
    _, tangent = fl.func.jvp(function, (x.detach(),), (moved,))
    _, back = fl.func.vjp(function, x.detach())
    weights = fl.randn(tangent.shape, dtype=fl.float64)
    np.testing.assert_allclose((tangent * weights).sum().item(),
                               (back(weights)[0] * moved).sum().item(), rtol=1e-12)


@pytest.mark.parametrize("function", ROUNDS)
def test_batches(function: Any) -> None:
    x = fl.arange(48.0).reshape(2, 3, 2, 4)
    for dim in (0, 3):
        given = x.movedim(0, dim)
        found = fl.func.vmap(function, in_dims=dim)(given)
        assert fl.equal(found, fl.stack([function(part) for part in x]))


def test_lengths_beyond_the_batch_are_refused() -> None:
    with pytest.raises(RuntimeError, match="at most 4"):
        rnn.pack_padded_sequence(batch(fl), [5, 2, 1])
