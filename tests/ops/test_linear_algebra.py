"""Linear algebra that samples do not show: errors, infos, singular matrices, slopes of factors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import flambeau as torch

ZEROS = torch.zeros(2, 3, 3)
SQUARE = torch.tensor([[2.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 4.0]])
COLUMN = torch.ones(3, 1)
PIVOTS = torch.tensor([1, 2, 3], dtype=torch.int32)

ERRORS = [
    (lambda: torch.linalg.lu_factor(ZEROS), RuntimeError,
     r"torch.linalg.lu_factor: \(Batch element 0\): U\[1,1\] is zero"),
    (lambda: torch.linalg.lu_factor(SQUARE, pivot=False), RuntimeError,
     "linalg.lu_factor: LU without pivoting is not implemented on the CPU"),
    (lambda: torch.linalg.lu_factor(SQUARE.int()), NotImplementedError,
     "\"lu_cpu\" not implemented for 'Int'"),
    (lambda: torch.linalg.lu(torch.ones(3)), RuntimeError,
     r"linalg.lu: Expected tensor with 2 or more dimensions. Got size: \[3\] instead"),
    (lambda: torch.linalg.lu_solve(SQUARE, PIVOTS.long(), COLUMN), RuntimeError,
     "linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32"),
    (lambda: torch.linalg.lu_solve(SQUARE, PIVOTS * 0, COLUMN), RuntimeError,
     "Pivots given to lu_solve must all be greater or equal to 1"),
    (lambda: torch.linalg.lu_solve(SQUARE, PIVOTS + 7, COLUMN), RuntimeError,
     "Pivots given to lu_solve must all be smaller or equal to LU.size"),
    (lambda: torch.lu_unpack(SQUARE, PIVOTS + 7), RuntimeError, "LU_pivots must lie between"),
    (lambda: torch.linalg.ldl_solve(SQUARE, PIVOTS * 9, COLUMN), RuntimeError,
     "torch.linalg.ldl_solve: pivots must lie between"),
    (lambda: torch.linalg.ldl_solve(SQUARE, -PIVOTS, COLUMN), RuntimeError,
     "negative pivots must come in equal pairs"),
    (lambda: torch.linalg.ldl_factor(ZEROS), RuntimeError, "torch.linalg.ldl_factor: "),
    (lambda: torch.linalg.inv_ex(ZEROS, check_errors=True), torch.linalg.LinAlgError,
     r"linalg.inv_ex: \(Batch element 0\): The diagonal element 1 is zero"),
    (lambda: torch.linalg.solve(ZEROS, COLUMN), torch.linalg.LinAlgError,
     r"torch.linalg.solve: \(Batch element 0\): The solver failed"),
    (lambda: torch.linalg.cholesky(-SQUARE), torch.linalg.LinAlgError,
     r"linalg.cholesky: The factorization could not be completed .* order 1 "),
    (lambda: torch.cholesky_inverse(ZEROS), torch.linalg.LinAlgError,
     r"cholesky_inverse: \(Batch element 0\): The diagonal element 1 is zero"),
    (lambda: torch.cholesky_solve(COLUMN.double(), SQUARE), RuntimeError,
     "Expected b and A to have the same dtype, but found b of type Double and A of type Float"),
    (lambda: torch.linalg.svdvals(torch.full((2, 2), float("nan"))), torch.linalg.LinAlgError,
     "linalg.svd: The algorithm failed to converge .* contained non-finite values"),
    (lambda: torch.linalg.eig(torch.full((2, 2), float("inf"))), RuntimeError,
     "torch.linalg.eig: input tensor should not contain infs or NaNs."),
    (lambda: torch.linalg.householder_product(torch.ones(3, 4), torch.ones(3)), RuntimeError,
     r"torch.linalg.householder_product: input.shape\[-2\] must be greater"),
    (lambda: torch.ormqr(SQUARE, torch.ones(3), torch.ones(2, 3)), RuntimeError,
     r"torch.ormqr: "),
    (lambda: torch.linalg.lstsq(SQUARE, COLUMN, driver="fast"), RuntimeError,
     "torch.linalg.lstsq: parameter `driver` should be one of"),
    (lambda: torch.linalg.lu_factor([1]), TypeError,
     r"linalg_lu_factor\(\): argument 'A' \(position 1\) must be Tensor, not list"),
    (lambda: torch.linalg.lstsq(SQUARE), TypeError,
     r"linalg_lstsq\(\) missing 1 required positional arguments: \"b\""),
    (lambda: torch.linalg.matrix_power(SQUARE, 2.5), TypeError, "must be int, not float"),
    (lambda: torch.linalg.cond(SQUARE, 5), RuntimeError, "linalg.cond got an invalid norm type: 5"),
    (lambda: torch.lobpcg(SQUARE, k=2), ValueError, "LOBPCG algorithm is not applicable"),
]


@pytest.mark.parametrize("call, kind, text", ERRORS)
def test_what_is_refused(call: Any, kind: type, text: str) -> None:
    with pytest.raises(kind, match=text):
        call()


def test_infos_in_place_of_errors() -> None:
    mixed = torch.stack([SQUARE, ZEROS[0]])
    assert torch.linalg.inv_ex(mixed).info.tolist() == [0, 1]
    assert torch.linalg.solve_ex(mixed, COLUMN).info.tolist() == [0, 1]
    assert torch.linalg.lu_factor_ex(mixed).info.tolist() == [0, 1]
    assert torch.linalg.cholesky_ex(torch.stack([SQUARE, -SQUARE])).info.tolist() == [0, 1]
    assert torch.linalg.ldl_factor_ex(mixed).info.tolist() == [0, 1]


def test_the_regular_matrix_beside_a_singular_one_is_inverted() -> None:
    mixed = torch.stack([SQUARE, ZEROS[0]])
    found = torch.linalg.inv_ex(mixed).inverse
    assert torch.allclose(found[0] @ SQUARE, torch.eye(3), atol=1e-5)
    assert not torch.isfinite(found[1]).all()


def test_equal_eigenvalues_do_no_harm_to_slopes_of_values() -> None:
    a = torch.eye(3).requires_grad_()
    torch.linalg.eigvalsh(a).sum().backward()
    assert torch.allclose(a.grad, torch.eye(3))


def test_slopes_that_depend_on_a_free_phase_are_refused() -> None:
    a = torch.tensor([[2.0, 1j], [-1j, 3.0]]).requires_grad_()
    with pytest.raises(RuntimeError, match="linalg_eigh_backward: The eigenvectors in the complex"):
        torch.linalg.eigh(a).eigenvectors.imag.sum().backward()


def test_what_has_no_derivative_says_so() -> None:
    a = SQUARE.clone().requires_grad_()
    with pytest.raises(NotImplementedError, match="the derivative for 'geqrf' is not implemented."):
        torch.geqrf(a).a.sum().backward()
    with pytest.raises(RuntimeError, match="derivative for aten::linalg_ldl_factor_ex is not"):
        torch.linalg.ldl_factor(a).LD.sum().backward()


def test_deprecated_names_warn_once() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(3):
            torch.lu(SQUARE)
    assert len([w for w in seen if "torch.lu is deprecated" in str(w.message)]) <= 1


def test_exponentials_of_half_types_are_rounded_once() -> None:
    exact = torch.linalg.matrix_exp(torch.ones(4, 4))
    for held in (torch.bfloat16, torch.float16):
        found = torch.linalg.matrix_exp(torch.ones(4, 4, dtype=held))
        assert found.dtype is held and torch.equal(found, exact.to(held))


def test_exponentials_of_each_matrix_are_scaled_for_itself() -> None:
    a = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    scales = torch.tensor([0.0, 1e-6, 1.0, 20.0], dtype=torch.float64)
    found = torch.linalg.matrix_exp(scales[:, None, None] * a)
    np.testing.assert_allclose(found[:, 0, 0].numpy(), np.cos(scales.numpy()), atol=1e-12)


def test_a_tracker_sees_each_step_and_may_stop() -> None:
    torch.manual_seed(0)
    seen: list[int] = []

    def track(state: Any) -> None:
        seen.append(state.ivars["istep"])
        state.bvars["force_stop"] = len(seen) == 3

    torch.lobpcg(torch.diag(torch.arange(1.0, 31.0)), k=2, tracker=track)
    assert seen == [1, 2, 3]


@pytest.mark.parity
@pytest.mark.parametrize("method", ["ortho", "basic"])
@pytest.mark.parametrize("largest", [True, False])
def test_lobpcg_takes_the_steps_of_pytorch(torch_oracle: Any, method: str, largest: bool) -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((20, 20))
    a = a @ a.T
    found, steps = [], []
    for package in (torch_oracle, torch):
        package.manual_seed(0)
        count: list[int] = []
        leaf = package.from_numpy(a.copy()).requires_grad_()
        e, x = package.lobpcg(leaf, k=2, largest=largest, method=method,
                              tracker=lambda state, count=count: count.append(1))
        ((e * e).sum() + (x * x)[:5].sum()).backward()
        found.append((e.detach().numpy(), leaf.grad.numpy()))
        steps.append(len(count))
    assert abs(steps[0] - steps[1]) <= 1
    for want, got in zip(*found):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


@pytest.mark.parity
@pytest.mark.parametrize("upper", [True, False])
def test_slopes_by_cholesky_factors_are_pytorchs(torch_oracle: Any, upper: bool) -> None:
    rng = np.random.default_rng(1)
    low, b = rng.standard_normal((3, 3)) + 3 * np.eye(3), rng.standard_normal((3, 2))
    found = []
    for package in (torch_oracle, torch):
        left = package.from_numpy(low.copy()).requires_grad_()
        right = package.from_numpy(b.copy()).requires_grad_()
        whole = package.cholesky_solve(right, left, upper).sum()
        whole = whole + (package.cholesky_inverse(left, upper) ** 2).sum()
        whole.backward()
        found.append((left.grad.numpy(), right.grad.numpy()))
    for want, got in zip(*found):
        np.testing.assert_allclose(got, want, rtol=1e-10)
