"""What is a house worth? A linear model of Baltimore's house prices in 1978.

    python -m flambeau run examples/house_prices.py
    python examples/house_prices.py            # the same program on PyTorch

Reads data/baltimore.csv, fits price = features @ weight + bias by gradient descent on part of the
houses, tries it on the others, and draws what came of it into house_prices.png.
"""

import argparse
import csv
from pathlib import Path

import torch

DATA = Path(__file__).resolve().parent / "data" / "baltimore.csv"
FEATURES = {
    "SQFT": "living space",
    "LOTSZ": "size of the lot",
    "NROOM": "rooms",
    "NBATH": "bathrooms",
    "NSTOR": "storeys",
    "GAR": "garage",
    "PATIO": "patio",
    "FIREPL": "fireplace",
    "AC": "air conditioning",
    "BMENT": "basement",
    "DWELL": "stands alone",
    "CITCOU": "outside the city",
    "AGE": "age",
}
HELD_OUT = 42  # houses that the model is tried on and never sees in training


def load():
    """Features (N, F) and prices (N, 1), in thousands of dollars."""
    with open(DATA, newline="") as file:
        rows = list(csv.DictReader(file))
    features = torch.tensor([[float(row[name]) for name in FEATURES] for row in rows])
    prices = torch.tensor([[float(row["PRICE"])] for row in rows])
    return features, prices


def split(features, prices):
    """The houses in random order, in two parts: to learn from and to be tried on."""
    order = torch.randperm(len(prices))
    tried, learned = order[:HELD_OUT], order[HELD_OUT:]
    return features[learned], prices[learned], features[tried], prices[tried]


def mean_square(difference):
    return (difference ** 2).mean()


def train(x, y, x_new, y_new, epochs, rate):
    """Gradient descent; gives the weight (F, 1), the bias (1,) and the losses of every epoch."""
    weight = torch.zeros(x.shape[1], 1, requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    losses = []
    for epoch in range(1, epochs + 1):
        loss = mean_square(x @ weight + bias - y)
        loss.backward()
        with torch.no_grad():
            for parameter in (weight, bias):
                parameter -= rate * parameter.grad
                parameter.grad.zero_()
            unseen = mean_square(x_new @ weight + bias - y_new)
        losses.append((loss.item(), unseen.item()))
        if epoch == 1 or epoch % (epochs // 10 or 1) == 0:
            print(f"epoch {epoch:4d}   off by ${1000 * losses[-1][0] ** 0.5:6.0f}"
                  f"   on unseen houses by ${1000 * losses[-1][1] ** 0.5:6.0f}")
    return weight.detach(), bias.detach(), losses


def report(weight, bias, y_new, guess):
    """What each feature is worth, and how good the model is on houses it has not seen."""
    print(f"\nthe average house: ${1000 * bias.item():.0f}")
    print("one standard deviation more of ... adds")
    for value, name in sorted(zip(weight.flatten().tolist(), FEATURES.values()), reverse=True):
        print(f"  {name:18s} {1000 * value:+7.0f} $")
    explained = 1 - mean_square(guess - y_new) / mean_square(y_new - y_new.mean())
    print(f"explained of the variance of unseen houses: {100 * explained.item():.1f} %")


def draw(path, weight, losses, y, fitted, y_new, guess):
    """Three panels: prices and the model's, the falling loss, the weights."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.5), layout="constrained")
    left.scatter(y.numpy(), fitted.numpy(), s=14, alpha=0.6, label="learned from")
    left.scatter(y_new.numpy(), guess.numpy(), s=22, label="never seen")
    highest = max(y.max().item(), y_new.max().item())
    left.plot([0, highest], [0, highest], color="0.5", linewidth=1)
    left.set(title="211 houses, Baltimore 1978", xlabel="price paid, $1000",
             ylabel="price by the model, $1000")
    left.legend()
    middle.semilogy([mine for mine, _ in losses], label="learned from")
    middle.semilogy([unseen for _, unseen in losses], label="never seen")
    middle.set(title="the loss falls", xlabel="epoch", ylabel="mean squared error")
    middle.legend()
    values, names = zip(*sorted(zip(weight.flatten().tolist(), FEATURES.values())))
    right.barh(names, values, color=["tab:red" if value < 0 else "tab:green" for value in values])
    right.set(title="worth of one standard deviation", xlabel="$1000")
    figure.savefig(path, dpi=100)
    print(f"picture: {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--rate", type=float, default=0.02, help="learning rate")
    parser.add_argument("--picture", default="house_prices.png", help="where to draw it")
    options = parser.parse_args()

    torch.manual_seed(1978)
    x, y, x_new, y_new = split(*load())
    print(f"{len(y)} houses to learn from, {len(y_new)} to be tried on, {x.shape[1]} features")
    mean, spread = x.mean(dim=0), x.std(dim=0)
    x, x_new = (x - mean) / spread, (x_new - mean) / spread

    weight, bias, losses = train(x, y, x_new, y_new, options.epochs, options.rate)
    guess = x_new @ weight + bias
    report(weight, bias, y_new, guess)
    try:
        draw(options.picture, weight, losses, y, x @ weight + bias, y_new, guess)
    except ModuleNotFoundError as error:
        print(f"no picture: {error}; `pip install matplotlib` brings it")


if __name__ == "__main__":
    main()
