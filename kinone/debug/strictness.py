"""`strict`: what is a warning as a rule becomes an error."""

from __future__ import annotations

import warnings
from typing import Any

from ..errors import BatchLoopWarning, KeyReuseWarning


class strict:
    """`with strict():` a random key used twice, and a primitive that `vmap` loops over, are errors.

    The errors are the warnings themselves, `KeyReuseWarning` and `BatchLoopWarning`, raised. For a
    training script's tests; a notebook, where cells are run again, is better off with warnings.

        >>> import kinone as kn
        >>> key = kn.random.key(0)
        >>> first = kn.random.normal(key, (2,))
        >>> try:
        ...     with kn.debug.strict():
        ...         second = kn.random.normal(key, (2,))
        ... except kn.KeyReuseWarning as error:
        ...     print(str(error).splitlines()[0])
        a random key was used a second time: both uses draw the same numbers
    """

    def __init__(self) -> None:
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> strict:
        self._filters.__enter__()
        warnings.simplefilter("error", KeyReuseWarning)
        warnings.simplefilter("error", BatchLoopWarning)
        return self

    def __exit__(self, *error: Any) -> None:
        self._filters.__exit__(*error)
