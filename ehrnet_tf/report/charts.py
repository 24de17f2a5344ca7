"""Charts as SVG elements that take their colours from the page's style, so that they follow light, dark and print.

A chart is narrow: it is shown at about its own size on a phone, and several stand beside each other on a wide screen.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from ehrnet_tf.report.html import Element, tag

WIDTH, HEIGHT = 420, 250  # units, about pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 40
_DASHES = (None, "7 4", "2 3", "9 3 2 3")
_COLOURS = 6  # of the style: .s0 ... .s5; twelve lines look all different
_FEW = 40  # points up to which each is marked


@dataclasses.dataclass(frozen=True)
class Series:
    """A line: its name, and finite x and y of equal number."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def line_chart(
    title: str,
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    log: bool = False,
    y_range: tuple[float, float] | None = None,
    x_range: tuple[float, float] | None = None,
    whole: bool = False,
) -> Element:
    """A figure of lines with axes, a legend if there are several, and its data in words for those who cannot see it.

    Args:
      title: above it.
      series: the lines, at least one, each with a point; colours and dashes tell them apart.
      x_label, y_label: of the axes.
      log: whether y is logarithmic; values of 0 and below are then left out.
      y_range, x_range: ends of the axes; None: those of the data.
      whole: whether x counts something, so that ticks are whole numbers.
    """
    if log:
        series = [
            Series(s.name, *zip(*((x, y) for x, y in zip(s.x, s.y, strict=True) if y > 0), strict=True))
            for s in series
            if any(y > 0 for y in s.y)
        ]
    xs, ys = [x for s in series for x in s.x], [y for s in series for y in s.y]
    x_low, x_high = x_range or _widened(min(xs), max(xs))
    y_ticks = log_ticks(min(ys), max(ys)) if log else linear_ticks(*(y_range or (min(0, min(ys)), max(ys))))
    y_low, y_high = y_range or (min(*ys, y_ticks[0]), max(*ys, y_ticks[-1]))
    if y_low == y_high:
        y_low, y_high = (y_low / 2, y_high * 2) if log else _widened(y_low, y_high)
    scale = math.log10 if log else float

    def across(x: float) -> float:
        return _LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - _LEFT - _RIGHT)

    def up(y: float) -> float:
        share = (scale(y) - scale(y_low)) / (scale(y_high) - scale(y_low))
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)

    x_ticks = [x for x in linear_ticks(x_low, x_high, whole=whole) if x_low <= x <= x_high]
    y_ticks = [y for y in y_ticks if y_low <= y <= y_high]
    parts = [_axes(x_ticks, y_ticks, across, up, x_label, y_label)]
    for number, s in enumerate(series):
        points = [(across(x), up(y)) for x, y in zip(s.x, s.y, strict=True)]
        path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(tag("path", d=path, class_=f"line s{number % _COLOURS}", stroke_dasharray=dash(number)))
        if len(points) <= _FEW:
            parts += [tag("circle", cx=x, cy=y, r=2.6, class_=f"dot s{number % _COLOURS}") for x, y in points]
    words = "; ".join(f"{s.name} from {s.y[0]:.3g} to {s.y[-1]:.3g}" for s in series)
    label = f"{title}: lines over {x_label} {xs[0]:g} to {max(xs):g}. {words}."
    picture = tag("svg", parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label)
    legend = _legend([s.name for s in series]) if len(series) > 1 else None
    return tag("figure", tag("figcaption", title), picture, legend, class_="chart")


def dash(number: int) -> str | None:
    """The dashes of a line of this number, None for a solid one."""
    return _DASHES[number % len(_DASHES)]


def _axes(x_ticks, y_ticks, across, up, x_label, y_label) -> Element:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = []
    for y in y_ticks:
        parts.append(tag("line", x1=_LEFT, x2=right, y1=up(y), y2=up(y), class_="grid"))
        parts.append(tag("text", f"{y:.6g}", x=_LEFT - 6, y=up(y) + 4, text_anchor="end"))
    for x in x_ticks:
        parts.append(tag("line", x1=across(x), x2=across(x), y1=bottom, y2=bottom + 4, class_="axis"))
        parts.append(tag("text", f"{x:.6g}", x=across(x), y=bottom + 17, text_anchor="middle"))
    parts.append(tag("line", x1=_LEFT, x2=right, y1=bottom, y2=bottom, class_="axis"))
    middle = (_TOP + bottom) / 2
    parts.append(tag("text", x_label, x=(_LEFT + right) / 2, y=HEIGHT - 6, text_anchor="middle"))
    turned = f"rotate(-90 11 {middle:g})"
    parts.append(tag("text", y_label, x=11, y=middle, transform=turned, text_anchor="middle") if y_label else None)
    return tag("g", parts)


def _legend(names: Sequence[str]) -> Element:
    entries = []
    for number, name in enumerate(names):
        line = tag("line", x1=1, x2=25, y1=6, y2=6, class_=f"line s{number % _COLOURS}", stroke_dasharray=dash(number))
        entries.append(tag("li", tag("svg", line, viewBox="0 0 26 12", aria_hidden="true"), name))
    return tag("ul", entries, class_="legend")


def stacked_bar(parts: Sequence[tuple[str, str, float]], total: float, words: str) -> Element:
    """A horizontal bar of parts: (name, class of the style, value), of which ``total`` fills the whole width.

    Args:
      words: what the bar says, for those who cannot see it.
    """
    spans = [
        tag("span", class_=f"part {kind}", style=f"width:{100 * value / total:.2f}%", title=f"{name}: {value:.3g}")
        for name, kind, value in parts
        if value > 0 and total > 0
    ]
    return tag("span", spans, class_="bar", role="img", aria_label=words)


def linear_ticks(low: float, high: float, most: int = 6, whole: bool = False) -> list[float]:
    """Round numbers from ``low`` or below to ``high`` or above, about ``most``, 1, 2 or 5 times a power of 10 apart.

    Args:
      whole: whole numbers only.
    """
    low, high = _widened(low, high)
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    step = max(step, 1.0) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers on a logarithmic axis that reach over both ends: 1, 2, 5 a decade, or powers of 10 alone."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{factor}e{power}") for power in range(first, last + 1) for factor in factors]
        begin = max(number for number, tick in enumerate(ticks) if tick <= low * (1 + 1e-9))
        end = min((number for number, tick in enumerate(ticks) if tick >= high * (1 - 1e-9)), default=len(ticks) - 1)
        ticks = ticks[begin : end + 1]
        if len(ticks) <= most + 1:
            return ticks
    return ticks[:: math.ceil(len(ticks) / most)]


def _widened(low: float, high: float) -> tuple[float, float]:
    """Ends that differ: where they are the same, by half of that on both sides, or by one."""
    by = 0.0 if low < high else abs(low) / 2 or 1.0
    return low - by, high + by
