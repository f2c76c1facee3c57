"""ai.onnx.ml: support vector machines."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .... import ops
from ....core import Array, shape_dtype, shape_of
from ....transforms import while_loop
from ..registry import Node, operator
from .table import ML, class_labels, floating, label_of, transformed

Numbers = np.ndarray[Any, Any]


def _numbers(node: Node, name: str, dtype: Any) -> Numbers:
    return np.array(node.attribute(name, []), dtype)


def _kernel(node: Node, x: Array, vectors: Numbers, kind: str) -> Array:
    """The kernel of each row with each vector, (N, vectors)."""
    dtype = shape_dtype(x).dtype
    gamma, coef0, degree = [*node.attribute("kernel_params", []), 0.0, 0.0, 0.0][:3]
    if kind == "RBF":
        apart = x[:, None] - vectors
        return np.exp(dtype.type(-gamma) * np.sum(apart * apart, axis=-1))
    product = x @ vectors.T
    if kind == "LINEAR":
        return product
    product = product * dtype.type(gamma) + dtype.type(coef0)
    if kind == "POLY":
        return product ** dtype.type(degree)
    if kind == "SIGMOID":
        return np.tanh(product)
    raise node.error(f"has the unknown kernel_type={kind!r}")


@operator("SVMRegressor", domain=ML)
def svm_regressor(node: Node, x: Array) -> Any:
    x = floating(x)
    dtype = shape_dtype(x).dtype
    weights, rho = _numbers(node, "coefficients", dtype), _numbers(node, "rho", dtype)
    count, kind = node.attribute("n_supports", 0), node.attribute("kernel_type", "LINEAR")
    if count:
        vectors = _numbers(node, "support_vectors", dtype).reshape(count, -1)
        score = _kernel(node, x, vectors, kind) @ weights[:, None] + rho[0]
    else:
        score = _kernel(node, x, weights[None], "LINEAR") + rho[0]
    if node.attribute("one_class", 0):
        return np.where(score > 0, dtype.type(1), dtype.type(-1))
    return transformed(node, score)


@operator("SVMClassifier", domain=ML)
def svm_classifier(node: Node, x: Array) -> Any:
    """A score for every two classes, whose sign is a vote; without vectors, one for every class."""
    x = floating(x)
    dtype = shape_dtype(x).dtype
    weights, rho = _numbers(node, "coefficients", dtype), _numbers(node, "rho", dtype)
    counts = node.attribute("vectors_per_class", [])
    labels = class_labels(node)
    if not counts:
        scores = _kernel(node, x, weights.reshape(max(len(labels), 1), -1), "LINEAR") + rho[0]
        place = np.argmax(scores, axis=1)
        return label_of(node, place), transformed(node, scores)
    total, classes = sum(counts), len(counts)
    vectors = _numbers(node, "support_vectors", dtype).reshape(total, -1)
    weights = weights.reshape(classes - 1, total)
    pairs = list(itertools.combinations(range(classes), 2))
    starts = np.cumsum([0, *counts])
    table = np.zeros((len(pairs), total), dtype)
    for row, (i, j) in zip(table, pairs, strict=True):
        first, second = slice(starts[i], starts[i + 1]), slice(starts[j], starts[j + 1])
        row[first], row[second] = weights[j - 1, first], weights[i, second]
    scores = _kernel(node, x, vectors, node.attribute("kernel_type", "LINEAR")) @ table.T + rho
    wins = np.zeros((len(pairs), classes), dtype)
    losses = np.zeros((len(pairs), classes), dtype)
    for row, (i, j) in enumerate(pairs):
        wins[row, i] = losses[row, j] = 1
    positive = (scores > 0).astype(dtype)
    place = np.argmax(positive @ wins + (1 - positive) @ losses, axis=1)
    slopes, offsets = _numbers(node, "prob_a", dtype), _numbers(node, "prob_b", dtype)
    if slopes.size:
        likely = np.clip(ops.sigmoid(-(scores * slopes + offsets)), 1e-7, 1 - 1e-7)
        scores = _coupled(likely, pairs, classes)  # the label is the one with the most votes still
    elif classes == 2:
        scores = np.concatenate([-scores, scores], axis=1)
    return label_of(node, place), transformed(node, scores)


def _coupled(likely: Array, pairs: list[tuple[int, int]], classes: int) -> Array:
    """Probabilities of classes from those of pairs, (N, pairs) (Wu, Lin & Weng 2004, method 2).

    Rows whose probabilities fit stay as they are while the others go on, up to 100 rounds.
    """
    dtype = shape_dtype(likely).dtype
    column = {pair: likely[:, i] for i, pair in enumerate(pairs)}
    beats = {**column, **{(j, i): 1 - value for (i, j), value in column.items()}}
    rows = []
    for i in range(classes):
        others = [j for j in range(classes) if j != i]
        own = sum(beats[j, i] ** 2 for j in others)
        rows.append(
            np.stack([own if i == j else -beats[j, i] * beats[i, j] for j in range(classes)], -1)
        )
    q = np.stack(rows, 1)  # (N, classes, classes)

    def fits(p: Array) -> Array:
        qp = np.einsum("nij,nj->ni", q, p)
        return np.max(np.abs(qp - np.sum(p * qp, -1, keepdims=True)), -1) < 0.005 / classes

    def body(state: tuple[Array, Array]) -> tuple[Array, Array]:
        trip, start = state
        p = start
        qp = np.einsum("nij,nj->ni", q, p)
        pqp = np.sum(p * qp, -1)
        for t in range(classes):
            change = (pqp - qp[:, t]) / q[:, t, t]
            pqp = (pqp + change * (change * q[:, t, t] + 2 * qp[:, t])) / (1 + change) ** 2
            qp = (qp + change[:, None] * q[:, t]) / (1 + change)[:, None]
            p = (p + change[:, None] * np.eye(classes, dtype=dtype)[t]) / (1 + change)[:, None]
        return trip + 1, np.where(fits(start)[:, None], start, p)

    start = np.full((shape_of(likely)[0], classes), 1 / classes, dtype)
    most = max(100, classes)
    _, p = while_loop(
        lambda state: (state[0] < most) & ~np.all(fits(state[1])), body, (np.array(0), start)
    )
    return p
