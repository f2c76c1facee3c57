"""What is known before a program runs about how its values lie in memory.

NumPy gives a result the memory order of its operands, and sums run in memory order, so a result
written elsewhere must lie there in the same order for its last bit to be the same. A value is

    CONTIGUOUS   in C order without gaps
    ORDERED      with strides that do not increase, zeros aside, and none negative: a ufunc's result
                 of such operands is contiguous
    UNKNOWN      anything

Two values share memory where one is a view of the other; whatever is not known to be fresh is taken
for a view of all its operands.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..graph import Atom, Constant, Equation, Graph, Var

UNKNOWN, ORDERED, CONTIGUOUS = 0, 1, 2

Layouts = dict[Var, int]
Roots = dict[Var, frozenset[Var]]


def layouts(program: Graph, inputs: int) -> Layouts:
    """The layout of every value of a program whose inputs all have this one."""
    known: Layouts = dict.fromkeys(program.inputs, inputs)

    def of(atom: Atom) -> int:
        if isinstance(atom, Constant):
            value = atom.value
            if isinstance(value, np.ndarray) and not value.flags.c_contiguous:
                return UNKNOWN
            return CONTIGUOUS
        return CONTIGUOUS if atom.aval.size <= 1 else known[atom]

    for equation in program.equations:
        operands = [of(atom) for atom in equation.inputs]
        primitive = equation.primitive
        if primitive.elementwise:
            layout = _fresh(equation, operands)
        else:
            rule = _RULES.get(primitive.name)
            layout = UNKNOWN if rule is None else rule(equation, operands)
        known.update(dict.fromkeys(equation.outputs, layout))
    return known


def _fresh(equation: Equation, operands: list[int]) -> int:
    return CONTIGUOUS if min(operands, default=CONTIGUOUS) >= ORDERED else UNKNOWN


def _made(equation: Equation, operands: list[int]) -> int:
    # Arrays that a kernel allocates; it may look at the layout of its operands.
    return CONTIGUOUS if min(operands) == CONTIGUOUS else UNKNOWN


def _matmul(equation: Equation, operands: list[int]) -> int:
    # The matrices of a stack are in C order whatever the operands; the stack follows them.
    return CONTIGUOUS if equation.outputs[0].aval.ndim <= 2 else _fresh(equation, operands)


def _same(equation: Equation, operands: list[int]) -> int:
    return CONTIGUOUS if operands[0] == CONTIGUOUS else UNKNOWN


def _repeated(equation: Equation, operands: list[int]) -> int:
    return min(operands[0], ORDERED)


def _transposed(equation: Equation, operands: list[int]) -> int:
    shape = equation.inputs[0].aval.shape
    moved = [axis for axis in equation.params["axes"] if shape[axis] != 1]
    return operands[0] if moved == sorted(moved) else UNKNOWN


def _indexed(equation: Equation, operands: list[int]) -> int:
    template = equation.params["template"]
    forward = all((part.step or 1) > 0 for part in template.parts if isinstance(part, slice))
    return min(operands[0], ORDERED) if template.basic and forward else UNKNOWN


_RULES: dict[str, Callable[[Equation, list[int]], int]] = {
    "matmul": _matmul,
    "reshape": _same,
    "broadcast_to": _repeated,
    "transpose": _transposed,
    "getitem": _indexed,
    **dict.fromkeys(
        ("sum", "mean", "max", "min", "all", "any", "astype", "astype_integer", "concatenate"),
        _fresh,
    ),
    **dict.fromkeys(("stack", "softmax", "log_softmax", "logsumexp"), _fresh),
    **dict.fromkeys(
        ("conv", "conv_transpose", "batch_norm", "batch_norm_gradient", "max_pool", "avg_pool"),
        _made,
    ),
    **dict.fromkeys(("max_pool_gather", "max_pool_scatter", "avg_pool_spread"), _made),
    **dict.fromkeys(("scatter", "set", "pad", "random_bits", "normal_from_bits"), _made),
}

# Besides ufuncs, what returns memory of its own.
_FRESH = {
    "matmul", "sum", "mean", "max", "min", "all", "any", "astype", "astype_integer", "concatenate",
    "stack", "softmax", "log_softmax", "logsumexp", "where", "power", "relu", "sigmoid", "swish",
    "conv", "conv_kernel", "conv_transpose", "scatter", "set", "pad", "random_bits",
    "normal_from_bits", "batch_norm", "batch_norm_gradient", "max_pool", "max_pool_gather",
    "max_pool_scatter", "avg_pool", "avg_pool_spread", "argmax", "argmin", "sort", "argsort",
    "softplus", "hard_sigmoid", "hard_swish", "cumsum", "cumprod",
}  # fmt: skip


def is_fresh(equation: Equation) -> bool:
    """Whether the results share no memory with the operands."""
    primitive = equation.primitive
    return isinstance(primitive.impl, np.ufunc) or primitive.name in _FRESH


def roots(program: Graph) -> Roots:
    """For each value those whose memory it may show, itself among them unless it is a view."""
    found = {var: frozenset({var}) for var in program.inputs}
    for equation in program.equations:
        shared: frozenset[Var] = frozenset()
        if not is_fresh(equation):
            shared = shared.union(*[found[a] for a in equation.inputs if isinstance(a, Var)])
        for var in equation.outputs:
            found[var] = shared | {var}
    return found
