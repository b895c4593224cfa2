"""A variational autoencoder: learns what handwritten digits look like, then draws new ones.

    python -m flambeau run examples/digits_vae.py
    python examples/digits_vae.py              # the same program on PyTorch

After Kingma and Welling, arXiv:1312.6114. Draws a grid of digits that nobody wrote, over the plane
of the two hidden numbers, into digits_vae.png.
"""

import argparse
from pathlib import Path

import torch
from common import progress, save_picture
from digits_cnn import load
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

HIDDEN = 2


class Autoencoder(nn.Module):
    """64 pixels to a normal distribution of two numbers, and back to 64 chances of ink."""

    def __init__(self, width=128):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width),
                                    nn.SiLU(), nn.Linear(width, 2 * HIDDEN))
        self.decode = nn.Sequential(nn.Linear(HIDDEN, width), nn.SiLU(), nn.Linear(width, width),
                                    nn.SiLU(), nn.Linear(width, 64))

    def forward(self, pixels):
        """The logits of the pixels, the mean and the log variance."""
        mean, spread = self.encode(pixels).chunk(2, dim=1)
        hidden = mean + torch.randn_like(mean) * torch.exp(0.5 * spread)
        return self.decode(hidden), mean, spread


def bound(logits, pixels, mean, spread):
    """The negative evidence lower bound, per image."""
    ink = F.binary_cross_entropy_with_logits(logits, pixels, reduction="sum")
    divergence = -0.5 * torch.sum(1 + spread - mean ** 2 - spread.exp())
    return (ink + divergence) / len(pixels)


def train(net, pixels, epochs, quiet):
    """Adam; gives the bound of every epoch."""
    batches = DataLoader(TensorDataset(pixels), batch_size=128, shuffle=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    losses = []
    for _ in progress(range(epochs), "training", quiet):
        total = 0.0
        for (batch,) in batches:
            optimizer.zero_grad()
            loss = bound(*_parts(net, batch))
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        losses.append(total / len(pixels))
    return losses


def _parts(net, batch):
    logits, mean, spread = net(batch)
    return logits, batch, mean, spread


@torch.no_grad()
def grid(net, side=16):
    """Digits over the plane of hidden numbers, at even steps of its distribution: one picture."""
    steps = torch.special.ndtri(torch.linspace(0.02, 0.98, side))
    points = torch.cartesian_prod(steps, steps)
    images = torch.sigmoid(net.decode(points)).view(side, side, 8, 8)
    return images.permute(0, 2, 1, 3).reshape(8 * side, 8 * side)


def draw(picture, losses, path):
    """The grid of new digits, and the bound."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 5), width_ratios=(3, 2))
    left.imshow(picture, cmap="gray_r")
    left.axis("off")
    right.plot(losses)
    right.set(xlabel="epoch", ylabel="bound")
    save_picture(figure, path)


def run(epochs=60, picture=None, quiet=False):
    """Train it; gives the bounds of the first and the last epoch."""
    torch.manual_seed(0)
    pixels = load()[0].flatten(1)
    net = Autoencoder()
    losses = train(net, pixels, epochs, quiet)
    print(f"bound per digit: {losses[0]:.2f} after one epoch, {losses[-1]:.2f} after {epochs}")
    if picture:
        draw(grid(net), losses, Path(picture))
    return losses[0], losses[-1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--picture", default="digits_vae.png")
    options = parser.parse_args()
    run(options.epochs, options.picture)
