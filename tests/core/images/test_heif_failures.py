"""What libheif's binding raises: lack of memory stays that, and no name of a class reaches a message."""

from __future__ import annotations

import pytest

from kseg_core.images.heif import _decoded_heic
from kseg_core.images.raster import Refused


def test_lack_of_memory_is_not_damage_and_no_class_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    heif = pytest.importorskip("pillow_heif")

    def fails(error: Exception) -> None:
        def open_heif(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(heif, "open_heif", open_heif)

    fails(MemoryError())
    with pytest.raises(MemoryError):
        _decoded_heic(b"")
    fails(KeyError())
    with pytest.raises(Refused, match="damaged: the HEIC cannot be decoded") as caught:
        _decoded_heic(b"")
    assert "KeyError" not in str(caught.value)
