"""Errors keep PyTorch's type and first line, then name the variables, the line and the fix."""

import pytest

import flambeau as torch


def lines_of(error):
    return str(error.value).splitlines()


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("FLAMBEAU_LANG", "en")


def test_matmul_names_operands_line_and_fix():
    images, weight = torch.ones(2, 3), torch.ones(2, 3)
    with pytest.raises(RuntimeError) as error:
        images @ weight
    first, _, *rest = lines_of(error)
    assert first == "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"
    assert rest[0] == "  images: float32, shape [2, 3]"
    assert "images @ weight" in rest[2] and "test_errors.py" in rest[2]
    assert "weight.mT would fit" in rest[3]


def test_an_expression_is_named_as_it_is_written():
    x = torch.ones(2, 3)
    with pytest.raises(RuntimeError) as error:
        torch.matmul(x, x * 2)
    assert "  (x * 2): float32, shape [2, 3]" in lines_of(error)


def test_broadcasting_names_both_sides():
    row, column = torch.ones(3), torch.ones(4)
    with pytest.raises(RuntimeError) as error:
        row + column
    text = str(error.value)
    assert text.startswith("The size of tensor a (3) must match the size of tensor b (4)")
    assert "row: float32" in text and "column: float32" in text


def test_backward_twice():
    loss = (torch.ones(2, requires_grad=True) ** 2).sum()
    loss.backward()
    with pytest.raises(RuntimeError) as error:
        loss.backward()
    text = str(error.value)
    assert text.startswith("Trying to backward through the graph a second time")
    assert "retain_graph=True" in text.splitlines()[-1]


def test_backward_of_a_vector():
    scores = torch.ones(2, requires_grad=True) * 2
    with pytest.raises(RuntimeError) as error:
        scores.backward()
    assert lines_of(error)[0] == "grad can be implicitly created only for scalar outputs"
    assert "scores.mean()" in str(error.value)


def test_changed_saved_tensor_is_named():
    hidden = torch.ones(2, requires_grad=True).exp()
    hidden += 1
    with pytest.raises(RuntimeError) as error:
        hidden.sum().backward()
    text = str(error.value)
    assert text.startswith("one of the variables needed for gradient computation has been "
                           "modified by an inplace operation")
    assert "  hidden: float32" in text and "ExpBackward0 saved" in text


def test_leaf_in_place_keeps_its_values():
    weight = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError) as error:
        weight -= 1
    assert "weight -= lr * weight.grad" in str(error.value)
    assert weight.tolist() == [1.0, 1.0]


def test_numpy_integer_grad_index_bool_and_device():
    weight = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"(?s)Can't call numpy\(\).*weight.detach\(\).numpy"):
        weight.numpy()
    with pytest.raises(RuntimeError, match="(?s)Only Tensors of floating point.*no slope"):
        torch.tensor([1], requires_grad=True)
    with pytest.raises(IndexError, match="(?s)index 5 is out of bounds.*from -2 to 1"):
        weight[5]
    with pytest.raises(RuntimeError, match=r"(?s)Boolean value.*\(weight > 0\).any\(\)"):
        if weight > 0:
            raise AssertionError
    with pytest.raises(AssertionError, match="(?s)Torch not compiled with CUDA.*is_available"):
        torch.zeros(2, device="cuda")
    with pytest.raises(RuntimeError, match="Expected one of cpu, cuda"):
        torch.zeros(2, device="gpu")


def test_chinese(monkeypatch):
    monkeypatch.setenv("FLAMBEAU_LANG", "zh")
    left = torch.ones(2, 3)
    with pytest.raises(RuntimeError) as error:
        left @ left
    assert lines_of(error)[0] == "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"
    assert "  left：float32，形状 [2, 3]" in lines_of(error)


def test_every_text_exists_in_both_languages():
    from flambeau.base.messages import TEXTS

    assert all({"en", "zh"} == set(t) for t in TEXTS.values())
