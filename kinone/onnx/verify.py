"""`verify`: does an ONNX model compute what the function computes that it was made of?"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from .. import source, tree
from ..core import ShapeDtype, shape_dtype
from .export.errors import VerificationError
from .export.names import leaves_of
from .load.api import load

File = str | os.PathLike[str] | bytes | onnx.ModelProto
Array = np.ndarray[Any, Any]

_TOLERANCES = {"float64": 1e-9, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}


@dataclass(frozen=True)
class Deviation:
    """How far one output of one runner is from the function's own result, at its worst element.

    `relative` is of elements that are not 0; `ulp` counts the numbers of the type between the two.
    `problem` says what is wrong where that is no number, such as another shape.

        >>> import numpy as np, kinone as kn
        >>> model = kn.onnx.export(np.negative, np.ones(3))
        >>> report = kn.onnx.verify(model, np.negative, np.ones(3))
        >>> report.rows[0].runner, report.rows[0].absolute
        ('onnxruntime', 0.0)
    """

    runner: str
    output: str
    kind: str
    absolute: float
    relative: float
    ulp: float
    ok: bool
    problem: str = ""


@dataclass(frozen=True)
class Verification:
    """What `verify` found: a row for each runner and output. `print` shows the table.

    >>> import numpy as np, kinone as kn
    >>> kn.onnx.verify(kn.onnx.export(np.negative, np.ones(3)), np.negative, np.ones(3))
    runner       output  type        absolute  relative  ulp
    onnxruntime  output  float64[3]   0.0e+00   0.0e+00    0  ok
    kinone       output  float64[3]   0.0e+00   0.0e+00    0  ok
    """

    rows: tuple[Deviation, ...]

    @property
    def ok(self) -> bool:
        """Whether all outputs are within their tolerances."""
        return all(row.ok for row in self.rows)

    def show(self) -> None:
        """Prints the table."""
        print(self)

    def __str__(self) -> str:
        head = ("runner", "output", "type", "absolute", "relative", "ulp", "")
        table = [head]
        for row in self.rows:
            numbers = [f"{row.absolute:.1e}", f"{row.relative:.1e}", f"{row.ulp:.3g}"]
            if row.problem:
                numbers = ["", "", ""]
            last = row.problem or ("ok" if row.ok else "TOO FAR")
            table.append((row.runner, row.output, row.kind, *numbers, last))  # type: ignore[arg-type]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return "\n".join(
            "  ".join(
                text.rjust(width) if 3 <= i <= 5 else text.ljust(width)
                for i, (text, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in table
        )

    __repr__ = __str__


def verify(
    model: File,
    fun: Callable[..., Any],
    *args: Any,
    rtol: float | None = None,
    atol: float | None = None,
) -> Verification:
    """Runs a model in ONNX Runtime and in Kinone's own importer, and compares both with `fun`.

    `args` are all of the function's arguments, those that were folded, too. The outputs must agree
    within `rtol · |wanted| + atol`. `rtol` is 1e-4 for float32 by default, 1e-9 for float64 (1e-4
    if the model's notes say that something is computed in float32), 1e-2 for float16; `atol` is
    `rtol` times the output's largest number. Integers and booleans must be equal.

        >>> import numpy as np, kinone as kn
        >>> def f(x):
        ...     return {"double": 2 * x, "all": np.sum(x)}
        >>> x = np.arange(6, dtype=np.float32).reshape(3, 2)
        >>> report = kn.onnx.verify(kn.onnx.export(f, x), f, x)
        >>> report.ok
        True
        >>> [(row.output, row.ulp) for row in report.rows[:2]]
        [('output/all', 0.0), ('output/double', 0.0)]

    Raises `VerificationError` where something is too far off, or a runner refuses the model; its
    message is the table.
    """
    return verify_all(model, fun, [args], rtol, atol)


def verify_all(
    model: File,
    fun: Callable[..., Any],
    cases: Sequence[Sequence[Any]],
    rtol: float | None = None,
    atol: float | None = None,
    runners: Sequence[str] = ("onnxruntime", "kinone"),
) -> Verification:
    """`verify` of several tuples of arguments: the worst that is found, for each output."""
    proto = _proto(model)
    metadata = {each.key: each.value for each in proto.metadata_props}
    if rtol is None and "in float32" in metadata.get("kinone.notes", ""):
        rtol_64: float | None = _TOLERANCES["float32"]
    else:
        rtol_64 = rtol
    names = [each.name for each in proto.graph.output]
    found: dict[tuple[str, str], Deviation] = {}
    for args in cases:
        feeds = _feeds(proto, metadata, fun, args)
        with np.errstate(all="ignore"):
            wanted = [_tensor(leaf) for leaf in tree.leaves(fun(*args))]
        if len(wanted) != len(names):
            raise VerificationError(
                f"the function returns {len(wanted)} arrays and the model {len(names)}, "
                f"at {source.here()}"
            )
        for runner in runners:
            try:
                results = _RUNNERS[runner](model, feeds, names)
            except Exception as error:
                if isinstance(error, ImportError):
                    raise
                problem = f"{type(error).__name__}: {error}".splitlines()[0][:300]
                failed = Deviation(runner, "", "", np.inf, np.inf, np.inf, False, problem)
                found.setdefault((runner, ""), failed)
                continue
            for name, got, want in zip(names, results, wanted, strict=True):
                wide = rtol_64 if want.dtype == np.float64 else rtol
                row = _deviation(runner, name, np.asarray(got), want, wide, atol)
                found[runner, name] = _worse(found.get((runner, name)), row)
    report = Verification(tuple(found.values()))
    if not report.ok:
        raise VerificationError(
            f"the model does not compute what the function computes, at {source.here()}\n{report}"
        )
    return report


def _proto(model: File) -> onnx.ModelProto:
    if isinstance(model, onnx.ModelProto):
        return model
    if isinstance(model, bytes):
        return onnx.load_model_from_string(model)
    return onnx.load_model(os.fspath(model), load_external_data=False)


# ---- running -------------------------------------------------------------------------------------


def _feeds(
    proto: onnx.ModelProto, metadata: dict[str, str], fun: Callable[..., Any], args: Sequence[Any]
) -> dict[str, Array]:
    """The model's inputs, by name, of the function's arguments."""
    leaves = {leaf.path: leaf.value for leaf in leaves_of(fun, args, (), {}, None)}
    for path, value in leaves.items():
        if isinstance(value, ShapeDtype):
            raise VerificationError(
                f"{path} is a ShapeDtype, which has no numbers to run the model with, "
                f"at {source.here()}"
            )
    known = {name.name for name in proto.graph.initializer}
    names = [each.name for each in proto.graph.input if each.name not in known]
    if "kinone.inputs" in metadata:
        ports = json.loads(metadata["kinone.inputs"])
    else:
        ports = [{"name": n, "path": p} for n, p in zip(names, leaves, strict=False)]
        if len(names) != len(leaves):
            raise VerificationError(
                f"the model has {len(names)} inputs and the arguments {len(leaves)} leaves, "
                f"at {source.here()}"
            )
    found = {}
    for port in ports:
        if port["path"] not in leaves:
            raise VerificationError(
                f"the model's input {port['name']} was {port['path']}, which these arguments "
                f"have not, at {source.here()}"
            )
        value = _tensor(leaves[port["path"]])
        if port.get("layout") == "NCHW":
            value = np.ascontiguousarray(np.moveaxis(value, -1, 1))
        found[port["name"]] = value
    return found


def _tensor(leaf: Any) -> Array:
    """A leaf as a tensor: a complex number is a pair along a last axis."""
    array = np.asarray(leaf, shape_dtype(leaf).dtype.newbyteorder("="))
    return np.stack([array.real, array.imag], -1) if array.dtype.kind == "c" else array


def _in_onnxruntime(model: File, feeds: dict[str, Array], names: Sequence[str]) -> list[Array]:
    try:
        runtime: Any = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ImportError('verifying needs ONNX Runtime: pip install "kinone[onnx]"') from error
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    given = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
    if not isinstance(given, bytes):
        given = os.fspath(given)
    session = runtime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(list(names), feeds)
    return found


def _in_kinone(model: File, feeds: dict[str, Array], names: Sequence[str]) -> list[Array]:
    fn, params = load(model)
    with np.errstate(all="ignore"):
        found = fn(params, **feeds)
    return list(found) if isinstance(found, tuple) else [found]


_RUNNERS: dict[str, Callable[[File, dict[str, Array], Sequence[str]], list[Array]]] = {
    "onnxruntime": _in_onnxruntime,
    "kinone": _in_kinone,
}


# ---- comparing -----------------------------------------------------------------------------------


def _deviation(
    runner: str, name: str, got: Array, want: Array, rtol: float | None, atol: float | None
) -> Deviation:
    kind = str(ShapeDtype(want.shape, want.dtype))
    if got.shape != want.shape or got.dtype != want.dtype:
        other = ShapeDtype(got.shape, got.dtype)
        return Deviation(
            runner, name, kind, np.inf, np.inf, np.inf, False, f"it is {other} in the model"
        )
    exact = want.dtype.kind in "biu"
    if exact:
        differ = got != want
        a, b = got.astype(object), want.astype(object)
        off = (
            np.where(differ, np.abs(a - b), 0).astype(np.float64)
            if want.dtype.kind != "b"
            else (differ.astype(np.float64))
        )
        unit = np.ones_like(off)
        size = np.abs(want.astype(np.float64))
        allowed = np.zeros_like(off)
    else:
        x, y = got.astype(np.float64), want.astype(np.float64)
        with np.errstate(all="ignore"):
            same = (x == y) | (np.isnan(x) & np.isnan(y))
            off = np.where(same, 0.0, np.abs(x - y))
            off = np.where(np.isnan(off), np.inf, off)
            size = np.abs(np.where(np.isfinite(y), y, 0.0))
            unit = np.spacing(size.astype(want.dtype)).astype(np.float64)
        rtol = _TOLERANCES.get(want.dtype.name, 1e-4) if rtol is None else rtol
        if atol is None:
            atol = rtol * float(size.max(initial=0.0)) + float(np.spacing(want.dtype.type(1)))
        allowed = rtol * size + atol
    with np.errstate(all="ignore"):
        relative = np.where(size > 0, off / np.where(size > 0, size, 1), 0.0)
        ulp = off / unit
    return Deviation(
        runner,
        name,
        kind,
        float(off.max(initial=0.0)),
        float(relative.max(initial=0.0)),
        float(ulp.max(initial=0.0)),
        bool((off <= allowed).all()),
    )


def _worse(one: Deviation | None, other: Deviation) -> Deviation:
    """Of two cases of one output the numbers that are worse."""
    if one is None or (one.ok and not other.ok):
        return other
    if other.ok and not one.ok:
        return one
    return Deviation(
        one.runner,
        one.output,
        one.kind if other.kind in one.kind or one.kind.endswith("…") else f"{one.kind} …",
        max(one.absolute, other.absolute),
        max(one.relative, other.relative),
        max(one.ulp, other.ulp),
        one.ok,
        one.problem or other.problem,
    )
