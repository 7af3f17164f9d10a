"""What goes with a TIFF of labels so that other tools show its classes by name and colour, with nothing to set.

GDAL, and all that reads by it, takes names, colours and a raster attribute table (RAT) from ``.aux.xml``; QGIS takes
the style of a layer from a ``.qml`` of the same name.

References
----------
GDAL's raster data model: https://gdal.org/en/stable/user/raster_data_model.html (category names, colour table, RAT);
the codes of a RAT are those of its ``GDALRATFieldType`` and ``GDALRATFieldUsage``. QGIS: ``QgsPalettedRasterRenderer``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from ..shapes.regions import PixelArea
from ..store.legend import Legend, hex_of

_MOST_INTEGER = 2**31 - 1  # of GFT_Integer

# GFT_Integer, GFT_Real, GFT_String
_INTEGER, _REAL, _STRING = 0, 1, 2
# GFU_Generic, GFU_PixelCount, GFU_Name, GFU_MinMax, GFU_Red, GFU_Green, GFU_Blue
_GENERIC, _PIXEL_COUNT, _NAME, _MIN_MAX, _RED, _GREEN, _BLUE = 0, 1, 2, 5, 6, 7, 8

_NO_AREA = PixelArea()


@dataclass(frozen=True, slots=True)
class Categories:
    """What the values of an image of labels are, and how much of it each has.

    Parameters
    ----------
    legend
        Names and colours.
    pixels
        How many there are of each value; None: not known.
    area
        Of one pixel, where known.
    """

    legend: Legend
    pixels: Sequence[int] | None = None
    area: PixelArea = _NO_AREA

    def aux_xml(self) -> str:
        """GDAL's metadata of one band: a colour table of the values that there are, their names, and the RAT."""
        legend = self.legend
        colors = (f'<Entry c1="{r}" c2="{g}" c3="{b}" c4="255" />' for r, g, b in legend.colors.tolist())
        names = (f"<Category>{escape(name)}</Category>" for name in legend.names)
        lines = [
            "<PAMDataset>",
            '  <PAMRasterBand band="1">',
            "    <ColorInterp>Palette</ColorInterp>",
            *_element("ColorTable", colors),
            *_element("CategoryNames", names),
            *_element("GDALRasterAttributeTable", self._table(), ' tableType="thematic"'),
            "  </PAMRasterBand>",
            "</PAMDataset>",
        ]
        return "\n".join(lines) + "\n"

    def _table(self) -> Iterator[str]:
        columns = self._columns()
        for at, column in enumerate(columns):
            name, kind, usage = escape(column.name), column.kind, column.usage
            definition = f"<Name>{name}</Name><Type>{kind}</Type><Usage>{usage}</Usage>"
            yield f'<FieldDefn index="{at}">{definition}</FieldDefn>'
        for row, values in enumerate(zip(*(column.values for column in columns), strict=True)):
            cells = "".join(f"<F>{escape(str(value))}</F>" for value in values)
            yield f'<Row index="{row}">{cells}</Row>'

    def _columns(self) -> list[_Column]:
        legend = self.legend
        columns = [
            _Column("Value", _INTEGER, _MIN_MAX, range(len(legend))),
            _Column(legend.what.capitalize(), _STRING, _NAME, legend.names),
        ]
        if self.pixels is not None:
            kind = _INTEGER if max(self.pixels, default=0) <= _MOST_INTEGER else _REAL
            columns.append(_Column("Count", kind, _PIXEL_COUNT, self.pixels))
            for name, area in (("Area_m2", self.area.square_metres), ("Area_um2", self.area.square_micrometres)):
                if area is not None:
                    columns.append(_Column(name, _REAL, _GENERIC, [pixels * area for pixels in self.pixels]))
        channels = zip(("Red", "Green", "Blue"), (_RED, _GREEN, _BLUE), legend.colors.T.tolist(), strict=True)
        return [*columns, *(_Column(name, _INTEGER, usage, values) for name, usage, values in channels)]

    def qml(self) -> str:
        """A style of QGIS: each value in its colour, with its name in the legend."""
        entries = (
            f'<paletteEntry value="{value}" color="{hex_of(color)}" alpha="255" label={quoteattr(name)}/>'
            for value, (name, color) in enumerate(zip(self.legend.names, self.legend.colors.tolist(), strict=True))
        )
        lines = [
            "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>",
            '<qgis version="3.16" styleCategories="Symbology">',
            "  <pipe>",
            '    <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">',
            "      <rasterTransparency/>",
            *_element("colorPalette", entries, indent=6),
            "    </rasterrenderer>",
            "  </pipe>",
            "</qgis>",
        ]
        return "\n".join(lines) + "\n"


class _Column(NamedTuple):
    """Of a RAT."""

    name: str
    kind: int
    usage: int
    values: Sequence[Any]


def _element(name: str, lines: Iterator[str], attributes: str = "", indent: int = 4) -> Iterator[str]:
    yield f"{' ' * indent}<{name}{attributes}>"
    yield from (f"{' ' * (indent + 2)}{line}" for line in lines)
    yield f"{' ' * indent}</{name}>"
