"""Sunspots: an LSTM reads three centuries of the sun's activity and forecasts the next years.

    python -m flambeau run examples/sunspots_lstm.py
    python examples/sunspots_lstm.py           # the same program on PyTorch

Reads data/sunspots.csv (yearly means, 1700 to 2008), learns on the years to 1959, then forecasts
the years after, one at a time, and a whole decade ahead. Draws both into sunspots_lstm.png.
"""

import argparse
import csv
from pathlib import Path

import torch
from common import progress, save_picture
from torch import nn

DATA = Path(__file__).resolve().parent / "data" / "sunspots.csv"
LEARNED, WINDOW, SCALE = 260, 22, 100.0


def load():
    """The years (N,) and the mean numbers of sunspots (N,), in hundreds."""
    with open(DATA, newline="") as file:
        rows = list(csv.DictReader(file))
    years = [int(row["YEAR"]) for row in rows]
    return years, torch.tensor([float(row["SUNACTIVITY"]) for row in rows]) / SCALE


class Forecaster(nn.Module):
    """An LSTM over a window of years, and a linear layer on what it remembers at the end."""

    def __init__(self, width=32):
        super().__init__()
        self.lstm = nn.LSTM(1, width, batch_first=True)
        self.head = nn.Linear(width, 1)

    def forward(self, windows):
        """The year after each window: (N, WINDOW) to (N,)."""
        states, _ = self.lstm(windows.unsqueeze(-1))
        return windows[:, -1] + self.head(states[:, -1]).squeeze(-1)


def windows_of(series):
    """Every window of the series and the value that follows it."""
    return series.unfold(0, WINDOW, 1)[:-1], series[WINDOW:]


def train(net, series, epochs, quiet):
    """Full-batch Adam with clipped gradients; gives the loss of every epoch."""
    x, y = windows_of(series)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    losses = []
    for _ in progress(range(epochs), "training", quiet):
        optimizer.zero_grad()
        loss = nn.functional.smooth_l1_loss(net(x), y, beta=0.1)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def forecasts(net, series):
    """The forecast of each year after LEARNED from the years before it."""
    x, _ = windows_of(series)
    return net(x[LEARNED - WINDOW:])


@torch.no_grad()
def decade(net, series, start, years=11):
    """A forecast of several years from ``start`` on, each from the forecasts before it."""
    known = series[start - WINDOW:start]
    for _ in range(years):
        known = torch.cat([known, net(known[None, -WINDOW:])])
    return known[WINDOW:]


def draw(years, series, found, losses, ahead, path):
    """The series, the forecasts, and the loss."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (top, low) = plt.subplots(2, figsize=(9, 5), height_ratios=(3, 1))
    top.plot(years[150:], series[150:] * SCALE, "0.5", label="sunspots")
    top.plot(years[LEARNED:], found * SCALE, "C1", label="a year ahead")
    top.plot(range(years[-12], years[-12] + len(ahead)), ahead * SCALE, "C2--",
             label="eleven years ahead")
    top.axvline(years[LEARNED], color="0.8")
    top.legend()
    low.semilogy(losses)
    low.set(xlabel="epoch", ylabel="loss")
    save_picture(figure, path)


def run(epochs=400, picture=None, quiet=False):
    """Gives the mean error of the forecasts and that of saying "as this year"."""
    torch.manual_seed(0)
    years, series = load()
    net = Forecaster()
    losses = train(net, series[:LEARNED], epochs, quiet)
    found = forecasts(net, series)
    error = (found - series[LEARNED:]).abs().mean().item() * SCALE
    naive = (series[LEARNED - 1:-1] - series[LEARNED:]).abs().mean().item() * SCALE
    print(f"{years[LEARNED]} to {years[-1]}: off by {error:.1f} sunspots on average "
          f"(the year before: {naive:.1f})")
    if picture:
        ahead = decade(net, series, len(series) - 12)
        draw(years, series, found, losses, ahead, Path(picture))
    return error, naive


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--picture", default="sunspots_lstm.png")
    options = parser.parse_args()
    run(options.epochs, options.picture)
