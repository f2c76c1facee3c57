"""The derivative rules of one's own primitives: `defvjp`, `defjvp` and their general forms."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from .. import source, tree
from ..core import zeros_of
from ..errors import MissingRuleError
from .declared import Declared, Pullbacks


def _declared(fun: Callable[..., Any]) -> Declared:
    made = getattr(fun, "primitive", None)
    if not isinstance(made, Declared):
        raise TypeError(
            f"{getattr(fun, '__name__', fun)!r} is no primitive of kinone.extend, "
            f"at {source.here()}\n  Decorate it with @kinone.extend.primitive."
        )
    return made


def _by_argnum(
    made: Declared, rules: Sequence[Any], argnums: Iterable[int] | None, kind: str
) -> Callable[[int], Any]:
    """Finds the rule for an argument; None is for one whose derivative is zero."""
    table = dict(zip(itertools.count() if argnums is None else argnums, rules, strict=False))

    def find(argnum: int) -> Any:
        if argnum not in table:
            raise MissingRuleError(
                f"the {kind} of {made.name} with respect to argument {argnum} is not defined, "
                f"at {source.here()}\n  It has rules for: {', '.join(map(str, table))}."
            )
        return table[argnum]

    return find


def defvjp(
    fun: Callable[..., Any],
    *vjpmakers: Callable[..., Callable[[Any], Any]] | None,
    argnums: Iterable[int] | None = None,
) -> None:
    """Gives a primitive its reverse-mode rules, one for each argument.

    `vjpmaker(ans, *args, **kwargs)` returns the pullback `g -> cotangent`, of the argument's shape;
    `None` stands for a derivative that is zero. The rules are for arguments 0, 1, … or those of
    `argnums`; one that is asked for and missing raises `MissingRuleError`.

    >>> import numpy as np, kinone as kn
    >>> @kn.extend.primitive
    ... def area(width, height):
    ...     return width * height
    >>> kn.extend.defvjp(area, lambda ans, w, h: lambda g: g * h, lambda ans, w, h: lambda g: g * w)
    >>> kn.grad(area, argnums=(0, 1))(2.0, 3.0)
    (np.float64(3.0), np.float64(2.0))
    """
    find = _by_argnum(_declared(fun), vjpmakers, argnums, "VJP")

    def vjpmaker(
        argnums: Sequence[int], ans: Any, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Callable[[Any], Any]:
        rules = [find(argnum) for argnum in argnums]
        pulls = [None if rule is None else rule(ans, *args, **kwargs) for rule in rules]
        return lambda g: [None if pull is None else pull(g) for pull in pulls]

    defvjp_argnums(fun, vjpmaker)


def defvjp_argnum(
    fun: Callable[..., Any],
    vjpmaker: Callable[[int, Any, Sequence[Any], dict[str, Any]], Callable[[Any], Any]],
) -> None:
    """Gives a primitive one rule for all arguments: `vjpmaker(argnum, ans, args, kwargs)`.

    >>> import numpy as np, kinone as kn
    >>> area = kn.extend.primitive(lambda *sides: sides[0] * sides[1])
    >>> kn.extend.defvjp_argnum(area, lambda i, ans, args, kwargs: lambda g: g * args[1 - i])
    >>> kn.grad(area)(2.0, 3.0)
    np.float64(3.0)
    """

    def each(
        argnums: Sequence[int], ans: Any, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Callable[[Any], Any]:
        pulls = [vjpmaker(argnum, ans, args, kwargs) for argnum in argnums]
        return lambda g: [pull(g) for pull in pulls]

    defvjp_argnums(fun, each)


def defvjp_argnums(fun: Callable[..., Any], vjpmaker: Pullbacks) -> None:
    """Gives a primitive one rule for several arguments at once: `vjpmaker(argnums, ans, args,
    kwargs)` returns `g -> cotangents`.

    >>> import numpy as np, kinone as kn
    >>> total = kn.extend.primitive(lambda a, b: np.sum(a) + np.sum(b))
    >>> kn.extend.defvjp_argnums(
    ...     total, lambda argnums, ans, args, kwargs: lambda g: [g + 0 * args[i] for i in argnums]
    ... )
    >>> kn.grad(total, argnums=1)(1.0, np.ones(2))
    array([1., 1.])
    """
    _declared(fun).pullbacks = vjpmaker


def defjvp(
    fun: Callable[..., Any],
    *jvpfuns: Callable[..., Any] | Literal["same"] | None,
    argnums: Iterable[int] | None = None,
) -> None:
    """Gives a primitive its forward-mode rules, one for each argument.

    `jvpfun(g, ans, *args, **kwargs)` is the tangent of `ans` where that argument alone moves by
    `g`; None stands for zero, "same" for a function that is linear in it.

    >>> import numpy as np, kinone as kn
    >>> cube = kn.extend.primitive(lambda x: x**3)
    >>> kn.extend.defjvp(cube, lambda g, ans, x: g * 3 * x**2)
    >>> kn.jvp(cube, (2.0,), (1.0,))
    (8.0, np.float64(12.0))
    """
    find = _by_argnum(_declared(fun), jvpfuns, argnums, "JVP")

    def each(argnum: int, g: Any, ans: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        rule = find(argnum)
        if rule is None:
            return None
        if rule == "same":
            return fun(*[g if i == argnum else arg for i, arg in enumerate(args)], **kwargs)
        return rule(g, ans, *args, **kwargs)

    defjvp_argnum(fun, each)


def defjvp_argnum(
    fun: Callable[..., Any],
    jvpmaker: Callable[[int, Any, Any, Sequence[Any], dict[str, Any]], Any],
) -> None:
    """Gives a primitive one rule for all arguments: `jvpmaker(argnum, g, ans, args, kwargs)`.

    >>> import numpy as np, kinone as kn
    >>> area = kn.extend.primitive(lambda *sides: sides[0] * sides[1])
    >>> kn.extend.defjvp_argnum(area, lambda i, g, ans, args, kwargs: g * args[1 - i])
    >>> kn.jvp(area, (2.0, 3.0), (1.0, 0.0))
    (6.0, np.float64(3.0))
    """

    def summed(
        argnums: Sequence[int], gs: Sequence[Any], ans: Any, args: Sequence[Any], kwargs: Any
    ) -> Any:
        terms = [jvpmaker(i, g, ans, args, kwargs) for i, g in zip(argnums, gs, strict=True)]
        terms = [term for term in terms if term is not None]
        if not terms:
            return tree.map(lambda y: zeros_of(y), ans)
        return functools.reduce(
            lambda a, b: tree.map(lambda x, y: x + y, a, b), terms[1:], terms[0]
        )

    _declared(fun).pushforward = summed


def def_linear(fun: Callable[..., Any]) -> None:
    """Says that a primitive is linear in each of its arguments: this is its forward-mode rule.

    >>> import numpy as np, kinone as kn
    >>> swapped = kn.extend.primitive(lambda x: x[::-1].copy())
    >>> kn.extend.def_linear(swapped)
    >>> kn.jvp(swapped, (np.array([1.0, 2.0]),), (np.array([0.0, 1.0]),))[1]
    array([1., 0.])
    """

    def same(argnum: int, g: Any, ans: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        return fun(*[g if i == argnum else arg for i, arg in enumerate(args)], **kwargs)

    defjvp_argnum(fun, same)
