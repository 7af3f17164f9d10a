"""Tags and values of TIFF 6.0 and its supplements that the readers here look at."""

from __future__ import annotations

MAKE, ORIENTATION, T4_OPTIONS, COLOUR_MAP, SUB_IFDS, PROFILE, GDAL_METADATA, GDAL_NODATA, DNG_VERSION = (
    271, 274, 292, 320, 330, 34675, 42112, 42113, 50706,
)  # fmt: skip

MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, SEPARATED, YCBCR = 0, 1, 2, 3, 5, 6  # PhotometricInterpretation
RAW_PHOTOMETRICS = frozenset({32803, 34892})  # colour filter array, linear raw
UNCOMPRESSED, LZW, OLD_JPEG, JPEG, ADOBE_DEFLATE, PACKBITS, DEFLATE = 1, 5, 6, 7, 8, 32773, 32946  # Compression
GROUP3 = 3
PHOTOMETRIC = 262
INTERCHANGE = 513  # where a page of old-style JPEG has a whole JPEG
SUBSAMPLING, YCBCR_COEFFICIENTS, REFERENCE_BLACK_WHITE = 530, 529, 532
LOGS = {32844: "LogL", 32845: "LogLuv"}  # PhotometricInterpretation
FAX = frozenset({2, 3, 4, 32771})  # modified Huffman, Group 3, Group 4, modified Huffman in words
PREMULTIPLIED, ALPHA = 1, 2  # ExtraSamples
UNSIGNED, UNDEFINED, COMPLEX_INTEGER = 1, 4, 5  # SampleFormat
CONTIGUOUS = 1  # PlanarConfiguration
REVERSED_BITS = 2  # FillOrder

#: Tags without which a page would be taken for something else (the description holds OME's channels).
MEANINGFUL = frozenset({258, 262, 266, 270, ORIENTATION, 277, 284, T4_OPTIONS, 317, COLOUR_MAP, 338, 339, 347, PROFILE})
