"""Records of sweeps, small and worked out by hand: with a knee, without one, and with fewer values than clusters."""

from __future__ import annotations

from typing import Any


def row(k: int, inertia: float, silhouette: float | None, found: int | None = None) -> dict[str, Any]:
    return {
        "k": k,
        "k_found": k if found is None else found,
        "inertia": inertia,
        "mse": inertia / 10,
        "silhouette": silhouette,
        "calinski_harabasz": None if silhouette is None else 12.5,
    }


def swept(k: int, knee: int | None, *rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"k": k, "knee": knee, "sweep": list(rows), "each": None, **more}


KNEE = swept(2, 2, row(1, 100.0, None), row(2, 20.0, 0.75), row(3, 15.0, 0.5))
NO_KNEE = swept(3, None, row(2, 30.0, 0.5), row(3, 20.0, 0.625))
FEWER = swept(2, None, row(1, 8.0, None), row(2, 0.0, 1.0), row(3, 0.0, 1.0, found=2))
