"""What a step depends on may change between calls: compiled steps give what eager ones give."""

from __future__ import annotations

from typing import Any

import numpy as np

import flambeau as torch
from tests.compiler.harness import check

GLOBAL_RATE = 0.1
SETTINGS = {"rate": 0.1, "layers": [1.0, 2.0]}


def regression() -> tuple:
    x = torch.randn(10, 1)
    y = 3 * x + 0.5
    w = torch.zeros(1, requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    return x, y, w, b


def test_a_lesson_step() -> None:
    def build(wrap: Any) -> Any:
        x, y, w, b = regression()

        @wrap
        def step(x: Any, y: Any) -> Any:
            loss = ((w * x + b - y) ** 2).mean()
            loss.backward()
            with torch.no_grad():
                w.sub_(0.1 * w.grad)
                b.sub_(0.1 * b.grad)
            w.grad = None
            b.grad = None
            return loss

        return lambda i: step(x, y), lambda: (w, b)

    check(build)


def test_data_is_set() -> None:
    def build(wrap: Any) -> Any:
        x, y, w, b = regression()

        @wrap
        def step() -> Any:
            loss = 0.5 * ((w * x + b - y) ** 2).mean()
            loss.backward()
            w.data = w.data - 0.01 * w.grad
            b.data = b.data - 0.01 * b.grad
            return loss

        return lambda i: step(), lambda: (w, b)

    check(build)


def test_a_list_of_tensors() -> None:
    def build(wrap: Any) -> Any:
        xs = [torch.randn(3) for _ in range(4)]
        step = wrap(lambda xs, scale: sum(x * s for x, s in zip(xs, scale["by"])))
        return lambda i: step(xs[i % 2:], {"by": [1.0, 2.0 + (i > 10), 3.0, 4.0]}), lambda: xs

    check(build, least=4)


def test_a_list_grows() -> None:
    def build(wrap: Any) -> Any:
        held = [torch.ones(2)]

        @wrap
        def step(x: Any) -> Any:
            return x + sum(held)

        def call(i: int) -> Any:
            if i in (7, 12):
                held.append(torch.full((2,), float(i)))
            return step(torch.ones(2) * i)

        return call, lambda: held

    check(build)


def test_a_dict_changes() -> None:
    def build(wrap: Any) -> Any:
        held = {"a": torch.ones(2), "k": 2.0}

        @wrap
        def step(x: Any) -> Any:
            for key, value in held.items():
                x = x * value if key != "off" else x
            return x

        def call(i: int) -> Any:
            if i == 5:
                held["k"] = 3.0
            if i == 9:
                held["b"] = torch.full((2,), 0.5)
            if i == 13:
                held["a"] = torch.full((2,), 7.0)
            return step(torch.ones(2) * i)

        return call, lambda: [held["a"]]

    check(build)


def test_globals_change() -> None:
    def build(wrap: Any) -> Any:
        global GLOBAL_RATE
        GLOBAL_RATE = 0.1
        SETTINGS["rate"] = 0.1

        @wrap
        def step(x: Any) -> Any:
            return x * GLOBAL_RATE + SETTINGS["rate"]

        def call(i: int) -> Any:
            global GLOBAL_RATE
            if i == 6:
                GLOBAL_RATE = 0.5
            if i == 11:
                SETTINGS["rate"] = 1
            return step(torch.ones(3) * i)

        return call, list

    check(build)


def test_a_closure_changes() -> None:
    def build(wrap: Any) -> Any:
        rate = 1.0

        @wrap
        def step(x: Any) -> Any:
            return x * rate

        def call(i: int) -> Any:
            nonlocal rate
            rate = 2.0 if i > 8 else 1.0
            return step(torch.arange(3.0))

        return call, list

    check(build)


def test_attributes_change() -> None:
    class Config:
        scale = 2.0

        def __init__(self) -> None:
            self.inner = {"bias": 1.0}
            self.flag = True

    def build(wrap: Any) -> Any:
        config = Config()

        class Net:
            def __init__(self) -> None:
                self.config = config

            @wrap
            def run(self, x: Any) -> Any:
                x = x * self.config.scale + self.config.inner["bias"]
                return x if self.config.flag else -x

        net = Net()

        def call(i: int) -> Any:
            if i == 4:
                config.scale = 3.0
            if i == 8:
                config.inner["bias"] = -1.0
            if i == 12:
                config.flag = False
            if i == 16:
                Config.scale = 9.0
                del config.scale
            return net.run(torch.ones(2) * i)

        def state() -> Any:
            return []

        Config.scale = 2.0
        return call, state

    check(build)


def test_arguments_are_numbers() -> None:
    def build(wrap: Any) -> Any:
        step = wrap(lambda x, k, how="mul": x * k if how == "mul" else x + k)
        return (lambda i: step(torch.ones(2), [1, 1.0, True, -0.0][i % 4],
                               "mul" if i < 10 else "add"), list)

    check(build, least=4)


def test_ints_and_floats_differ() -> None:
    def build(wrap: Any) -> Any:
        step = wrap(lambda x, k: x * k)
        return lambda i: step(torch.arange(3), 1 if i < 10 else 1.0), list

    check(build)


def test_shapes_and_dtypes_change() -> None:
    def build(wrap: Any) -> Any:
        step = wrap(lambda x: (x * 2).sum(-1))

        def call(i: int) -> Any:
            x = torch.arange(24).reshape([(24,), (4, 6), (2, 3, 4)][i % 3])
            return step(x.float() if i > 9 else x)

        return call, list

    check(build, least=10)


def test_strides_change() -> None:
    def build(wrap: Any) -> Any:
        step = wrap(lambda x: x.t() * 2)
        return (lambda i: step(torch.arange(6.0).reshape(2, 3).t() if i % 2 else
                               torch.arange(6.0).reshape(3, 2)), list)

    check(build)


def test_grad_mode_changes() -> None:
    def build(wrap: Any) -> Any:
        w = torch.ones(3, requires_grad=True)
        step = wrap(lambda x: (x * w).detach() if torch.is_grad_enabled() else x * w)

        def call(i: int) -> Any:
            if i % 2:
                with torch.no_grad():
                    return step(torch.ones(3))
            return step(torch.ones(3))

        return call, lambda: w

    check(build)


def test_requires_grad_changes() -> None:
    def build(wrap: Any) -> Any:
        w = torch.ones(3)

        @wrap
        def step(x: Any) -> Any:
            y = (x * w).sum()
            if y.requires_grad:
                y.backward()
            return y.detach()

        def call(i: int) -> Any:
            if i == 9:
                w.requires_grad_()
            return step(torch.ones(3) * i)

        return call, lambda: w

    check(build, least=7)


def test_default_dtype_changes() -> None:
    def build(wrap: Any) -> Any:
        step = wrap(lambda x: x / 2)

        def call(i: int) -> Any:
            torch.set_default_dtype(torch.float64 if i % 2 else torch.float32)
            try:
                return step(torch.arange(3))
            finally:
                torch.set_default_dtype(torch.float32)

        return call, list

    check(build)


def test_default_device_and_determinism_change() -> None:
    def build(wrap: Any) -> Any:
        step = wrap(lambda x: (x + torch.ones(2), torch.empty(2)))

        def call(i: int) -> Any:
            torch.use_deterministic_algorithms(i % 4 > 1)
            try:
                with torch.device("cpu" if i % 6 < 3 else "meta"):
                    a, b = step(torch.zeros(2, device="cpu"))
                return a, b.isnan().all() if i % 4 > 1 else None
            except NotImplementedError:
                return "meta"
            finally:
                torch.use_deterministic_algorithms(False)

        return call, list

    check(build, least=6)


def test_sizes_depend_on_values() -> None:
    def build(wrap: Any) -> Any:
        step = wrap(lambda x: (x[x > 3] * 2).sum() + x.masked_select(x > 7).sum())
        return lambda i: step(torch.arange(10.0) + min(i // 3, 3)), list

    check(build, warns=True, least=4)


def test_swapped_parameters() -> None:
    def build(wrap: Any) -> Any:
        held = {"w": torch.ones(3, requires_grad=True)}

        @wrap
        def step(x: Any) -> Any:
            w = held["w"]
            (x * w).sum().backward()
            with torch.no_grad():
                w -= 0.1 * w.grad
            w.grad = None
            return w.detach().clone()

        def call(i: int) -> Any:
            if i == 7:
                held["w"].data = torch.full((3,), 5.0)
            if i == 12:
                held["w"] = torch.full((3,), -1.0, requires_grad=True)
            return step(torch.ones(3) * i)

        return call, lambda: held

    check(build)


def test_inputs_share_memory() -> None:
    def build(wrap: Any) -> Any:
        base = torch.zeros(6)

        @wrap
        def step(a: Any, b: Any) -> Any:
            a.add_(1)
            b.mul_(2)
            return a + b

        def call(i: int) -> Any:
            if i % 3 == 0:
                return step(base[:4], base[2:])
            if i % 3 == 1:
                return step(base, base)
            return step(base[:3], base[3:])

        return call, lambda: base

    check(build, compiled=False, warns=True)


def test_same_tensor_twice() -> None:
    def build(wrap: Any) -> Any:
        x, y = torch.ones(3), torch.ones(3)

        @wrap
        def step(a: Any, b: Any) -> Any:
            a.add_(1)
            return a * b

        return lambda i: step(x, x if i % 2 else y), lambda: (x, y)

    check(build)


def test_numpy_changes_an_input() -> None:
    def build(wrap: Any) -> Any:
        array = np.zeros(3, np.float32)
        x = torch.from_numpy(array)

        @wrap
        def step() -> Any:
            return x * 2

        def call(i: int) -> Any:
            array[i % 3] += 1
            return step()

        return call, lambda: x

    check(build)


def test_outputs_are_kept() -> None:
    def build(wrap: Any) -> Any:
        kept: list = []
        w = torch.ones(4, requires_grad=True)

        @wrap
        def step(x: Any) -> Any:
            y = x * 2
            (y * w).sum().backward()
            g = w.grad
            w.grad = None
            return y, y[1:], g

        def call(i: int) -> Any:
            kept.append(step(torch.ones(4) * i))
            return kept[-1]

        return call, lambda: kept

    check(build)


def test_outputs_that_are_inputs() -> None:
    def build(wrap: Any) -> Any:
        w = torch.ones(4)

        @wrap
        def step(x: Any) -> Any:
            w.add_(1)
            return x, w, w[1:3], w.detach(), (x * 2).view(2, 2)

        def call(i: int) -> Any:
            x = torch.ones(4) * i
            found = step(x)
            assert found[0] is x and found[1] is w
            found[2].zero_()
            found[3][0] = 9
            return found

        return call, lambda: w

    check(build)


def test_an_exception_half_way() -> None:
    def build(wrap: Any) -> Any:
        w = torch.ones(3)
        good = {"yes": True}

        @wrap
        def step(x: Any) -> Any:
            y = x * w
            if not good["yes"]:
                raise ValueError("stop here")
            w.add_(1)
            return y

        def call(i: int) -> Any:
            good["yes"] = i % 5 != 3
            return step(torch.ones(3))

        return call, lambda: w

    check(build, least=8)


def test_an_exception_undoes_the_step() -> None:
    from flambeau.compiler import compile

    w = torch.ones(3, requires_grad=True)
    state = torch.get_rng_state()

    @compile
    def step() -> None:
        with torch.no_grad():
            w.add_(torch.rand(3))
        (w * 2).sum().backward()
        raise ValueError("stop here")

    for _ in range(3):
        try:
            step()
        except ValueError:
            pass
        assert torch.equal(w, torch.ones(3)) and w.grad is None
        assert torch.equal(torch.get_rng_state(), state)


def test_random_numbers() -> None:
    def build(wrap: Any) -> Any:
        @wrap
        def step(x: Any) -> Any:
            noise = torch.randn(4) + torch.rand(4)
            mask = torch.bernoulli(torch.full((4,), 0.5))
            torch.nn.functional.dropout(x, 0.5)
            return x * noise * mask, torch.randint(0, 10, (3,)), torch.empty(2).normal_()

        return lambda i: step(torch.ones(4)), list

    check(build)


def test_a_python_counter() -> None:
    def build(wrap: Any) -> Any:
        class Net:
            def __init__(self) -> None:
                self.count = 0

            @wrap
            def run(self, x: Any) -> Any:
                self.count += 1
                return x * self.count

        net = Net()
        return lambda i: (net.run(torch.ones(2)), net.count), list

    check(build, compiled=False, warns=True)


def test_results_are_appended_to_a_list() -> None:
    def build(wrap: Any) -> Any:
        losses: list = []

        @wrap
        def step(x: Any) -> Any:
            losses.append((x * 2).sum())
            return x

        return lambda i: step(torch.ones(2) * i), lambda: losses

    check(build, compiled=False, warns=True)


def test_values_are_read() -> None:
    def build(wrap: Any) -> Any:
        @wrap
        def step(x: Any) -> Any:
            if x.sum() > 10:
                return x * 2
            return x - 1

        return lambda i: step(torch.ones(2) * i), list

    check(build, compiled=False, warns=True)


def test_python_random_numbers() -> None:
    import random

    def build(wrap: Any) -> Any:
        random.seed(0)
        step = wrap(lambda x: x * random.random())
        return lambda i: step(torch.ones(2)), list

    check(build, compiled=False, warns=True)


def test_numpy_random_numbers() -> None:
    def build(wrap: Any) -> Any:
        np.random.seed(0)
        step = wrap(lambda x: x * np.random.rand())
        return lambda i: step(torch.ones(2)), list

    check(build, compiled=False, warns=True)


def test_an_iterator_is_used_up() -> None:
    def build(wrap: Any) -> Any:
        numbers = iter(range(100))
        step = wrap(lambda x: x * next(numbers))
        return lambda i: step(torch.ones(2)), list

    check(build, compiled=False, warns=True)


def test_gradients_accumulate() -> None:
    def build(wrap: Any) -> Any:
        w = torch.ones(3, requires_grad=True)
        kept = []

        @wrap
        def step(x: Any, last: bool) -> Any:
            (x * w).sum().backward()
            if last:
                with torch.no_grad():
                    w.sub_(w.grad * 0.1)
                w.grad.zero_()
            return w.detach() * 1

        def call(i: int) -> Any:
            found = step(torch.ones(3) * i, i % 4 == 3)
            kept.append(w.grad)
            return found

        return call, lambda: (w, kept)

    check(build, least=8)
