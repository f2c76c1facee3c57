"""Bessel functions of integer and real order: each derivative is one of neighbouring orders.

For J and Y, 2 C'ᵥ = Cᵥ₋₁ - Cᵥ₊₁; for I, 2 I'ᵥ = Iᵥ₋₁ + Iᵥ₊₁; for K, -2 K'ᵥ = Kᵥ₋₁ + Kᵥ₊₁
(NIST Digital Library of Mathematical Functions, 10.6.1 and 10.29.1). By the order itself there is
no closed form, and asking for that derivative raises.
"""

from __future__ import annotations

import numpy as np

from ...core import Primitive
from ...ops.samples import POSITIVE, REAL, broadcasting
from .declare import special, undefined, with_order

_real = broadcasting(REAL)
_positive = broadcasting(POSITIVE)
_of_real = with_order(REAL)
_of_positive = with_order(POSITIVE)

# ---- of the first and second kind ----------------------------------------------------------------

jv: Primitive = special(
    "jv",
    "Jᵥ(x), the Bessel function of the first kind of order v; `jn` is another name.",
    undefined("jv", "the order"),
    lambda g, a, b: g * (0.5 * (jv(a - 1, b) - jv(a + 1, b))),
    samples=_of_real,
)
jn = jv
yv: Primitive = special(
    "yv",
    "Yᵥ(x), the Bessel function of the second kind of real order v.",
    undefined("yv", "the order"),
    lambda g, a, b: g * (0.5 * (yv(a - 1, b) - yv(a + 1, b))),
    samples=_of_positive,
)
yn: Primitive = special(
    "yn",
    "Yₙ(x), the Bessel function of the second kind of integer order n.",
    undefined("yn", "the order"),
    lambda g, a, b: g * (0.5 * (yn(a - 1, b) - yn(a + 1, b))),
    samples=_of_positive,
)
j0: Primitive = special("j0", "J₀(x).", lambda g, x: g * -j1(x), samples=_real)
j1: Primitive = special("j1", "J₁(x).", lambda g, x: g * (0.5 * (j0(x) - jv(2, x))), samples=_real)
y0: Primitive = special("y0", "Y₀(x).", lambda g, x: g * -y1(x), samples=_positive)
y1: Primitive = special(
    "y1", "Y₁(x).", lambda g, x: g * (0.5 * (y0(x) - yv(2, x))), samples=_positive
)

# ---- the modified ones ---------------------------------------------------------------------------

iv: Primitive = special(
    "iv",
    "Iᵥ(x), the modified Bessel function of the first kind of real order v.",
    undefined("iv", "the order"),
    lambda g, a, b: g * (0.5 * (iv(a - 1, b) + iv(a + 1, b))),
    samples=_of_real,
)
ive: Primitive = special(
    "ive",
    "exp(-|Re x|) Iᵥ(x).",
    undefined("ive", "the order"),
    lambda g, a, b, y: g * (0.5 * (ive(a - 1, b) + ive(a + 1, b)) - np.sign(np.real(b)) * y),
    samples=_of_positive,
)
kv: Primitive = special(
    "kv",
    "Kᵥ(x), the modified Bessel function of the second kind of real order v.",
    undefined("kv", "the order"),
    lambda g, a, b: g * (-0.5 * (kv(a - 1, b) + kv(a + 1, b))),
    samples=_of_positive,
)
kve: Primitive = special(
    "kve",
    "exp(x) Kᵥ(x).",
    undefined("kve", "the order"),
    lambda g, a, b, y: g * (y - 0.5 * (kve(a - 1, b) + kve(a + 1, b))),
    samples=_of_positive,
)
kn: Primitive = special(
    "kn",
    "Kₙ(x), the modified Bessel function of the second kind of integer order n.",
    undefined("kn", "the order"),
    lambda g, a, b: g * (-0.5 * (kn(a - 1, b) + kn(a + 1, b))),
    samples=_of_positive,
)
i0: Primitive = special("i0", "I₀(x).", lambda g, x: g * i1(x), samples=_real)
i1: Primitive = special("i1", "I₁(x).", lambda g, x: g * (0.5 * (i0(x) + iv(2, x))), samples=_real)
i0e: Primitive = special(
    "i0e", "exp(-|x|) I₀(x).", lambda g, x, y: g * (i1e(x) - np.sign(x) * y), samples=_real
)
i1e: Primitive = special(
    "i1e",
    "exp(-|x|) I₁(x).",
    lambda g, x, y: g * (0.5 * (i0e(x) + ive(2, x)) - np.sign(x) * y),
    samples=_real,
)
k0: Primitive = special("k0", "K₀(x).", lambda g, x: g * -k1(x), samples=_positive)
k1: Primitive = special(
    "k1", "K₁(x).", lambda g, x: g * (-0.5 * (k0(x) + kv(2, x))), samples=_positive
)
k0e: Primitive = special(
    "k0e", "exp(x) K₀(x).", lambda g, x, y: g * (y - k1e(x)), samples=_positive
)
k1e: Primitive = special(
    "k1e",
    "exp(x) K₁(x).",
    lambda g, x, y: g * (y - 0.5 * (k0e(x) + kve(2, x))),
    samples=_positive,
)
