"""Scoring many pairs by small boosted trees: LightGBM's very sums in a tenth of its time.

What does not live here: how the trees are grown (``models.trees``).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from eventlink.recsys.matrices import Dense

MOST_LEAVES = 8
"""A set of leaves is a byte."""
FEWEST_ROWS = 2048
"""Fewer are compared with all nodes at once; more than that would leave the cache."""
CHUNK = 32768
"""Rows at a time, so that what a tree needs stays in cache."""

Bytes = npt.NDArray[np.uint8]
Node: TypeAlias = tuple[int, np.float32, np.uint8]

NOTHING: Node = 0, np.float32(np.inf), np.uint8(0)
"""A node that puts no leaf out of reach."""


@dataclass(frozen=True)
class _Tree:
    """A tree whose leaves are numbered from left to right."""

    nodes: list[Node]
    """Feature, threshold, and the leaves that are out of reach for a larger value."""
    values: npt.NDArray[np.float64]
    """For every set of leaves out of reach, the value of the first leaf that is not in it."""


class Forest:
    """Trees evaluated node by node over many rows instead of row by row.

    A row ends in the leftmost leaf that no node has put out of reach (QuickScorer: Lucchese et
    al., SIGIR 2015). Every node is a comparison of one column, which a processor does for sixteen
    rows at once. Values are added in LightGBM's order and precision, so the sums are the same.

    Args:
        booster: Of at most ``MOST_LEAVES`` leaves a tree, on features that are never missing.
    """

    def __init__(self, booster: lgb.Booster) -> None:
        self.booster = booster
        trees = booster.dump_model()["tree_info"]
        self.fits = all(tree["num_leaves"] <= MOST_LEAVES for tree in trees)
        self.trees = [_tree(tree["tree_structure"]) for tree in trees] if self.fits else []

    def sums(self, x: Dense) -> Dense:
        """Sum the trees' values.

        Args:
            x: Features, shape (n, k), finite; a feature's values side by side in memory is fastest.

        Returns:
            Shape (n,).
        """
        if not len(x):
            return np.zeros(0, np.float32)
        if len(x) == 1 or not self.fits:  # NumPy would add up a lone row's values in pairs
            found = self.booster.predict(x, raw_score=True, num_threads=1)
            return np.asarray(found, np.float32)
        if len(x) < FEWEST_ROWS:
            return self._sums_at_once(x.T).astype(np.float32)
        sums = np.empty(len(x), np.float32)
        for begin in range(0, len(x), CHUNK):
            rows = slice(begin, begin + CHUNK)
            sums[rows] = self._sums(np.ascontiguousarray(x[rows].T))
        return sums

    def _sums_at_once(self, columns: Dense) -> npt.NDArray[np.float64]:
        feature, threshold, left = self._nodes
        larger = columns[feature] > threshold[:, :, None]
        out_of_reach = np.bitwise_or.reduce(larger * left[:, :, None])
        trees = np.arange(len(self.trees))[:, None]
        total: npt.NDArray[np.float64] = self._values[trees, out_of_reach].sum(axis=0)
        return total

    @cached_property
    def _nodes(self) -> tuple[npt.NDArray[np.intp], Dense, Bytes]:
        """All trees' nodes as arrays, shape (most nodes of a tree, number of trees)."""
        most = max(len(tree.nodes) for tree in self.trees)
        trees = [tree.nodes + [NOTHING] * (most - len(tree.nodes)) for tree in self.trees]
        nodes = [tree[place] for place in range(most) for tree in trees]
        feature = np.array([node[0] for node in nodes], np.intp)
        threshold = np.array([node[1] for node in nodes], np.float32)
        left = np.array([node[2] for node in nodes], np.uint8)
        shape = most, len(trees)
        return feature.reshape(shape), threshold.reshape(shape), left.reshape(shape)

    @cached_property
    def _values(self) -> npt.NDArray[np.float64]:
        """All trees' values, a tree a row."""
        return np.stack([tree.values for tree in self.trees])

    def _sums(self, columns: Dense) -> npt.NDArray[np.float64]:
        n = columns.shape[1]
        total, value = np.zeros(n), np.empty(n)
        larger, out_of_reach = np.empty(n, bool), np.empty(n, np.uint8)
        place = np.empty(n, np.intp)
        leaves = larger.view(np.uint8)
        for tree in self.trees:
            out_of_reach.fill(0)
            for feature, threshold, left in tree.nodes:
                np.greater(columns[feature], threshold, out=larger)
                np.multiply(leaves, left, out=leaves)
                np.bitwise_or(out_of_reach, leaves, out=out_of_reach)
            place[...] = out_of_reach
            np.take(tree.values, place, out=value, mode="clip")
            total += value
        return total


def _tree(root: dict[str, Any]) -> _Tree:
    nodes: list[Node] = []
    leaves: list[float] = []

    def walk(node: dict[str, Any]) -> int:
        """Number the leaves below a node; return the set of them."""
        if "leaf_value" in node:
            leaves.append(node["leaf_value"])
            return 1 << (len(leaves) - 1)
        left = walk(node["left_child"])
        nodes.append((node["split_feature"], _rounded_down(node["threshold"]), np.uint8(left)))
        return left | walk(node["right_child"])

    walk(root)
    first = [next(i for i in range(9) if not out >> i & 1) for out in range(256)]
    # A tree that found nothing to split is a lone leaf, whose 0 reads as a whole number.
    values = np.array([leaves[min(place, len(leaves) - 1)] for place in first], np.float64)
    return _Tree(nodes, values)


def _rounded_down(threshold: float) -> np.float32:
    """Return the largest single-precision number up to a threshold: x > t as LightGBM has it."""
    near = np.float32(threshold)
    # As a Python number, for NumPy would compare in single precision.
    return near if float(near) <= threshold else np.nextafter(near, np.float32(-np.inf))
