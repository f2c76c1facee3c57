"""ai.onnx.ml: tables of features, as scikit-learn's converters write them, and linear models."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .... import ops
from ....core import Array, shape_dtype, shape_of
from ..known import known
from ..registry import Node, operator
from .text import texts

ML = "ai.onnx.ml"


def floating(x: Array) -> Array:
    """The features as floating-point numbers: float64 stays, all else becomes float32."""
    return x if shape_dtype(x).dtype == np.float64 else x.astype(np.float32)


@operator("ArrayFeatureExtractor", domain=ML)
def array_feature_extractor(node: Node, x: Array, indices: Array) -> Any:
    shape = shape_of(x)
    found = ops.take(x, indices.reshape(-1), -1)
    return found.reshape(*(shape[:-1] if len(shape) > 1 else (1,)), -1)


@operator("Binarizer", domain=ML)
def binarizer(node: Node, x: Array) -> Any:
    return (x > node.attribute("threshold", 0.0)).astype(shape_dtype(x).dtype)


@operator("Scaler", domain=ML)
def scaler(node: Node, x: Array) -> Any:
    """(x - offset) · scale."""
    x = floating(x)
    dtype = shape_dtype(x).dtype
    offset, scale = node.attribute("offset", [0.0]), node.attribute("scale", [1.0])
    return (x - np.array(offset, dtype)) * np.array(scale, dtype)


@operator("Normalizer", domain=ML)
def normalizer(node: Node, x: Array) -> Any:
    x = floating(x)
    norm = node.attribute("norm", "MAX")
    if norm not in ("MAX", "L1", "L2"):
        raise node.error(f"has norm={norm!r}, not one of MAX, L1, L2")
    if norm == "MAX":
        length = np.max(np.abs(x) if node.opset > 3 else x, axis=-1, keepdims=True)
    elif norm == "L1":
        length = np.sum(np.abs(x), axis=-1, keepdims=True)
    else:
        length = np.sqrt(np.sum(x * x, axis=-1, keepdims=True))
    return np.where(length == 0, x, x / np.where(length == 0, 1, length))


@operator("Imputer", domain=ML)
def imputer(node: Node, x: Array) -> Any:
    """The features with a value for those that are missing."""
    dtype = shape_dtype(x).dtype
    if dtype.kind == "f":
        values = node.attribute("imputed_value_floats")
        missing = node.attribute("replaced_value_float", 0.0)
    else:
        values = node.attribute("imputed_value_int64s")
        missing = node.attribute("replaced_value_int64", 0)
    lacks = np.isnan(x) if math.isnan(missing) else x == missing
    return np.where(lacks, np.array(values, dtype), x)


@operator("FeatureVectorizer", domain=ML)
def feature_vectorizer(node: Node, *inputs: Array) -> Any:
    """Columns side by side, each input cut or filled with zeros to its width."""
    columns = []
    for x, width in zip(inputs, node.attribute("inputdimensions"), strict=True):
        x = floating(x)
        x = x if len(shape_of(x)) > 1 else x[:, None]
        lacks = max(0, width - shape_of(x)[1])
        columns.append(np.pad(x[:, :width], ((0, 0), (0, lacks))))
    return np.concatenate(columns, axis=1)


@operator("OneHotEncoder", domain=ML)
def one_hot_encoder(node: Node, x: Any) -> Any:
    words = node.attribute("cats_strings", [])
    if words:
        found = texts(node, x)[..., None] == np.array(words, object)
    else:
        found = x[..., None] == np.array(node.attribute("cats_int64s"))
    if not node.attribute("zeros", 1) and not known(node, found, "the categories").any(-1).all():
        raise node.error("is given a category that it has not")
    return found.astype(np.float32)


@operator("CategoryMapper", domain=ML)
def category_mapper(node: Node, x: Any) -> Any:
    words, numbers = node.attribute("cats_strings"), node.attribute("cats_int64s")
    if np.asarray(known(node, x, "the categories")).dtype.kind in "OUT":
        found = dict(zip(words, numbers, strict=True))
        return _looked_up(x, found, node.attribute("default_int64", -1), np.int64)
    names = dict(zip(numbers, words, strict=True))
    return _looked_up(x, names, node.attribute("default_string", "_Unused"), object)


_KINDS = {"string": object, "int64": np.int64, "float": np.float32}


@operator("LabelEncoder", domain=ML, since=2)
def label_encoder(node: Node, x: Any) -> Any:
    """Each label's partner; those without one become the default."""
    keys, _ = _labels(node, "keys")
    values, kind = _labels(node, "values")
    if kind == "tensor":
        dtype = values.dtype
        default: Any = node.attribute("default_tensor").reshape(-1)[0]
    else:
        dtype = np.dtype(_KINDS[kind])
        usual = {"string": "_Unused", "int64": -1, "float": -0.0}[kind]
        default = node.attribute(f"default_{kind}", usual)
    found = dict(zip(keys.reshape(-1).tolist(), values.reshape(-1).tolist(), strict=True))
    nan = next((value for key, value in found.items() if key != key), default)
    if len(found) and dtype.kind != "O" and keys.dtype.kind != "O":  # numbers, maybe traced
        ordered = sorted(key for key in found if key == key)
        targets = np.array([found[key] for key in ordered], dtype)
        places = np.clip(np.searchsorted(np.array(ordered), x), 0, len(ordered) - 1)
        same = ops.take(np.array(ordered), places) == x
        y = np.where(same, ops.take(targets, places), dtype.type(default))
        return np.where(x != x, dtype.type(nan), y) if keys.dtype.kind == "f" else y
    return _looked_up(known(node, x, "the labels"), found, default, dtype, nan)


def _labels(node: Node, which: str) -> tuple[Any, str]:
    for kind in ("string", "int64", "float"):
        found = node.attribute(f"{which}_{kind}s", [])
        if found:
            return np.array(found, _KINDS[kind]), kind
    return node.attribute(f"{which}_tensor"), "tensor"


def _looked_up(x: Any, found: dict[Any, Any], default: Any, dtype: Any, nan: Any = None) -> Any:
    array = np.asarray(x)
    y = np.empty(array.shape, dtype)
    for place in np.ndindex(array.shape):
        key: Any = array[place]
        key = key.item() if isinstance(key, np.generic) else key
        y[place] = nan if key != key else found.get(key, default)
    return y


# ---- linear models -------------------------------------------------------------------------------


@operator("LinearRegressor", domain=ML)
def linear_regressor(node: Node, x: Array) -> Any:
    targets = node.attribute("targets", 1)
    return transformed(node, _linear(node, floating(x), targets))


@operator("LinearClassifier", domain=ML)
def linear_classifier(node: Node, x: Array) -> Any:
    """The labels of the largest scores, and the scores."""
    rows = len(node.attribute("intercepts", [])) or None
    scores = _linear(node, floating(x), rows).astype(np.float32)
    labels = class_labels(node)
    if shape_of(scores)[1] == 1:
        if len(labels) == 2:
            label = (scores[:, 0] > 0).astype(np.int64)
            return label_of(node, label), two_classes(node, scores, True)
        scores = transformed(node, scores)
        edge = 0.0 if node.attribute("post_transform", "NONE") == "NONE" else 0.5
        return np.where(scores[:, 0] > edge, labels[:1], np.zeros(1, labels.dtype)), scores
    return label_of(node, np.argmax(scores, axis=1)), transformed(node, scores)


def _linear(node: Node, x: Array, rows: int | None) -> Array:
    dtype = shape_dtype(x).dtype
    x = x if len(shape_of(x)) > 1 else x[None]
    weights = np.array(node.attribute("coefficients"), dtype).reshape(rows or -1, shape_of(x)[1])
    return x @ weights.T + np.array(node.attribute("intercepts", [0.0]), dtype)


def class_labels(node: Node) -> np.ndarray[Any, Any]:
    """The classes of a classifier, whole numbers or texts."""
    words = node.attribute("classlabels_strings", [])
    numbers = node.attribute("classlabels_ints", None) or node.attribute("classlabels_int64s", [])
    return np.array(words, object) if words else np.array(numbers, np.int64)


def label_of(node: Node, place: Array) -> Any:
    """The classes at these places; texts only where the places are known."""
    labels = class_labels(node)
    if not len(labels):
        return place.astype(np.int64)
    if labels.dtype.kind == "O":
        place = known(node, place, "classes, which are texts,")
    return ops.take(labels, place)


def two_classes(node: Node, score: Array, sure: bool) -> Array:
    """The scores of both classes from the second one's, (N, 1), as ONNX Runtime has them.

    `sure` says that it is a probability; else the first class has the opposite score.
    """
    if node.attribute("post_transform", "NONE") == "LOGISTIC":
        score, sure = ops.sigmoid(score), True
    return np.concatenate([1 - score if sure else -score, score], axis=1)


# TreeEnsemble names them by number.
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


def transformed(node: Node, scores: Array) -> Array:
    """The scores after the `post_transform`."""
    how = node.attribute("post_transform", "NONE")
    how = _TRANSFORMS[how] if how in range(len(_TRANSFORMS)) else how
    if how == "NONE":
        return scores
    if how == "LOGISTIC":
        return ops.sigmoid(scores)
    if how == "SOFTMAX":
        return ops.softmax(scores, axis=-1)
    if how == "SOFTMAX_ZERO":  # what is zero stays zero
        some = np.abs(scores) > 1e-7
        largest = np.max(scores, axis=-1, keepdims=True)
        raised = np.where(some, np.exp(scores - largest), scores * np.exp(-largest))
        total = np.sum(raised, axis=-1, keepdims=True)
        return np.where(total == 0, 0.5, raised / np.where(total == 0, 1, total)).astype(
            shape_dtype(scores).dtype
        )
    if how == "PROBIT":  # the inverse of the normal distribution, by Winitzki's formula
        x = 2 * scores - 1
        logarithm = np.log((1 - x) * (1 + x))
        part = 2 / (math.pi * 0.147) + 0.5 * logarithm
        root = np.sqrt(np.sqrt(part * part - logarithm / 0.147) - part)
        return (1.41421356 * np.sign(x) * root).astype(shape_dtype(scores).dtype)
    raise node.error(f"has the unknown post_transform={how!r}")
