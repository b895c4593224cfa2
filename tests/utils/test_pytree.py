"""torch.utils._pytree: flattening, registered classes, paths and errors as in PyTorch."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

import pytest

import flambeau
from flambeau.utils import _pytree as ours
from tests.outcome import assert_same_outcome

CALLS = [
    "l,s=P.tree_flatten((1,[2,{'a':3}]));;(l,s,s.num_leaves,s.num_nodes,s.num_children,s.type,"
    "s.context,P.tree_unflatten(l,s))",
    "from collections import OrderedDict as O;;P.tree_flatten(O(a=1,b=[2]))",
    "from collections import defaultdict as D;;l,s=P.tree_flatten(D(list,{1:2}));;"
    "(s,P.tree_unflatten([5],s))",
    "from collections import deque;;l,s=P.tree_flatten(deque([1,2],3));;(s,P.tree_unflatten(l,s))",
    "from collections import namedtuple;;N=namedtuple('N','a b');;l,s=P.tree_flatten(N(1,2));;"
    "(s.context is N,P.tree_unflatten(l,s),P.tree_flatten_with_path(N(1,2))[0])",
    "P.tree_map_only((int,float),lambda x:x+1,[1,2.,'a'])",
    "(P.tree_any(lambda x:x==1,[1]),P.tree_all(lambda x:x==1,[1,2]))",
    "P.tree_leaves([1,[2]],is_leaf=lambda x:isinstance(x,list) and len(x)==1)",
    "P.tree_map(lambda x,y:x+y,{'a':1,'b':2},{'b':3,'a':4})",
    "P.tree_map(lambda x,y:1,[1,2],[1])", "P.tree_map(lambda x,y:1,[1,2],(1,2))",
    "P.tree_map(lambda x,y:1,{'a':1},{'b':1})", "P.tree_unflatten([1],P.tree_structure([1,2]))",
    "P.tree_unflatten(1,2)", "P.tree_map(lambda x,y:(x,y),[1,2],[(1,2),3])",
    "P.tree_flatten_with_path({'a':[1,2]})",
    "P.keystr(P.tree_flatten_with_path({'a':[1,2]})[0][1][0])",
    "P.key_get({'a':[1,2]},P.tree_flatten_with_path({'a':[1,2]})[0][1][0])",
    "P.tree_map_with_path(lambda p,x:(len(p),x),[1,[2]])",
    "P.tree_map(lambda x:x+1, t.ones(2).max(0))",
    "t.vmap(lambda x:x.max(0))(t.arange(6.).view(2,3))",
    "t.vmap(lambda i: t.arange(3)[i])(t.tensor([2,0]))",
]


@pytest.mark.parametrize("code", CALLS)
def test_as_pytorch(code: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome("import importlib;;P=importlib.import_module(t.__name__+'.utils._pytree');;"
                        + code, torch_oracle)


def test_a_registered_class_is_nesting_everywhere() -> None:
    class Pair(SimpleNamespace):
        pass

    def rebuild(children: list, context: None) -> Pair:
        return Pair(a=children[0], b=children[1])

    def parts(pair: Pair) -> tuple[list, None]:
        return [pair.a, pair.b], None

    ours.register_pytree_node(Pair, parts, rebuild)
    doubled = flambeau.vmap(lambda p: Pair(a=p.a * 2, b=p.b))(
        Pair(a=flambeau.arange(3), b=flambeau.zeros(3)))
    assert doubled.a.tolist() == [0, 2, 4]
    with pytest.raises(ValueError, match="is already registered as pytree node"):
        ours.register_pytree_node(Pair, parts, rebuild)


def test_what_libraries_ask_of_the_compiler() -> None:
    from flambeau import _dynamo
    from flambeau._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex

    assert isinstance(flambeau.compile(flambeau.nn.Linear(1, 1)), _dynamo.OptimizedModule)
    assert _dynamo.mark_static_address(flambeau.ones(1)) is None
    grid = flambeau.arange(6).view(2, 3)
    with TransformGetItemToIndex():
        found = flambeau.vmap(lambda i, j: grid[i, j])(flambeau.tensor([0, 1]),
                                                      flambeau.tensor([2, 0]))
    assert found.tolist() == [2, 3]
    with pytest.raises(AttributeError, match="explain"):
        _ = _dynamo.explain


def test_api_usage_is_told_once_where_asked(monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture) -> None:
    from flambeau import _C

    _C._log_api_usage_once("flambeau.test.quiet")
    monkeypatch.setenv("PYTORCH_API_USAGE_STDERR", "1")
    for _ in range(2):
        _C._log_api_usage_once("flambeau.test.loud")
    assert capsys.readouterr().err == "PYTORCH_API_USAGE flambeau.test.loud\n"
