"""Segments that people agree with, from K-means: a hierarchy of regions, of images in memory and block by block.

Everything up to the merging's prices is whole numbers. An image's hierarchy is made in these steps:

1. ``features``  colours on a grid of CIELAB, or bands scaled alike
2. ``maps``      gradient, a palette's labels (K-means, k = 64), two maps of texture: all within a halo
3. ``blocks``    cells of steepest descent, their graph, merged in rounds as far as a block knows; blocks joined
4. ``graph``     the joined graph merged in rounds, then cheapest first: every merge has an altitude
5. ``hierarchy`` altitudes as levels, and the level at which each boundary between two pixels vanishes (contours)
6. ``lifting``   of photographs all this is done on a small picture; its regions follow the colours of the large one
7. ``whole``     all of it for an image in memory
"""
