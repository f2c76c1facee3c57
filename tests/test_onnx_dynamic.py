"""Sizes that vary: what is exported for one size computes what the function computes at others."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_runtime import run

import kinone as kn
from kinone import nn
from kinone.onnx.export.dims import Dim, Symbols, fit_number

RANDOM = np.random.default_rng(0)
NO_BATCH = "the batch size is fixed"


def array(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def notes(model):
    return {each.key: each.value for each in model.metadata_props}.get("kinone.notes", "")


def shapes(ports):
    return [
        tuple([each.dim_param or each.dim_value for each in port.type.tensor_type.shape.dim])
        for port in ports
    ]


def agrees(fun, args, *others, fold=(), folded=(), **options):
    """The model of a function, which is right for its arguments and for others."""
    model = kn.onnx.export(fun, *folded, *args, fold=fold, **options)
    for given in (args, *others):
        wanted = kn.tree.leaves(fun(*folded, *given))
        for got, want in zip(run(model, *given), wanted, strict=True):
            assert got.shape == np.shape(want)
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-5)
    return model


# ---- the batch, where nothing is said ------------------------------------------------------------


def test_the_leading_axis_of_the_last_array_is_a_batch():
    w = array(3, 5)
    model = agrees(
        lambda w, x: np.tanh(x @ w), (w, array(4, 3)), (w, array(7, 3)), (w, array(1, 3))
    )
    assert shapes(model.graph.input) == [(3, 5), ("batch", 3)]
    assert shapes(model.graph.output) == [("batch", 5)]
    assert notes(model) == ""


def test_arguments_of_one_length_vary_together():
    f = lambda x, y: np.mean((x - y) ** 2)  # noqa: E731
    model = agrees(f, (array(4, 3), array(4, 3)), (array(9, 3), array(9, 3)))
    assert shapes(model.graph.input) == [("batch", 3)] * 2


def test_a_batch_may_be_a_tree():
    w = array(3, 2)

    def loss(w, batch):
        return np.mean((batch["x"] @ w - batch["y"]) ** 2)

    batches = [{"x": array(n, 3), "y": array(n, 2)} for n in (4, 6)]
    model = agrees(loss, (w, batches[0]), (w, batches[1]))
    assert shapes(model.graph.input) == [(3, 2), ("batch", 3), ("batch", 2)]


def test_a_weight_that_happens_to_be_as_long_as_the_batch_stays_as_it_is():
    w = array(4, 5)
    model = agrees(lambda w, x: x @ w, (w, array(4, 4)), (w, array(7, 4)))
    assert shapes(model.graph.input) == [(4, 5), ("batch", 4)]


def test_the_batch_may_stand_before_the_weights():
    w = array(3, 2)
    model = agrees(lambda x, w: x @ w, (array(4, 3), w), (array(9, 3), w))
    assert shapes(model.graph.input) == [("batch", 3), (3, 2)]


def test_a_random_key_is_no_batch():
    model = kn.onnx.export(lambda x, key: x * kn.random.uniform(key), array(2, 3), kn.random.key(0))
    assert shapes(model.graph.input) == [("batch", 3), (2,)]


@pytest.mark.parametrize(
    ("fun", "x"),
    [
        (lambda x: x * 2 if len(x) > 4 else x * 3, array(4, 3)),  # a number varies
        (lambda x: np.sin(x) if len(x) > 4 else np.cos(x), array(4, 3)),  # a step varies
        (lambda x: x + np.ones((4, 3), np.float32), array(4, 3)),  # it raises
        (lambda x: sum(x), array(4, 3)),  # there are more steps
        (lambda x: [row * 2 for row in x], array(4, 3)),  # there are more results
        (lambda x: np.squeeze(x), array(1, 3)),
        (lambda x: x * 2 if len(x) > 1 else x * 3, array(1, 3)),
        (lambda x: np.linalg.inv(x), array(3, 3) + 3 * np.eye(3, dtype=np.float32)),
    ],
)
def test_where_the_function_is_another_one_the_batch_is_fixed_and_a_note_says_why(fun, x):
    try:
        model = agrees(fun, (x,))
    except kn.onnx.ExportError as error:  # pragma: no cover
        if "inv" in str(error):
            pytest.skip("no rule of inv yet")
        raise
    if "batch" in str(shapes(model.graph.input)):
        agrees(fun, (x,), (array(5, *x.shape[1:]),))  # then it is right there, too
    else:
        assert shapes(model.graph.input) == [x.shape]
        assert NO_BATCH in notes(model)


def test_an_example_of_one_is_exported_for_all_sizes():
    w = array(1, 3)
    gradient = kn.grad(lambda w, x: np.sum(np.tanh(x * w)))
    for f in (lambda x: np.broadcast_to(w, (len(x), 3)) * x, lambda x: np.mean(x, 0), gradient):
        args = (w,) if f is gradient else ()
        model = agrees(f, (*args, array(1, 3)), (*args, array(1, 3)), dynamic={"x": ["batch"]})
        assert shapes(model.graph.input)[-1] == ("batch", 3)
    agrees(lambda x: np.broadcast_to(w, (len(x), 3)) * x, (array(1, 3),), (array(5, 3),))
    agrees(lambda x: x / len(x), (array(1, 3),), (array(5, 3),))


def test_an_empty_example_is_exported_for_all_sizes():
    model = agrees(lambda x: x * 2, (np.zeros((0, 3), np.float32),), (array(4, 3),))
    assert shapes(model.graph.input) == [("batch", 3)]


# ---- sizes by name -------------------------------------------------------------------------------


def network(**options):
    model = nn.Sequential(
        nn.Conv(4, (3, 3), strides=2, **options),
        nn.Relu(),
        nn.Conv(6, (3, 3), strides=2, padding=1),
    )
    params, _ = model.init(kn.random.key(0), (1, 32, 32, 3))
    return lambda x: model.apply(params, {}, x)[0]


IMAGES = ("batch", "height", "width")
OTHERS = [(array(3, 35, 41, 3),), (array(1, 64, 33, 3),), (array(2, 15, 22, 3),)]


@pytest.mark.parametrize("padding", ["VALID", "SAME", 1])
@pytest.mark.parametrize(
    "after",
    [
        lambda y: y,
        lambda y: np.mean(y, (1, 2)),
        lambda y: y.reshape(len(y), -1),
        lambda y: y.reshape(len(y), -1, 6) + np.float32(1),
        lambda y: np.tanh(y).sum() / y.size,
        lambda y: y * np.arange(y.shape[1], dtype=np.float32)[:, None, None],
        lambda y: np.broadcast_to(y[:, :1, :1], y.shape) - y,
    ],
    ids=["as it is", "mean", "flat", "tokens", "size", "rows", "broadcast"],
)
def test_images_of_any_size(padding, after):
    f = network(padding=padding)
    model = agrees(lambda x: after(f(x)), (array(2, 32, 32, 3),), *OTHERS, dynamic={"x": IMAGES})
    assert shapes(model.graph.input) == [(*IMAGES, 3)]
    assert notes(model) == ""


def test_several_names_and_their_sum():
    f = lambda x, y: np.concatenate([x, y]) + np.ones((len(x) + len(y), 3), np.float32)  # noqa: E731
    model = agrees(
        f, (array(4, 3), array(5, 3)), (array(7, 3), array(1, 3)), dynamic={"x": ["n"], "y": ["m"]}
    )
    assert shapes(model.graph.output) == [("n + m", 3)]


def test_one_name_in_several_inputs_is_one_size():
    f = lambda x, y: x @ y  # noqa: E731
    dynamic = {"x": {1: "n"}, "y": {0: "n"}}
    model = agrees(f, (array(4, 3), array(3, 2)), (array(4, 8), array(8, 2)), dynamic=dynamic)
    assert shapes(model.graph.input) == [(4, "n"), ("n", 2)]


def test_leaves_of_a_tree_and_patterns():
    f = lambda t: t["a"]["x"] * t["b"]["x"] + t["c"]  # noqa: E731
    make = lambda n: ({"a": {"x": array(n, 2)}, "b": {"x": array(n, 2)}, "c": array(2)},)  # noqa: E731
    agrees(f, make(3), make(5), dynamic={"t/a": ["n"], "t/b/x": ["n"]})
    model = agrees(f, make(3), make(5), dynamic={"**/x": {0: "n"}})
    assert shapes(model.graph.input) == [("n", 2), ("n", 2), (2,)]


def test_no_size_varies():
    model = agrees(lambda x: x * len(x), (array(4, 3),), dynamic={})
    assert shapes(model.graph.input) == [(4, 3)]


def attention(x):
    """Each place looks at those before it."""
    scores = x @ np.swapaxes(x, 1, 2) / np.sqrt(x.shape[2])
    mask = np.tril(np.ones((x.shape[1], x.shape[1]), bool))
    weights = np.exp(np.where(mask, scores, -1e9))
    return (weights / weights.sum(-1, keepdims=True)) @ x / np.sqrt(x.shape[1])


@pytest.mark.parametrize(
    "f",
    [
        attention,
        lambda x: x + np.arange(x.shape[1], dtype=np.float32)[:, None] * 0.5 + 2,
        lambda x: x * np.eye(x.shape[1], dtype=np.float32).sum(),
        lambda x: np.where(np.eye(x.shape[1], k=1, dtype=bool), x @ np.swapaxes(x, 1, 2), 1),
        lambda x: np.triu(np.ones((x.shape[1],) * 2, np.float32), 1) * (x @ x.swapaxes(1, 2)),
        lambda x: x[:, np.arange(x.shape[1])[::-1]],
        lambda x: x + np.full(x.shape[1:], 3, np.float32),
        lambda x: kn.scan(lambda c, r: (c + r, c), np.zeros_like(x[:, 0]), np.swapaxes(x, 0, 1)),
        lambda x: np.cumsum(x, axis=1),
        lambda x: x[:, 1:] - x[:, :-1],
        lambda x: np.concatenate([x, x], 1)[:, :: 2],
        lambda x: kn.grad(lambda x: np.mean(attention(x)))(x),
        lambda x: kn.vmap(lambda x: x @ x.T)(x),
        lambda x: x - x.mean((0, 1)) + x.var((0, 1)),
    ],
)  # fmt: skip
def test_sequences_of_any_length(f):
    agrees(
        f, (array(2, 5, 3),), (array(1, 9, 3),), (array(4, 3, 3),), (array(2, 1, 3),),
        dynamic={"x": ("batch", "time")},
    )  # fmt: skip


def test_a_function_that_cuts_an_axis_is_exported_for_multiples_and_says_so():
    f = lambda x: x.reshape(len(x), x.shape[1] // 4, 4, 3).mean(2)  # noqa: E731
    model = agrees(f, (array(2, 8, 3),), (array(1, 12, 3),), dynamic={"x": ("batch", "time")})
    assert notes(model).startswith("time is a multiple of 8, since at others: at batch = 2, time =")


def test_a_table_of_positions_ends_at_the_examples_length():
    positions = nn.LearnedPositions(8)
    params, _ = positions.init(kn.random.key(0), (2, 8, 3))
    f = lambda params, x: positions.apply(params, {}, x)[0]  # noqa: E731
    for length, note in ((8, "time is at most 8"), (5, "time was traced near 5")):
        model = agrees(
            f, (array(2, length, 3),), (array(5, 4, 3),), (array(1, 1, 3),), (array(1, 8, 3),),
            folded=(params,), fold="params", dynamic={"x": ("batch", "time")},
        )  # fmt: skip
        assert notes(model).startswith(f"{note}, since at others: ")
        assert "params/embedding" in [each.name for each in model.graph.initializer]


@pytest.mark.parametrize(
    ("f", "x", "said"),
    [
        (lambda x: x * 2 if len(x) > 4 else x * 3, array(4, 3), "a number follows no dynamic size"),
        (
            lambda x: np.sin(x) if len(x) > 4 else x,
            array(4, 3),
            "cannot be one model for all sizes",
        ),
        (lambda x: x + np.ones((4, 3)), array(4, 3), "at n = 27 it raises ValueError"),
        (lambda x: x * 2 if len(x) > 1 else x * 3, array(1, 3), "at n = 1 the function is another"),
        (lambda x: list(x), array(4, 3), "another tree at another size"),
        (
            lambda x: x * np.sin(np.arange(len(x)))[:, None],
            array(4, 3),
            "varies with a dynamic size",
        ),
    ],
)
def test_what_is_asked_for_and_cannot_be_is_refused(f, x, said):
    with pytest.raises(kn.onnx.ExportError) as raised:
        kn.onnx.export(f, x, dynamic={"x": ["n"]})
    assert said in str(raised.value)
    assert "test_onnx_dynamic.py:" in str(raised.value)


# ---- any chain of operations ---------------------------------------------------------------------

LINKS = [
    lambda x: np.swapaxes(x, 0, 1),
    lambda x: np.swapaxes(x, 1, 2),
    lambda x: x.reshape(-1, x.shape[-1])[None],
    lambda x: x.reshape(x.shape[0], -1)[:, :, None],
    lambda x: x - x.mean(1, keepdims=True),
    lambda x: x + x.sum(0),
    lambda x: np.concatenate([x, x * 2], 1),
    lambda x: np.concatenate([x, x[:1]], 0),
    lambda x: x[:, 1:],
    lambda x: x[::-1, ::2],
    lambda x: x[-1:] * x,
    lambda x: np.pad(x, ((0, 0), (1, 2), (0, 0))),
    lambda x: np.tanh(x @ np.swapaxes(x, 1, 2) @ x),
    lambda x: np.cumsum(x, 0),
    lambda x: x * np.arange(x.shape[1])[:, None] / x.shape[0],
    lambda x: x * np.sqrt(x.shape[1]) / x.size,
    lambda x: np.roll(x, 1, axis=1),
    lambda x: np.tile(x, (2, 1, 1)),
    lambda x: np.sort(x, axis=1) - x.max(axis=(0, 1)),
    lambda x: x + np.broadcast_to(x[:1], x.shape),
    lambda x: np.einsum("abc,abd->acd", x, x),
    lambda x: kn.grad(lambda x: np.mean(np.tanh(x) ** 2))(x),
    lambda x: kn.grad(lambda y: np.sum(np.cumsum(y, 1) * y[::-1]))(x),
    lambda x: kn.vmap(lambda row: row - row.mean())(x),
    lambda x: kn.scan(lambda c, row: (c * 0.5 + row.mean(), row + c), 0.0 * x[0, 0, 0], x)[1],
    lambda x: np.tril(np.ones((x.shape[1],) * 2)) @ x,
    lambda x: np.where(x > 0, x, x[::-1]),
    lambda x: x[:, np.array([0, -1])],
    lambda x: x[: x.shape[0] // 2 + 1],
    lambda x: kn.ops.max_pool(x, window=2, strides=2, padding="SAME"),
    lambda x: kn.ops.conv(x, np.full((3, x.shape[-1], 4), 0.1), strides=2, padding=1),
]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(120))
def test_chains(seed):
    draw = np.random.default_rng(seed)
    links = [LINKS[i] for i in draw.integers(0, len(LINKS), draw.integers(2, 6))]

    def f(x):
        for link in links:
            x = link(x)
        return x

    x = draw.standard_normal((draw.integers(1, 6), draw.integers(2, 8), 3))
    try:
        f(x)
    except (ValueError, IndexError):  # the links do not fit, such as a feature axis that varies
        return
    try:
        model = kn.onnx.export(f, x, dynamic={"x": ("batch", "time")})
    except kn.onnx.ExportError as error:
        assert "cannot be one model" in str(error)  # noqa: PT017
        return
    for shape in (x.shape, (3, 9, 3), (7, 4, 3), (2, 2, 3)) if not notes(model) else (x.shape,):
        given = draw.standard_normal(shape)
        try:
            wanted = f(given)
        except (ValueError, IndexError):
            continue
        (got,) = run(model, given)
        np.testing.assert_allclose(got, wanted, rtol=1e-8, atol=1e-8)


# ---- telling sizes from numbers ------------------------------------------------------------------


@pytest.mark.parametrize("way", ["larger", "multiples", "smaller"])
def test_formulas_are_found_again(way):
    symbols = Symbols({"n": 8, "m": 6}, dict.fromkeys("nm", way))
    assert symbols.is_example == (symbols.rows[0] == (8, 6)) == (way != "smaller")
    for formula, said in [
        (lambda n, m: n, "n"),
        (lambda n, m: 3 * m + 2, "3*m + 2"),
        (lambda n, m: n * m, "n*m"),
        (lambda n, m: 7 * n * m - 1, "7*n*m - 1"),
        (lambda n, m: n * n, "n^2"),
        (lambda n, m: n + m + 1, "n + m + 1"),
        (lambda n, m: 2 * n - 3 * m, "2*n - 3*m"),
    ]:
        assert str(symbols.formula(Dim([formula(*row) for row in symbols.rows]))) == said


@pytest.mark.parametrize("size", range(2, 70))
def test_sizes_that_are_halved_again_and_again_are_odd_and_even(size):
    for index in range(3):
        symbols = Symbols({**{f"m{i}": size for i in range(index)}, "n": size})
        sizes = set(symbols.size("n").values)
        for _ in range(5):
            assert {n % 2 for n in sizes} == {0, 1}
            sizes = {n // 2 for n in sizes}
        sizes = set(symbols.size("n").values)
        for _ in range(5):
            assert {n % 2 for n in sizes} == {0, 1}
            sizes = {-(-n // 2) for n in sizes}


def test_padding_that_depends_on_a_size_that_depends_on_a_size():
    def f(x):
        for _ in range(3):
            x = kn.ops.max_pool(x, window=2, strides=2, padding="SAME")
        return x

    agrees(
        f, (array(4, 3, 3),), *[(array(2, n, 3),) for n in range(1, 20)], dynamic={"x": ("b", "t")}
    )


def test_quotients_are_rounded_down():
    symbols = Symbols({"n": 32})
    halves = Dim([(n - 3) // 2 + 1 for (n,) in symbols.rows])
    assert symbols.formula(halves) is None
    found = symbols.floored(halves)
    assert found.denominator == 2


def test_numbers_that_follow_a_size():
    symbols = Symbols({"n": 8})
    n = symbols.size("n")
    for f, (factor, power) in {
        (lambda n: 1 / n): (1.0, -1.0),
        (lambda n: 3 * n**0.5): (3.0, 0.5),
        (lambda n: n**-0.5): (1.0, -0.5),
    }.items():
        found = fit_number([f(size) for size in n.values], [n])
        assert (found[0], found[2]) == (pytest.approx(factor), power)
    assert fit_number([1.0, 2.0, 9.5], [n]) is None
