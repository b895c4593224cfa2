"""What ``functions.py`` times: expressions of tensors, and the tensors of every size."""

from __future__ import annotations

from typing import Any

__all__ = ["DIFFERENTIABLE", "PLAIN", "SIZES", "tensors"]

SIZES = ("10", "64x64", "1M")
_MATRICES = {"10": (2, 5), "64x64": (64, 64), "1M": (1024, 1024)}
_IMAGES = {"10": (1, 2, 3, 4), "64x64": (1, 4, 32, 32), "1M": (4, 16, 128, 128)}
_VOCABULARY = 1000

# Expressions of x and y (matrices, positive), c and d (complex), i (images), s (a sequence of
# channels) and what else `tensors` has, one a line.
DIFFERENTIABLE = tuple("""
x + y
x * 2.0
x.exp()
x.sigmoid()
x.pow(1.5)
x.clamp(0.5, 1.0)
torch.where(x > y, x, y)
torch.lerp(x, y, 0.3)
torch.addcmul(x, x, y)
x.sum()
x.sum(0)
x.mean(1)
x[:, ::2].sum()
x[:, ::2].mean(0)
x[::2].sum(1)
x[:, ::2].amax(1)
x.t().sum(1)
x.amax(1)
x.var(1)
x.norm()
x.cumsum(1)
x.sort(1)
x.topk(2, 1)
x.softmax(1)
F.log_softmax(x, 1)
x.logsumexp(1)
F.gelu(x)
F.silu(x)
F.layer_norm(x, x.shape[1:])
F.normalize(x, dim=1)
F.cosine_similarity(x, y, 1)
F.pairwise_distance(x, y)
F.mse_loss(x, y)
F.smooth_l1_loss(x, y)
F.kl_div(x.log(), y)
F.binary_cross_entropy_with_logits(x, y)
F.cross_entropy(x, classes)
F.ctc_loss(steps, labels, lengths, spelled)
x[:, 1:]
x[:, 1:] * 2.0
x.t() + y.t()
(x.view(-1)[1:] - x.view(-1)[:-1]).abs().mean()
x.reshape(-1)
x.transpose(0, 1).contiguous()
x.unsqueeze(1).expand(-1, 2, -1).sum(1)
x.flip(1)
x.roll(1, 1)
x.repeat(2, 2)
x.repeat_interleave(2, 1)
x.tril()
torch.cat([x, y])
torch.stack([x, y])
x.chunk(2, 1)
x.gather(1, places)
x.index_select(1, columns)
x.masked_fill(x > 1, 0.0)
x.scatter_add(1, places, y)
F.embedding(words, table)
F.embedding_bag(words, table)
F.linear(x, weight)
x @ y.t()
torch.einsum('ij,kj->ik', x, y)
c * d
c / d
c.abs()
c.angle()
c.exp()
c * d.conj()
c.real + d.imag
F.conv1d(s, taps, padding=1)
F.conv2d(i, filters, padding=1)
F.max_pool1d(s, 2)
F.max_pool2d(i, 2)
F.avg_pool1d(s, 2)
F.avg_pool2d(i, 2)
F.adaptive_avg_pool2d(i, 3)
F.adaptive_max_pool2d(i, 3)
F.pad(i, (1, 1, 1, 1))
F.pad(i, (1, 1, 1, 1), mode='reflect')
F.pad(i, (1, 1, 1, 1), mode='replicate')
F.interpolate(i, scale_factor=2)
F.interpolate(i, scale_factor=2, mode='bilinear')
F.interpolate(i, size=(7, 5), mode='bilinear', align_corners=True)
F.interpolate(i, scale_factor=2, mode='bicubic')
F.grid_sample(i, grid, align_corners=False)
F.grid_sample(i, grid, mode='nearest', align_corners=False)
F.grid_sample(i, grid, padding_mode='border', align_corners=False)
F.unfold(i, 2)
F.pixel_shuffle(i.flatten(0, 1).repeat(4, 1, 1), 2)
F.group_norm(i, 2)
F.batch_norm(i, None, None, training=True)
F.dropout(x, 0.5)
F.dropout2d(i, 0.5)
""".strip().splitlines())

# Those of which nothing is recorded.
PLAIN = tuple("""
x > y
x.argmax(1)
x.bool()
x.double()
x.half()
x.bfloat16()
x.to(torch.uint8)
x.to(torch.int8)
x.to(torch.int16)
x.int()
x.long()
n.to(torch.uint8)
n.float()
u.float()
u.sum()
n.sum()
b.sum()
x.isnan()
x.nonzero()
x.clone()
torch.zeros(x.shape)
torch.full(x.shape, 2.0)
torch.empty(x.shape)
torch.arange(x.numel())
torch.zeros_like(x)
torch.rand(x.shape)
torch.randn(x.shape)
torch.randint(0, 10, x.shape)
torch.randperm(x.shape[1])
torch.rand_like(x)
torch.randn_like(x)
torch.bernoulli(half)
own.normal_()
own.uniform_()
own.bernoulli_(0.5)
own.exponential_()
own.random_(0, 10)
own.add_(y)
own.add_(1.0)
own.mul_(1.0)
own.sub_(0.0)
own.div_(1.0)
own.copy_(y)
own.zero_()
own.fill_(1.0)
own.clamp_(0.5, 1.0)
own.relu_()
own.addcmul_(x, y, value=0.1)
own.lerp_(x, 0.5)
own[0].zero_()
own.masked_fill_(mask, 0.5)
own.index_fill_(1, columns, 0.5)
x.new_zeros(3)
x.unbind(0)
x.split(1, 1)
x.allclose(x)
x.equal(y)
""".strip().splitlines())


def tensors(torch: Any, size: str) -> dict[str, Any]:
    """What expressions name, of a size."""
    torch.manual_seed(0)
    shape, image = _MATRICES[size], _IMAGES[size]
    rows, columns = shape
    x, y = torch.rand(shape) + 0.5, torch.rand(shape) + 0.5
    batch, channels, height, width = image
    frames, symbols = max(12, rows // 8), 20
    targets = 4
    found = {
        "x": x, "y": y, "i": torch.rand(image), "s": torch.rand(batch, channels, height * width),
        "c": torch.complex(x, y), "d": torch.complex(y, x + 0.1),
        "weight": torch.rand(columns, columns), "taps": torch.rand(channels, channels, 3),
        "filters": torch.rand(channels, channels, 3, 3), "table": torch.rand(_VOCABULARY, 16),
        "grid": torch.rand(batch, height, width, 2) * 2 - 1,
        "steps": torch.rand(frames, batch * 4, symbols).log_softmax(2)}
    return {
        **found, "F": torch.nn.functional, "torch": torch, "own": x.clone(), "half": x / 2,
        "mask": x > 1, "n": (x * 100).int(), "u": (x * 100).to(torch.uint8), "b": x > 1,
        "words": torch.randint(0, _VOCABULARY, shape),
        "classes": torch.randint(0, columns, (rows,)),
        "places": torch.randint(0, columns, shape),
        "columns": torch.randint(0, columns, (max(2, columns // 2),)),
        "labels": torch.randint(1, symbols, (batch * 4, targets)),
        "lengths": torch.full((batch * 4,), frames), "spelled": torch.full((batch * 4,), targets)}
