"""What detectors do with boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....core import Array
from ..known import known
from ..registry import Node, operator

Floats = np.ndarray[Any, np.dtype[Any]]


@operator("NonMaxSuppression")
def non_max_suppression(
    node: Node,
    boxes: Array,
    scores: Array,
    most: Array | None = None,
    overlap: Array | None = None,
    least: Array | None = None,
) -> np.ndarray[Any, Any]:
    corners = _corners(known(node, boxes, "boxes"), bool(node.attribute("center_point_box", 0)))
    points = known(node, scores, "scores")
    if corners.ndim != 3 or points.ndim != 3 or corners.shape[1] != points.shape[2]:
        raise node.error(f"has boxes of shape {corners.shape} and scores of {points.shape}")
    count = 0 if most is None else int(_first(node, most, "max_output_boxes_per_class", 0))
    limit = 0.0 if overlap is None else _first(node, overlap, "iou_threshold", 0.0)
    floor = -np.inf if least is None else _first(node, least, "score_threshold", -np.inf)
    if not 0 <= limit <= 1:
        raise node.error(f"has an iou_threshold of {limit}, which is no number from 0 to 1")
    found = []
    for image, several in enumerate(points):
        for kind, each in enumerate(several):
            # The best first, of equal ones the first.
            order = np.argsort(-each, kind="stable")
            if least is not None:
                order = order[each[order] > floor]
            places = _chosen(corners[image], order, count, limit)
            found += [(image, kind, place) for place in places]
    return np.array(found, np.int64).reshape(-1, 3)


_BLOCK = 128  # boxes that are compared with each other in one go


def _chosen(corners: Floats, order: Floats, count: int, limit: float) -> list[int]:
    """The boxes that overlap none of those before by more than `limit`, `count` at most."""
    chosen: list[int] = []
    for start in range(0, order.size, _BLOCK):
        if len(chosen) >= count:
            break
        block = order[start : start + _BLOCK]
        free = (_overlaps(corners[block], corners[chosen]) <= limit).all(axis=1)
        block = block[free]
        apart = _overlaps(corners[block], corners[block]) <= limit
        alive = np.ones(block.size, bool)
        for i in range(block.size):
            if alive[i]:
                chosen.append(int(block[i]))
                if len(chosen) >= count:
                    break
                alive &= apart[i]
    return chosen


def _overlaps(boxes: Floats, others: Floats) -> Floats:
    """(boxes, others): the share that two have in common of what they cover."""
    (a0, a1, a2, a3), (b0, b1, b2, b3) = boxes.T[:, :, None], others.T[:, None, :]
    height = np.maximum(np.minimum(a2, b2) - np.maximum(a0, b0), 0)
    width = np.maximum(np.minimum(a3, b3) - np.maximum(a1, b1), 0)
    common = height * width
    area, areas = (a2 - a0) * (a3 - a1), (b2 - b0) * (b3 - b1)
    union = area + areas - common
    usual = (common > 0) & (area > 0) & (areas > 0) & (union > 0)
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=usual))


def _corners(boxes: Floats, centred: bool) -> Floats:
    """(…, 4) boxes as (low, low, high, high)."""
    if boxes.shape[-1:] != (4,):
        return boxes
    if centred:  # x, y, width, height
        half = boxes[..., 2:] / 2
        return np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], axis=-1)
    first, second = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=-1)


def _first(node: Node, value: Array, what: str, usual: float) -> float:
    numbers = known(node, value, what).reshape(-1)
    return float(numbers[0]) if numbers.size else usual
