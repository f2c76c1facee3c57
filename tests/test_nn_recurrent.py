"""Recurrent layers against PyTorch in float64: outputs, final carries, every gradient."""

from __future__ import annotations

import numpy as np
import pytest

import kinone as kn
from kinone import errors, nn, random, tree
from kinone.nn.lstm import lstm_backward_p, lstm_p
from kinone.testing import rules

torch = pytest.importorskip("torch")

KINDS = {
    "LSTM": (nn.LSTM, torch.nn.LSTM, {}),
    "GRU": (nn.GRU, torch.nn.GRU, {}),
    "RNN": (nn.RNN, torch.nn.RNN, {}),
    "RNN relu": (
        lambda features, **options: nn.RNN(features, activation="relu", **options),
        torch.nn.RNN,
        {"nonlinearity": "relu"},
    ),
}
TORCH = {"kernel": "weight_ih", "recurrent_kernel": "weight_hh", "bias": "bias_ih"}
TORCH["recurrent_bias"] = "bias_hh"
X = np.random.default_rng(0).normal(size=(3, 5, 4))
LENGTHS = np.array([2, 5, 3])


def close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def twin(kind, params, **options):
    """PyTorch's layer with the same weights."""
    _, make, more = KINDS[kind]
    layer = make(4, 6, batch_first=True, dtype=torch.float64, **more, **options)
    with torch.no_grad():
        for path, leaf in tree.flatten_with_path(params)[0]:
            torch_parameter(layer, path).copy_(torch.tensor(np.asarray(leaf).T))
    return layer


def torch_parameter(layer, path):
    number, direction, leaf = path.split("/")
    suffix = "_reverse" if direction == "backward" else ""
    return getattr(layer, f"{TORCH[leaf]}_l{number.removeprefix('layer')}{suffix}")


def made(kind, seed=1, **options):
    layer = KINDS[kind][0](6, **options)
    return layer, *layer.init(random.key(seed), kn.ShapeDtype((3, 5, 4), np.float64))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_equals_torch(kind, packed, num_layers, bidirectional):
    options = {"num_layers": num_layers, "bidirectional": bidirectional}
    layer, params, state = made(kind, return_carry=True, **options)
    peer = twin(kind, params, **options)
    rng = np.random.default_rng(5)
    names = ("h", "c") if kind == "LSTM" else ("h",)
    rows = num_layers * (1 + bidirectional)
    carry = {name: rng.normal(size=(rows, 3, 6)) for name in names}
    given = {"x": X, "carry": carry, **({"lengths": LENGTHS} if packed else {})}

    def run(params, given):
        return layer.apply(params, state, given)[0]

    out, pull = kn.vjp(lambda p, x, c: run(p, {**given, "x": x, "carry": c}), params, X, carry)
    cotangent = tree.map(lambda leaf: rng.normal(size=leaf.shape), out)
    grads = pull(cotangent)

    x = torch.tensor(X, requires_grad=True)
    start = [torch.tensor(carry[name], requires_grad=True) for name in names]
    sequences = x
    if packed:
        sequences = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False
        )
    y, final = peer(sequences, tuple(start) if kind == "LSTM" else start[0])
    final = final if kind == "LSTM" else (final,)
    if packed:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
    close(out["y"], y.detach().numpy())
    for name, each in zip(names, final, strict=True):
        close(out["carry"][name], each.detach().numpy())

    total = (y * torch.tensor(cotangent["y"])).sum()
    for name, each in zip(names, final, strict=True):
        total = total + (each * torch.tensor(cotangent["carry"][name])).sum()
    total.backward()
    for path, leaf in tree.flatten_with_path(grads[0])[0]:
        close(leaf, torch_parameter(peer, path).grad.numpy().T)
    close(grads[1], x.grad.numpy())
    for name, each in zip(names, start, strict=True):
        close(grads[2][name], each.grad.numpy())


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_jit_vmap_and_dtype(kind):
    layer, params, state = made(kind, bidirectional=True, num_layers=2)
    given = {"x": X, "mask": np.arange(5) < LENGTHS[:, None]}

    def loss(params, given):
        y, _ = layer.apply(params, state, given)
        return np.sum(y * np.cos(np.arange(12.0)))

    for eager, compiled in zip(
        tree.leaves(kn.value_and_grad(loss)(params, given)),
        tree.leaves(kn.jit(kn.value_and_grad(loss))(params, given)),
        strict=True,
    ):
        close(eager, compiled, 1e-13)
    whole, _ = layer.apply(params, state, given)
    close(kn.vmap(lambda each: layer.apply(params, state, each)[0])(given), whole)
    small, _ = layer.init(random.key(0), (3, 5, 4))
    assert {leaf.dtype for leaf in tree.leaves(small)} == {np.dtype(np.float32)}
    grads = kn.grad(lambda p: np.sum(layer.apply(p, {}, X.astype(np.float32))[0]))(small)
    assert {leaf.dtype for leaf in tree.leaves(grads)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("cell", "layer", "peer"),
    [
        (nn.LSTMCell, nn.LSTM, torch.nn.LSTMCell),
        (nn.GRUCell, nn.GRU, torch.nn.GRUCell),
        (nn.RNNCell, nn.RNN, torch.nn.RNNCell),
    ],
)
def test_cells_step_as_the_layers_and_torch_do(cell, layer, peer):
    params, state = cell(6).init(random.key(2), kn.ShapeDtype((3, 4), np.float64))
    carry, seen = None, []
    for t in range(5):
        carry, state = cell(6).apply(params, state, {"x": X[:, t], "carry": carry})
        seen.append(carry["h"])
    whole, _ = layer(6).apply({"layer0": {"forward": params}}, {}, X)
    close(np.stack(seen, 1), whole)
    theirs = peer(4, 6, dtype=torch.float64)
    with torch.no_grad():
        for leaf, name in TORCH.items():
            getattr(theirs, name).copy_(torch.tensor(params[leaf].T))
        found = theirs(torch.tensor(X[:, 0]))
    close(seen[0], (found[0] if isinstance(found, tuple) else found).numpy())


# ---- the whole run of an LSTM as one operation ---------------------------------------------------

CHECKS = [
    rules.check_shape, rules.check_integers, rules.check_forward, rules.check_reverse,
    rules.check_second, rules.check_dtypes, rules.check_graph, rules.check_jit, rules.check_batch,
]  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("one", [lstm_p, lstm_backward_p], ids=lambda one: one.name)
def test_rules_of_the_whole_run(one, check):
    for sample in one.samples():
        check(one, sample)


def test_the_whole_run_in_blocks_is_the_loop_of_cells():
    """Longer than a block of the backward run, with a mask in which sequences begin and end."""
    features, moments = 16, 700
    x = np.random.default_rng(0).normal(size=(4, moments, 3))
    mask = np.random.default_rng(1).random((4, moments)) < 0.7
    layer, cell = nn.LSTM(features), nn.LSTMCell(features)
    params, state = layer.init(random.key(0), x)
    g = np.random.default_rng(2).normal(size=(4, moments, features))

    def by_cells(params, x):
        def step(carry, moment):
            x, alive = moment
            after, _ = cell.apply(params["layer0"]["forward"], {}, {"x": x, "carry": carry})
            kept = {k: np.where(alive[:, None], after[k], carry[k]) for k in carry}
            return kept, np.where(alive[:, None], kept["h"], 0)

        start = {k: np.zeros((4, features)) for k in "hc"}
        _, y = kn.scan(step, start, (np.moveaxis(x, 1, 0), mask.T))
        return np.moveaxis(y, 0, 1)

    def whole(params, x):
        return layer.apply(params, state, {"x": x, "mask": mask})[0]

    y, pull = kn.vjp(whole, params, x)
    close(y, kn.jit(by_cells)(params, x))
    by_step = kn.jit(lambda params, x: kn.vjp(by_cells, params, x)[1](g))(params, x)
    for a, b in zip(tree.leaves(pull(g)), tree.leaves(by_step), strict=True):
        close(a, b, 1e-11)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_what_padding_holds_goes_nowhere(kind):
    layer, params, state = made(kind, bidirectional=True)
    loud = X.copy()
    for row, length in zip(loud, LENGTHS, strict=True):
        row[length:] = 1e6

    def loss(params, x):
        y, _ = layer.apply(params, state, {"x": x, "lengths": LENGTHS})
        return np.sum(y * np.cos(np.arange(12.0)))

    quiet_y, quiet = kn.value_and_grad(loss, (0, 1))(params, X)
    loud_y, grads = kn.value_and_grad(loss, (0, 1))(params, loud)
    close(loud_y, quiet_y)
    for a, b in zip(tree.leaves(grads), tree.leaves(quiet), strict=True):
        close(a, b)


def test_vmap_over_weights_is_a_loop_over_them():
    layer = nn.LSTM(6)
    params = [layer.init(random.key(i), X)[0] for i in range(3)]
    stacked = tree.map(lambda *leaves: np.stack(leaves), *params)

    def loss(params):
        return np.sum(layer.apply(params, {}, X)[0] * np.cos(np.arange(6.0)))

    found = kn.vmap(kn.grad(loss))(stacked)
    for i, each in enumerate(params):
        for a, b in zip(tree.leaves(found), tree.leaves(kn.grad(loss)(each)), strict=True):
            close(a[i], b)


def test_multiplications_are_counted():
    inputs, moments, features = 3, 5, 8
    for kind, gates in (("LSTM", 4), ("GRU", 3)):
        found = nn.summary(getattr(nn, kind)(features), (2, moments, inputs))
        assert found.macs == 2 * moments * (inputs + features) * gates * features


def test_second_derivatives_and_forward_mode():
    layer = nn.LSTM(2, bidirectional=True)
    params, _ = layer.init(random.key(0), kn.ShapeDtype((2, 3, 2), np.float64))
    x = X[:2, :3, :2]
    kn.testing.check_grads(lambda p, x: layer.apply(p, {}, x)[0], (params, x), order=2)


def test_reverse_reads_from_the_end():
    layer, params, _ = made("GRU")
    backward, _ = nn.GRU(6, reverse=True).apply(
        {"layer0": {"backward": params["layer0"]["forward"]}}, {}, X
    )
    close(backward, layer.apply(params, {}, X[:, ::-1])[0][:, ::-1])


def test_last_output_is_each_sequences_own():
    layer, params, state = made("LSTM", return_sequences=False)
    y, _ = layer.apply(params, state, {"x": X, "lengths": LENGTHS})
    for i, length in enumerate(LENGTHS):
        close(y[i], layer.apply(params, state, X[i, :length])[0])


def test_a_sequence_in_two_parts():
    layer, params, state = made("LSTM", num_layers=2, return_carry=True)
    whole, _ = layer.apply(params, state, X)
    first, _ = layer.apply(params, state, X[:, :2])
    second, _ = layer.apply(params, state, {"x": X[:, 2:], "carry": first["carry"]})
    close(np.concatenate([first["y"], second["y"]], 1), whole["y"])
    close(second["carry"]["c"], whole["carry"]["c"])


def test_dropout_between_layers_alone():
    layer, params, state = made("GRU", num_layers=2, dropout=0.5)
    plain, _ = layer.apply(params, state, X)
    dropped, _ = layer.apply(params, state, X, train=True, key=random.key(1))
    assert not np.allclose(plain, dropped)
    with pytest.raises(ValueError, match="wants a random key"):
        layer.apply(params, state, X, train=True)
    single, weights, _ = made("GRU", dropout=0.5)
    close(
        single.apply(weights, {}, X, train=True)[0],
        single.apply(weights, {}, X)[0],
    )


def test_bad_input_is_named():
    layer, params, state = made("LSTM")
    with pytest.raises(errors.ShapeError, match="made for 4"):
        layer.apply(params, state, np.ones((3, 5, 7)))
    with pytest.raises(TypeError, match="booleans are wanted"):
        layer.apply(params, state, {"x": X, "mask": np.ones((3, 5))})
    with pytest.raises(errors.ShapeError, match="the mask has shape"):
        layer.apply(params, state, {"x": X, "mask": np.ones((3, 4), bool)})
    with pytest.raises(errors.TreeError, match="got 'masks'"):
        layer.apply(params, state, {"x": X, "masks": np.ones((3, 5), bool)})
    with pytest.raises(errors.ShapeError, match="carry 'h' wants shape"):
        layer.apply(params, state, {"x": X, "carry": {"h": X, "c": X}})
    with pytest.raises(errors.TreeError, match="a dict of h, c is wanted"):
        layer.apply(params, state, {"x": X, "carry": {"h": X}})
    with pytest.raises(ValueError, match="both directions"):
        nn.LSTM(3, bidirectional=True, reverse=True)
