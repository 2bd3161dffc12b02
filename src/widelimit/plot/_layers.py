"""A layered layout of a directed acyclic graph (Sugiyama, Tagawa & Toda 1981): few crossings, straight long edges.

Positions are (across, along): along the layers goes computation, across lie the nodes of one layer.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

_SWEEPS = 12  # over the layers, each way
_STRAIGHTEN = 100  # sweeps that move nodes across
_RELAXATION = 1.6
_STIFF = {0: 1.0, 1: 2.0, 2: 8.0}  # by how many ends of an edge are bends: long edges are straight


@dataclass(frozen=True)
class Box:
    """What a node takes: its size across and along the layers."""

    across: float
    along: float


@dataclass
class Layout:
    """The middle of every node, and the points an edge passes, from its start to its end; `size` is that of the whole."""

    at: dict[int, tuple[float, float]]
    bends: dict[tuple[int, int], list[tuple[float, float]]]
    size: tuple[float, float]


def layered(boxes: Sequence[Box], edges: Sequence[tuple[int, int]], *, gap: float = 16.0, step: float = 22.0) -> Layout:
    """Lay out the nodes 0, 1, … of these sizes; `gap` is between neighbours, `step` between layers."""
    graph = _Graph(list(boxes), list(dict.fromkeys(edges)))
    graph.assign_layers()
    graph.bend_long_edges()
    graph.order_layers()
    across = graph.positions_across(gap)
    return graph.layout(across, step)


@dataclass
class _Graph:
    boxes: list[Box]
    edges: list[tuple[int, int]]
    layer: list[int] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)
    chains: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    real: int = 0

    def __post_init__(self) -> None:
        self.real = len(self.boxes)

    # --- layers -------------------------------------------------------------------------------------------------------

    def assign_layers(self) -> None:
        """The longest way from a start; starts are moved up to what reads them first."""
        self.layer = [0] * self.real
        for _ in range(self.real):
            moved = False
            for a, b in self.edges:
                if self.layer[b] < self.layer[a] + 1:
                    self.layer[b], moved = self.layer[a] + 1, True
            if not moved:
                break
        entered = {b for _, b in self.edges}
        for node in range(self.real):
            after = [self.layer[b] for a, b in self.edges if a == node]
            if node not in entered and after:
                self.layer[node] = min(after) - 1

    def bend_long_edges(self) -> None:
        """Edges over several layers get a bend in each layer between."""
        for a, b in self.edges:
            chain = [a]
            for layer in range(self.layer[a] + 1, self.layer[b]):
                chain.append(len(self.boxes))
                self.boxes.append(Box(2.0, 0.0))
                self.layer.append(layer)
            self.chains[a, b] = [*chain, b]
        self.below: list[list[int]] = [[] for _ in self.boxes]
        self.above: list[list[int]] = [[] for _ in self.boxes]
        for chain in self.chains.values():
            for a, b in itertools.pairwise(chain):
                self.below[a].append(b)
                self.above[b].append(a)

    # --- order inside layers ------------------------------------------------------------------------------------------

    def order_layers(self) -> None:
        self.rows = [[] for _ in range(max(self.layer, default=-1) + 1)]
        for node in self._depth_first():
            self.rows[self.layer[node]].append(node)
        best, fewest = [list(r) for r in self.rows], self._crossings()
        for sweep in range(_SWEEPS if fewest else 0):
            self._sweep(down=sweep % 2 == 0)
            self._swap_neighbours()
            if (count := self._crossings()) < fewest:
                best, fewest = [list(r) for r in self.rows], count
            if not fewest:
                break
        self.rows = best

    def _depth_first(self) -> Iterator[int]:
        seen: set[int] = set()
        stack = [n for n in reversed(range(len(self.boxes))) if not self.above[n]]
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                yield node
                stack.extend(reversed(self.below[node]))

    def _sweep(self, *, down: bool) -> None:
        """Order each layer by the means of its neighbours in the layer before."""
        rows = self.rows[1:] if down else self.rows[-2::-1]
        for row in rows:
            place = {n: i for other in self.rows for i, n in enumerate(other)}
            neighbours = self.above if down else self.below
            mean = {n: np.mean([place[m] for m in neighbours[n]] or [place[n]]) for n in row}
            row.sort(key=mean.__getitem__)

    def _swap_neighbours(self) -> None:
        for k, row in enumerate(self.rows):
            for i in range(len(row) - 1):
                before = self._crossings_at(k)
                row[i], row[i + 1] = row[i + 1], row[i]
                if self._crossings_at(k) >= before:
                    row[i], row[i + 1] = row[i + 1], row[i]

    def _crossings(self) -> int:
        return sum(self._between(k) for k in range(len(self.rows) - 1))

    def _crossings_at(self, k: int) -> int:
        return sum(self._between(j) for j in (k - 1, k) if 0 <= j < len(self.rows) - 1)

    def _between(self, k: int) -> int:
        """Crossings of edges from layer k to the next."""
        place = {n: i for i, n in enumerate(self.rows[k + 1])}
        ends = [place[b] for a in self.rows[k] for b in sorted(self.below[a], key=place.__getitem__)]
        return sum(x > y for i, x in enumerate(ends) for y in ends[i + 1 :])

    # --- coordinates --------------------------------------------------------------------------------------------------

    def positions_across(self, gap: float) -> np.ndarray:
        """Least squares of the edges' slants under the order and the sizes, by over-relaxed sweeps over the layers."""
        pull = self._pull()
        strength = np.maximum(pull.sum(1), 1e-3)
        rows = [np.array(row) for row in self.rows]
        apart = [self._apart(row, gap) for row in self.rows]
        x = np.zeros(len(self.boxes))
        for row, offsets in zip(rows, apart, strict=True):
            x[row] = offsets - offsets.mean()
        for sweep in range(_STRAIGHTEN):
            for k in range(len(rows)) if sweep % 2 == 0 else reversed(range(len(rows))):
                row = rows[k]
                mean = pull[row] @ x / strength[row]
                wanted = x[row] + _RELAXATION * (mean - x[row])
                x[row] = _increasing(wanted - apart[k], strength[row]) + apart[k] if len(row) > 1 else wanted
        return x

    def _pull(self) -> np.ndarray:
        """How strongly each node is drawn to each other."""
        pull = np.zeros((len(self.boxes), len(self.boxes)))
        for a, others in enumerate(self.below):
            for b in others:
                pull[a, b] = pull[b, a] = _STIFF[(a >= self.real) + (b >= self.real)]
        return pull

    def _apart(self, row: list[int], gap: float) -> np.ndarray:
        """How far each node is at least from the first of its layer."""
        widths = np.array([self.boxes[n].across for n in row])
        slack = np.array([gap if a < self.real or b < self.real else gap / 2 for a, b in itertools.pairwise(row)])
        return np.concatenate([[0.0], np.cumsum((widths[1:] + widths[:-1]) / 2 + slack)])

    def layout(self, across: np.ndarray, step: float) -> Layout:
        heights = [max(self.boxes[n].along for n in row) for row in self.rows]
        starts = np.cumsum([0.0, *(h + step for h in heights[:-1])]) if heights else np.zeros(0)
        middle = [s + h / 2 for s, h in zip(starts, heights, strict=True)]
        left = min((across[n] - self.boxes[n].across / 2 for n in range(len(self.boxes))), default=0.0)
        at = {n: (float(across[n] - left), float(middle[self.layer[n]])) for n in range(len(self.boxes))}
        right = max((at[n][0] + self.boxes[n].across / 2 for n in at), default=0.0)
        bends = {edge: [at[n] for n in chain[1:-1]] for edge, chain in self.chains.items()}
        whole = float(starts[-1] + heights[-1]) if heights else 0.0
        return Layout({n: at[n] for n in range(self.real)}, bends, (right, whole))


def _increasing(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The nearest sequence that does not decrease: adjacent violators are pooled."""
    blocks: list[list[float]] = []  # mean, weight, count
    for v, w in zip(values, weights, strict=True):
        blocks.append([float(v), float(w), 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (v1, w1, n1), (v2, w2, n2) = blocks[-2:]
            blocks[-2:] = [[(v1 * w1 + v2 * w2) / (w1 + w2), w1 + w2, n1 + n2]]
    return np.concatenate([np.full(int(n), v) for v, _, n in blocks]) if blocks else np.zeros(0)
