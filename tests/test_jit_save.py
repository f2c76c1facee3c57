"""Compiled programs as files: they run where there is no Kinone, with the same bits."""

from __future__ import annotations

import collections
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import kinone as kn
from kinone.compile.extract import Extract
from kinone.compile.save import SaveError
from kinone.core import is_inexact, registry
from kinone.errors import MissingRuleError
from kinone.testing.gradients import random_like
from kinone.testing.operands import restricted, samples_of

rng = np.random.default_rng(0)

# Runs the saved functions in a fresh interpreter without Kinone on its path.
RUNNER = """
import importlib.util, pickle, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
with open(sys.argv[1], "rb") as file:
    jobs = pickle.load(file)
def leaves(tree):
    if isinstance(tree, dict):
        order = sorted(tree, key=lambda key: (type(key).__name__, repr(key)))
        return [leaf for key in order for leaf in leaves(tree[key])]
    if isinstance(tree, (list, tuple)):
        return [leaf for each in tree for leaf in leaves(each)]
    return [] if tree is None else [tree]
results = {}
for name, path, function, calls in jobs:
    try:
        spec = importlib.util.spec_from_file_location("saved_" + str(len(results)), path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        saved = getattr(module, function)
        results[name] = [leaves(saved(*args, **kwargs)) for args, kwargs in calls]
    except BaseException as error:
        results[name] = f"{type(error).__name__}: {error}"
assert not [name for name in sys.modules if name.startswith("kinone")]
with open(sys.argv[2], "wb") as file:
    pickle.dump(results, file)
"""


class Elsewhere:
    """Jobs for one subprocess, and what came back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs: list[Any] = []
        self.want: dict[str, Any] = {}

    def add(
        self, name: str, fun: Callable[..., Any], *args: Any, again: Any = (), **kw: Any
    ) -> None:
        """Saves `fun` for these arguments; `again` are more arguments to run it with."""
        path = self.folder / f"{re.sub(r'[^a-z0-9]', '_', name)}_{len(self.jobs)}.py"
        jitted = fun if isinstance(fun, kn.compile.Jitted) else kn.jit(fun)
        jitted.lower(*args, **kw).save(path)
        text = path.read_text()
        assert not re.search(r"^\s*(import|from) +kinone", text, re.MULTILINE)
        (function,) = re.findall(r"^def (\w+)\(", text, re.MULTILINE)[:1]
        calls = [(args, kw), *[(each, {}) for each in again], (args, kw)]
        self.jobs.append((name, path, function, calls))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.want[name] = [jitted._fun(*each, **keywords) for each, keywords in calls]

    def run(self) -> dict[str, Any]:
        given, taken = self.folder / "jobs.pkl", self.folder / "results.pkl"
        given.write_bytes(pickle.dumps(self.jobs))
        command = [sys.executable, "-I", "-c", RUNNER, str(given), str(taken)]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self.printed = done.stdout
        results: dict[str, Any] = pickle.loads(taken.read_bytes())
        return results


def check_bits(got: Any, want: Any, name: str) -> None:
    assert not isinstance(got, str), f"{name}: {got}"
    a, b = kn.tree.leaves(got), kn.tree.leaves(want)
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert (x.shape, x.dtype) == (y.shape, y.dtype), name
        assert x.tobytes() == y.tobytes(), f"{name}: other bits"


# ---- every primitive -----------------------------------------------------------------------------

# Their samples hold what no program that `trace` makes does: rules without a traced function.
WITHOUT = {"custom_vjp", "custom_jvp", "while_record", "while_replay"}


def test_every_primitive(tmp_path: Path) -> None:
    elsewhere = Elsewhere(tmp_path)
    for name, primitive in registry.items():
        if name in WITHOUT or primitive.samples is None or not _is_kinones(primitive):
            continue
        for index, sample in enumerate(samples_of(primitive)):

            def apply(*xs: Any, p: Any = primitive, params: Any = sample.params) -> list[Any]:
                y = p(*xs, **params)
                return list(y) if p.multiple else [y]

            apply.__name__ = name
            elsewhere.add(f"{name} {index}", apply, *sample.args)
            floats = [i for i, x in enumerate(sample.args) if is_inexact(x)]
            if index == 0 and floats and primitive.vjp is not None:
                pulled, args = _pullback(primitive, sample, floats)
                elsewhere.add(f"pullback of {name}", pulled, *args)
    results = elsewhere.run()
    for name, want in elsewhere.want.items():
        check_bits(results[name], want, name)


def _pullback(primitive: Any, sample: Any, floats: list[int]) -> tuple[Any, tuple[Any, ...]]:
    """The pullback of a primitive as a function of a cotangent and the floating operands."""
    f, xs = restricted(primitive, sample, floats)
    try:
        y, _ = kn.vjp(f, *xs)
    except MissingRuleError:
        f, xs = restricted(primitive, sample, floats[:1])
        y, _ = kn.vjp(f, *xs)

    def pullback(g: Any, *xs: Any) -> Any:
        return kn.vjp(f, *xs)[1](g)

    return pullback, (random_like(rng, y), *xs)


def _is_kinones(primitive: Any) -> bool:
    return primitive.declared is None or "kinone" in Path(primitive.declared.filename).parts


# ---- programs ------------------------------------------------------------------------------------


def mlp(params: Any, x: Any) -> Any:
    for layer in params[:-1]:
        x = np.tanh(x @ layer["w"] + layer["b"])
    return x @ params[-1]["w"] + params[-1]["b"]


def step(params: Any, x: Any, y: Any, rate: float) -> Any:
    def loss(params: Any) -> Any:
        return np.mean((mlp(params, x) - y) ** 2)

    value, grads = kn.value_and_grad(loss)(params)
    return {"loss": value, "params": kn.tree.map(lambda p, g: p - rate * g, params, grads)}


class Point(NamedTuple):
    x: Any
    y: Any


LARGE = rng.normal(size=(300, 40))
FORTRAN = np.asfortranarray(rng.normal(size=(30, 40)))
TURNED = rng.normal(size=(7, 8, 9)).transpose(2, 0, 1)
ODD = np.array([np.nan, -0.0, np.inf, 1e-310])


def constants(x: Any) -> Any:
    return (
        np.sum(LARGE @ x[:40]),
        np.sum(FORTRAN * x[:40], axis=0),
        np.sum(TURNED * x[:8], axis=(0, 1)),
        ODD * x[0],
        np.float32(0.1) * np.arange(3, dtype=np.float32) * x[:3],
        np.array([1 + 2j, -0.0 - 1j]) * x[:2],
        LARGE,
    )


@kn.custom_vjp
def clipped(x: Any) -> Any:
    return np.sin(x)


clipped.defvjp(lambda x: (np.sin(x), x), lambda x, g: (np.clip(g, -0.1, 0.1) * np.cos(x),))


def loops(x: Any) -> Any:
    def body(c: Any, s: Any) -> Any:
        return np.tanh(c + s), kn.cond(np.sum(s) > 0, np.sin, np.cos, s)

    carry, ys = kn.scan(body, x[0], x)
    last = kn.while_loop(lambda v: np.sum(v) < 10.0, lambda v: v * v + 1.0, x[1])
    chosen = kn.switch(2, [lambda v: v, lambda v: 2 * v, lambda v: 3 * v], carry)
    return (
        np.sum(ys) + np.sum(last) + np.sum(chosen) + np.sum(kn.fori_loop(0, 3, body_of_fori, carry))
    )


def body_of_fori(i: Any, v: Any) -> Any:
    return v * i + np.sin(v)


def dropout(data: Any, x: Any) -> Any:
    key = kn.random.wrap_key_data(data)
    keep, noise = key.split()
    return x * kn.random.bernoulli(keep, 0.8, x.shape) + kn.random.normal(noise, x.shape)


def trees(a: Any, b: Any, *, c: Any) -> Any:
    return Point(a["u"] + 1, [b[0], None]), {3: c, "z": (a["v"][1],)}, ()


def long_chain(x: Any, row: Any) -> Any:
    y = np.exp(-x) * row
    return np.where(y > 0.5, np.sqrt(y + 1.0), y * y) - np.tanh(x)


def weak(x: float, n: int, flag: bool) -> Any:
    return x * n, x**n, x + 0.5, np.float32(2) * x, np.where(flag, x, n)


def seen(x: Any) -> Any:
    kn.debug.print("x[0] is {first:.2f} of {kind}", first=x[0], kind="reals")
    kn.debug.check(np.all(x < 100.0), "too large: {}", x)
    return x * 2


def checkpointed(x: Any) -> Any:
    return np.sum(kn.checkpoint(lambda v: np.tanh(np.sin(v)))(x))


def indexed(x: Any, i: Any) -> Any:
    return x[i, 1:], x[..., ::-1], x[:, None, 0], kn.ops.add_at(x, i, 1.0)


def size_zero(x: Any) -> Any:
    return np.sum(x), x * 2, np.concatenate([x, x])


def no_arguments() -> Any:
    return np.arange(3.0)


def lenient(x: Any) -> Any:
    return np.sqrt(x), np.linalg.inv(x @ x.T + np.eye(3)), np.fft.rfft(x), np.sort(x), np.argsort(x)


def programs(elsewhere: Elsewhere) -> None:
    x = rng.normal(size=(8, 5))
    params = [
        {"w": rng.normal(size=(5, 6)), "b": np.zeros(6)},
        {"w": rng.normal(size=(6, 3)), "b": np.zeros(3)},
    ]
    y = rng.normal(size=(8, 3))
    small = kn.tree.map(lambda v: v.astype(np.float32), (params, x, y))
    big = rng.normal(size=(300, 301))
    add = elsewhere.add
    add("mlp", mlp, params, x, again=[(params, x[::-1]), (params, np.asfortranarray(x))])
    add("step", step, params, x, y, 0.1)
    add("step float32", step, *small, 0.1)
    add(
        "second order",
        kn.grad(lambda p: np.sum(kn.grad(lambda q: np.sum(mlp(q, x) ** 2))(p)[0]["w"] ** 2)),
        params,
    )
    add("constants", constants, rng.normal(size=40))
    add("custom_vjp", clipped, x)
    add("grad of custom_vjp", kn.grad(lambda v: np.sum(clipped(v) ** 2)), x)
    add("loops", loops, x[:4])
    add("grad of loops", kn.grad(loops), x[:4])
    add("batch of loops", kn.vmap(loops), rng.normal(size=(2, 3, 4)))
    add("dropout", dropout, kn.random.key_data(kn.random.key(3)), x.astype(np.float32))
    add("trees", trees, {"u": x, "v": (x[0], 2.0)}, [y], c=np.int8(3))
    add(
        "blocks",
        long_chain,
        big,
        big[0],
        again=[(np.asfortranarray(big), big[0]), (big[::-1], big[0])],
    )
    add("weak", weak, 1.5, 3, True)
    add("seen", seen, x[0])
    add("grad of checkpoint", kn.grad(checkpointed), x)
    add("indexed", indexed, x, np.array([3, 0, 3]))
    add("size zero", size_zero, np.zeros((0, 3)))
    add("no arguments", no_arguments)
    add("lenient", lenient, np.abs(x[:3]))
    add("lambda", lambda x: x + 1, x)
    add("builtin's name", _named("sum"), x)
    add("keyword's name", _named("lambda_"), x)
    add("vmap of grad", kn.vmap(kn.grad(lambda v: np.sum(np.sin(v) ** 2))), x)
    add("complex", lambda z: np.exp(z) * np.conj(z), x + 1j)
    add("half", lambda z: np.mean(z * z), x.astype(np.float16))


def _named(name: str) -> Callable[..., Any]:
    def fun(x: Any) -> Any:
        return np.sum(x), np.all(x > 0), np.max(x)

    fun.__name__ = name
    return fun


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Elsewhere, dict[str, Any]]:
    elsewhere = Elsewhere(tmp_path_factory.mktemp("saved"))
    programs(elsewhere)
    return elsewhere, elsewhere.run()


def test_programs(ran: tuple[Elsewhere, dict[str, Any]]) -> None:
    elsewhere, results = ran
    for name, want in elsewhere.want.items():
        check_bits(results[name], want, name)


def test_trees_come_back(tmp_path: Path) -> None:
    args, kwargs = ({"u": np.ones(2), "v": (1.0, 2.0)}, [np.zeros(3)]), {"c": np.int8(3)}
    text, names = saved(tmp_path, trees, *args, **kwargs)
    assert "def trees(a, b, *, c):" in text
    point, others, nothing = names["trees"](*args, **kwargs)
    assert type(point).__name__ == "Point"
    assert point._fields == ("x", "y")
    assert point.y[1] is None
    assert list(others) == [3, "z"]
    assert nothing == ()


def test_effects_act(ran: tuple[Elsewhere, dict[str, Any]]) -> None:
    assert ran[0].printed.count("of reals") == 2


@pytest.mark.parametrize("train", [False, True])
def test_resnet(tmp_path: Path, train: bool) -> None:
    """A convolutional network, with the kernels and their threads."""
    network = kn.models.resnet18(num_classes=10, stem="small", width=8)
    key = kn.random.key(0)
    params, state = network.init(key, (2, 16, 16, 3))
    x = rng.normal(size=(2, 16, 16, 3)).astype(np.float32)

    def forward(params: Any, state: Any, x: Any) -> Any:
        return network.apply(params, state, x, train=False)[0]

    def gradient(params: Any, state: Any, x: Any) -> Any:
        def loss(params: Any) -> Any:
            return np.mean(network.apply(params, state, x, train=True)[0] ** 2)

        return kn.value_and_grad(loss)(params)

    elsewhere = Elsewhere(tmp_path)
    elsewhere.add("resnet", gradient if train else forward, params, state, x)
    results = elsewhere.run()
    check_bits(results["resnet"], elsewhere.want["resnet"], "resnet")


# ---- what the file says --------------------------------------------------------------------------


def saved(tmp_path: Path, fun: Any, *args: Any, **kwargs: Any) -> tuple[str, dict[str, Any]]:
    path = tmp_path / "f.py"
    (fun if isinstance(fun, kn.compile.Jitted) else kn.jit(fun)).lower(*args, **kwargs).save(path)
    text = path.read_text()
    names: dict[str, Any] = {"__name__": "saved"}
    exec(compile(text, str(path), "exec"), names)
    return text, names


def test_the_file_is_readable(tmp_path: Path) -> None:
    def predict(params: Any, x: Any) -> Any:
        return {"y": np.tanh(x @ params["w"])}

    text, names = saved(tmp_path, predict, {"w": np.ones((3, 2))}, np.ones((4, 3)))
    assert text.startswith('"""`predict(params, x)`, compiled to NumPy alone.\n')
    assert "    params/w: float64[3,2]\n    x: float64[4,3]\n" in text
    assert "It returns y: float64[4,2]." in text
    assert "results = predict_run(params['w'], x)" in text
    assert "return {'y': results[0]}" in text
    assert "np.tanh(" in text
    assert "test_jit_save.py:" in text, "the user's lines stand beside the program's"
    assert max(map(len, text.splitlines())) < 250
    assert names["predict"]({"w": np.zeros((3, 2))}, np.ones((4, 3)))["y"].shape == (4, 2)


def test_static_arguments_are_told(tmp_path: Path) -> None:
    power = kn.jit(lambda x, n, *, mode: x**n if mode == "up" else x, static_argnames=("n", "mode"))
    text, names = saved(tmp_path, power, np.arange(3.0), 3, mode="up")
    assert "    n: static 3\n    mode: static 'up'\n" in text
    np.testing.assert_array_equal(names["lambda_"](np.arange(3.0)), np.arange(3.0) ** 3)


def test_arguments_are_checked(tmp_path: Path) -> None:
    def f(params: Any, x: Any, scale: float) -> Any:
        return params["w"] * x * scale, params["t"][0]

    good = {"w": np.ones(3), "t": (np.int64(1),)}, np.ones(3), 2.0
    f_saved = saved(tmp_path, f, *good)[1]["f"]
    f_saved(*good)
    cases: list[tuple[type[Exception], str, Any]] = [
        (ValueError, r"params/w has the shape \(4,\)", ({**good[0], "w": np.ones(4)}, *good[1:])),
        (TypeError, "params/w is of float32", ({**good[0], "w": np.ones(3, "f")}, *good[1:])),
        (TypeError, "params/w is a list", ({**good[0], "w": [1.0, 1, 1]}, *good[1:])),
        (ValueError, r"params has the keys \('w',\)", ({"w": np.ones(3)}, *good[1:])),
        (TypeError, "params is a list", ([1], *good[1:])),
        (ValueError, "params/t has 2 entries", ({**good[0], "t": (1, 2)}, *good[1:])),
        (TypeError, "params/t is a list; a tuple of 1", ({**good[0], "t": [1]}, *good[1:])),
        (TypeError, "scale is a int; a Python float", (*good[:2], 2)),
        (TypeError, "scale is a ndarray", (*good[:2], np.ones(()))),
    ]
    for error, message, args in cases:
        with pytest.raises(error, match=message):
            f_saved(*args)


def test_results_are_the_callers_own(tmp_path: Path) -> None:
    _, names = saved(tmp_path, constants, np.ones(40))
    first = names["constants"](np.ones(40))
    before = [np.array(r) for r in first]
    for result in first:
        if isinstance(result, np.ndarray):
            result[...] = 0
    for a, b in zip(names["constants"](np.ones(40)), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_byte_order(tmp_path: Path) -> None:
    x = rng.normal(size=7).astype(">f8")
    _, names = saved(tmp_path, np.cumsum, x)
    assert names["cumsum"](x).tobytes() == np.cumsum(x).tobytes()
    with pytest.raises(TypeError, match="a is of float64"):
        names["cumsum"](x.astype("f8"))


def test_constants_keep_every_bit(tmp_path: Path) -> None:
    kinds = [
        rng.normal(size=5).astype(dtype) for dtype in ("f2", "f4", "f8", ">f8", "c8", "c16")
    ] + [np.arange(5, dtype=dtype) for dtype in ("i1", "u2", "i8", ">i4", "u8")]
    kinds += [np.array([True, False]), ODD, np.float32([np.nan]), np.zeros((0, 3)), np.array(0.1)]
    kinds += [np.array([2**64 - 1], np.uint64), np.float16(0.1), np.complex128(-0.0 - 0.0j)]
    kinds += [
        np.asfortranarray(rng.normal(size=(3, 4))),
        rng.normal(size=(2, 3, 40)).transpose(1, 2, 0),
    ]

    def f(x: Any) -> Any:
        return kinds, x

    _, names = saved(tmp_path, f, 1.0)
    for a, b in zip(names["f"](1.0)[0], kinds, strict=True):
        assert type(a) is type(b)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
        assert a.dtype == b.dtype
        assert a.shape == b.shape


# ---- what cannot be saved ------------------------------------------------------------------------


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "f.py"
    key = kn.random.key(0)
    with pytest.raises(SaveError, match=r"(?s)key is a Key.*kinone\.random\.key_data"):
        kn.jit(lambda key: kn.random.normal(key)).lower(key).save(path)
    default = collections.defaultdict(list, {"a": 1.0})
    with pytest.raises(SaveError, match=r"x is a defaultdict, and the file knows dicts"):
        kn.jit(lambda x: x["a"]).lower(default).save(path)
    with pytest.raises(SaveError, match=r"a dict has the key <object"):
        kn.jit(lambda x: 1.0).lower({object(): 1.0}).save(path)

    def outer(a: float) -> Any:
        def inner(x: Any) -> Any:
            jitted = kn.jit(lambda y: y * x)
            jitted.lower(1.0).save(path)
            return x

        return kn.grad(inner)(a)

    with pytest.raises(SaveError, match=r"uses a value that grad traces"):
        outer(1.0)
    assert list(tmp_path.iterdir()) == [], "nothing is left where saving failed"


def test_functions_without_a_text_are_refused() -> None:
    def inner() -> None: ...

    with pytest.raises(ValueError, match=r"(?s)p, .*inner.*made inside of a function"):
        Extract().take(inner, "p,")
    with pytest.raises(ValueError, match=r"NumPy alone"):
        Extract().take(pytest.approx, "p,")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f.py"
    path.write_text("old")
    with pytest.raises(SaveError):
        kn.jit(lambda x: 1.0).lower({object(): 1.0}).save(path)
    assert path.read_text() == "old"
    with pytest.raises(OSError, match="missing"):
        kn.jit(lambda x: x).lower(1.0).save(tmp_path / "missing" / "f.py")
    kn.jit(lambda x: x).lower(1.0).save(path)
    assert path.read_text() != "old"
    assert [each.name for each in tmp_path.iterdir()] == ["f.py"]
