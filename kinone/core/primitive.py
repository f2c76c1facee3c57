"""The primitive: an operation and all of its rules, and the dispatch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any

import numpy as np

from .. import source
from . import observe
from .layout import made, unknown
from .messages import explain, leaked
from .observe import observers
from .trace import Trace, bodies
from .tracer import Tracer
from .values import Array

registry: dict[str, Primitive] = {}


class Primitive:
    """An operation and all of its rules. Made by the constructors in `kinone.ops.declare`.

    impl(*xs, **params)                     plain NumPy; what eager mode runs
    shape(*avals, **params)                 the result's `ShapeDtype`, a tuple if `multiple`
    vjp(wanted, y, xs, params)              the pullback `g -> [cotangent, …]`, one for each operand
                                            whose flag in `wanted` is set; None where it is zero
    jvp(y, xs, tangents, params)            the tangent of `y`; a tangent that is None is zero
    batch(size, batched, *xs, **params)     the results of a whole batch: an operand whose flag in
                                            `batched` is set has the batch axis, of length `size`,
                                            first, and so have all results. Without it vmap loops
    run_vjp(wanted, xs, params)             `(y, pullback)`, in place of the operation and `vjp`
                                            where the forward run must itself be another one
    run_jvp(xs, tangents, params)           `(y, tangent)`, likewise
    expand(*xs, **params)                   what tracing to a program records in its place
    code                                    the NumPy expression in a compiled program: a text with
                                            places such as "np.matmul({0}, {1})", or a function
                                            `(*operands, **params) -> text`, where the body or a
                                            call of `impl` is not the best one
    fresh                                   whether the results share no memory with the operands or
                                            each other; without it, whether `impl` is a ufunc
    layout(known, avals, **params)          how the results lie in memory, from how the operands do,
                                            see `core.layout`; of fresh ones `made` by itself
    flops                                   floating-point operations for each element that comes in
                                            or goes out, or `(shapes of the operands, shapes of the
                                            results) -> their number`
    kink(y, *xs, **params)                  True for each element at which the derivative is a
                                            convention: a corner, a tie
    onnx(b, step, *operands)                writes ONNX nodes, see `kinone.onnx.export.rules`; a
                                            text says why there are none. `kinone.onnx` fills it in

    An `effect` is run for what it does (print, check): no pass over a program leaves it away,
    merges two of them, or moves one over another.

    An `elementwise` one treats each element by itself, after broadcasting.
    A `weak` primitive is one of Python's operators, as a text such as "{0} + {1}": of Python
    numbers it makes a Python number.
    Where `vjp` is None the result is constant as far as derivatives go (`floor`, `x > 0`), and
    differentiation hands on a plain value.
    """

    def __init__(
        self,
        name: str,
        impl: Callable[..., Any],
        *,
        shape: Callable[..., Any],
        vjp: Callable[..., Any] | None,
        jvp: Callable[..., Any] | None,
        batch: Callable[..., Any] | None = None,
        run_vjp: Callable[..., Any] | None = None,
        run_jvp: Callable[..., Any] | None = None,
        expand: Callable[..., Any] | None = None,
        code: str | Callable[..., str] | None = None,
        fresh: bool | None = None,
        layout: Callable[..., int] | None = None,
        flops: float | Callable[..., float] = 1,
        kink: Callable[..., Any] | None = None,
        multiple: bool = False,
        weak: str | None = None,
        effect: bool = False,
        elementwise: bool = False,
        samples: Callable[[], Sequence[Any]] | None = None,
    ) -> None:
        if name in registry:
            raise ValueError(f"a primitive named {name!r} exists already")
        self.name = name
        self.__name__ = name
        self.__doc__ = (
            f"`np.{impl.__name__}` of the operands alone, differentiable."
            if isinstance(impl, np.ufunc)
            else impl.__doc__
        )
        self.impl = impl
        self.shape = shape
        self.vjp = vjp
        self.jvp = jvp
        self.batch = batch
        self.run_vjp = run_vjp
        self.run_jvp = run_jvp
        self.expand = expand
        self.code = code
        self.fresh = isinstance(impl, np.ufunc) if fresh is None else fresh
        self.layout = layout or (made if self.fresh else unknown)
        self.flops = flops
        self.kink = kink
        self.multiple = multiple
        self.weak = weak
        self.effect = effect
        self.elementwise = elementwise
        self.samples = samples
        self.onnx: Callable[..., Any] | str | None = None
        self.declared = source.declaration()
        registry[name] = self

    def __call__(self, *args: Array, **params: Any) -> Any:
        trace: Trace | None = None
        level: float = 0
        for arg in args:
            if isinstance(arg, Tracer) and arg._trace.level > level:
                trace = arg._trace
                level = trace.level
        try:
            if trace is None:
                if observers:
                    y = observe.run(self, self.impl, args, params)
                else:
                    y = self.impl(*args, **params)
                return weaken(y, args) if self.weak and isinstance(y, np.generic) else y
            if bodies:
                body = bodies.get(get_ident())
                if body is not None and level < body.level:
                    trace = body
            if not trace.alive:
                raise leaked(next(arg for arg in args if getattr(arg, "_trace", None) is trace))
            return trace.process(self, args, params)
        except Exception as error:
            explain(error, self.name, args)
            raise

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


def weaken(y: Any, operands: Sequence[Array]) -> Array:
    """NumPy's scalar as a Python number again where all operands are such: 0.5 * 2.0 adapts to the
    arrays that it meets (NEP 50), traced or not."""
    if all(type(x) in (float, int, complex, bool) for x in operands):
        return y.item()
    return y
