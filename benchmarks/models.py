"""Training steps of whole networks: forward, loss, backward and optimizer, as people write them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Step = Callable[[], object]


def training_step(model: Any, loss: Callable[[], Any], optimizer: Any) -> Step:
    """One step: gradients to zero, the loss, backward, the optimizer."""

    def step() -> object:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return value

    return step


def perceptron(torch: Any) -> Step:
    """784-256-128-10 on batches of 64, Adam."""
    nn = torch.nn
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(),
                        nn.Linear(128, 10))
    x, y = torch.randn(64, 784), torch.randint(0, 10, (64,))
    criterion = nn.CrossEntropyLoss()
    return training_step(net, lambda: criterion(net(x), y), torch.optim.Adam(net.parameters()))


def convolutions(torch: Any) -> Step:
    """The MNIST network: 32 and 64 channels, pooling, 128, 10; batches of 64, Adam."""
    nn = torch.nn
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(),
                        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(),
                        nn.Linear(128, 10))
    x, y = torch.randn(64, 1, 28, 28), torch.randint(0, 10, (64,))
    criterion = nn.CrossEntropyLoss()
    return training_step(net, lambda: criterion(net(x), y), torch.optim.Adam(net.parameters()))


def transformer(torch: Any, layers: int = 4, width: int = 192, heads: int = 6, context: int = 128,
                batch: int = 8, vocabulary: int = 65) -> Step:
    """A GPT of 4 layers, 192 wide, 6 heads, context 128; batches of 8, AdamW."""
    nn, functional = torch.nn, torch.nn.functional
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
            self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(),
                                     nn.Linear(4 * width, width))

        def forward(self, x: Any) -> Any:
            b, t, c = x.shape
            q, k, v = self.mix(self.first(x)).split(c, dim=2)
            q, k, v = (z.view(b, t, heads, c // heads).transpose(1, 2) for z in (q, k, v))
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).contiguous().view(b, t, c))
            return x + self.mlp(self.second(x))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(vocabulary, width)
            self.places = nn.Embedding(context, width)
            self.blocks = nn.Sequential(*[Block() for _ in range(layers)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

        def forward(self, index: Any) -> Any:
            x = self.tokens(index) + self.places(torch.arange(index.shape[1]))
            return self.head(self.norm(self.blocks(x)))

    net = Network()
    x, y = (torch.randint(0, vocabulary, (batch, context)) for _ in range(2))
    return training_step(
        net, lambda: functional.cross_entropy(net(x).view(-1, vocabulary), y.view(-1)),
        torch.optim.AdamW(net.parameters(), lr=math.exp(-8)))


def recurrent(torch: Any) -> Step:
    """An LSTM of 128 over 64 steps of batches of 32, Adam."""
    nn = torch.nn
    torch.manual_seed(0)
    net = nn.LSTM(128, 128, batch_first=True)
    head = nn.Linear(128, 10)
    x, y = torch.randn(32, 64, 128), torch.randint(0, 10, (32,))
    criterion = nn.CrossEntropyLoss()
    parameters = [*net.parameters(), *head.parameters()]
    return training_step(net, lambda: criterion(head(net(x)[0][:, -1]), y),
                         torch.optim.Adam(parameters))


MODELS = {
    "perceptron 784-256-128-10, batch 64, Adam": perceptron,
    "MNIST network, batch 64, Adam": convolutions,
    "GPT 4x192, context 128, batch 8, AdamW": transformer,
    "LSTM 128, 64 steps, batch 32, Adam": recurrent,
}
