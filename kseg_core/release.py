"""Which release this is."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """The installed version of kseg-batch."""
    return metadata.version("kseg-batch")
