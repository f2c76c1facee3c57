"""`export`: a Python function as an ONNX model."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from ... import __version__, source, tree
from ...core import ShapeDtype
from ...graph import Graph
from ...source import name_of
from .. import verify as verification
from ..lower import FAMILIES
from . import files, passes, ports
from .builder import Builder
from .dims import Symbols
from .errors import ExportError, NoRuleError, VerificationError
from .merge import DiffersError
from .model import model_of
from .names import Dynamic, Leaf, batches, leaves_of, mark_batch, mark_dynamic, output_names
from .options import DEFAULT_OPSET, cases_of, check_function, check_options, properties_of
from .rules import write
from .traces import Traces, follows


@source.trimming
def export(
    fun: Callable[..., Any],
    *args: Any,
    path: str | os.PathLike[str] | None = None,
    fold: str | Sequence[str] = (),
    names: Mapping[str, str] | None = None,
    dynamic: Dynamic | None = None,
    input_layout: str | Mapping[str, str] | None = None,
    fold_batchnorm: bool = False,
    opset: int = DEFAULT_OPSET,
    normalization: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    external_data: bool | int | None = None,
    verify: bool | tuple[Any, ...] | list[tuple[Any, ...]] = False,
    rtol: float | None = None,
    atol: float | None = None,
) -> onnx.ModelProto:
    """`fun(*args)` as an ONNX model: of any function that can be traced, a gradient too.

    The arguments are examples: trees of arrays, numbers or `ShapeDtype`s. Each leaf becomes an
    input, called by its argument's name and its path, `params/dense/kernel`; what is folded becomes
    an initialiser of that name instead. The results become outputs: `output`, or in a tree
    `output/logits`.

        >>> import numpy as np, kinone as kn
        >>> def predict(params, x):
        ...     return np.tanh(x @ params["w"] + params["b"])
        >>> params = {"w": np.ones((3, 2), np.float32), "b": np.zeros(2, np.float32)}
        >>> x = np.ones((8, 3), np.float32)
        >>> model = kn.onnx.export(predict, params, x, fold="params", names={"output": "scores"})
        >>> [node.op_type for node in model.graph.node]
        ['Gemm', 'Tanh']
        >>> [weight.name for weight in model.graph.initializer]
        ['params/w', 'params/b']
        >>> [port.name for port in (*model.graph.input, *model.graph.output)]
        ['x', 'scores']
        >>> model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
        'batch'

    Args:
        path: the file to write; nothing is written by default. It appears whole or not at all.
        fold: which arguments are part of the model: names, paths (`"params/encoder"`) or patterns
            (`"**/kernel"`).
        names: other names of inputs and outputs: `{"x": "image", "output": "logits"}`. The name of
            an argument or subtree replaces the beginning of its leaves' names.
        dynamic: which sizes vary: `{"x": {0: "batch", 1: "time"}}`, or `{"x": ("batch", None)}`;
            axes with one name are equally long. `{}` fixes all sizes. By default the leading axis
            of inputs is a batch: of the last argument all of whose arrays are equally long, and
            of the others that are as long. Where that cannot be, since the function is another one
            at another size, it stays fixed, and a note in the metadata says why.
        input_layout: "NCHW" for images that the model is to take that way, though the function
            takes NHWC; of one input: `{"x": "NCHW"}`.
        fold_batchnorm: makes batch normalisation with folded statistics part of the convolution
            before it.
        opset: the version of ONNX's operators. 21 is the newest that ONNX Runtime 1.19 loads.
        normalization: what was subtracted from the images, and then what they were divided by:
            `{"mean": [0.485, …], "std": [0.229, …]}`; for those who feed the model, it is kept in
            the metadata as `kinone.normalization`.
        metadata: further texts to keep in the model.
        external_data: whether the weights stand in a file of their own, `<path>.data`; a number is
            the least size in bytes for that. By default where a model is too large for one file.
        verify: arguments (or `True` for the example's, or a list of tuples of arguments) on which
            the model has to agree with the function, run by ONNX Runtime and by `kn.onnx.load`. A
            table of the errors is printed, see `kn.onnx.verify`, and kept in the metadata.
        rtol, atol: what is agreement, as `kn.onnx.verify` takes them.

    A model is checked with `onnx.checker` and strict shape inference. What the sizes that vary do
    is found by tracing the function at several of them. The metadata have `kinone.version`,
    `kinone.inputs` and `kinone.outputs` (names, paths and layouts), and `kinone.notes`: what is
    computed in float32 for want of a float64 kernel in ONNX Runtime, and the like. Nodes are named
    after `named_scope`s, and have the user's file and line as their `doc_string`.

    Raises `ExportError` before anything is written, with the line and the primitive, where a
    program cannot be written as ONNX; `VerificationError` where the model computes something else.
    """
    assert FAMILIES  # their import filled in the rules
    check_function(fun)
    check_options(
        path=path,
        fold=fold,
        names=names,
        dynamic=dynamic,
        input_layout=input_layout,
        opset=opset,
        metadata=metadata,
        external_data=external_data,
    )
    target = None if path is None else files.check_folder(path)
    properties = properties_of(normalization, metadata)
    cases = cases_of(verify, args)
    leaves = leaves_of(fun, args, fold, names or {}, input_layout)
    found = _first_that_works(
        fun,
        args,
        leaves,
        dynamic,
        lambda traces, symbols: _written(
            traces, symbols, names or {}, fold_batchnorm, opset, properties
        ),
    )
    large = files.size_of(found) > files.LARGEST
    if target is None and large:
        raise ExportError(
            f"the model has {files.size_of(found):,} bytes of weights, too many for one message: "
            f"give path=…, and they stand in a file of their own, at {source.here()}"
        )
    files.check(found)
    if cases and not large:
        report = verification.verify_all(found, fun, cases, rtol, atol)
        found.metadata_props.add(key="kinone.verification", value=str(report))
        report.show()
    if target is not None:

        def examine(written: Path) -> None:
            if cases and large:  # which only a file can hold
                verification.verify_all(written, fun, cases, rtol, atol).show()

        files.save(found, target, external_data, examine)
    return found


Write = Callable[[Traces, Symbols], onnx.ModelProto]


def _first_that_works(
    fun: Callable[..., Any],
    args: Sequence[Any],
    leaves: Sequence[Leaf],
    dynamic: Dynamic | None,
    write: Write,
) -> onnx.ModelProto:
    """The model, with the dynamic sizes that were asked for, or with those that work.

    Where nothing is said, the batch is dynamic, if it can be.
    """
    traces = Traces(fun, args, leaves)
    if dynamic is not None:
        sizes = mark_dynamic(leaves, dynamic)
        try:
            return _at_sizes(traces, args, sizes, write)
        except DiffersError as error:
            raise DiffersError(
                f"{name_of(fun)} cannot be one model for all sizes of {' and '.join(sizes)}: "
                f"{error}\n  Leave that size out of dynamic=…, or write the function so that it "
                f"does the same at all sizes, at {source.here()}"
            ) from error
    first: Exception | None = None
    for batch in batches(leaves, args) if not isinstance(fun, Graph) else ():
        try:
            return _at_sizes(traces, args, mark_batch(leaves, batch), write)
        except NoRuleError:
            raise
        except Exception as error:
            first = first or error
    mark_batch(leaves, ())
    model = write(traces, Symbols({}))
    if first is not None:
        _note(model, f"the batch size is fixed: {str(first).splitlines()[0]}")
    return model


def _at_sizes(
    traces: Traces, args: Sequence[Any], sizes: dict[str, int], write: Write
) -> onnx.ModelProto:
    """The model for sizes like these: traced at larger ones, or else as `_other_ways` says."""
    symbols = Symbols(sizes)
    note = ""
    try:
        model = write(traces, symbols)
    except NoRuleError:
        raise
    except Exception as error:
        for ways, said in _other_ways(sizes):
            symbols = Symbols(sizes, ways)
            try:
                model = write(traces, symbols)
            except Exception:
                continue
            note = f"{said}, since at others: {str(error).splitlines()[0]}"
            break
        else:
            raise
    if not symbols.is_example:
        _check_the_example(traces, args, sizes, symbols, model)
    if note:
        _note(model, note)
    return model


def _other_ways(sizes: dict[str, int]) -> Iterator[tuple[dict[str, str], str]]:
    """How sizes are traced where larger ones do not go, and what is to be noted then.

    A function that cuts an axis into parts wants multiples of the example's; one that knows so many
    positions, sizes that are not much larger, or none that is larger. First one name, then all.
    """
    for way, least in (("near", 2), ("multiples", 2), ("smaller", 6)):
        names = [name for name, size in sizes.items() if size >= least]
        for chosen in [*[[name] for name in names], *([names] if len(names) > 1 else [])]:
            said = {
                "near": "{0} was traced near {1}",
                "multiples": "{0} is a multiple of {1}",
                "smaller": "{0} is at most {1}",
            }[way]
            yield (
                dict.fromkeys(chosen, way),
                " and ".join(said.format(name, sizes[name]) for name in chosen),
            )


def _check_the_example(
    traces: Traces,
    args: Sequence[Any],
    sizes: dict[str, int],
    symbols: Symbols,
    model: onnx.ModelProto,
) -> None:
    """Where the example's own sizes are not among the traced ones, as 0 or 1 is not, the model must
    still compute what the function does there.

    If the program has the same steps, it does. Otherwise it is run.
    """
    if follows(traces, symbols, sizes):
        return
    said = ", ".join(f"{name} = {size}" for name, size in sizes.items())
    if any(isinstance(leaf, ShapeDtype) for leaf in tree.leaves(tuple(args))):
        _note(model, f"at {said} the function has other steps; there the model was not compared")
        return
    try:
        verification.verify_all(model, traces.fun, [args], runners=["onnxruntime"])
    except ImportError:
        _note(model, f"at {said} the function has other steps; there the model was not compared")
    except VerificationError:
        raise DiffersError(f"at {said} the function is another one") from None


def _written(
    traces: Traces,
    symbols: Symbols,
    names: Mapping[str, str],
    fold_batchnorm: bool,
    opset: int,
    properties: Mapping[str, str],
) -> onnx.ModelProto:
    """The function at these sizes as a model."""
    program, out_tree = traces.program(symbols)
    named = output_names(out_tree, names, traces.leaves)
    if not named:
        raise ExportError(
            f"{name_of(traces.fun)} returns no array, and a model wants an output, "
            f"at {source.here()}"
        )
    b = Builder(opset, symbols)
    b._named.update(traces.paths)
    b.tables.update(traces.tables)
    inputs = ports.inputs(b, traces.leaves, program)
    names_out = [b.names.fresh(name) for _, name in named]  # before any tensor has one of them
    outputs = ports.outputs(b, write(b, program, inputs), names_out)
    nodes, arrays = _finished(b, outputs, fold_batchnorm)
    given = [leaf for leaf in traces.leaves if not leaf.folded]
    return model_of(
        name_of(traces.fun),
        nodes,
        b.inputs,
        outputs,
        arrays,
        symbols,
        opset,
        {
            "kinone.version": __version__,
            "kinone.inputs": json.dumps(
                [_port(value.name, leaf) for value, leaf in zip(b.inputs, given, strict=True)],
                ensure_ascii=False,
            ),
            "kinone.outputs": json.dumps(
                [
                    {"name": value.name, "path": path}
                    for value, (path, _) in zip(outputs, named, strict=True)
                ],
                ensure_ascii=False,
            ),
            **({"kinone.notes": "\n".join(b.notes)} if b.notes else {}),
            **properties,
        },
        _doc(traces.fun),
    )


def _port(name: str, leaf: Leaf) -> dict[str, str]:
    found = {"name": name, "path": leaf.path}
    if leaf.layout is not None:
        found["layout"] = leaf.layout
    if leaf.aval.dtype.kind == "c":
        found["complex"] = "real and imaginary part along the last axis"
    return found


def _doc(fun: Callable[..., Any]) -> str:
    text = (getattr(fun, "__doc__", None) or "").strip()
    return text.splitlines()[0] if text and hasattr(fun, "__name__") else ""


def _finished(
    b: Builder, outputs: Sequence[Any], fold_batchnorm: bool
) -> tuple[list[Any], passes.Arrays]:
    names = {value.name for value in outputs}
    arrays = dict(b.initializers)
    nodes = passes.without_dead_nodes(b.nodes, names)
    nodes = passes.with_biases(nodes, arrays, b.shapes, names)
    if fold_batchnorm:
        nodes = passes.with_folded_norms(nodes, arrays, names)
    used = passes.used_names(nodes, names)
    return nodes, {key: array for key, array in arrays.items() if used[key]}


def _note(model: onnx.ModelProto, text: str) -> None:
    """Adds to what the reader of the model ought to know."""
    for each in model.metadata_props:
        if each.key == "kinone.notes":
            each.value += f"\n{text}"
            return
    model.metadata_props.add(key="kinone.notes", value=text)
