"""Tables of a report's page, and how values stand in them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ehrnet_tf.report.html import Element, tag


def table(
    label: str, head: Sequence[Any], rows: Sequence[Sequence[Any]], text: Sequence[int] = (0,), kind: str = ""
) -> Element:
    """A table that scrolls sideways where it does not fit, its first column staying in sight.

    Args:
      label: what the table is, for those who hear the page.
      head: of the columns.
      rows: cells; the first of each is its heading.
      text: numbers of the columns that hold text.
      kind: class.
    """
    columns = [tag("th", cell, scope="col", class_="text" if n in text else None) for n, cell in enumerate(head)]
    body = []
    for first, *rest in rows:
        cells = [tag("td", cell, class_=_class(n, cell, text)) for n, cell in enumerate(rest, start=1)]
        body.append(tag("tr", tag("th", first, scope="row"), cells))
    parts = tag("thead", tag("tr", columns)), tag("tbody", body)
    whole = "" if kind else " whole"  # on one sheet of paper
    content = tag("table", parts, class_=kind or None, aria_label=label)
    return tag("div", content, class_=f"scroll{whole}", role="region", aria_label=label, tabindex=0)


def _class(number: int, cell: Any, text: Sequence[int]) -> str | None:
    if isinstance(cell, Element) and cell.get("class") == "bar":
        return "wide"
    return "text" if number in text else None


def figure(value: float) -> str:
    """A figure of 0..1; a dash where COCO's -1 says that nobody was to be found."""
    return f"{value:.3f}" if value >= 0 else "–"


def plain(value: Any) -> str:
    """A configuration's or metadata's value, for people."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_inner(part)}" for key, part in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(_inner(part) for part in value) or "none"
    return str(value)


def _inner(value: Any) -> str:
    return f"({plain(value)})" if isinstance(value, (Mapping, list, tuple)) else plain(value)
