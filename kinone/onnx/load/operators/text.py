"""Texts: joining, splitting, cleaning, matching, and counts of n-grams.

A tensor of texts is an array of Python's `str`. Texts are always known, never traced; the counts of
n-grams of whole numbers are ordinary array arithmetic, so they map and compile.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ....core import Array, shape_dtype, shape_of
from .. import regular
from ..registry import Node, operator


def texts(node: Node, x: Any) -> np.ndarray[Any, Any]:
    """The operand as an array of `str`."""
    array = np.asarray(x)
    if array.dtype.kind not in "OUT":
        raise node.error(f"wants texts and is given {array.dtype}")
    return array.astype(object)


def _each(function: Callable[..., Any], dtype: Any, *operands: Any) -> np.ndarray[Any, Any]:
    """A function of one element, on every element."""
    arrays = np.broadcast_arrays(*operands)
    found = np.empty(arrays[0].shape, dtype)
    for place in np.ndindex(found.shape):
        found[place] = function(*[array[place] for array in arrays])
    return found


@operator("StringConcat", since=20)
def string_concat(node: Node, x: Any, y: Any) -> Any:
    return _each(lambda a, b: a + b, object, texts(node, x), texts(node, y))


@operator("StringSplit", since=20)
def string_split(node: Node, x: Any) -> Any:
    separator = node.attribute("delimiter", "") or None
    most = node.attribute("maxsplit", -1)
    words = texts(node, x)
    if separator is None:  # what would be left at the end after the last split
        words = _each(str.rstrip, object, words)
    parts = _each(lambda text: text.split(separator, most), object, words)
    counts = _each(len, np.int64, parts)
    width = int(counts.max(initial=0))
    found = np.full((*parts.shape, width), "", object)
    for place in np.ndindex(parts.shape):
        found[place][: counts[place]] = parts[place]
    return found, counts


@operator("RegexFullMatch", since=20)
def regex_full_match(node: Node, x: Any) -> Any:
    pattern = node.attribute("pattern")
    try:
        matches = regular.compile(pattern)
    except ValueError as error:
        raise node.error(f"has the pattern {pattern!r}, which cannot be read: {error}") from None
    return _each(matches, bool, texts(node, x))


_CASES: dict[str, Callable[[str], str]] = {"LOWER": str.lower, "UPPER": str.upper, "NONE": str}


@operator("StringNormalizer", since=10)
def string_normalizer(node: Node, x: Any) -> Any:
    """Cleaned texts; letters change case as Unicode has it, whatever the `locale`."""
    words = texts(node, x)
    if words.ndim not in (1, 2) or (words.ndim == 2 and words.shape[0] != 1):
        raise node.error(f"wants the shape [C] or [1, C] and is given {list(words.shape)}")
    action = node.attribute("case_change_action", "NONE")
    if action not in _CASES:
        raise node.error(f"has case_change_action={action!r}, not one of {', '.join(_CASES)}")
    compared = str if node.attribute("is_case_sensitive", 0) else str.lower
    stops = {compared(word) for word in node.attribute("stopwords", [])}
    kept = [_CASES[action](word) for word in words.ravel() if compared(word) not in stops]
    shape = (1, -1) if words.ndim == 2 else (-1,)
    return np.array(kept or [""], object).reshape(shape)


@operator("TfIdfVectorizer", since=9)
def tf_idf_vectorizer(node: Node, x: Any) -> Any:
    """How often each n-gram of a pool occurs, with up to `max_skip_count` tokens left out."""
    shape = shape_of(x)
    if len(shape) not in (1, 2):
        raise node.error(f"wants the shape [C] or [N, C] and is given {list(shape)}")
    columns = node.attribute("ngram_indexes")
    weights = node.attribute("weights", None)
    mode = node.attribute("mode")
    if mode not in ("TF", "IDF", "TFIDF"):
        raise node.error(f"has mode={mode!r}, not one of TF, IDF, TFIDF")
    if not columns or min(columns) < 0:
        raise node.error("has ngram_indexes that are no columns")
    tokens, pools = _numbered(node, x)
    width = max(columns) + 1
    counts: Any = np.zeros((*shape[:-1], width), np.float32)
    first = 0
    for length, pool in enumerate(pools, 1):
        grams = np.array(pool).reshape(-1, length)
        own = np.array(columns[first : first + len(grams)], np.int64)
        if len(own) != len(grams):
            raise node.error("has fewer ngram_indexes than n-grams")
        first += len(grams)
        if node.attribute("min_gram_length") <= length <= node.attribute("max_gram_length"):
            # A gram that the pool names twice counts for its last column.
            last = {tuple(gram): where for where, gram in enumerate(grams.tolist())}
            chosen = sorted(last.values())
            found = _occurrences(node, tokens, grams[chosen])
            if found is not None:
                to_columns = np.zeros((len(chosen), width), np.float32)
                to_columns[np.arange(len(chosen)), own[chosen]] = 1
                counts = counts + found @ to_columns
    if mode == "IDF":
        counts = np.where(counts > 0, np.float32(1), np.float32(0))
    if mode != "TF" and weights:
        scales = np.ones(width, np.float32)
        for column, weight in zip(columns, weights, strict=False):
            scales[column] = weight
        counts = counts * scales
    return counts


def _numbered(node: Node, x: Any) -> tuple[Array, list[list[int]]]:
    """The tokens as whole numbers, and the pool's flat n-grams by length."""
    pool: list[Any] = node.attribute("pool_int64s", [])
    tokens = x
    words = node.attribute("pool_strings", [])
    if words:
        numbers: dict[str, int] = {}
        pool = [numbers.setdefault(word, len(numbers)) for word in words]
        tokens = _each(lambda word: numbers.get(word, -1), np.int64, texts(node, x))
    elif shape_dtype(x).dtype.kind not in "iu":
        raise node.error(f"wants whole numbers and is given {shape_dtype(x).dtype}")
    starts = [*node.attribute("ngram_counts"), len(pool)]
    slices = list(itertools.pairwise(starts))
    if any(low > high or low < 0 for low, high in slices):
        raise node.error(f"has ngram_counts={starts[:-1]}, which do not ascend within the pool")
    return tokens, [pool[low:high] for low, high in slices]


def _occurrences(node: Node, tokens: Array, grams: np.ndarray[Any, Any]) -> Array | None:
    """How often each gram occurs, for every row; None where the rows are too short for any."""
    total: Any = None
    size, length = shape_of(tokens)[-1], grams.shape[1]
    # Single tokens have nothing between them to be left out.
    for step in range(1, (node.attribute("max_skip_count") if length > 1 else 0) + 2):
        windows = size - step * (length - 1)
        if windows <= 0 or not len(grams):
            break
        same: Any = True
        for place in range(length):
            part = tokens[..., place * step : place * step + windows, None]
            same = same & (part == grams[:, place])
        found = np.sum(same, axis=-2).astype(np.float32)
        total = found if total is None else total + found
    return total
