"""NumPy's functions that write into an array: refused, with the functional form to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from .. import source
from ..core import implements
from ..errors import TracerAssignmentError

_FORMS: dict[Callable[..., Any], str] = {
    np.copyto: "np.where(where, src, dst), or np.broadcast_to(value, shape) for np.full",
    np.put: "x = x.at[ind].set(v), of np.ravel(x) where it has several axes",
    np.put_along_axis: "x = x.at[index].set(v) with an index for each axis",
    np.putmask: "x = np.where(mask, values, x)",
    np.place: "x = np.where(mask, values, x)",
    np.fill_diagonal: "x = x.at[np.arange(n), np.arange(n)].set(v)",
}


def _refusing(name: str, form: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise TracerAssignmentError(
            f"np.{name} writes into an array, and a traced value cannot be written to or into one, "
            f"at {source.here()}\n  Write {form}."
        )

    return refuse


for _function, _form in _FORMS.items():
    implements(_function)(_refusing(_function.__name__, _form))
