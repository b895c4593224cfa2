"""Handwritten digits: a small convolutional network, tried on digits it has never seen.

    python -m flambeau run examples/digits_cnn.py
    python examples/digits_cnn.py              # the same program on PyTorch

The images are scikit-learn's: 1,797 digits of 8x8 pixels that 43 people wrote (UCI, "Optical
Recognition of Handwritten Digits"). Draws the mistakes and the falling loss into digits_cnn.png;
with --save FILE the weights are kept for examples/fine_tune.py.
"""

import argparse
from pathlib import Path

import torch
from common import progress, save_picture
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

HELD_OUT = 360


def load(classes=range(10)):
    """Images (N, 1, 8, 8) from 0 to 1 and their digits (N,), in a fixed random order."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.tensor(found.images, dtype=torch.float32).unsqueeze(1) / 16
    digits = torch.tensor(found.target)
    kept = torch.isin(digits, torch.tensor(list(classes)))
    order = torch.randperm(int(kept.sum()), generator=torch.Generator().manual_seed(0))
    return images[kept][order], digits[kept][order]


class Network(nn.Module):
    """Two convolutions, a pooling, two linear layers."""

    def __init__(self, classes=10):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 16, 128), nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.Linear(128, classes)

    def forward(self, x):
        return self.head(self.body(x))


def shifted(images):
    """Each batch moved by up to one pixel: a cheap way to see more digits."""
    down, right = torch.randint(-1, 2, (2,)).tolist()
    return torch.roll(images, (down, right), (2, 3))


def train(net, images, digits, epochs, quiet=False):
    """Adam with a falling rate; gives the mean loss of every epoch."""
    batches = DataLoader(TensorDataset(images, digits), batch_size=64, shuffle=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    criterion = nn.CrossEntropyLoss()
    losses = []
    for _ in progress(range(epochs), "training", quiet):
        net.train()
        total = 0.0
        for x, y in batches:
            optimizer.zero_grad()
            loss = criterion(net(shifted(x)), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        schedule.step()
        losses.append(total / len(images))
    return losses


@torch.no_grad()
def predictions(net, images):
    """The most likely digit for each image."""
    net.eval()
    return net(images).argmax(1)


def draw(images, digits, found, losses, path):
    """The falling loss, and the digits that were taken for others."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(9, 4))
    left, *small = figure.add_subplot(1, 2, 1), *[figure.add_subplot(4, 8, 8 * r + c)
                                                   for r in range(4) for c in range(5, 9)]
    left.semilogy(range(1, len(losses) + 1), losses)
    left.set(xlabel="epoch", ylabel="loss")
    wrong = (found != digits).nonzero().flatten().tolist()
    shown = (wrong + [i for i in range(len(digits)) if i not in wrong])[:16]
    for axes, i in zip(small, shown):
        axes.imshow(images[i, 0], cmap="gray_r")
        colour = "red" if i in wrong else "black"
        axes.set_title(f"{int(found[i])} ({int(digits[i])})", fontsize=8, color=colour)
        axes.axis("off")
    save_picture(figure, path)


def run(epochs=20, picture=None, save=None, quiet=False):
    """Train and try the network; gives the share of held-out digits that it knows."""
    torch.manual_seed(0)
    images, digits = load()
    net = Network()
    losses = train(net, images[HELD_OUT:], digits[HELD_OUT:], epochs, quiet)
    found = predictions(net, images[:HELD_OUT])
    accuracy = (found == digits[:HELD_OUT]).double().mean().item()
    print(f"{HELD_OUT} held-out digits: {accuracy:.2%} right; last loss {losses[-1]:.4f}")
    if picture:
        draw(images, digits[:HELD_OUT], found, losses, Path(picture))
    if save:
        torch.save({"net": net.state_dict(), "accuracy": accuracy}, save)
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--picture", default="digits_cnn.png")
    parser.add_argument("--save", help="keep the weights in this file")
    options = parser.parse_args()
    run(options.epochs, options.picture, options.save)
