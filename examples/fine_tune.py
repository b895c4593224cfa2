"""Fine-tuning: a network that knows ten digits learns to tell odd from even, from a few examples.

    python examples/digits_cnn.py --save digits.pt                     # on PyTorch
    python -m flambeau run examples/fine_tune.py --checkpoint digits.pt

The checkpoint may come from PyTorch or from flambeau: the file is the same. The body is kept as it
is, only a new head is trained. Draws both learning curves into fine_tune.png.
"""

import argparse
from pathlib import Path

import torch
from common import progress, save_picture
from digits_cnn import Network, load
from torch import nn

EXAMPLES, HELD_OUT = 60, 360


def prepared(checkpoint):
    """The network with the body of the checkpoint (or a fresh one), frozen, and a new head."""
    net = Network()
    if checkpoint is not None:
        net.load_state_dict(torch.load(checkpoint)["net"])
    for parameter in net.body.parameters():
        parameter.requires_grad_(False)
    net.head = nn.Linear(net.head.in_features, 2)
    return net


def tune(net, images, odd, steps, quiet):
    """Train the head; gives the accuracy on the held-out images after every step."""
    optimizer = torch.optim.AdamW(net.head.parameters(), lr=1e-2)
    net.eval()
    with torch.no_grad():
        features = net.body(images)
    seen, new = slice(0, EXAMPLES), slice(EXAMPLES, EXAMPLES + HELD_OUT)
    curve = []
    for _ in progress(range(steps), "fine-tuning", quiet):
        loss = nn.functional.cross_entropy(net.head(features[seen]), odd[seen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            right = net.head(features[new]).argmax(1) == odd[new]
        curve.append(right.double().mean().item())
    return curve


def draw(curves, path):
    """Accuracy over steps, of both beginnings."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    for name, curve in curves.items():
        axes.plot(curve, label=name)
    axes.set(xlabel="step", ylabel="held-out accuracy", title=f"odd or even, {EXAMPLES} examples")
    axes.legend()
    save_picture(figure, path)


def run(checkpoint, steps=100, picture=None, quiet=False):
    """Tune both; gives the last accuracy with the checkpoint and without."""
    curves = {}
    for name, start in (("from the checkpoint", checkpoint), ("from random weights", None)):
        torch.manual_seed(0)
        images, digits = load()
        curves[name] = tune(prepared(start), images, digits % 2, steps, quiet)
        print(f"{name}: {curves[name][-1]:.2%} of {HELD_OUT} right after {EXAMPLES} examples")
    if picture:
        draw(curves, Path(picture))
    return tuple(curve[-1] for curve in curves.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--picture", default="fine_tune.png")
    options = parser.parse_args()
    run(options.checkpoint, options.steps, options.picture)
