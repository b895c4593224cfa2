"""What the lesson runs: nine steps, each of one or more pieces of code.

The pieces of a step share their variables; a step needs no other step. The code is the same in
every language, so it holds no comments and prints names only: ``english`` and ``chinese`` say
what it does and why. PyTorch runs it as it stands and prints the same.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PICTURE", "STEPS", "Step"]


@dataclass(frozen=True)
class Step:
    """A step of the lesson: the name of its texts, and its pieces of code."""

    name: str
    pieces: tuple[str, ...]


TENSOR = """\
import torch

number = torch.tensor(7.0)
row = torch.tensor([1.0, 2.0, 3.0])
table = torch.tensor([[1, 2, 3], [4, 5, 6]])
photo = torch.zeros(3, 4, 6)
photos = torch.zeros(10, 3, 4, 6)

print(number)
print(row)
print(table)
for t in (number, row, table, photo, photos):
    print(t.ndim, "dimensions", tuple(t.shape), t.numel(), "numbers")
"""

ATTRIBUTES = """\
import torch

EIGHT = ("data", "dtype", "shape", "device",
         "requires_grad", "grad", "grad_fn", "is_leaf")

def show(t):
    for name in EIGHT:
        print(f"{name:13}", getattr(t, name))

show(torch.tensor([4, 9]))
"""

ATTRIBUTES_FLOAT = """\
show(torch.tensor([4, 9], dtype=torch.float32, requires_grad=True))
"""

LISTS = """\
import torch

whole = torch.tensor([1, 2, 3])
real = torch.tensor([1, 2, 3.5])
truth = torch.tensor([True, False])
chosen = torch.tensor([1, 2, 3], dtype=torch.float64)
for t in (whole, real, truth, chosen):
    print(t, t.dtype)
"""

FILLED = """\
torch.manual_seed(0)
print(torch.zeros(2, 3))
print(torch.ones_like(whole))
print(torch.arange(0, 10, 2))
print(torch.linspace(0, 1, 5))
print(torch.rand(2, 2))
"""

COPY = """\
import numpy as np
import torch

array = np.array([1, 2, 3])
copied = torch.tensor(array)
array[0] = 100
print("array ", array)
print("copied", copied)
"""

SHARE = """\
import numpy as np
import torch

array = np.array([10.0, 20.0, 30.0])
shared = torch.from_numpy(array)
array[0] = -1
shared[2] = -3
print("array ", array)
print("shared", shared)
"""

SHARE_BACK = """\
back = shared.numpy()
back[1] = -2
print(type(back), back)
print(shared)
print("same memory:", np.shares_memory(back, array))
"""

LEAF = """\
import torch

w = torch.tensor([2.0, 3.0], requires_grad=True)
c = torch.tensor([10.0, 100.0])
y = w * c
total = y.sum()

for name, t in {"w": w, "c": c, "y": y, "total": total}.items():
    print(f"{name:6}is_leaf={t.is_leaf!s:6}requires_grad={t.requires_grad}")
print(y)
print(total)
"""

GRAPH = """\
node = total.grad_fn
while node is not None:
    print(type(node).__name__)
    node = node.next_functions[0][0] if node.next_functions else None

y.retain_grad()
total.backward()
for name, t in {"w": w, "c": c, "y": y}.items():
    print(f"{name}.grad", t.grad)
"""

CHAIN = """\
import torch

x = torch.tensor(3.0, requires_grad=True)
u = 2 * x + 1
z = u ** 2
z.backward()
print("autograd ", x.grad)

du_dx = 2.0
dz_du = 2 * u.item()
print("by hand  ", dz_du, "*", du_dx, "=", dz_du * du_dx)

h = 0.001
nudged = (2 * (x.item() + h) + 1) ** 2
print(f"by a nudge {(nudged - z.item()) / h:.3f}")
"""

CHAIN_MANY = """\
x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
u = x - 2
z = (u ** 2).mean()
z.backward()
print(z)
print("autograd", x.grad)

dz_du = 2 * u.detach() / u.numel()
du_dx = 1.0
print("by hand ", dz_du * du_dx)
"""

DESCENT = """\
import torch

w = torch.tensor(1.0, requires_grad=True)
for turn in range(3):
    z = 5 * w
    z.backward()
    print("w.grad", w.grad)

w.grad = None
z = 5 * w
z.backward()
print("after clearing", w.grad)
"""

DESCENT_STEP = """\
with torch.no_grad():
    w -= 0.1 * w.grad
print(w)
print("z was", z.item(), "and is", (5 * w).item())
"""

DATA = """\
import torch

torch.manual_seed(3)
hours = 8 * torch.rand(24)
height = 20 - 1.8 * hours + 0.6 * torch.randn(24)
for i in range(4):
    print(f"after {hours[i]:.2f} h: {height[i]:5.2f} cm")

slope = torch.zeros(1, requires_grad=True)
start = torch.zeros(1, requires_grad=True)
"""

LOOP = """\
rate = 0.03
losses = []
for step in range(1, 601):
    guess = slope * hours + start
    loss = ((guess - height) ** 2).mean()
    loss.backward()
    with torch.no_grad():
        slope -= rate * slope.grad
        start -= rate * start.grad
    slope.grad = None
    start.grad = None
    losses.append(loss.item())
    if step in (1, 2, 5, 10, 50, 100, 200, 400, 600):
        print(f"step {step:3}  loss {losses[-1]:8.3f}",
              f" slope {slope.item():6.3f}  start {start.item():6.3f}")
"""

RESULT = """\
print(f"height = {start.item():.2f} + ({slope.item():.2f}) * hours")

away = hours - hours.mean()
exact = (away * (height - height.mean())).sum() / (away ** 2).sum()
print(f"slope by the textbook's formula: {exact:.2f}")
print(f"burnt down after {(-start / slope).item():.1f} hours")
"""

PICTURE = """\
from matplotlib.figure import Figure

ends = torch.tensor([0.0, 8.0])
line = (slope * ends + start).detach()

figure = Figure(figsize=(10, 4), layout="constrained")
left, right = figure.subplots(1, 2)
left.scatter(hours.numpy(), height.numpy(), label="measured")
left.plot(ends.numpy(), line.numpy(), color="tab:orange", label="fitted")
left.set(title="a candle burns", xlabel="hours", ylabel="height, cm")
left.legend()
right.semilogy(range(1, len(losses) + 1), losses)
right.set(title="the loss falls", xlabel="step", ylabel="mean square")
figure.savefig(png)
"""

STEPS = (
    Step("tensor", (TENSOR,)),
    Step("attributes", (ATTRIBUTES, ATTRIBUTES_FLOAT)),
    Step("lists", (LISTS, FILLED)),
    Step("copy", (COPY,)),
    Step("share", (SHARE, SHARE_BACK)),
    Step("leaf", (LEAF, GRAPH)),
    Step("chain", (CHAIN, CHAIN_MANY)),
    Step("descent", (DESCENT, DESCENT_STEP)),
    Step("regression", (DATA, LOOP, RESULT, PICTURE)),
)
