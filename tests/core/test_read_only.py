"""Tensors that share read-only memory refuse to be written to."""

import numpy as np
import pytest

import flambeau as torch


@pytest.mark.parametrize("write", [lambda y: y.add_(1), lambda y: y.zero_(), lambda y: y.normal_(),
                                   lambda y: y.__setitem__(0, 2.0),
                                   lambda y: torch.add(torch.ones(3), 1, out=y)],
                         ids=["add", "zero", "normal", "item", "out"])
def test_read_only_arrays_say_so_and_stay_as_they_are(write):
    held = np.ones(3, np.float32)
    held.flags.writeable = False
    y = torch.from_numpy(held)
    with pytest.raises(RuntimeError, match="read-only"):
        write(y)
    assert (held == 1).all()
    with pytest.raises(RuntimeError, match="single memory location"):
        torch.ones(1).expand(3).add_(1)
