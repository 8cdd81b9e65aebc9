"""What Ravine needs of torch's private trees is there and does what it is needed for."""

import torch

from ravine._compat import pytree

TREE = {"a": [torch.zeros(2), 3], "b": (torch.ones(1),)}


def test_leaves_and_where_they_are():
    assert [pytree.keystr(path) for path, _ in pytree.tree_leaves_with_path(TREE)] == [
        "['a'][0]",
        "['a'][1]",
        "['b'][0]",
    ]
    assert pytree.tree_leaves(TREE)[1] == 3


def test_a_tree_is_made_again_of_its_leaves():
    leaves, form = pytree.tree_flatten(TREE)
    assert pytree.tree_unflatten(range(len(leaves)), form) == {"a": [0, 1], "b": (2,)}
    assert pytree.tree_map(type, TREE) == {"a": [torch.Tensor, int], "b": (torch.Tensor,)}
    assert pytree.tree_map_only(torch.Tensor, torch.numel, TREE) == {"a": [2, 3], "b": (1,)}
