"""Markdown pages taken apart: blocks of code, and code in running text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "docs/**/*.md", "android_demo/README.md", "web_demo/README.md", "tests/golden/README.md"]
_FENCE = re.compile(r" *(`{3,}|~{3,})\s*(\w*)\s*$")
_INLINE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)


class Snippet(NamedTuple):
    """A piece of code of a page.

    Attributes:
      line: of its first line in the page, from 1.
      kind: "indented", "inline", or a fence's language ("" if it names none).
      text: without fences and indentation.
    """

    line: int
    kind: str
    text: str


def pages() -> list[str]:
    """The pages that are tried, as paths from the repository's root."""
    return [path.relative_to(ROOT).as_posix() for pattern in PAGES for path in sorted(ROOT.glob(pattern))]


def snippets(text: str) -> list[Snippet]:
    """The code of a page, in its order.

    Raises:
      ValueError: a fence that is not closed.
    """
    lines = text.split("\n")
    found, number = [], 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        begin = number
        if fence:
            number += 1
            while number < len(lines) and lines[number].strip() != fence[1]:
                number += 1
            if number == len(lines):
                raise ValueError(f"line {begin + 1}: a fence that is not closed")
            found.append(Snippet(begin + 2, fence[2], _dedented(lines[begin + 1 : number])))
            number += 1
        elif _is_indented(lines[number]):  # what goes on with a paragraph has been taken with it
            while number < len(lines) and (_is_indented(lines[number]) or not lines[number].strip()):
                number += 1
            found.append(Snippet(begin + 1, "indented", _dedented(lines[begin:number])))
        elif lines[number].strip():
            while number < len(lines) and lines[number].strip() and not _FENCE.match(lines[number]):
                number += 1
            found += _inline("\n".join(lines[begin:number]), begin + 1)
        else:
            number += 1
    return found


def _inline(paragraph: str, line: int) -> list[Snippet]:
    return [
        Snippet(line + paragraph[: match.start()].count("\n"), "inline", " ".join(match[2].split()))
        for match in _INLINE.finditer(paragraph)
    ]


def _is_indented(line: str) -> bool:
    return line.startswith("    ") and bool(line.strip())


def _dedented(lines: list[str]) -> str:
    least = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[least:] for line in lines).rstrip()
