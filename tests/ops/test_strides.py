"""How results lie in memory: programs call ``view`` on what PyTorch gives row by row."""

import pytest

import flambeau as torch
from flambeau.nn import functional as F

WHOLE = {
    "softmax": lambda x: x.softmax(-1),
    "log_softmax": lambda x: x.log_softmax(0),
    "cumsum": lambda x: x.cumsum(1),
    "cumprod": lambda x: x.cumprod(0),
    "logcumsumexp": lambda x: x.logcumsumexp(0),
    "masked_fill": lambda x: x.masked_fill(x > 0, 1),
    "tril": lambda x: x.tril(),
    "triu": lambda x: x.triu(),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[-1:]),
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "group_norm": lambda x: F.group_norm(x, 1),
    "sum": lambda x: x.sum(1),
    "mean": lambda x: x.mean(-1),
    "var": lambda x: x.var(0),
    "amax": lambda x: x.amax(1, keepdim=True),
    "sum over two": lambda x: x.sum((0, 1)),
    "cat": lambda x: torch.cat([x, x]),
    "cat of the last": lambda x: torch.cat([x, x], -1),
    "stack": lambda x: torch.stack([x, x]),
    "stack in the middle": lambda x: torch.stack([x, x], 1),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("order", [(2, 0, 1), (0, 2, 1), (2, 1, 0)])
@pytest.mark.parametrize("size", [4, 40])
def test_results_lie_row_by_row(name, order, size):
    x = torch.randn(size, size + 1, size + 2).permute(order)
    found = WHOLE[name](x)
    assert found.is_contiguous()
    assert found.view(-1).shape == (found.numel(),)
    assert torch.equal(found, WHOLE[name](x.contiguous())) or torch.allclose(
        found, WHOLE[name](x.contiguous()), atol=1e-4)


@pytest.mark.parametrize("function", [lambda x: torch.cat([x, x]), F.relu,
                                      lambda x: F.batch_norm(x, None, None, training=True)])
def test_channels_stay_last(function):
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert function(x).is_contiguous(memory_format=torch.channels_last)


def test_strides_of_new_dimensions():
    x = torch.randn(3, 4)
    assert x[None].stride() == (12, 4, 1)
    assert x[:, None].stride() == x.unsqueeze(1).stride() == (4, 4, 1)
    assert x[..., None].stride() == (4, 1, 1)
    assert x.t()[None].stride() == (4, 1, 4)
    assert x[:, None].expand(3, 2, 4).stride() == (4, 0, 1)
    assert x.expand(2, 3, 4).stride() == (0, 4, 1)
