"""Which bands a person sees."""

from __future__ import annotations

import pytest

from kseg_core.expressions import Bands, Derived
from kseg_core.images.display import display_of
from kseg_core.images.raster import PictureInfo, Refused

FOUR: Bands = (1, 2, 3, 4)


def info(*names: str, roles: tuple[str, ...] = ()) -> PictureInfo:
    return PictureInfo("TIFF", (1, 1), 4, "uint16", band_names=names, band_roles=roles)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("blue", "green", "red", "nir"), (2, 1, 0)),
        (("B2 (Blue)", "B3 (Green)", "B4 (Red)", "B8"), (2, 1, 0)),
        (("red edge", "blue", "green", "red"), (3, 2, 1)),
        (("coastal_blue", "RED", "Green", "Blue"), (1, 2, 3)),
        (("red", "green", "blue", "nir"), ()),  # the first three, as without names
        (("red", "green", "red", "blue"), ()),  # which red?
        (("reduced", "greenish", "blues", ""), ()),
        ((), ()),
    ],
)
def test_described_colours_are_shown_in_their_places(names: tuple[str, ...], expected: tuple[int, ...]) -> None:
    assert display_of((), FOUR, info(*names)) == expected


def test_what_a_file_says_of_colours_counts_where_names_say_nothing() -> None:
    roles = ("blue", "green", "red", "")
    assert display_of((), FOUR, info("B02", "B03", "B04", "B08", roles=roles)) == (2, 1, 0)
    assert display_of((), (4, 3, 1), info(roles=roles)) == ()  # green is not clustered
    assert display_of((), (4, 3, 1, 2), info(roles=roles)) == (1, 3, 2)


def test_bands_are_chosen_by_number_in_the_file_by_name_or_as_they_are_derived() -> None:
    named = info("B02", "B03", "B04", "B08")
    ndvi = Derived("ndvi", "(B08-B04)/(B08+B04)")
    assert display_of((4, 3, 2), FOUR, named) == (3, 2, 1)
    assert display_of(("B08", "b04", 2), (4, "B04", 2), named) == ()
    assert display_of((2, "B04", "B08"), (4, "B04", 2), named) == (2, 1, 0)
    assert display_of(("ndvi",), (2, ndvi), named) == (1,)
    assert display_of((2, "NDVI", 2), (2, ndvi), named) == (0, 1, 0)
    assert display_of((1, 2, 3), FOUR, info("blue", "green", "red", "nir")) == ()  # chosen, not described


@pytest.mark.parametrize(("wanted", "told"), [((3,), "band 3.*: 1, 2"), (("nir",), "no band 'nir'.*b1 to b4")])
def test_a_band_that_is_not_clustered_is_refused(wanted: tuple[int | str, ...], told: str) -> None:
    with pytest.raises(Refused, match=told):
        display_of(wanted, (1, 2), info())
