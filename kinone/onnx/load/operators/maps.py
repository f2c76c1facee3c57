"""ai.onnx.ml: maps, which are dicts here, from tensors and to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ....core import Array, shape_of
from ..registry import Node, operator
from .table import ML, class_labels


@operator("ZipMap", domain=ML)
def zip_map(node: Node, x: Array) -> Any:
    """A list with one dict, label → number, for each row."""
    labels = class_labels(node).tolist()
    rows = x if len(shape_of(x)) > 1 else x[None]
    if shape_of(rows)[1] != len(labels):
        raise node.error(f"has {len(labels)} labels for {shape_of(rows)[1]} columns")
    return (
        [
            {label: row[column] for column, label in enumerate(labels)}
            for row in (rows[i] for i in range(shape_of(rows)[0]))
        ],
    )  # one output, which is a list


@operator("CastMap", domain=ML)
def cast_map(node: Node, x: Any) -> Any:
    """The values of a dict in the order of its keys, or each at the place that its key says."""
    given, to = _dict(node, x), node.attribute("cast_to", "TO_FLOAT")
    kinds: dict[str, Any] = {"TO_FLOAT": np.float32, "TO_INT64": np.int64, "TO_STRING": object}
    if to not in kinds:
        raise node.error(f"has cast_to={to!r}, not one of {', '.join(kinds)}")
    dense = node.attribute("map_form", "DENSE") == "DENSE"
    size = len(given) if dense else node.attribute("max_map", 1)
    y = np.full((1, size), "" if to == "TO_STRING" else 0, kinds[to])
    for place, key in enumerate(sorted(given)):
        place = place if dense else key
        if not 0 <= place < size:
            raise node.error(f"is given the key {key}, outside of max_map={size}")
        y[0, place] = _text(given[key]) if to == "TO_STRING" else kinds[to](given[key])
    return y


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{float(value):.6f}"


@operator("DictVectorizer", domain=ML)
def dict_vectorizer(node: Node, x: Any) -> Any:
    """The values of a dict in the order of a vocabulary, 0 where it has none."""
    given = _dict(node, x)
    words = node.attribute("string_vocabulary", []) or node.attribute("int64_vocabulary")
    values = list(given.values())
    text = any(isinstance(value, str) for value in values)
    fraction = any(isinstance(value, (float, np.floating)) for value in values)
    least = np.float32 if fraction or not values else np.int64
    dtype = np.dtype(object) if text else np.result_type(least, *values)
    return np.array([[given.get(word, "" if text else 0) for word in words]], dtype)


def _dict(node: Node, x: Any) -> Mapping[Any, Any]:
    if not isinstance(x, Mapping):
        raise node.error(f"wants a dict and is given {type(x).__name__}")
    return x
