"""Every Numba kernel of the program, and nothing else.

Kernels are pure: arrays in, arrays out, no I/O and no globals; they release the GIL and never use
``fastmath``, so each gives the same bits serially, on threads and on a cluster.

===============  ===========================================================================
``sampling``     which pixels of an image belong to the first mini-batch
``histogram``    pixels to colours and counts, the merge of two such tables, labels by look-up
``assign``       nearest centroids and their integer sums, point by point and cell by cell
``lookup``       labels of colours by a table that fills itself, and the sums over them
``dense``        assign and accumulate for pixels of whole-number bands; features, moments
``dense_floats`` the same for floating point and wide whole numbers, exact whatever their range
``smoothing``    means over those neighbours that are nearer than neighbours are
``values``       the least and greatest values of bands; the distinct ones, counted
``blocks``       labels of half the size, by the mode of each block
``components``   connected regions of equal labels, all clusters in one pass
``runs``         the same by runs, with areas and what small regions touch
``forests``      disjoint sets, which regions are while parts of them are found to be one
``absorb``       small regions go to their neighbours, on a graph of regions
``outlines``     walks along the boundaries of regions
``rings``        such walks as simple rings, and these as text
``arcs``         which corners simplified outlines have, the same for the regions on both sides
``cells``        what flows to one minimum of a gradient, what it is made of and what it touches
``merging``      what merging two regions costs; rounds in which all go that are each other's cheapest
``cheapest``     the cheapest pair of all, always
``hierarchies``  the level at which each boundary vanishes, and cutting there
``second``       how clearly a point belongs to its cluster; silhouettes, added up exactly
``line``         the best partition of values on a line, outright
``search``       k-means++ seeding and the swaps that leave poor local optima
===============  ===========================================================================

``build`` compiles them ahead; the modules with an underscore declare, compile, keep, load and call them. What another
device runs is an entry of `INSTEAD`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

log = logging.getLogger("kseg")

#: Where a device is chosen: by a kernel's name ("dense.assign_and_sum") what is called instead of its machine code, as
#: ``module:function``, which is imported at the first call. It takes what the kernel takes, and gives back the same
#: bits; or ``NotImplemented`` for a call that it leaves to this processor (there is no device, or so few points that
#: they are not worth the way there).
INSTEAD: dict[str, str] = {}


@cache
def stand_in(entry: str) -> Callable[..., Any] | None:
    """The function of an entry of `INSTEAD`; None where its module cannot be imported here."""
    module, _, function = entry.partition(":")
    try:
        imported = import_module(module)
    except Exception as error:  # there is no such package here, or no device: a driver has errors of its own
        log.info("%s is not used here: %s", entry, error)
        return None
    found: Callable[..., Any] = getattr(imported, function)
    return found


def compiling() -> bool:
    """Whether a kernel is being compiled just now."""
    module = sys.modules.get(__name__ + "._jit")
    return bool(getattr(module, "compiling", ()))
