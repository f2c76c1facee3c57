"""`summary`: what a model is made of, layer by layer, counted from its traced program."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .. import source, tree
from ..core import shape_dtype
from ..graph import Graph, eval_shape, graph
from ..graph.atoms import Atom
from ..graph.program import Equation
from ..random import key as random_key
from .layer import Layer, calls

_TITLES = ("path", "layer", "output", "parameters", "MACs", "activations")


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One layer of a model, with all layers inside of it.

    `output` is its output's `ShapeDtype`, or a tree of them; `parameters` counts the numbers in its
    params, `macs` multiply-accumulates of its matrix products and convolutions, and
    `activation_bytes` the arrays that its operations make. A layer that is called several times is
    one row: its parameters count once, its work each time.
    """

    path: str
    layer: str
    output: Any
    parameters: int
    macs: int
    activation_bytes: int
    calls: int


class Summary:
    """The table that `summary` makes: `rows`, the first of which is the whole model, and its text.

    `parameters`, `macs` and `activation_bytes` are the whole model's, whatever `depth` shows.

        >>> from kinone import nn
        >>> found = summary(nn.Sequential(nn.Dense(3), nn.Tanh()), (2, 5))
        >>> found.parameters, found.macs, [row.path for row in found.rows]
        (18, 30, ['', 'dense0', 'tanh0'])
    """

    def __init__(self, rows: list[SummaryRow], depth: int | None, endless: bool) -> None:
        whole = rows[0]
        self.parameters, self.macs = whole.parameters, whole.macs
        self.activation_bytes = whole.activation_bytes
        self.rows = [row for row in rows if depth is None or _depth(row.path) <= depth]
        self.endless = endless

    def __str__(self) -> str:
        lines = [_TITLES, *self._cells()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(_TITLES))]
        text = [
            "  ".join(
                cell.ljust(width) if i < 3 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([*text, self._foot()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{title}</th>" for title in _TITLES)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
            for cells in self._cells()
        )
        foot = html.escape(self._foot())
        return f"<table><thead><tr>{head}</tr></thead>{body}</table><p>{foot}</p>"

    def _cells(self) -> Iterator[tuple[str, ...]]:
        for row in self.rows:
            again = f" ×{row.calls}" if row.calls > 1 else ""
            yield (
                "  " * (_depth(row.path) - 1) + row.path.rpartition("/")[2] if row.path else "",
                _short(row.layer) + again,
                _short(str(row.output), 30),
                f"{row.parameters:,}" if row.parameters else "",
                f"{row.macs:,}" if row.macs else "",
                f"{row.activation_bytes:,} B" if row.activation_bytes else "",
            )

    def _foot(self) -> str:
        text = (
            f"in all: {self.parameters:,} parameters, {self.macs:,} MACs, "
            f"{self.activation_bytes:,} bytes of activations"
        )
        return text + "; a while loop counts as one round" if self.endless else text


def summary(
    model: Layer, x_shape: Any, *, train: bool = False, depth: int | None = None
) -> Summary:
    """A table of a model's layers: output shapes, parameters, multiply-accumulates, activations.

    Nothing is computed: everything is read off the model's program, so that it is exact for shared
    layers, layers of your own and loops alike. A row covers what is inside of it: the first one is
    the model. A multiply-accumulate (MAC) is one multiplication and one addition of a matrix
    product or a convolution; other operations count none. Of a branch the dearest way counts, of a
    scan each step, of a while loop one round. Views of an array are no new activations.

    `x_shape` is what `Layer.init` takes, batch axis included; `depth` hides layers nested deeper.

        >>> from kinone import nn
        >>> model = nn.Sequential(nn.Conv(8, (3, 3)), nn.Relu(), nn.Flatten(), nn.Dense(10))
        >>> print(summary(model, (1, 8, 8, 1)))
        path      layer                     output            parameters   MACs  activations
                  Sequential(conv0, relu0…  float32[1,10]          5,210  9,728      6,224 B
        conv0     Conv(8, (3, 3))           float32[1,8,8,8]          80  4,608      4,096 B
        relu0     Relu()                    float32[1,8,8,8]                         2,048 B
        flatten0  Flatten()                 float32[1,512]
        dense0    Dense(10)                 float32[1,10]          5,130  5,120         80 B
        in all: 5,210 parameters, 9,728 MACs, 6,224 bytes of activations

    Raises what `model.init` raises.
    """
    if not isinstance(model, Layer):
        raise TypeError(
            f"summary wants a layer, and got a {type(model).__name__}, at {source.here()}\n"
            "  Write nn.summary(model, x_shape): it finds the parameters' shapes itself."
        )
    if depth is not None and depth < 0:
        raise ValueError(f"depth is {depth}, and it is 0 or more, at {source.here()}")
    x = model._input(x_shape)
    seed = random_key(0)
    with source.no_scope():
        params, state = eval_shape(lambda key: model.init(key, x), seed)
        seen = _Seen()
        with seen:
            program = graph(lambda p, s, x, key: model.apply(p, s, x, train, key))(
                params, state, x, seed
            )
    work: Counter[str] = Counter()
    nbytes: Counter[str] = Counter()
    endless = _count(program, "", 1, work, nbytes)
    rows = [
        SummaryRow(
            path,
            layer,
            seen.outputs.get(path),
            _parameters(params, path),
            _inside(work, path),
            _inside(nbytes, path),
            seen.calls[path],
        )
        for path, layer in seen.layers.items()
    ]
    return Summary(rows, depth, endless)


class _Seen:
    """The layers that are applied meanwhile, in their order; of nested ones of the same path, as in
    a wrapper, the outermost."""

    def __init__(self) -> None:
        self.layers: dict[str, str] = {}
        self.outputs: dict[str, Any] = {}
        self.calls: Counter[str] = Counter()
        self.open: list[str] = []

    def __enter__(self) -> None:
        self.before, calls.listener = calls.listener, self.applied

    def __exit__(self, *error: object) -> None:
        calls.listener = self.before

    def applied(self, name: str) -> Callable[[Any], None]:
        path = source.scope()
        outermost = path not in self.open
        self.open.append(path)
        if outermost:
            self.layers.setdefault(path, name)
            self.calls[path] += 1

        def returned(y: Any) -> None:
            self.open.remove(path)
            if outermost:
                self.outputs.setdefault(path, tree.map(shape_dtype, y))

        return returned


def _count(
    program: Graph, outer: str, times: int, work: Counter[str], nbytes: Counter[str]
) -> bool:
    """Adds up the work and the bytes of each scope; returns whether a loop has no known length."""
    endless = False
    for equation in program.equations:
        path = source.joined(outer, source.scope_of(equation.location))
        parts = [each for value in equation.params.values() for each in _programs(value)]
        if not parts:
            work[path] += times * _macs(equation)
            nbytes[path] += times * _new_bytes(equation)
            continue
        if equation.primitive.name == "cond":
            parts = [max(parts, key=_cost)]
        endless |= equation.primitive.name.startswith("while")
        rounds = times * int(equation.params.get("length", 1))
        for part in parts:
            endless |= _count(part, path, rounds, work, nbytes)
    return endless


def _cost(program: Graph) -> tuple[int, int]:
    work: Counter[str] = Counter()
    nbytes: Counter[str] = Counter()
    _count(program, "", 1, work, nbytes)
    return work.total(), nbytes.total()


def _programs(value: Any) -> Iterator[Graph]:
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, Graph):
            yield each


def _macs(equation: Equation) -> int:
    """Half of the operations of a product or a convolution, which alone count theirs by shapes."""
    flops = equation.primitive.flops
    if not callable(flops):
        return 0
    return int(flops(_shapes(equation.inputs), _shapes(equation.outputs))) // 2


def _shapes(atoms: tuple[Atom, ...]) -> list[tuple[int, ...]]:
    return [atom.aval.shape for atom in atoms]


def _new_bytes(equation: Equation) -> int:
    if equation.primitive.flops == 0 and not equation.primitive.fresh:  # a view, mostly
        return 0
    return sum(var.aval.size * var.aval.dtype.itemsize for var in equation.outputs)


def _parameters(params: Any, path: str) -> int:
    for name in filter(None, path.split("/")):
        params = params.get(name, {}) if isinstance(params, Mapping) else {}
    return sum(leaf.size for leaf in tree.leaves(params))


def _inside(counts: Counter[str], path: str) -> int:
    return sum(
        count
        for scope, count in counts.items()
        if not path or scope == path or scope.startswith(f"{path}/")
    )


def _depth(path: str) -> int:
    return len(path.split("/")) if path else 0


def _short(text: str, width: int = 24) -> str:
    text = re.sub(r"\s+", " ", text)
    return text if len(text) <= width else f"{text[: width - 1]}…"
