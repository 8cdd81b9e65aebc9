"""Trees of tensors: what Ravine uses of ``torch.utils._pytree``, by name, so that another module can take its place.

torch promises none of it and has nothing public instead. All of it is in torch 2.6, the oldest that is allowed; the paths of
leaves came last, with torch 2.2.
"""

from torch.utils._pytree import (
    keystr,
    tree_flatten,
    tree_leaves,
    tree_leaves_with_path,
    tree_map,
    tree_map_only,
    tree_unflatten,
)

__all__ = [
    "keystr",
    "tree_flatten",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_only",
    "tree_unflatten",
]
