"""What is done to integers bit by bit or by their divisors; nothing here has a derivative."""

from __future__ import annotations

import numpy as np

from .declare import elementwise
from .samples import REAL, Sample, broadcasting

_flags = broadcasting(REAL, REAL, flags=(True, True))


def _pairs() -> list[Sample]:
    """Integers; the second ones fit as the number of places of a shift."""
    rows = np.array([[12, -7, 30], [5, 18, 64]])
    return [
        Sample((rows, np.array([[3, 1, 2], [4, 0, 5]]))),
        Sample((rows, np.array([2, 3, 1]))),
        Sample((np.int64(12), rows % 7)),
        Sample((rows[:0], rows[:0])),
    ]


bitwise_and = elementwise(
    "bitwise_and", np.bitwise_and, None, None, weak="{0} & {1}", samples=_flags
)
bitwise_or = elementwise("bitwise_or", np.bitwise_or, None, None, weak="{0} | {1}", samples=_flags)
bitwise_xor = elementwise(
    "bitwise_xor", np.bitwise_xor, None, None, weak="{0} ^ {1}", samples=_flags
)
invert = elementwise(
    "invert", np.invert, None, weak="~{0}", samples=broadcasting(REAL, flags=(True,))
)
left_shift = elementwise("left_shift", np.left_shift, None, None, weak="{0} << {1}", samples=_pairs)
right_shift = elementwise(
    "right_shift", np.right_shift, None, None, weak="{0} >> {1}", samples=_pairs
)
bitwise_count = elementwise(
    "bitwise_count",
    np.bitwise_count,
    None,
    samples=lambda: [Sample(sample.args[:1]) for sample in _pairs()],
)
gcd = elementwise("gcd", np.gcd, None, None, samples=_pairs)
lcm = elementwise("lcm", np.lcm, None, None, samples=_pairs)
