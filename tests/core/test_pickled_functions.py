"""Public functions are pickled by the names that show them, as parts of networks are."""

import io
import subprocess
import sys

import pytest

import flambeau as torch
from flambeau.nn import functional

NAMES = {
    torch: "add exp relu softmax log_softmax tanh sigmoid matmul sum mean clamp cat where zeros "
           "rand sin max sort einsum save tensor tanh_ square",
    functional: "relu gelu softmax log_softmax silu linear cross_entropy dropout conv2d "
                "max_pool2d layer_norm pad one_hot",
    torch.Tensor: "add add_ relu_ softmax exp view zero_ detach to",
}

ALL = """
import pickle
import flambeau as torch
from flambeau.nn import functional
kept = [functional.relu, torch.matmul]
if {asks}:
    torch.add(torch.ones(2).as_subclass(type("Own", (torch.Tensor,), {{
        "__torch_function__": classmethod(lambda cls, f, types, args=(), kwargs=None: 1)}})), 1)
for place, names in {places}:
    if {asks} and place == "torch.Tensor":
        break
    for name in names.split():
        function = getattr(eval(place), name)
        assert pickle.loads(pickle.dumps(function)) is function, (place, name)
assert all([pickle.loads(pickle.dumps(function)) is function for function in kept])
"""


@pytest.mark.parametrize("asks", [False, True])
def test_functions_are_found_again_in_a_new_process(asks):
    """Also once they ask the classes of their arguments, which makes others of them."""
    places = [("torch", NAMES[torch]), ("functional", NAMES[functional]),
              ("torch.Tensor", NAMES[torch.Tensor])]
    subprocess.run([sys.executable, "-c", ALL.format(places=places, asks=asks)], check=True)


@pytest.mark.parametrize("name", ["relu", "gelu"])
def test_a_layer_keeps_its_activation(name):
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, activation=name, batch_first=True)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    x = torch.randn(2, 3, 8)
    assert torch.equal(layer.eval()(x), again.eval()(x))
