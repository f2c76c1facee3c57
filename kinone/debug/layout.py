"""Where the boxes of a figure go: layers from top to bottom, few crossings, straight lines.

Sugiyama's method in four small steps: a layer for each box, the longest way from an input; a
placeholder in each layer that an arrow passes; an order within the layers, by the mean place of
the neighbours, swept down and up; and coordinates, by the same means, kept apart. A backward pass
stands to the right of the forward pass and runs upward, so that the two form a U.
(K. Sugiyama, S. Tagawa, M. Toda: "Methods for Visual Understanding of Hierarchical System
Structures", 1981.)
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from .figure import Figure

GAP = 26.0  # between neighbours in a layer
ROW = 74.0  # from layer to layer
HEIGHT = 40.0
_LETTER = 7.4
_WEIGHTS = {"operation": 12.0, "output": 2.0}


@dataclass(slots=True)
class Point:
    """The centre of a box, or a place that an arrow passes (`box` is None).

    `weight` says how much its wishes count: operations stand in straight lines, and inputs go where
    they find room.
    """

    box: int | None
    layer: int
    upward: bool
    width: float
    weight: float
    x: float = 0.0

    @property
    def y(self) -> float:
        return self.layer * ROW


@dataclass(slots=True)
class Arrow:
    """From a box to a box, by way of some points. A residual goes from one side to the other."""

    way: list[Point]
    backward: bool
    residual: bool


@dataclass(slots=True)
class Layout:
    points: list[Point]
    arrows: list[Arrow]


def layout_of(figure: Figure) -> Layout:
    """The places of all boxes and arrows."""
    layers = _layers(figure)
    points = [
        Point(i, layer, box.upward, _width(box.title, box.note), _WEIGHTS.get(box.kind, 1.0))
        for i, (box, layer) in enumerate(zip(figure.boxes, layers, strict=True))
    ]
    boxes = list(points)
    arrows = []
    for start, end in figure.edges():
        upward = figure.boxes[end].upward
        residual = upward and not figure.boxes[start].upward
        way = [boxes[start]]
        step = 1 if layers[end] > layers[start] else -1
        if not residual:
            for layer in range(layers[start] + step, layers[end], step):
                way.append(Point(None, layer, upward, 6.0, boxes[start].weight / 2))
                points.append(way[-1])
        arrows.append(Arrow([*way, boxes[end]], figure.boxes[end].backward, residual))
    rows: list[list[Point]] = [[] for _ in range(max(layers, default=-1) + 1)]
    for point in points:
        rows[point.layer].append(point)
    _order(rows, arrows)
    _place(rows, arrows)
    return Layout(points, arrows)


def _width(name: str, note: str) -> float:
    return max(_LETTER * len(name), 0.86 * _LETTER * len(note)) + 22


def _layers(figure: Figure) -> list[int]:
    boxes = figure.boxes
    layers = [0] * len(boxes)
    for i, box in enumerate(boxes):
        if not box.upward:
            layers[i] = max((layers[j] + 1 for j in box.operands), default=0)
    _lower(figure, layers)
    bottom = max((layers[i] for i, box in enumerate(boxes) if not box.upward), default=0)
    for i, box in enumerate(boxes):
        if box.upward:
            mine = [layers[j] for j in box.operands if boxes[j].upward]
            layers[i] = min(mine, default=bottom + 1) - 1
    for i in reversed(range(len(boxes))):
        # A side branch stands as high as it can: just below what takes it.
        users = [layers[j] for j, other in enumerate(boxes) if i in other.operands]
        if boxes[i].upward and users:
            layers[i] = max(users) + 1
    # The gradients may reach higher than the inputs: everything counts from the highest.
    top = min(layers, default=0)
    return [layer - top for layer in layers]


def _lower(figure: Figure, layers: list[int]) -> None:
    """Inputs and constants go down to just above the first operation that takes them."""
    for i, box in enumerate(figure.boxes):
        if box.kind in ("input", "constant") and not box.upward:
            users = [
                layers[j]
                for j, other in enumerate(figure.boxes)
                if i in other.operands and not other.upward
            ]
            layers[i] = min(users, default=1) - 1


def _neighbours(arrows: list[Arrow]) -> dict[int, list[Point]]:
    found: dict[int, list[Point]] = {}
    for arrow in arrows:
        if arrow.residual:
            continue
        for a, b in itertools.pairwise(arrow.way):
            found.setdefault(id(a), []).append(b)
            found.setdefault(id(b), []).append(a)
    return found


def _order(rows: list[list[Point]], arrows: list[Arrow]) -> None:
    """Sorts each row by the mean place of the neighbours in the rows above, then below."""
    near = _neighbours(arrows)
    for row in rows:
        row.sort(key=lambda point: point.upward)
    for sweep in range(12):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            place = {id(p): i / max(len(r) - 1, 1) for r in rows for i, p in enumerate(r)}

            def key(
                point: Point, down: bool = down, place: dict[int, float] = place
            ) -> tuple[bool, float]:
                known = [
                    place[id(other)]
                    for other in near.get(id(point), ())
                    if (other.layer < point.layer) == down and other.layer != point.layer
                ]
                return point.upward, sum(known) / len(known) if known else place[id(point)]

            row.sort(key=key)


def _place(rows: list[list[Point]], arrows: list[Arrow]) -> None:
    """Coordinates: each point to the mean of its neighbours, as far as the row lets it."""
    near = _neighbours(arrows)
    for row in rows:
        x = 0.0
        for point in row:
            point.x = x + point.width / 2
            x += point.width + GAP
        for point in row:
            point.x -= x / 2
    for sweep in range(40):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            _spread(row, [_wish(point, near.get(id(point), ())) for point in row])
    _apart(rows)
    left = min((point.x - point.width / 2 for row in rows for point in row), default=0.0)
    for row in rows:
        for point in row:
            point.x -= left


def _wish(point: Point, near: Sequence[Point]) -> float:
    total = sum(other.weight for other in near)
    return sum(other.weight * other.x for other in near) / total if total else point.x


def _spread(row: list[Point], wanted: list[float]) -> None:
    """Moves the points of a row towards `wanted` in order, none nearer than the gap.

    The points that would overlap form blocks, and each block stands at the mean of its wishes:
    least squares under an order, by pooling adjacent violators.
    """
    blocks: list[tuple[float, float, int]] = []  # the mean wish of its origin, weight, points
    offsets = [0.0]
    for a, b in itertools.pairwise(row):
        offsets.append(offsets[-1] + (a.width + b.width) / 2 + GAP)
    for point, wish, offset in zip(row, wanted, offsets, strict=True):
        mean, weight, count = wish - offset, point.weight, 1
        while blocks and blocks[-1][0] > mean:
            before, heavy, size = blocks.pop()
            mean = (before * heavy + mean * weight) / (heavy + weight)
            weight, count = weight + heavy, count + size
        blocks.append((mean, weight, count))
    origins = [mean for mean, _, count in blocks for _ in range(count)]
    for point, origin, offset in zip(row, origins, offsets, strict=True):
        point.x = origin + offset


def _apart(rows: list[list[Point]]) -> None:
    """Moves the backward pass to the right of everything that is forward."""
    forward = [p.x + p.width / 2 for row in rows for p in row if not p.upward]
    backward = [p.x - p.width / 2 for row in rows for p in row if p.upward]
    if not (forward and backward):
        return
    shift = max(forward) + 3 * GAP - min(backward)
    for row in rows:
        for point in row:
            if point.upward:
                point.x += shift
