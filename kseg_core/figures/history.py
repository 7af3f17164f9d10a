"""Inertia by step, for every attempt."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from .drawing import FAINT, new_figure, tidy_axes


def history_figure(batch: Sequence[Sequence[float]], steps: Sequence[Sequence[float]]) -> Figure:
    """Two panels: the steps on the first mini-batch, and the exact steps on all data.

    Parameters
    ----------
    batch, steps
        For each attempt the inertia before every step, in squared feature units; empty where it made none.
    """
    figure = new_figure(7.2, 3.2)
    for axes, attempts, title in zip(
        figure.subplots(1, 2), (batch, steps), ("first mini-batch", "all data, exact steps"), strict=True
    ):
        tidy_axes(axes)
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_xlabel("step", fontsize=8)
        axes.set_ylabel("inertia", fontsize=8)
        drawn = 0
        for attempt, inertia in enumerate(attempts):
            if not inertia:
                continue
            drawn += 1
            shade = 0.15 + 0.7 * attempt / max(1, len(attempts) - 1)
            (line,) = axes.plot(
                range(len(inertia)), inertia, color=(0.1, shade * 0.75, 1 - shade * 0.55), linewidth=1.2
            )
            line.set_gid(f"attempt-{attempt}")
            axes.annotate(
                str(attempt), (len(inertia) - 1, inertia[-1]), fontsize=7, xytext=(3, -2), textcoords="offset points"
            )
        if not drawn:
            axes.text(0.5, 0.5, "no steps", ha="center", color=FAINT, transform=axes.transAxes)
    return figure
