"""Networks as people write them: the module compiled, or the whole step, against neither."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.compiler.entry import unit_of

F = nn.functional
STEPS = 6


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.second = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(8), nn.BatchNorm2d(8)])
        self.head = nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.norms[0](self.first(x)))
        x = F.relu(x + self.norms[1](self.second(x)))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Sampled(nn.Module):
    """The middle of a variational autoencoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.both = nn.Linear(432, 8), nn.Linear(8, 4)
        self.decoder = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, x: Any) -> Any:
        mean, spread = self.both(F.relu(self.encoder(x.flatten(1)))).chunk(2, 1)
        return self.decoder(mean + torch.randn_like(mean) * torch.exp(0.5 * spread))


class Hourglass(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.inner = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(8, 4, 2, stride=2), nn.Conv2d(8, 3, 1)

    def forward(self, x: Any) -> Any:
        wide = F.relu(self.down(x))
        narrow = F.relu(self.inner(F.max_pool2d(wide, 2)))
        return self.out(torch.cat([wide, self.up(narrow)], 1)).mean((2, 3))


class Encoder(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, **options)
        self.table, self.head = nn.Embedding(20, 16), nn.Linear(16, 3)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Any) -> Any:
        return self.head(self.layers(self.table(x)).mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(20, 8), nn.Linear(16, 3)
        self.layer = nn.LSTM(8, 8, 2, batch_first=True, dropout=0.1, bidirectional=True)

    def forward(self, x: Any) -> Any:
        return self.head(self.layer(self.table(x))[0][:, -1])


def grouped() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.GroupNorm(2, 8), nn.SiLU(), nn.Conv2d(8, 8, 3, groups=8),
        nn.BatchNorm2d(8), nn.Hardswish(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2),
        nn.Linear(32, 3))


def picture() -> Any:
    return torch.randn(6, 3, 12, 12)


def symbols() -> Any:
    return torch.randint(0, 20, (6, 10))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "residual": (Residual, picture), "sampled": (Sampled, picture),
    "hourglass": (Hourglass, picture), "grouped": (grouped, picture),
    "encoder": (Encoder, symbols), "recurrent": (Recurrent, symbols),
    "norms first": (lambda: Encoder(norm_first=True, activation="gelu"), symbols)}


def losses(name: str, compiled: str) -> tuple[list[float], Any]:
    """The losses of some steps, of evaluation at their end, and what was compiled."""
    torch.manual_seed(0)
    make, data = NETWORKS[name]
    net = make()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    model = torch.compile(net) if compiled == "module" else net

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        return loss

    run = torch.compile(step) if compiled == "step" else step
    found = []
    for i in range(STEPS):
        torch.manual_seed(i)
        found.append(run(data(), torch.randint(0, 3, (6,))).item())
    net.eval()
    return [*found, model(data()).sum().item(), torch.rand(1).item()], (
        run if compiled == "step" else model)


@pytest.mark.filterwarnings("error:.*compiled:RuntimeWarning")
@pytest.mark.parametrize("compiled", ["module", "step"])
@pytest.mark.parametrize("name", NETWORKS)
def test_losses(name: str, compiled: str) -> None:
    expected, _ = losses(name, "")
    found, function = losses(name, compiled)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert unit_of(function).runs >= STEPS - 3
