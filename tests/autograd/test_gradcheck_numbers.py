"""gradcheck of functions whose result is one number."""

from __future__ import annotations

import flambeau as torch


def test_a_sum_is_checked() -> None:
    x = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: (a ** 2).sum(), x)
    assert torch.autograd.gradgradcheck(lambda a: (a ** 3).sum(), x)


def test_a_number_is_checked() -> None:
    x = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    for fast in (False, True):
        assert torch.autograd.gradcheck(torch.sin, x, fast_mode=fast)
        assert torch.autograd.gradgradcheck(torch.sin, x, fast_mode=fast)
