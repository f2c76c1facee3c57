"""Whole networks under every transformation: what holds for a layer must hold for the model.

Each model of `whole_networks.CASES` is trained, compiled, batched, differentiated with and without
rematerialisation, turned, widened, saved and resumed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoint_sample import same
from whole_networks import (
    CASES,
    CLASSES,
    WORDS,
    digest,
    make_loss,
    make_optimizer,
    make_step,
    setting,
    start,
    wide,
)

import kinone as kn
from kinone import losses, nn, optim, random, tree
from kinone.training import checkpoint

ROOT = Path(kn.__file__).parents[1]
# Second ones of their kind and deep ones: with them all, these tests take half a minute.
SLOW = ("resnet18 imagenet", "resnet50", "efficientnet lite", "vit mean", "gru max")


def each(condition=lambda name, case: True):
    found = [name for name, case in CASES.items() if condition(name, case)]
    marked = [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in found]
    return pytest.mark.parametrize("name", marked)


EACH = each()
IMAGES = each(lambda name, case: case.image)
ALONE = each(lambda name, case: not case.mixes)
SEQUENCES = each(lambda name, case: name.startswith(("lstm", "gru")))


def close(got, want, tolerance=1e-11):
    """Leaf by leaf, relative to the largest number of the leaf."""
    assert tree.structure(got) == tree.structure(want)
    for (path, a), b in zip(tree.leaves_with_path(got), tree.leaves(want), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape, path
        scale = max(np.abs(b).max(initial=0), 1e-3)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale, err_msg=path)


# ---- it learns -----------------------------------------------------------------------------------


@EACH
def test_one_batch_is_learned(name):
    case = CASES[name]
    optimizer = optim.adam(case.rate)
    run, step = start(case, optimizer), kn.jit(make_step(case.model, optimizer))
    first = last = None
    for _ in range(100):
        run, value = step(run, case.x, case.labels)
        first, last = value if first is None else first, value
        if last < 0.05 * first:
            break
    assert first > 0.8
    assert last < 0.05 * first


@EACH
def test_every_parameter_has_a_gradient(name):
    """Most numbers of every array, and not one alone."""
    model, params, state, x, labels, key = setting(name)
    grads, _ = kn.grad(make_loss(model), has_aux=True)(params, state, x, labels, key)
    for path, gradient in tree.leaves_with_path(grads):
        if path == "embedding/embedding":  # of the words that the batch has, and no others
            assert set(np.flatnonzero(gradient.any(axis=1))) == set(np.unique(WORDS))
        elif path.endswith("key/bias"):
            # softmax takes no notice of a number that is added to a whole row of scores
            assert np.abs(gradient).max() < 1e-12, path
        else:
            # The rim of a window may see padding alone where an image has become small.
            moved = gradient.any(axis=(0, 1)) if gradient.ndim == 4 else gradient != 0
            assert np.mean(moved) > 0.5, path


@EACH
def test_the_gradient_is_the_slope(name):
    """Along a random direction, against central differences and against forward mode."""
    model, params, state, x, labels, key = setting(name)
    rng = np.random.default_rng(5)
    direction = tree.map(lambda leaf: rng.normal(size=leaf.shape), params)
    loss = make_loss(model)

    def value(params):
        return loss(params, state, x, labels, key.clone())[0]

    grads = kn.grad(value)(params)
    slope = sum(np.vdot(g, d) for g, d in zip(*map(tree.leaves, (grads, direction)), strict=True))
    _, forward = kn.jvp(value, (params,), (direction,))
    np.testing.assert_allclose(slope, forward, rtol=1e-9)
    step = 1e-8  # deep networks bend within less than 1e-6
    ends = [value(tree.map(lambda p, d, s=s: p + s * d, params, direction)) for s in (step, -step)]
    np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), slope, rtol=1e-4)


# ---- transformations change nothing --------------------------------------------------------------


@EACH
def test_compiled_steps_have_the_bits_of_eager_ones(name):
    case = CASES[name]
    optimizer = make_optimizer(case.rate)
    eager = make_step(case.model, optimizer)
    compiled = kn.jit(eager)
    predict = kn.jit(case.model.apply, static_argnums=(3,))
    one = other = start(case, optimizer)
    for _ in range(5):
        one, value = eager(one, case.x, case.labels)
        other, compiled_value = compiled(other, case.x, case.labels)
        assert same(np.asarray(value), np.asarray(compiled_value))
        assert digest(one) == digest(other)
    want = case.model.apply(one["params"], one["state"], case.x)
    assert digest(predict(one["params"], one["state"], case.x, False)) == digest(want)


@EACH
def test_seeds_in_one_batch_are_a_loop_over_seeds(name):
    model, _, _, x, labels, _ = setting(name)
    runs = []
    for seed in range(3):
        params, state = model.init(random.key(seed), x)
        runs.append((params, state, random.key(seed)["dropout"]))
    gradient = kn.value_and_grad(make_loss(model), has_aux=True)
    want = [gradient(params, state, x, labels, key.clone()) for params, state, key in runs]
    stacked = tree.map(lambda *leaves: np.stack(leaves), *[run[:2] for run in runs])
    keys = tree.map(lambda *leaves: np.stack(leaves), *[run[2] for run in runs])
    got = kn.vmap(gradient, in_axes=(0, 0, None, None, 0))(*stacked, x, labels, keys)
    close(got, tree.map(lambda *leaves: np.stack(leaves), *want), 1e-9)


@EACH
def test_rematerialisation_changes_no_gradient(name):
    model, params, state, x, labels, key = setting(name)

    def gradient(loss):
        found = kn.value_and_grad(loss, has_aux=True)
        return found(params, state, x, labels, key.clone())

    want = gradient(make_loss(model))
    close(gradient(kn.checkpoint(make_loss(model))), want)
    close(gradient(make_loss(nn.checkpoint(model))), want)
    close(kn.jit(lambda: gradient(make_loss(nn.checkpoint(model))))(), want)


@IMAGES
def test_layouts_agree(name):
    _, params, state, x, labels, key = setting(name)
    last, first = CASES[name].make("NHWC"), CASES[name].make("NCHW")

    def turned(params):
        """Kernels HWIO to OIHW."""
        return tree.map(lambda leaf: leaf.transpose(3, 2, 0, 1) if leaf.ndim == 4 else leaf, params)

    def gradient(model, params, x):
        found = kn.value_and_grad(make_loss(model), argnums=(0, 2), has_aux=True)
        return found(params, state, x, labels, key.clone())

    (want, want_state), (want_grads, want_x) = gradient(last, params, x)
    (got, got_state), (grads, got_x) = gradient(first, turned(params), x.transpose(0, 3, 1, 2))
    close((got, got_state, grads), (want, want_state, turned(want_grads)), 1e-9)
    close(got_x, want_x.transpose(0, 3, 1, 2), 1e-9)
    shapes = kn.eval_shape(
        lambda key: first.init(key, x.transpose(0, 3, 1, 2).shape), random.key(0)
    )
    assert [leaf.shape for leaf in tree.leaves(shapes[0])] == [
        leaf.shape for leaf in tree.leaves(turned(params))
    ]


@pytest.mark.parametrize("name", ["mlp", "cifar_resnet20", "vit", "lstm"])
def test_steps_in_a_scan_and_runs_in_a_batch_are_those_of_python(name):
    """The whole of training inside a transformation: optimiser, keys and state included."""
    case = CASES[name]
    x, optimizer = wide(case.x), make_optimizer(case.rate)
    step = make_step(case.model, optimizer)
    batches = np.stack([x, x[::-1]]), np.stack([case.labels, case.labels[::-1]])

    def many(run):
        return kn.scan(lambda run, batch: step(run, *batch), run, batches)

    wanted = []
    for seed in range(2):
        run, values = start(case, optimizer, x, seed), []
        for batch in zip(*batches, strict=True):
            run, value = step(run, *batch)
            values.append(value)
        wanted.append((run, np.stack(values)))
    begun = [start(case, optimizer, x, seed) for seed in range(2)]
    for function in (many, kn.jit(many)):
        close(function(begun[0]), wanted[0], 1e-9)
        found = kn.vmap(function)(tree.map(lambda *leaves: np.stack(leaves), *begun))
        close(found, tree.map(lambda *leaves: np.stack(leaves), *wanted), 1e-8)


@ALONE
def test_gradients_of_each_example(name):
    model, params, state, x, labels, _ = setting(name)

    def gradient(row, label):
        def loss(params):
            logits, _ = model.apply(params, state, row[None])
            return losses.softmax_cross_entropy_with_integer_labels(logits[0], label)

        return kn.grad(loss)(params)

    want = [gradient(*each) for each in zip(x, labels, strict=True)]
    for function in (kn.vmap(gradient), kn.jit(kn.vmap(gradient))):
        close(function(x, labels), tree.map(lambda *leaves: np.stack(leaves), *want), 1e-9)


# ---- dtypes --------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_is_kept(name, dtype):
    case = CASES[name]
    if case.x.dtype.kind != "f" and dtype == "float64":
        pytest.skip("words give float32 parameters")
    x = case.x.astype(dtype) if case.x.dtype.kind == "f" else case.x
    optimizer = make_optimizer()
    step = make_step(case.model, optimizer)
    before = start(case, optimizer, x)
    for function in (step, kn.jit(step)):
        run, value = function(before, x, case.labels)
        assert np.asarray(value).dtype == dtype
        assert tree.structure(run) == tree.structure(before)
        for (path, leaf), old in zip(tree.leaves_with_path(run), tree.leaves(before), strict=True):
            assert leaf.dtype == np.asarray(old).dtype, path
            if path.startswith(("params", "state", "optimizer")) and leaf.dtype.kind == "f":
                assert leaf.dtype == dtype or not leaf.ndim, path
        logits, _ = case.model.apply(run["params"], run["state"], x)
        assert logits.dtype == dtype


# ---- evaluation ----------------------------------------------------------------------------------


@EACH
def test_evaluation_sees_each_example_alone(name):
    model, params, state, x, _, key = setting(name)
    for _ in range(2):  # so that running averages are not the initial ones
        _, state = model.apply(params, state, x, train=True, key=key.clone())
    whole, after = model.apply(params, state, x)
    assert digest(after) == digest(state)
    order = np.random.default_rng(1).permutation(len(x))
    close(model.apply(params, state, x[order])[0], whole[order])
    close(model.apply(params, state, x[2:3])[0], whole[2:3])
    strange = x.copy()
    strange[1:] = strange[1:] * 100 if x.dtype.kind == "f" else 0
    close(model.apply(params, state, strange)[0][:1], whole[:1])
    one = kn.vmap(lambda row: model.apply(params, state, row[None])[0][0])(x)
    close(one, whole, 1e-10)


@EACH
def test_an_empty_batch_has_no_gradient(name):
    model, params, state, x, _, _ = setting(name)
    logits, pull = kn.vjp(lambda params: model.apply(params, state, x[:0])[0], params)
    assert logits.shape == (0, CLASSES)
    close(pull(logits)[0], tree.map(np.zeros_like, params))


@EACH
def test_training_and_evaluation_change_nothing_that_they_were_given(name):
    model, params, state, x, labels, key = setting(name)
    before = digest((params, state, x, labels))
    kn.grad(make_loss(model), has_aux=True)(params, state, x, labels, key)
    model.apply(params, state, x)
    assert digest((params, state, x, labels)) == before


@EACH
def test_training_mode_matters_where_it_should(name):
    model, params, state, x, _, key = setting(name)
    trained, after = model.apply(params, state, x, train=True, key=key)
    evaluated, _ = model.apply(params, state, x)
    assert (digest(after) != digest(state)) == bool(tree.leaves(state))
    draws = "dropout" in model.name or name == "vit"
    assert (digest(trained) != digest(evaluated)) == (CASES[name].mixes or draws)


# ---- masked batches ------------------------------------------------------------------------------


@ALONE
def test_rows_of_weight_zero_have_no_gradient(name):
    """A last batch that is filled up: the gradient is that of the rows that count."""
    model, params, state, x, labels, _ = setting(name)
    weights = np.arange(len(x)) < 5

    def loss(params, x, labels, weights):
        logits, _ = model.apply(params, state, x)
        each = losses.softmax_cross_entropy_with_integer_labels(logits, labels)
        return np.sum(np.where(weights, each, 0)) / np.sum(weights)

    filled = x.copy()
    filled[5:] = 1e3 if x.dtype.kind == "f" else 0
    want = kn.grad(loss)(params, x[:5], labels[:5], weights[:5])
    close(kn.grad(loss)(params, filled, labels, weights), want, 1e-10)


@SEQUENCES
def test_padding_has_no_gradient(name):
    model, params, state, x, labels, key = setting(name)
    lengths = np.array([6, 4, 1, 6, 3, 2, 5, 4])
    mask = np.arange(x.shape[1]) < lengths[:, None]
    noise = np.where(mask[..., None] if x.ndim == 3 else mask, 0, 7).astype(x.dtype)

    def gradient(x):
        found = kn.value_and_grad(make_loss(model), has_aux=True)
        return found(params, state, x, labels, key.clone())

    want = gradient({"x": x, "lengths": lengths})
    close(gradient({"x": (x + noise) % 20 if x.ndim == 2 else x + noise, "mask": mask}), want)
    wanted_rows = [
        model.apply(params, state, x[i : i + 1, :n])[0][0] for i, n in enumerate(lengths)
    ]
    close(model.apply(params, state, {"x": x, "lengths": lengths})[0], np.stack(wanted_rows))


# ---- saved, counted, repeated --------------------------------------------------------------------


@EACH
def test_a_run_that_is_saved_and_resumed_has_the_same_bits(name, tmp_path):
    case = CASES[name]
    optimizer = make_optimizer(case.rate)
    step = make_step(case.model, optimizer)
    run = start(case, optimizer)
    for number in range(4):
        if number == 2:
            checkpoint.save(tmp_path / "run.npz", run)
        run, value = step(run, case.x, case.labels)
    like = kn.eval_shape(lambda key: {**start(case, optimizer), "key": key}, random.key(9))
    resumed = checkpoint.load(tmp_path / "run.npz", like=like).tree
    for _ in range(2):
        resumed, again = step(resumed, case.x, case.labels)
    assert same(np.asarray(again), np.asarray(value))
    assert same(tree.leaves(resumed), tree.leaves(run))
    assert tree.paths(resumed) == tree.paths(run)


@EACH
def test_the_summary_counts_what_there_is(name):
    case = CASES[name]
    params, _ = case.model.init(random.key(0), case.x)
    for train in (False, True):
        found = nn.summary(case.model, kn.ShapeDtype(case.x.shape, case.x.dtype), train=train)
        assert found.parameters == sum(leaf.size for leaf in tree.leaves(params))
        for row in found.rows[1:]:
            part = params
            for each in row.path.split("/"):
                part = part.get(each, {}) if isinstance(part, dict) else {}
            assert row.parameters == sum(leaf.size for leaf in tree.leaves(part)), row.path


def test_processes_agree_to_the_last_bit():
    """Whatever order a process gives to sets and addresses to objects."""
    script = str(Path(__file__).with_name("whole_networks.py"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    children = [
        subprocess.Popen(
            [sys.executable, script],
            stdout=subprocess.PIPE,
            text=True,
            env={**environment, "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    first, second = (child.communicate(timeout=300)[0] for child in children)
    assert [child.returncode for child in children] == [0, 0]
    assert [line.split(":")[0] for line in first.splitlines()] == list(CASES)
    assert first == second
