"""`kinks` tells where a derivative was a choice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from .. import source
from ..core.observe import Event, observing


class kinks:
    """`with kinks() as k:` counts the elements at corners, where the derivative is a convention.

    At a kink (`abs` and `relu` at 0, the larger of two equal numbers) there is no derivative, and
    Kinone takes the middle one or 0; docs/kinks.md says which. `print(k)` says how often, and on
    which lines; `k.rows` holds `(line, primitive, elements)`.

    It counts what forward runs met, once for each run, whether it was differentiated or not:
    elements of `abs`, `fabs`, `relu`, `leaky_relu` and `elu` at 0, of `relu6` at 0 and 6, of
    `hard_sigmoid` and `hard_swish` at ±3; the ties of `maximum`, `minimum`, `fmax` and `fmin`, and
    those of `max` and `min` over axes (each element that shares); `hypot` and `arctan2` at the
    origin; norms and standard deviations that are 0. Not steps (`floor`), slopes without end
    (`sqrt` at 0), and choices by order alone (`sort`, `max_pool`), plain NumPy outside of a
    transformation, and what `jit` left away as not needed.

        >>> import numpy as np, kinone as kn
        >>> with kn.debug.kinks() as k:
        ...     slope = kn.grad(lambda x: np.sum(np.abs(x)))(np.array([0.0, 1.0]))
        >>> [(primitive, elements) for _, primitive, elements in k.rows]
        [('absolute', 1)]
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[source.Location | None, str]] = Counter()
        self._listening = observing(self._check)

    def __enter__(self) -> kinks:
        self._listening.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._listening.__exit__(*error)

    def _check(self, event: Event) -> None:
        rule = event.primitive.kink
        if rule is not None and event.phase == "forward" and event.forward is None:
            found = int(np.count_nonzero(rule(*event.results, *event.operands, **event.params)))
            if found:
                self._counts[event.location, event.primitive.name] += found

    @property
    def rows(self) -> list[tuple[str, str, int]]:
        return [(source.describe(where), name, n) for (where, name), n in self._counts.items()]

    def __str__(self) -> str:
        if not self._counts:
            return "no element was at a kink"
        return "\n".join(f"{n} at the kink of {name}, {where}" for where, name, n in self.rows)

    __repr__ = __str__
