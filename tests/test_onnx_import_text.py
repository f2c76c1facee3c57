"""Importing texts, ai.onnx.ml's tables and trees, and steps of optimisers, beside ONNX Runtime.

That the `onnx` package's own tests of these pass is seen by test_onnx_node_tests.py.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_runtime import session

import kinone as kn
import kinone.onnx
from kinone import optim
from kinone.onnx.load import regular

ML = "ai.onnx.ml"
TEXTS = ["a,b,c", " a  b c ", "", " ,", "a", "Äb c"]


def model(
    op: str,
    inputs: Sequence[Any],
    outputs: Sequence[int],
    domain: str = "",
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one node, for these inputs and element types of outputs."""
    ports = []
    for i, each in enumerate(inputs):
        text = each.dtype.kind in "OU"
        kind = TensorProto.STRING if text else helper.np_dtype_to_tensor_dtype(each.dtype)
        ports.append(helper.make_tensor_value_info(f"x{i}", kind, each.shape))
    results = [helper.make_tensor_value_info(f"y{i}", t, None) for i, t in enumerate(outputs)]
    names = [port.name for port in ports], [port.name for port in results]
    node = helper.make_node(op, *names, domain=domain, **attributes)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(ML, 3)]
    graph = helper.make_graph([node], "model", ports, results)
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def check(made: onnx.ModelProto, *inputs: Any, compiled: bool = True) -> None:
    """What ONNX Runtime makes of it; and jit and vmap make the same where there are no texts."""
    feed = {port.name: each for port, each in zip(made.graph.input, inputs, strict=True)}
    wanted = session(made).run(None, feed)
    fn, params = kn.onnx.load(made)
    runs: list[Callable[..., Any]] = [fn]
    if compiled:
        runs.append(kn.jit(fn))
        runs.append(
            lambda params, *xs: kn.tree.map(
                lambda y: y[1],
                kn.vmap(fn, in_axes=(None, *[0] * len(xs)))(
                    params, *[np.stack([x, x]) for x in xs]
                ),
            )
        )
    for run in runs:
        found = run(params, *inputs)
        for got, want in zip(found if isinstance(found, tuple) else (found,), wanted, strict=True):
            assert got.shape == want.shape
            if want.dtype.kind in "OU":
                assert got.tolist() == want.tolist()
                continue
            assert got.dtype == want.dtype
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


# ---- texts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", ["", ",", " "])
@pytest.mark.parametrize("most", [None, 0, 1, 2])
def test_split(delimiter: str, most: int | None) -> None:
    words = np.array([text for text in TEXTS if text], object).reshape(5, 1)
    options: dict[str, Any] = {} if most is None else {"maxsplit": most}
    kinds = [TensorProto.STRING, TensorProto.INT64]
    made = model("StringSplit", [words], kinds, delimiter=delimiter, **options)
    check(made, words, compiled=False)


def test_join_broadcasts() -> None:
    words, ends = np.array(TEXTS, object).reshape(2, 3), np.array(["!", "", "?"], object)
    check(model("StringConcat", [words, ends], [TensorProto.STRING]), words, ends, compiled=False)


@pytest.mark.parametrize("sensitive", [0, 1])
@pytest.mark.parametrize("case", ["LOWER", "UPPER", "NONE"])
def test_normalizer(sensitive: int, case: str) -> None:
    words = np.array([["Monday", "tue", "TUE", "wed", "monday"]], object)
    made = model(
        "StringNormalizer",
        [words],
        [TensorProto.STRING],
        is_case_sensitive=sensitive,
        case_change_action=case,
        stopwords=["monday", "TUE"],
        locale="C",
    )
    check(made, words, compiled=False)


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
def test_counts_of_n_grams(mode: str) -> None:
    options: dict[str, Any] = {
        "mode": mode,
        "min_gram_length": 1,
        "max_gram_length": 3,
        "max_skip_count": 2,
        "ngram_counts": [0, 3, 7],
        "ngram_indexes": [5, 0, 1, 2, 4, 3],
        "weights": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    }
    tokens = np.random.default_rng(0).integers(0, 5, (4, 9))
    pool = [1, 2, 3, 1, 2, 2, 3, 1, 2, 3]
    made = model("TfIdfVectorizer", [tokens], [TensorProto.FLOAT], pool_int64s=pool, **options)
    check(made, tokens)
    words = np.array(list("zabcd"), object)[tokens[0]]
    letters = ["_abc"[i] for i in pool]
    made = model("TfIdfVectorizer", [words], [TensorProto.FLOAT], pool_strings=letters, **options)
    check(made, words, compiled=False)


PATTERNS = [r"(\W|^)[\w.\-]{0,25}@(yahoo|gmail)\.com(\W|$)", r"\d+", "(?i)abc", "[[:alpha:]]+"]


@pytest.mark.parametrize("pattern", [*PATTERNS, r"\pL+", r"(a|aa)*b?", r"a{2,3}?", r"[^\d\s]*"])
def test_patterns(pattern: str) -> None:
    words = ["account@gmail.com", "12", "aBC", "٣", "é", "abcé", "12\n", "aa", "aaaa", "aab"]
    array = np.array(words, object)
    check(
        model("RegexFullMatch", [array], [TensorProto.BOOL], pattern=pattern), array, compiled=False
    )


PIECES = ["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", "(a|b)", "(?:ab)", "(?i:B)", "^", "$"]
PIECES += [r"\b", "a?", "b*", "a+", "(a|)", "b{1,2}", "a{2}", "b{0,1}?", "[]a]", r"\.", r"[\d_]"]


def test_patterns_match_as_python_matches() -> None:
    rng = np.random.default_rng(0)
    words = ["".join(letters) for n in range(5) for letters in itertools.product("aB1b", repeat=n)]
    for _ in range(300):
        pattern = "".join(rng.choice(PIECES, rng.integers(1, 5)))
        if rng.random() < 0.3:
            pattern = f"({pattern})" + rng.choice(["*", "+", "?", "|b"])
        python, ours = re.compile(pattern.replace("$", r"\Z"), re.ASCII), regular.compile(pattern)
        for word in rng.choice([*words, "a.b", "]", " a", "_1"], 30):
            assert ours(word) == bool(python.fullmatch(word)), (pattern, word)


def test_no_pattern_takes_long() -> None:
    start = time.perf_counter()
    assert not regular.compile("(a+)+b")("a" * 200)
    assert not regular.compile("(a|aa)+$")("a" * 2000 + "b")
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    "pattern", ["(", "a)", "*", "a{1001}", "((a{100}){100}){100}", "(?=a)", r"\1", "[a", "(" * 500]
)
def test_what_is_no_pattern(pattern: str) -> None:
    words = np.array(["a"], object)
    fn, params = kn.onnx.load(model("RegexFullMatch", [words], [TensorProto.BOOL], pattern=pattern))
    with pytest.raises(kn.onnx.LoadError, match=r"has the pattern .* cannot be read"):
        fn(params, words)


# ---- tables --------------------------------------------------------------------------------------

ROWS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
COUNTS = np.array([4, 5, 2, 9, 100])
NAN = float("nan")
TABLES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "max": ("Normalizer", np.abs(ROWS), {"norm": "MAX"}),
    "l1": ("Normalizer", ROWS, {"norm": "L1"}),
    "l2": ("Normalizer", np.vstack([ROWS, 0 * ROWS[:1]]), {"norm": "L2"}),
    "scaler": ("Scaler", ROWS, {"offset": [1.0, 2.0, 3.0], "scale": [0.5, 1.0, 2.0]}),
    "binarizer": ("Binarizer", ROWS, {"threshold": 0.1}),
    "imputer": (
        "Imputer",
        np.where(ROWS > 0.5, np.nan, ROWS),
        {"imputed_value_floats": [1.0, 2.0, 3.0], "replaced_value_float": NAN},
    ),
    "one hot": ("OneHotEncoder", COUNTS, {"cats_int64s": [2, 9, 1]}),
    "labels": (
        "LabelEncoder",
        COUNTS,
        {"keys_int64s": [4, 2, 9], "values_floats": [0.5, 1.0, 2.0], "default_float": -3.0},
    ),
    "regressor": (
        "LinearRegressor",
        ROWS,
        {"coefficients": [1.0, 2, 3, 4, 5, 6], "intercepts": [0.5, 1.0], "targets": 2},
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str) -> None:
    op, x, attributes = TABLES[name]
    x = x.astype(np.float32) if x.dtype.kind == "f" else x
    check(model(op, [x], [TensorProto.FLOAT], ML, **attributes), x)


def test_labels_of_texts() -> None:
    words, kinds = np.array(["b", "c", "a"], object), [TensorProto.INT64]
    attributes = {"keys_strings": ["a", "b"], "values_int64s": [4, 7]}
    check(model("LabelEncoder", [words], kinds, ML, **attributes), words, compiled=False)
    attributes = {"cats_strings": ["a", "b"], "cats_int64s": [4, 7]}
    check(model("CategoryMapper", [words], kinds, ML, **attributes), words, compiled=False)


@pytest.mark.parametrize("how", ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("classes", [2, 3])
def test_linear_classifiers(how: str, classes: int) -> None:
    rng = np.random.default_rng(1)
    made = model(
        "LinearClassifier",
        [ROWS],
        [TensorProto.INT64, TensorProto.FLOAT],
        ML,
        coefficients=rng.normal(size=3 * classes).tolist(),
        intercepts=[0.05] * classes,
        classlabels_ints=[5, 7, 6][:classes],
        post_transform=how,
    )
    check(made, ROWS)


def forest(group: str, targets: int, rng: np.random.Generator) -> dict[str, Any]:
    """Three whole trees of depth 3 with every kind of branch."""
    nodes: dict[str, list[Any]] = {}

    def add(**row: Any) -> None:
        for key, value in row.items():
            nodes.setdefault(key, []).append(value)

    for tree, i in itertools.product(range(3), range(15)):
        leaf = i > 6
        kinds = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GT", "BRANCH_GTE"]
        add(
            nodes_treeids=tree,
            nodes_nodeids=i,
            nodes_featureids=int(rng.integers(3)),
            nodes_modes="LEAF" if leaf else str(rng.choice(kinds)),
            nodes_values=0.0 if leaf else float(np.float32(rng.normal())),
            nodes_truenodeids=0 if leaf else 2 * i + 1,
            nodes_falsenodeids=0 if leaf else 2 * i + 2,
            nodes_missing_value_tracks_true=int(rng.integers(2)),
        )
        for target in range(targets) if leaf else ():
            add(**{f"{group}_treeids": tree, f"{group}_nodeids": i, f"{group}_ids": target})
            add(**{f"{group}_weights": float(np.float32(rng.uniform(0.05, 0.3)))})
    return nodes


MISSING = np.random.default_rng(2).normal(size=(40, 3)).astype(np.float32)
MISSING[::7, 1] = np.nan


@pytest.mark.parametrize("how", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize("base", [[], [0.5, 1.0, 2.0]])
def test_tree_regressors(how: str, base: list[float]) -> None:
    options = {"base_values": base} if base else {}
    trees = forest("target", 3, np.random.default_rng(3))
    made = model(
        "TreeEnsembleRegressor",
        [MISSING],
        [TensorProto.FLOAT],
        ML,
        n_targets=3,
        aggregate_function=how,
        **trees,
        **options,
    )
    check(made, MISSING)


@pytest.mark.parametrize("how", ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
@pytest.mark.parametrize(("classes", "scores"), [(3, 3), (2, 1)])
def test_tree_classifiers(how: str, classes: int, scores: int) -> None:
    made = model(
        "TreeEnsembleClassifier",
        [MISSING],
        [TensorProto.INT64, TensorProto.FLOAT],
        ML,
        classlabels_int64s=[4, 9, 6][:classes],
        post_transform=how,
        **forest("class", scores, np.random.default_rng(4)),
    )
    check(made, MISSING)


def test_a_tree_that_never_ends_is_refused() -> None:
    trees = forest("target", 1, np.random.default_rng(5))
    trees["nodes_truenodeids"][3] = 0
    made = model("TreeEnsembleRegressor", [MISSING], [TensorProto.FLOAT], ML, n_targets=1, **trees)
    fn, params = kn.onnx.load(made)
    with pytest.raises(kn.onnx.LoadError, match="branches lead back"):
        fn(params, MISSING)


@pytest.mark.parametrize("kind", ["linear", "rbf", "poly"])
@pytest.mark.parametrize("probability", [False, True])
def test_support_vectors(kind: str, probability: bool) -> None:
    """Three classes: votes of pairs, and probabilities coupled as libsvm does it."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(40, 3)).astype(np.float32)
    options: dict[str, Any] = {"prob_a": [-1.5, -2.0, -1.0], "prob_b": [0.1, -0.2, 0.0]}
    made = model(
        "SVMClassifier",
        [x],
        [TensorProto.INT64, TensorProto.FLOAT],
        ML,
        kernel_type=kind.upper(),
        kernel_params=[0.3, 0.5, 2.0],
        vectors_per_class=[2, 3, 1],
        support_vectors=rng.normal(size=18).tolist(),
        coefficients=rng.normal(size=12).tolist(),
        rho=[0.1, -0.2, 0.3],
        classlabels_ints=[3, 5, 4],
        **(options if probability else {}),
    )
    check(made, x)


@pytest.mark.parametrize("kind", ["linear", "rbf", "poly", "sigmoid"])
def test_support_vector_regression(kind: str) -> None:
    rng = np.random.default_rng(9)
    made = model(
        "SVMRegressor",
        [ROWS],
        [TensorProto.FLOAT],
        ML,
        kernel_type=kind.upper(),
        kernel_params=[0.3, 0.5, 2.0],
        n_supports=4,
        support_vectors=rng.normal(size=12).tolist(),
        coefficients=rng.normal(size=4).tolist(),
        rho=[0.1],
    )
    check(made, ROWS)


def test_maps_are_dicts() -> None:
    made = model("ZipMap", [ROWS], [TensorProto.FLOAT], ML, classlabels_strings=["a", "b", "c"])
    fn, params = kn.onnx.load(made)
    wanted = [dict(zip("abc", row, strict=True)) for row in ROWS]
    assert fn(params, ROWS) == wanted
    assert kn.jit(fn)(params, ROWS) == wanted
    for op, attributes, numbers in (
        ("DictVectorizer", {"int64_vocabulary": [2, 3, 4]}, [2, 0, 1.5]),
        ("CastMap", {}, [2, 1.5]),
        ("CastMap", {"map_form": "SPARSE", "max_map": 6}, [0, 0, 2, 0, 1.5, 0]),
    ):
        made = model(op, [ROWS], [TensorProto.FLOAT], ML, **attributes)
        made.graph.input[0].type.map_type.key_type = TensorProto.INT64
        value = made.graph.input[0].type.map_type.value_type
        value.tensor_type.elem_type = TensorProto.FLOAT
        value.tensor_type.shape.SetInParent()
        given = {4: 1.5, 2: 2.0}
        (wanted,) = session(made).run(None, {"x0": given})
        fn, params = kn.onnx.load(made)
        found = fn(params, given)
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
        assert found.tolist() == [numbers]


# ---- training ------------------------------------------------------------------------------------


def test_adam_is_that_of_optim() -> None:
    """ONNX's Adam and `optim.adam`, three steps from the same place."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=4).astype(np.float32)
    zero, rate = np.zeros(4, np.float32), np.array(0.1, np.float32)
    operands = [rate, np.array(0), x, x, zero, zero]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.preview.training", 1)]
    made = model(
        "Adam",
        operands,
        [TensorProto.FLOAT] * 3,
        "ai.onnx.preview.training",
        alpha=0.9,
        beta=0.999,
        epsilon=1e-8,
    )
    del made.opset_import[:]
    made.opset_import.extend(opsets)
    fn, params = kn.onnx.load(made)
    optimizer = optim.adam(0.1)
    memory, theirs, v, h = optimizer.init(x), x, zero, zero
    for step in range(1, 4):
        gradient = rng.normal(size=4).astype(np.float32)
        updates, memory = optimizer.update(gradient, memory, x)
        x = optim.apply_updates(x, updates)
        theirs, v, h = fn(params, rate, np.array(step), theirs, gradient, v, h)
        np.testing.assert_allclose(theirs, x, rtol=1e-5)
