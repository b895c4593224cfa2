"""What is timed: each case takes the module (``torch``, whichever it is) and returns a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models import MODELS
from registry import registrar

Case = Callable[[Any], Callable[[], object]]
CASES: dict[str, Case] = {}
case = registrar(CASES)


def _expression(name: str, text: str, setup: Callable[[Any], dict]) -> None:
    def make(torch: Any) -> Callable[[], object]:
        return eval(f"lambda: {text}", {"torch": torch, **setup(torch)})

    CASES[name] = make


def _ten(torch: Any) -> dict:
    return {"a": torch.ones(10), "b": torch.full((10,), 2.0), "m": torch.ones(8, 8),
            "r": torch.ones(10, requires_grad=True), "n": torch.ones(8, 8, requires_grad=True)}


for _name, _text in {
        "a + b, 10 elements": "a + b", "a + b with gradient": "r + b", "a * 2.0": "a * 2.0",
        "a.exp()": "a.exp()", "a.relu()": "a.relu()", "x[0]": "a[0]", "x[2:5]": "a[2:5]",
        "x[0] with gradient": "r[0]", "m[1, 2:4]": "m[1, 2:4]", "a.sum()": "a.sum()",
        "a.sum() with gradient": "r.sum()", "a.mean()": "a.mean()", "m.sum(1)": "m.sum(1)",
        "m @ m, 8x8": "m @ m", "m @ m with gradient": "n @ m", "a.view(2, 5)": "a.view(2, 5)",
        "a.view(2, 5) with gradient": "r.view(2, 5)", "a.reshape(5, -1)": "a.reshape(5, -1)",
        "m[:, 1]": "m[:, 1]", "m.t()": "m.t()", "m.T with gradient": "n.T",
        "m.transpose(0, 1)": "m.transpose(0, 1)", "m.permute(1, 0)": "m.permute(1, 0)",
        "m.flatten()": "m.flatten()", "a.unsqueeze(0)": "a.unsqueeze(0)", "m.squeeze()":
        "m.squeeze()", "a.expand(8, 10)": "a.expand(8, 10)", "m.select(1, 0)": "m.select(1, 0)",
        "m.narrow(0, 2, 3)": "m.narrow(0, 2, 3)", "m.chunk(2)": "m.chunk(2)", "m.unbind()":
        "m.unbind()", "m.unbind() with gradient": "n.unbind()", "for row in m": "list(m)",
        "a.detach()": "a.detach()", "torch.zeros(10)": "torch.zeros(10)",
        "torch.tensor([1.0, 2.0])": "torch.tensor([1.0, 2.0])",
        "m.softmax(1)": "m.softmax(1)"}.items():
    _expression(_name, _text, _ten)


def _small(torch: Any) -> dict:
    torch.manual_seed(0)
    found = {"v": torch.randn(10), "n": torch.randn(64, 64), "F": torch.nn.functional,
             "t": torch.randint(0, 64, (64,)), "w": torch.ones(64), "z": torch.zeros(64)}
    return {**found, "mean": torch.zeros(64), "var": torch.ones(64)}


for _text in ("v.var()", "v.norm()", "n.std(1)", "n.max(1)", "n.argmax(1)", "n.clamp(-1, 1)",
              "n.clamp_(-3, 3)", "n.gather(1, t[:, None])", "torch.where(n > 0, n, 0.0)",
              "torch.cat([n, n])", "F.layer_norm(n, (64,), w, z)", "F.gelu(n)",
              "F.batch_norm(n, mean, var, w, z, True)", "F.cross_entropy(n, t)",
              "F.mse_loss(n, n)", "F.embedding(t, n)"):
    _expression(f"{_text}, small", _text, _small)


@case("m[:, 1] = 0.0")
def assign_column(torch: Any) -> Callable[[], object]:
    """A number into a part of a small matrix."""
    m = torch.ones(8, 8)

    def step() -> object:
        m[:, 1] = 0.0
        return m

    return step


def _lesson_data(torch: Any) -> tuple:
    torch.manual_seed(1)
    x = torch.randint(low=10, high=40, size=(10, 1))
    return x, 5 * x + torch.randn(10, 1)


def _lesson_step(x: Any, y: Any, w: Any, b: Any) -> Any:
    y_pred = w * x + b
    loss = 0.5 * (((y_pred - y) ** 2).mean())
    loss.backward()
    w.data = w.data - 0.0001 * w.grad
    b.data = b.data - 0.0001 * b.grad
    return loss


@case("the lesson's training step")
def lesson_step(torch: Any) -> Callable[[], object]:
    """One iteration of the lesson's loop, without its prints."""
    x, y = _lesson_data(torch)
    w = torch.tensor([2.0], requires_grad=True)
    b = torch.zeros(1, requires_grad=True)

    def step() -> object:
        return _lesson_step(x, y, w, b)

    return step


@case("the lesson's training loop, unmodified")
def lesson_loop(torch: Any) -> Callable[[], object]:
    """Six iterations with everything that the lesson prints of them."""
    x, y = _lesson_data(torch)

    def loop() -> list[str]:
        said = []
        w = torch.tensor([2.0], requires_grad=True)
        b = torch.zeros(1, requires_grad=True)
        for epoch in range(6):
            loss = _lesson_step(x, y, w, b)
            said.append("第{}次的loss={}".format(epoch, loss))  # noqa: UP032
            said.append("第{}次的w={},b={}:".format(epoch, w.grad, b.grad))  # noqa: UP032
            if loss.data.numpy() < 0:
                break
        return said

    return loop


@case("perceptron 2-16-1: forward, backward, SGD")
def perceptron(torch: Any) -> Callable[[], object]:
    """A step of a tiny network, its update written out."""
    torch.manual_seed(0)
    functional = torch.nn.functional
    x, y = torch.randn(32, 2), torch.randn(32, 1)
    weights = [torch.randn(16, 2), torch.zeros(16), torch.randn(1, 16), torch.zeros(1)]
    w1, b1, w2, b2 = weights = [w.requires_grad_() for w in weights]

    def step() -> object:
        hidden = torch.tanh(functional.linear(x, w1, b1))
        loss = functional.mse_loss(functional.linear(hidden, w2, b2), y)
        loss.backward()
        with torch.no_grad():
            for w in weights:
                w -= 0.01 * w.grad
                w.grad = None
        return loss

    return step


def _large(torch: Any) -> dict:
    torch.manual_seed(0)
    a = torch.randn(4096, 1024)
    return {"a": a, "b": torch.randn(4096, 1024), "mask": a > 0, "F": torch.nn.functional,
            "rows": torch.randint(0, 4096, (4096,)),
            "columns": torch.randint(0, 1024, (4096, 1024))}


for _text in ("a + b", "a * b", "a.exp()", "a.tanh()", "a.sigmoid()", "a.relu()", "a.sum()",
              "a.mean()", "a.max()", "a.sum(0)", "a.sum(1)", "a.max(0)", "a.argmax(1)", "a.prod(1)",
              "a.var(0)", "a.norm(dim=1)", "a.logsumexp(1)", "a.cumsum(0)", "a.cumsum(1)", "a ** 3",
              "a.log()", "a.clamp(-1, 1)", "a.lerp(b, 0.3)", "torch.where(mask, a, b)",
              "a.masked_fill(mask, 0.0)", "a.t().contiguous()", "torch.cat([a, b])", "a[rows]",
              "a.gather(1, columns)", "a.scatter_add(1, columns, b)", "a.index_add(0, rows, b)",
              "F.mse_loss(a, b)", "F.smooth_l1_loss(a, b)"):
    _expression(f"{_text}, 4M float32", _text, _large)


def _images(torch: Any) -> dict:
    torch.manual_seed(0)
    return {"x": torch.randn(32, 64, 56, 56)}


for _text in ("x.sum((0, 2, 3))", "x.amax((0, 2, 3))", "x.var((0, 2, 3))"):
    _expression(f"{_text}, 32x64x56x56", _text, _images)


def _huge(torch: Any) -> dict:
    return {"a": torch.ones(12 << 20), "b": torch.ones(12 << 20)}


_expression("a + b, 48 MB of output", "a + b", _huge)


@case("tanh-GELU written out, 4M float32")
def written_gelu(torch: Any) -> Callable[[], object]:
    """One expression of many elementwise operators: what fusing is for."""
    torch.manual_seed(0)
    x = torch.randn(4096, 1024)

    def step() -> object:
        return 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))

    return step


@case("tanh-GELU written out, 1M float32, forward and backward")
def written_gelu_both_ways(torch: Any) -> Callable[[], object]:
    """The same with a sum behind it, whose gradient goes back through all."""
    torch.manual_seed(0)
    x = torch.randn(1024, 1024, requires_grad=True)

    def step() -> object:
        y = 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))
        loss = y.sum()
        loss.backward()
        x.grad = None
        return loss

    return step


@case("softmax 4096x1024")
def softmax(torch: Any) -> Callable[[], object]:
    """Rows of 1024."""
    x = torch.randn(4096, 1024)
    return lambda: torch.softmax(x, 1)


@case("layer_norm 4096x1024, forward and backward")
def layer_norm(torch: Any) -> Callable[[], object]:
    """With weight and bias."""
    x = torch.randn(4096, 1024, requires_grad=True)
    w, b = (torch.ones(1024, requires_grad=True) for _ in range(2))
    g = torch.ones(4096, 1024)

    def step() -> object:
        y = torch.nn.functional.layer_norm(x, (1024,), w, b)
        y.backward(g)
        x.grad = w.grad = b.grad = None
        return y

    return step


@case("48 products 128x32x128")
def heads(torch: Any) -> Callable[[], object]:
    """What one layer of attention multiplies."""
    q, k = torch.randn(48, 128, 32), torch.randn(48, 32, 128)
    return lambda: q @ k


for _n in (512, 1024, 2048):
    _expression(f"product {_n}x{_n}x{_n}", "a @ a",
                lambda torch, n=_n: {"a": torch.randn(n, n)})


@case("attention 8x6x128x32, causal, forward and backward")
def attention(torch: Any) -> Callable[[], object]:
    """What a layer of the GPT attends to."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(8, 6, 128, 32, requires_grad=True) for _ in range(3))
    attend = torch.nn.functional.scaled_dot_product_attention

    def step() -> object:
        loss = attend(q, k, v, is_causal=True).sum()
        loss.backward()
        q.grad = k.grad = v.grad = None
        return loss

    return step


def _convolution(torch: Any) -> tuple:
    torch.manual_seed(0)
    x = torch.randn(32, 64, 56, 56, requires_grad=True)
    return x, torch.randn(64, 64, 3, 3, requires_grad=True)


@case("conv 3x3, 32x64x56x56 to 64, forward")
def convolve(torch: Any) -> Callable[[], object]:
    """Without bias, padded by one."""
    x, w = (t.detach() for t in _convolution(torch))
    return lambda: torch.nn.functional.conv2d(x, w, padding=1)


def _slope(torch: Any, of: int) -> Callable[[], object]:
    """The gradient of the convolution for its input (0) or its weight (1) alone."""
    both = _convolution(torch)
    y = torch.nn.functional.conv2d(*both, padding=1)
    g = torch.ones(*y.shape)
    return lambda: torch.autograd.grad(y, both[of], g, retain_graph=True)


CASES["conv 3x3, 32x64x56x56 to 64, input gradient"] = lambda torch: _slope(torch, 0)
CASES["conv 3x3, 32x64x56x56 to 64, weight gradient"] = lambda torch: _slope(torch, 1)

CASES.update(MODELS)
