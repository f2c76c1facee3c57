"""`load`: an ONNX model as a pure function and its parameters."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from inspect import Parameter, Signature
from keyword import iskeyword
from typing import Any, BinaryIO

import numpy as np
import onnx

from ... import source
from ...core import Array, shape_dtype
from .build import Builder
from .graph import Graph
from .operators import FAMILIES
from .reader import read_model
from .registry import LoadError
from .tensors import Port, port_of
from .weights import parameters


class Model:
    """A loaded model: `model(params, *inputs)`, a pure function.

    One output is an array, several are a tuple; a sequence is a list, an optional value that is
    not there None. Inputs may be given by name, too. `inputs` and `outputs` tell their names,
    shapes and dtypes, `opset` and `metadata` what the file says of itself.

        >>> import numpy as np, kinone as kn
        >>> fn, params = kn.onnx.load(kn.onnx.export(np.tanh, np.zeros((2, 3))))
        >>> fn
        tanh(params, x: float64[batch,3]) -> output: float64[batch,3]
    """

    def __init__(
        self,
        graph: Graph,
        inputs: tuple[Port, ...],
        outputs: tuple[Port, ...],
        parameters: tuple[str, ...],
        opset: int,
        metadata: Mapping[str, str],
    ) -> None:
        self.graph = graph
        self.inputs = inputs
        self.outputs = outputs
        self.parameters = parameters
        self.opset = opset
        self.metadata = dict(metadata)
        self.__name__ = _identifier(graph.name)
        names = ["params", *[port.name for port in inputs]]
        if len({*names}) == len(names) and all(
            n.isidentifier() and not iskeyword(n) for n in names
        ):
            # So that an export of it calls its inputs as the file did.
            one, rest = Parameter.POSITIONAL_OR_KEYWORD, Parameter("more", Parameter.VAR_KEYWORD)
            self.__signature__ = Signature([*[Parameter(n, one) for n in names], rest])

    @source.trimming
    def __call__(self, params: Mapping[str, Array], *inputs: Any, **named: Any) -> Any:
        values = {**self.graph.constants, **self._params(params), **self._inputs(inputs, named)}
        missing = [p for p in self.inputs if p.name not in values]
        if missing:
            raise LoadError(f"{self.__name__} wants the input {missing[0]}, at {source.here()}")
        with np.errstate(all="ignore"):  # as ONNX's operators, whose infinities are values
            try:
                results = self.graph.run(values)
            except LoadError as error:
                first, *more = str(error).split("\n")
                text = "\n".join([f"{first}, at {source.here()}", *more])
                raise LoadError(text) from error.__cause__
        return results[0] if len(results) == 1 else tuple(results)

    def _params(self, params: Mapping[str, Array]) -> dict[str, Array]:
        if not isinstance(params, Mapping):
            raise LoadError(
                f"{self.__name__} wants its parameters first, a dict, and is given a "
                f"{type(params).__name__}, at {source.here()}\n"
                f"  Write fn, params = load(path), then fn(params, {self._call()})."
            )
        for name in self.parameters:
            if name not in params:
                raise LoadError(f"{self.__name__} lacks the parameter {name!r}, at {source.here()}")
        for name in params:
            if name not in self.parameters and name not in self.graph.constants:
                raise LoadError(f"{self.__name__} has no parameter {name!r}, at {source.here()}")
        return dict(params)

    def _inputs(self, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
        ports = {port.name: port for port in self.inputs}
        if len(inputs) > len(ports):
            raise LoadError(
                f"{self.__name__} has {len(ports)} inputs, {', '.join(map(str, self.inputs))}, and "
                f"is given {len(inputs)}, at {source.here()}"
            )
        given = dict(zip(ports, inputs, strict=False))
        others = {*self.parameters, *self.graph.constants}  # defaults, which are inputs, too
        for name, value in named.items():
            if name in given or not (name in ports or name in others):
                raise LoadError(
                    f"{self.__name__} has no further input {name!r}, at {source.here()}"
                )
            given[name] = value
        return {
            name: _checked(ports[name], value, self.__name__) if name in ports else value
            for name, value in given.items()
        }

    def _call(self) -> str:
        return ", ".join(port.name for port in self.inputs)

    def __repr__(self) -> str:
        inputs = ", ".join(map(str, self.inputs))
        return f"{self.__name__}(params, {inputs}) -> {', '.join(map(str, self.outputs))}"


def _identifier(name: str) -> str:
    """A graph's name as one that a function may have: it stands in the source that jit writes."""
    clean = re.sub(r"\W", "_", name).strip("_")[:60]
    return clean if clean.isidentifier() and not iskeyword(clean) else f"model_{clean}".rstrip("_")


def _checked(port: Port, value: Any, name: str) -> Any:
    """The input, where its axes and dtype fit what the model says of it."""
    if port.dtype is None:
        return value
    if port.dtype.kind in "OUS":
        return np.asarray(value, object)
    aval = shape_dtype(value)
    weak = aval.weak or isinstance(value, (list, tuple))
    if port.shape is not None:
        fits = len(aval.shape) == len(port.shape) and all(
            not isinstance(wanted, int) or wanted == size
            for wanted, size in zip(port.shape, aval.shape, strict=True)
        )
        if not fits:
            raise LoadError(
                f"{name} wants {port} and is given {aval}, at {source.here()}{_advice(port, aval)}"
            )
    if aval.dtype != port.dtype and not weak:
        raise LoadError(
            f"{name} wants {port} and is given {aval}, at {source.here()}\n"
            f"  Write {port.name}.astype({port.dtype.name!r})."
        )
    return np.asarray(value, port.dtype) if weak else value


def _advice(port: Port, aval: Any) -> str:
    """For a model of one example that is given many."""
    wanted = port.shape or ()
    if len(wanted) == len(aval.shape) and wanted[:1] == (1,):
        return (
            "\n  The model is for a batch of one: vmap(fn, in_axes=(None, 0))(params, x[:, None]) "
            "maps it over the examples."
        )
    return ""


@source.trimming
def load(
    path: str | os.PathLike[str] | bytes | BinaryIO | onnx.ModelProto,
) -> tuple[Model, dict[str, Any]]:
    """An ONNX model as a pure function and its parameters.

    `fn, params = load(path)`, then `fn(params, *inputs)`, which differentiates, maps and compiles.
    `path` is a file's, an open file, the bytes of one or an `onnx.ModelProto`; external data are
    read from the file's own folder alone. `params` holds, by name, the floating-point initialisers,
    and the arrays in Constant nodes; those that decide a shape, such as the scales of Resize, and
    all else are part of the function.

        >>> import numpy as np, kinone as kn
        >>> w, x = np.array([1.0, 2.0]), np.array([[3.0, 4.0]])
        >>> model = kn.onnx.export(lambda w, x: x * w, w, x, fold="w")
        >>> fn, params = load(model)
        >>> kn.grad(lambda params: np.sum(fn(params, x)))(params)
        {'w': array([3., 4.])}

    Raises `LoadError` for a file that is no model or damaged, and for operators that Kinone has
    not; `OSError` for a file that cannot be read.
    """
    assert FAMILIES  # their import declared the operators
    proto, folder, name = read_model(path)
    try:
        builder = Builder.of(proto, folder)
        graph = builder.main(proto.graph)
        params = parameters(graph)
        inputs = tuple([port_of(each) for each in proto.graph.input if each.name in graph.inputs])
        outputs = tuple([port_of(each) for each in proto.graph.output])
        metadata = {each.key: each.value for each in proto.metadata_props}
    except LoadError as error:
        raise LoadError(f"{name}: {error}") from error.__cause__
    except RecursionError:
        raise LoadError(
            f"{name}: its subgraphs stand in one another, or its functions call one another, too "
            "deep"
        ) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise LoadError(f"{name} is damaged: {error}") from error
    opset = builder.opsets.get("", 1)
    return Model(graph, inputs, outputs, tuple(params), opset, metadata), params
