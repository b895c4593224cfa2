"""How tensors lie in memory, where they start, and who shares it: as in eager mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flambeau as torch
import flambeau.nn.functional as F
from tests.compiler.harness import check

BASE = torch.arange(20.0)
INPUTS = {
    "one": torch.ones(1) * 2, "part": BASE[3:7], "matrix": BASE[2:10].view(4, 2),
    "transposed": torch.arange(8.0).view(2, 4).t(), "expanded": torch.ones(1).expand(3),
    "empty": torch.zeros(0)}
STRIDED: dict[str, Callable] = {
    "outside": lambda x: x.as_strided((2, 2), (1, 2)).sign(),
    "behind": lambda x: x[1:].as_strided((2,), (1,)) * 2,
    "before": lambda x: x[1:].as_strided((2,), (1,), 0) * 2,
    "of a result": lambda x: (x * 2)[1:].as_strided((2,), (1,), 0) * 2,
    "of a copy": lambda x: x.t().contiguous().as_strided((2,), (2,)) * 2,
    "offset": lambda x: x[1:].storage_offset() + x * 0}


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("how", STRIDED)
@pytest.mark.filterwarnings("ignore:.*runs eagerly")
def test_strides_over_a_storage(name: str, how: str) -> None:
    x, step = INPUTS[name], STRIDED[how]
    compiled = torch.compile(step)
    for _ in range(3):
        try:
            want = step(x)
        except RuntimeError as error:
            with pytest.raises(RuntimeError, match="out of bounds|exceeds|Dimension"):
                compiled(x)
            assert str(error)
        else:
            assert torch.equal(compiled(x), want)


def test_a_view_in_vmap_stays_inside() -> None:
    x = torch.arange(12.0).view(3, 4)
    assert torch.equal(torch.vmap(lambda r: r.as_strided((2,), (2,)))(x), x[:, ::2])
    with pytest.raises(RuntimeError, match="out of bounds"):
        torch.vmap(lambda r: r.as_strided((2, 2), (3, 2)))(x)


def test_random_numbers_in_the_order_of_memory() -> None:
    def build(wrap: Any) -> Any:
        step = wrap(lambda x: (F.dropout(x.t(), 0.5), torch.rand_like(x.t()),
                               torch.zeros_like(x.t())))
        return lambda i: step(torch.ones(2, 3) + i), list

    check(build)


def test_one_tensor_is_returned_twice() -> None:
    def build(wrap: Any) -> Any:
        w = torch.ones(3, requires_grad=True)
        step = wrap(lambda x: [w * x] * 2)

        def call(i: int) -> Any:
            a, b = step(torch.ones(3) * i)
            (a * b).sum().backward()
            grad, w.grad = w.grad, None
            return grad, a is b

        return call, list

    check(build)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_softmax_of_nothing(shape: tuple[int, int]) -> None:
    def build(wrap: Any) -> Any:
        step = wrap(lambda x: (x.softmax(0), x.softmax(1), x.log_softmax(0)))
        return lambda i: step(torch.ones(shape)), list

    check(build)


def test_a_detached_tensor_counts_its_changes_with_the_other() -> None:
    def build(wrap: Any) -> Any:
        step = wrap(lambda x: x.detach().mul_(2) + 1)

        def call(i: int) -> Any:
            x, w = torch.ones(2), torch.ones(2, requires_grad=True)
            y = (w * x).sum()
            found = step(x)
            try:
                y.backward()
            except RuntimeError:
                return found, x._version, x
            return "went back"

        return call, list

    check(build)
