"""What all pictures share: small SVG files, the same to the bit whenever they are drawn."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ewarn.errors import EwarnError
from ewarn.lab.judge import Bools, Floats, runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


WIDTH_IN = 7.5
COLOURS = ("#0b6e99", "#c8553d", "#6a994e", "#7b5ea7", "#b07d2b", "#555555", "#d1495b", "#2a9d8f", "#d4a5a5", "#1d3557")
EVENT, ALERT = "#e9c46a", "#c1121f"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "ewarn", "path.simplify": True, "path.simplify_threshold": 0.5,
    "font.size": 8.0, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    "font.sans-serif": ["DejaVu Sans"], "lines.linewidth": 1.0, "legend.frameon": False, "axes.titlesize": 9.0,
}  # fmt: skip


_LONG = re.compile(r"(\d\.\d\d)\d+")


def require_matplotlib() -> None:
    """Raises EwarnError, with what to install, where there is no matplotlib."""
    try:
        import matplotlib as mpl  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise EwarnError("pictures need matplotlib: pip install 'ewarn[plot]'") from error
    mpl.rcParams.update(_STYLE)


def new_figure(height_in: float, width_in: float = WIDTH_IN) -> Figure:
    """An empty picture, in inches. Raises EwarnError where there is no matplotlib."""
    require_matplotlib()
    from matplotlib.figure import Figure  # noqa: PLC0415  (an extra)

    return Figure(figsize=(width_in, height_in), layout="constrained")


def save(figure: Figure, path: Path) -> Path:
    """Write it as SVG, places to a hundredth of a point. Raises EwarnError where that cannot be."""
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": "ewarn"})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_LONG.sub(r"\1", drawn.getvalue()), encoding="utf-8")
    except OSError as error:
        raise EwarnError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def shade(axes: Axes, x: Floats, flags: Bools, colour: str) -> None:
    """Colour the stretches of `x` in which a flag is up."""
    for a, b in runs(flags):
        axes.axvspan(x[a], x[min(b, len(x) - 1)], color=colour, alpha=0.35, linewidth=0)


def plain(axes: Axes) -> None:
    """Few ticks and no grid: many panels in one picture stay small."""
    axes.grid(visible=False)
    axes.locator_params(nbins=4)
