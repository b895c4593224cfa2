"""A small GPT learns Python's own documentation letter by letter, then writes some.

    python -m flambeau run examples/char_gpt.py
    python examples/char_gpt.py                # the same program on PyTorch

The text is what Python's help() shows (the module pydoc_data.topics, which every Python brings
along; PSF licence). The network is that of Radford and others (2018): blocks of causal attention
and a two-layer perceptron, each behind a layer norm. Draws the falling loss into char_gpt.png.
"""

import argparse
import math
from pathlib import Path

import torch
from common import progress, save_picture
from torch import nn
from torch.nn import functional as F


def load(limit=400_000):
    """The text as numbers (N,), and the letters that they stand for."""
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics))[:limit]
    letters = sorted(set(text))
    number = {letter: i for i, letter in enumerate(letters)}
    return torch.tensor([number[letter] for letter in text]), letters


class Block(nn.Module):
    """Causal attention over what came before, then a perceptron for every place."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(),
                                        nn.Linear(4 * width, width))

    def forward(self, x):
        b, t, c = x.shape
        parts = self.mix(self.first(x)).split(c, dim=2)
        q, k, v = [p.view(b, t, self.heads, c // self.heads).transpose(1, 2) for p in parts]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
        return x + self.perceptron(self.second(x))


class GPT(nn.Module):
    """Letters to the logits of the letter after each of them."""

    def __init__(self, letters, context=64, width=96, layers=3, heads=4):
        super().__init__()
        self.context = context
        self.letters = nn.Embedding(letters, width)
        self.places = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, letters, bias=False)

    def forward(self, index):
        x = self.letters(index) + self.places(torch.arange(index.shape[1]))
        return self.head(self.norm(self.blocks(x)))

    @torch.no_grad()
    def write(self, index, count, temperature=0.8):
        """``count`` more letters after ``index`` (1, t), drawn one at a time."""
        for _ in range(count):
            logits = self(index[:, -self.context:])[:, -1] / temperature
            index = torch.cat([index, torch.multinomial(logits.softmax(-1), 1)], dim=1)
        return index


def batch_of(data, size, context):
    """Random pieces of the text and the same one letter later."""
    starts = torch.randint(len(data) - context - 1, (size,))
    pieces = torch.stack([data[s:s + context + 1] for s in starts.tolist()])
    return pieces[:, :-1], pieces[:, 1:]


def train(net, data, steps, quiet):
    """AdamW with a warm-up and a falling rate; gives the loss of every step."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(
        (i + 1) / 50, 0.5 * (1 + math.cos(math.pi * i / steps))))
    losses = []
    for _ in progress(range(steps), "training", quiet):
        x, y = batch_of(data, 16, net.context)
        loss = F.cross_entropy(net(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def draw(losses, path):
    """The loss, and its mean over fifty steps."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    smooth = torch.tensor(losses).unfold(0, min(50, len(losses)), 1).mean(1)
    figure, axes = plt.subplots(figsize=(7, 4))
    axes.plot(losses, "0.8")
    axes.plot(range(len(losses) - len(smooth), len(losses)), smooth)
    axes.set(xlabel="step", ylabel="loss (nats per letter)")
    save_picture(figure, path)


def run(steps=1000, picture=None, count=300, quiet=False):
    """Train it; gives the mean of the first and of the last ten losses, and what it writes."""
    torch.manual_seed(0)
    data, letters = load()
    net = GPT(len(letters))
    losses = train(net, data, steps, quiet)
    start = torch.tensor([[letters.index(c) for c in "The "]])
    written = "".join(letters[i] for i in net.eval().write(start, count)[0].tolist())
    first, last = (sum(part) / len(part) for part in (losses[:10], losses[-10:]))
    print(f"loss {first:.3f} -> {last:.3f} nats per letter\n\n{written}")
    if picture:
        draw(losses, Path(picture))
    return first, last, written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--picture", default="char_gpt.png")
    options = parser.parse_args()
    run(options.steps, options.picture)
