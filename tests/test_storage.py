"""Storages, as PyTorch shows them."""

from __future__ import annotations

import pickle
from types import ModuleType

import pytest

import flambeau
from tests.outcome import assert_same_outcome

STORAGES = [
    't.is_storage(t.ones(1).untyped_storage()), t.is_storage(t.ones(1).storage()), t.is_stora'
    'ge(3)',
    't.UntypedStorage([1,2,3])',
    't.UntypedStorage()',
    't.UntypedStorage(2.5)',
    "t.UntypedStorage('a')",
    't.FloatStorage(3).size()',
    't.FloatStorage([1,2,3])',
    't.FloatStorage(t.ones(2))',
    't.TypedStorage([1,2,3], dtype=t.int8)',
    't.TypedStorage(3, dtype=t.float32).nbytes()',
    't.TypedStorage(wrap_storage=t.UntypedStorage(8), dtype=t.float32).fill_(2)',
    't.TypedStorage(wrap_storage=t.UntypedStorage(8))',
    't.FloatStorage([1,2,3])[-1], t.FloatStorage([1,2,3]).tolist()',
    't.FloatStorage([1,2,3])[3]',
    't.FloatStorage([1,2,3])[0:2]',
    't.FloatStorage([1,2,3]).untyped()[0:2]',
    't.FloatStorage([1,2,3]).untyped()[0:4:2]',
    't.FloatStorage([1,2,3]).untyped()[50]',
    't.FloatStorage([1,2,3]).type(), t.FloatStorage([1,2,3]).untyped().type()',
    't.FloatStorage([1,2,3]).double()',
    't.FloatStorage([1,2,3]).untyped().double()',
    't.FloatStorage([1,2,3]).clone()',
    't.FloatStorage([1,2,3]).copy_(t.FloatStorage([4,5,6]))',
    't.FloatStorage([1,2,3]).copy_(t.DoubleStorage([4,5,6]))',
    's=t.FloatStorage([1,2,3]);;s.resize_(5);;s.size()',
    't.FloatStorage([1,2,3]).untyped().resize_(5)',
    't.FloatStorage([1,2,3]).element_size(), t.FloatStorage([1,2,3]).dtype, t.FloatStorage([1'
    ',2,3]).device',
    't.FloatStorage([1,2,3]).pickle_storage_type()',
    't.FloatStorage([1,2,3]).is_pinned(), t.FloatStorage([1,2,3]).is_cuda, t.FloatStorage([1,'
    '2,3]).is_sparse',
    'x=t.ones(2);;x.untyped_storage() == x.view(1,2).untyped_storage()',
    "t.FloatStorage.from_buffer(b'\\x00\\x00\\x80\\x3f', 'native')",
    "t.FloatStorage.from_buffer(b'\\x00\\x00\\x80\\x3f', 'big')",
    "t.UntypedStorage.from_buffer(b'\\x00\\x00\\x80\\x3f', dtype=t.uint8)",
    'isinstance(t.ones(2).storage(), t.FloatStorage), isinstance(t.ones(2).storage(), t.Doubl'
    'eStorage), isinstance(t.ones(2).storage(), t.TypedStorage), issubclass(t.FloatStorage, t'
    '.TypedStorage)',
    'type(t.ones(2).storage()), type(t.FloatStorage(1)), t.FloatStorage, t.FloatStorage.dtype',
    't.ones(4)[2:].storage().size()',
    't.ones(2).set_(t.FloatStorage([1,2,3]))',
    't.tensor([]).set_(t.UntypedStorage([1,2,3,4]))',
    't.tensor([]).double().set_(t.FloatStorage([1,2,3]))',
    't.tensor(t.FloatStorage([1,2,3]))',
    't.FloatTensor(t.FloatStorage([1,2,3]))',
    't.ByteTensor(t.UntypedStorage([1,2,3]))',
    't.UntypedStorage(2).fill_(3)',
    't.UntypedStorage([1,2]).__setitem__(0, 7)',
    's=t.UntypedStorage([1,2]);;s.__setitem__(0, 700);;s',
    "t.FloatStorage([1,2]).__setitem__(0, 'a')",
    't.ones(2).storage()',
    't.ones(2,dtype=t.bfloat16).storage()',
    't.ones(2).untyped_storage()',
    'x=t.ones(2);;s=x.storage();;s[0]=5;;x',
    'x=t.ones(2);;s=x.untyped_storage();;s.fill_(0);;x',
    't.ones(2).untyped_storage().nbytes(), len(t.ones(2).storage()), list(t.ones(2).storage())',
    "__import__('copy').deepcopy([t.ones(2).storage()])",
]


@pytest.mark.parametrize("code", STORAGES)
def test_storages(code: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(code, torch_oracle)


def test_a_storage_is_the_memory_of_its_tensor() -> None:
    x = flambeau.zeros(3)
    x.untyped_storage()[3] = 64
    assert x.tolist() == [2.0, 0.0, 0.0]


def test_the_storage_of_a_tensor_cannot_be_resized() -> None:
    x = flambeau.zeros(3)
    with pytest.raises(RuntimeError, match="not resizable"):
        x.untyped_storage().resize_(0)
    assert x.tolist() == [0.0, 0.0, 0.0]


def test_storages_survive_a_pickle() -> None:
    typed = flambeau.FloatStorage([1, 2])
    assert pickle.loads(pickle.dumps(typed)).tolist() == [1.0, 2.0]
    assert pickle.loads(pickle.dumps(typed.untyped())).tolist() == typed.untyped().tolist()
