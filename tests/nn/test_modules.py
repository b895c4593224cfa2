"""Modules beside PyTorch's: texts, states, first values, results, gradients, copies."""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import flambeau as fl

# What is called, and the shapes of its inputs; "l" marks integers, "p" positive numbers.
LAYERS: list[tuple[str, list]] = [
    ("Linear(3, 4)", [(2, 3)]), ("Linear(3, 4, bias=False)", [(5, 2, 3)]),
    ("Bilinear(2, 3, 4)", [(5, 2), (5, 3)]), ("Identity()", [(2,)]),
    ("Conv1d(2, 4, 3, padding='same')", [(2, 2, 7)]),
    ("Conv2d(2, 4, 3, 2, 1, groups=2)", [(2, 2, 7, 6)]),
    ("Conv3d(1, 2, 2, bias=False)", [(1, 1, 3, 4, 3)]),
    ("Conv2d(2, 3, 3, padding=1, padding_mode='reflect')", [(1, 2, 5, 5)]),
    ("ConvTranspose1d(2, 3, 3, 2, 1, 1)", [(1, 2, 4)]),
    ("ConvTranspose2d(2, 4, 3, 2, groups=2)", [(1, 2, 3, 4)]),
    ("ConvTranspose3d(1, 2, 2)", [(1, 1, 2, 3, 2)]),
    ("MaxPool2d(2, return_indices=True)", [(1, 2, 5, 4)]), ("MaxPool1d(2, ceil_mode=True)",
                                                            [(1, 2, 5)]),
    ("AvgPool2d(3, 1, 1, count_include_pad=False)", [(1, 2, 5, 4)]),
    ("AvgPool3d(2, divisor_override=3)", [(1, 2, 4, 4, 4)]), ("AvgPool1d(2)", [(1, 2, 5)]),
    ("LPPool2d(2, 2)", [("p", 1, 2, 5, 4)]), ("AdaptiveAvgPool2d((None, 2))", [(1, 2, 5, 4)]),
    ("AdaptiveMaxPool1d(3)", [(1, 2, 5)]), ("FractionalMaxPool2d(2, 3)", [(1, 2, 6, 7)]),
    ("ReLU()", [(3,)]), ("ReLU6()", [(3,)]), ("Hardtanh(-0.5, 0.5)", [(3,)]), ("Tanh()", [(3,)]),
    ("Sigmoid()", [(3,)]), ("SiLU()", [(3,)]), ("Mish()", [(3,)]), ("ELU(2.0)", [(3,)]),
    ("CELU()", [(3,)]), ("SELU()", [(3,)]), ("GELU('tanh')", [(3,)]), ("GLU()", [(2, 4)]),
    ("Hardswish()", [(3,)]), ("Hardsigmoid()", [(3,)]), ("Hardshrink()", [(3,)]),
    ("Softshrink(0.1)", [(3,)]), ("LeakyReLU(0.2)", [(3,)]), ("LogSigmoid()", [(3,)]),
    ("Softplus(2.0)", [(3,)]), ("PReLU(2)", [(3, 2)]), ("RReLU()", [(3,)]),
    ("Softsign()", [(3,)]), ("Tanhshrink()", [(3,)]), ("Threshold(0.1, 2.0)", [(3,)]),
    ("Softmax(1)", [(2, 3)]), ("Softmin(0)", [(2, 3)]), ("LogSoftmax(1)", [(2, 3)]),
    ("Softmax2d()", [(2, 3, 2)]), ("BatchNorm1d(3)", [(4, 3)]),
    ("BatchNorm2d(3, momentum=None)", [(2, 3, 2, 2)]), ("BatchNorm3d(2, affine=False)",
                                                        [(2, 2, 2, 2, 2)]),
    ("BatchNorm1d(3, bias=False)", [(2, 3, 2)]), ("SyncBatchNorm(3)", [(4, 3, 2)]),
    ("InstanceNorm1d(3, affine=True, track_running_stats=True)", [(2, 3, 4)]),
    ("InstanceNorm2d(3)", [(3, 4, 2)]), ("LayerNorm((2, 3))", [(4, 2, 3)]),
    ("GroupNorm(2, 4)", [(2, 4, 3)]), ("RMSNorm(3)", [(2, 3)]),
    ("LocalResponseNorm(3)", [(2, 4, 5)]), ("CrossMapLRN2d(3, 0.5)", [(1, 7, 2, 2)]),
    ("RNN(3, 4, nonlinearity='relu')", [(5, 2, 3)]), ("GRU(3, 4, bidirectional=True)",
                                                      [(5, 2, 3)]),
    ("LSTM(3, 4, 2, batch_first=True, dropout=0.4)", [(2, 5, 3)]),
    ("LSTM(3, 4, proj_size=2, bias=False)", [(5, 2, 3)]), ("GRU(3, 4)", [(5, 3)]),
    ("RNNCell(3, 4)", [(2, 3)]), ("LSTMCell(3, 4, bias=False)", [(2, 3)]), ("GRUCell(3, 4)",
                                                                            [(3,)]),
    ("MultiheadAttention(4, 2)", [(3, 2, 4)] * 3),
    ("MultiheadAttention(4, 2, kdim=3, vdim=5, add_bias_kv=True, add_zero_attn=True)",
     [(3, 2, 4), (5, 2, 3), (5, 2, 5)]),
    ("TransformerEncoderLayer(4, 2, 8, activation='gelu', batch_first=True)", [(2, 3, 4)]),
    ("TransformerDecoderLayer(4, 2, 8, norm_first=True, bias=False)", [(3, 2, 4), (5, 2, 4)]),
    ("Transformer(4, 2, 1, 1, 8)", [(3, 2, 4), (5, 2, 4)]),
    ("Embedding(5, 3, padding_idx=-1)", [("l", 2, 3)]), ("EmbeddingBag(5, 3, mode='max')",
                                                         [("l", 2, 3)]),
    ("Dropout(0.3)", [(4, 5)]), ("Dropout1d()", [(3, 4, 2)]), ("Dropout2d()", [(2, 3, 2, 2)]),
    ("Dropout3d(0.2)", [(2, 3, 2, 2, 1)]), ("AlphaDropout(0.3)", [(4, 5)]),
    ("FeatureAlphaDropout(0.3)", [(4, 5, 2)]),
    ("ZeroPad2d((1, 2, 0, 1))", [(1, 2, 2)]), ("ConstantPad1d(1, 2.5)", [(2, 3)]),
    ("ReflectionPad2d(1)", [(1, 3, 3)]), ("ReplicationPad3d(1)", [(1, 2, 2, 2)]),
    ("CircularPad1d(2)", [(2, 3)]), ("PixelShuffle(2)", [(1, 4, 2, 2)]),
    ("PixelUnshuffle(2)", [(1, 1, 4, 4)]), ("ChannelShuffle(2)", [(1, 4, 2)]),
    ("Upsample(scale_factor=2, mode='bilinear')", [(1, 2, 3, 2)]), ("UpsamplingNearest2d(5)",
                                                                    [(1, 2, 3, 2)]),
    ("Fold((4, 5), 2)", [(1, 12, 12)]), ("Unfold(2, padding=1)", [(1, 2, 3, 4)]),
    ("Flatten(0, 1)", [(2, 3, 4)]), ("Unflatten(1, (2, -1))", [(2, 6)]),
    ("PairwiseDistance(1.0)", [(3, 4), (3, 4)]), ("CosineSimilarity()", [(3, 4), (3, 4)]),
    ("L1Loss()", [(3,), (3,)]), ("MSELoss(reduction='sum')", [(3,), (3,)]),
    ("SmoothL1Loss(beta=0.5)", [(3,), (3,)]), ("HuberLoss(delta=0.5)", [(3,), (3,)]),
    ("KLDivLoss(reduction='batchmean')", [(2, 3), ("p", 2, 3)]), ("NLLLoss()", [(4, 5), ("l", 4)]),
    ("CrossEntropyLoss(label_smoothing=0.1)", [(4, 5), ("l", 4)]),
    ("PoissonNLLLoss(full=True)", [(3,), ("p", 3)]), ("GaussianNLLLoss()",
                                                      [(3,), (3,), ("p", 3)]),
    ("BCELoss()", [("p", 3), ("p", 3)]), ("BCEWithLogitsLoss()", [(3,), ("p", 3)]),
    ("HingeEmbeddingLoss()", [(3,), (3,)]), ("SoftMarginLoss()", [(3,), (3,)]),
    ("MarginRankingLoss(0.1)", [(3,), (3,), (3,)]), ("MultiMarginLoss()", [(4, 5), ("l", 4)]),
    ("MultiLabelMarginLoss()", [(2, 5), ("l", 2, 5)]),
    ("MultiLabelSoftMarginLoss()", [(2, 3), ("p", 2, 3)]),
    ("TripletMarginLoss(swap=True)", [(3, 4)] * 3),
    ("TripletMarginWithDistanceLoss()", [(3, 4)] * 3),
    ("LinearCrossEntropyLoss(3, 5, bias=True)", [(4, 3), ("l", 4)]),
    ("AdaptiveLogSoftmaxWithLoss(8, 5, [2, 4])", [(4, 8), ("l", 4)]),
]


def arrays_for(shapes: list) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    found = []
    for shape in shapes:
        kind, shape = (shape[0], shape[1:]) if isinstance(shape[0], str) else ("", shape)
        if kind == "l":
            found.append(rng.integers(0, 5, shape))
        else:
            a = rng.uniform(0.05, 0.95, shape) if kind == "p" else rng.normal(size=shape)
            found.append(a.astype(np.float32))
    return found


def made(torch: Any, call: str) -> Any:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return eval(f"nn.{call}", {"nn": torch.nn})


def results_in(value: Any) -> list:
    if isinstance(value, (tuple, list)):
        return [t for v in value for t in results_in(v)]
    return [] if value is None else [value]


def run(torch: Any, call: str, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Results, state afterwards and gradients of everything, in training."""
    module = made(torch, call)
    inputs = [torch.from_numpy(a.copy()) for a in arrays]
    for t in inputs[:1 if "Loss" in call else None]:
        t.requires_grad_(t.is_floating_point())
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = results_in(module(*inputs))
    floating = [t for t in found if t.is_floating_point() and t.requires_grad]
    if floating:
        sum((t * t.detach().cos()).sum() for t in floating).backward()
    grads = [t.grad for t in [*inputs, *module.parameters()] if t.requires_grad]
    everything = [*found, *module.state_dict().values(), *[g for g in grads if g is not None]]
    return [t.detach().numpy() for t in everything]


@pytest.mark.parametrize(("call", "shapes"), LAYERS, ids=[c for c, _ in LAYERS])
def test_same_numbers(call: str, shapes: list, torch_oracle: ModuleType) -> None:
    ours, theirs = made(fl, call), made(torch_oracle, call)
    assert repr(ours) == repr(theirs)
    state, expected = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(expected)
    assert state._metadata == expected._metadata
    for key, value in expected.items():
        np.testing.assert_array_equal(state[key].numpy(), value.numpy(), err_msg=key)
    arrays = arrays_for(shapes)
    got, want = run(fl, call, arrays), run(torch_oracle, call, arrays)
    assert len(got) == len(want)
    for a, b in zip(got, want):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("call", "shapes"), LAYERS[::4], ids=[c for c, _ in LAYERS[::4]])
def test_copies(call: str, shapes: list) -> None:
    module = made(fl, call).eval()
    inputs = [fl.from_numpy(a) for a in arrays_for(shapes)]
    fl.manual_seed(1)
    want = results_in(module(*inputs))
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        fl.manual_seed(1)
        for a, b in zip(results_in(other(*inputs)), want):
            np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def signature(function: Any) -> list:
    kinds = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, None if callable(p.default) else p.default) for p in kinds]


def test_signatures(torch_oracle: ModuleType) -> None:
    """Names, kinds and defaults of all arguments are PyTorch's; every class shows an example."""
    base, checked = torch_oracle.nn.Module, 0
    for name, theirs in vars(torch_oracle.nn).items():
        ours = getattr(fl.nn, name, None)
        if ours is None or not inspect.isclass(theirs) or not issubclass(theirs, base):
            continue
        if name in ("Container", "Module", "NLLLoss2d") or "Data" in name or "Dict" in name:
            continue
        assert signature(ours.__init__) == signature(theirs.__init__), name
        if name != "RNNBase":
            assert signature(ours.forward) == signature(theirs.forward), name
        assert getattr(ours, "__constants__", []) == getattr(theirs, "__constants__", []), name
        checked += 1
    assert checked > 130


def test_dtype_and_device() -> None:
    for call in ("Conv2d(1, 1, 1", "BatchNorm1d(2", "LSTM(2, 3", "MultiheadAttention(4, 2",
                 "Embedding(2, 3", "LayerNorm(3", "AdaptiveLogSoftmaxWithLoss(4, 5, [2]"):
        module = eval(f"nn.{call}, device='cpu', dtype=fl.float64)", {"nn": fl.nn, "fl": fl})
        assert {p.dtype for p in module.parameters()} == {fl.float64}


ERRORS = [
    ("Conv2d(3, 4, 3, groups=2)", ValueError, "in_channels must be divisible by groups"),
    ("Conv1d(2, 2, 3, 2, 'same')", ValueError, "padding='same' is not supported for strided"),
    ("ConvTranspose1d(2, 2, 3, padding_mode='reflect')", ValueError, 'Only "zeros" padding mode'),
    ("Hardtanh(2, 1)", AssertionError, "max_val (1) must be greater than min_val (2)"),
    ("Dropout(1.5)", ValueError, "dropout probability has to be between 0 and 1, but got 1.5"),
    ("GroupNorm(3, 4)", ValueError, "num_channels (4) must be divisible by num_groups (3)"),
    ("Embedding(2, 3, padding_idx=2)", AssertionError, "Padding_idx must be within num_embed"),
    ("LSTM(2, 3, proj_size=3)", ValueError, "proj_size has to be smaller than hidden_size"),
    ("GRU(2, 3, proj_size=1)", ValueError, "proj_size argument is only supported for LSTM"),
    ("RNN(2, 3, nonlinearity='x')", ValueError, "Unknown nonlinearity 'x'."),
    ("RNN(2.0, 3)", TypeError, "input_size should be of type int, got: float"),
    ("MultiheadAttention(5, 2)", AssertionError, "embed_dim must be divisible by num_heads"),
    ("Unflatten(1, 5)", TypeError, "unflattened_size must be a tuple of ints, but found"),
    ("FractionalMaxPool2d(2)", ValueError, "FractionalMaxPool2d requires specifying either"),
    ("AdaptiveLogSoftmaxWithLoss(4, 5, [3, 2])", ValueError, "cutoffs should be a sequence of"),
    ("TransformerEncoderLayer(4, 2, activation='x')", RuntimeError,
     "activation should be relu/gelu, not x"),
    ("MultiMarginLoss(3)", ValueError, "only p == 1 and p == 2 supported"),
    ("HuberLoss(delta='a')", TypeError, "delta must be a float or int"),
]


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS, ids=[c for c, _, _ in ERRORS])
def test_refused(call: str, kind: type, text: str) -> None:
    with pytest.raises(kind) as caught:
        made(fl, call)
    assert str(caught.value).startswith(text)


def test_older_states() -> None:
    """Batch normalisation counts no batches in version 1; others' statistics are refused."""
    norm = fl.nn.BatchNorm1d(3)
    state = norm.state_dict()
    del state["num_batches_tracked"]
    state._metadata[""]["version"] = 1
    assert str(norm.load_state_dict(state)) == "<All keys matched successfully>"
    old = fl.nn.InstanceNorm1d(3, track_running_stats=True).state_dict()
    old._metadata[""] = {}
    with pytest.raises(RuntimeError, match='Unexpected running stats buffer.s. "running_mean"'):
        fl.nn.InstanceNorm1d(3).load_state_dict(old)


def test_output_size_of_transposed_convolutions() -> None:
    grow = fl.nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1)
    x = fl.ones(1, 1, 4, 4)
    assert grow(x, output_size=(8, 7)).shape == (1, 1, 8, 7)
    with pytest.raises(ValueError, match="requested an output size of .9, 9."):
        grow(x, output_size=(9, 9))


def test_convert_sync_batchnorm() -> None:
    net = fl.nn.Sequential(fl.nn.BatchNorm1d(2), fl.nn.Sequential(fl.nn.BatchNorm2d(3)))
    weight = net[0].weight
    converted = fl.nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert [type(m).__name__ for m in (converted[0], converted[1][0])] == ["SyncBatchNorm"] * 2
    assert converted[0].weight is weight
