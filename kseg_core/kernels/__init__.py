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
``distinct``     the distinct rows of values, counted
``ends``         the least and greatest values of bands
``blocks``       labels of half the size, by the mode of each block
``components``   connected regions of equal labels, all clusters in one pass
``outlines``     walks along the boundaries of regions
``rings``        such walks as simple rings, and these as text
``confidence``   how clearly a point belongs to its cluster
``indices``      the silhouettes of a clustering, added up exactly
``line``         the best partition of values on a line, outright
``search``       k-means++ seeding and the swaps that leave poor local optima
===============  ===========================================================================

``build`` compiles them ahead; the modules with an underscore declare, compile, keep, load and call them.
"""

from __future__ import annotations

import sys
from functools import cache


def compiling() -> bool:
    """Whether a kernel is being compiled just now."""
    module = sys.modules.get(__name__ + "._jit")
    return bool(getattr(module, "compiling", ()))


@cache
def must_compile() -> bool:
    """Whether a job may have to compile a kernel first: code of some is neither installed nor kept."""
    from . import _kept

    if _kept.installed():  # which are made whole
        return False
    from . import build

    return bool(build.missing())
