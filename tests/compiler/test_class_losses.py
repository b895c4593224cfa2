"""Losses of classes, some of them ignored, in compiled steps."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau as torch
import flambeau.nn.functional as F
from tests.compiler.harness import check


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("ignored", [-100, -1, 0, 2, 7])
def test_what_is_ignored_may_have_the_number_of_a_class(ignored: int, reduction: str) -> None:
    def build(wrap: Any) -> Any:
        w = torch.randn(4, 3, requires_grad=True)

        @wrap
        def step(x: Any, y: Any) -> Any:
            w.grad = None
            loss = F.cross_entropy(x @ w, y, ignore_index=ignored, reduction=reduction)
            loss.sum().backward()
            return loss

        def call(i: int) -> Any:
            y = torch.randint(0, 3, (6,))
            # In some calls nothing is left to count.
            y = torch.full((6,), ignored) if i % 4 == 3 else y.masked_fill(y == 1, ignored)
            return step(torch.randn(6, 4), y)

        return call, lambda: (w, w.grad)

    check(build, 12)
