"""HTML and SVG elements as trees, so that whatever text comes in goes out escaped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree

Element = ElementTree.Element


def tag(kind: str, /, *children: Any, **attributes: Any) -> Element:
    """An element.

    Args:
      kind: the tag's name.
      *children: elements, texts, iterables of both; None is left out, anything else becomes text by `str`.
      **attributes: a trailing underscore is dropped, others become hyphens (``class_``, ``stroke_width``); None is left
        out; numbers are rounded to hundredths.
    """
    element = Element(kind)
    for key, value in attributes.items():
        if value is not None:
            element.set(key.rstrip("_").replace("_", "-"), _number(value) if isinstance(value, float) else str(value))
    _add(element, children)
    return element


def _add(element: Element, children: Iterable[Any]) -> None:
    for child in children:
        if child is None:
            continue
        if isinstance(child, Element):
            element.append(child)
        elif isinstance(child, (list, tuple)):
            _add(element, child)
        elif len(element):
            element[-1].tail = (element[-1].tail or "") + str(child)
        else:
            element.text = (element.text or "") + str(child)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def document(root: Element) -> str:
    """A tree as an HTML document; characters that no encoding has, as in undecodable file names, become "?"."""
    text = ElementTree.tostring(root, encoding="unicode", method="html")
    return f"<!DOCTYPE html>\n{text}\n".encode("utf-8", "replace").decode("utf-8")
