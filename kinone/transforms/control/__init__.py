"""Loops and branches: `cond`, `switch`, `scan`, `map`, `fori_loop`, `while_loop`.

Where values are at hand they are ordinary Python: the branch that is taken runs, the loop loops,
and the tape of reverse mode records what happens, trip by trip. Inside a function that is being
traced to a program (`jit`, `graph`) they become equations of it. Under `vmap` a branch whose
predicate differs between the examples runs both sides and each example takes its own; a loop goes
on until the last example's ends.
"""

from .branches import cond, switch
from .scans import fori_loop, map, scan
from .whiles import while_loop

__all__ = ["cond", "fori_loop", "map", "scan", "switch", "while_loop"]
