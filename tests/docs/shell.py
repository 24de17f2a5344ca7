"""The few things of a shell that the pages use: comments, lines that go on, `&&`, variables, quotes."""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

_COMMENT = re.compile(r"(^|\s)#\s.*$")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


class Command(NamedTuple):
    """A command as it stands in a page.

    Attributes:
      line: of the page, from 1.
      text: as written, without its comment.
      environment: variables that are set for it; of an assignment alone, for those that follow.
      words: the program and its arguments, without quotes; none for an assignment alone.
    """

    line: int
    text: str
    environment: dict[str, str]
    words: list[str]


def commands(text: str, line: int = 1) -> list[Command]:
    """The commands of a block whose first line is the page's ``line``.

    Raises:
      ValueError: a quote that is not closed.
    """
    found = []
    rows = text.split("\n")
    number = 0
    while number < len(rows):
        begin, whole = number, _COMMENT.sub("", rows[number]).rstrip()
        while whole.endswith("\\") and number + 1 < len(rows):
            number += 1
            whole = whole[:-1].rstrip() + " " + _COMMENT.sub("", rows[number]).strip()
        number += 1
        for part in re.split(r"\s+&&\s+", whole):
            if part.strip():
                found.append(_command(part.strip(), line + begin))
    return found


def _command(text: str, line: int) -> Command:
    environment, words = {}, shlex.split(text)
    while words and (assignment := _ASSIGNMENT.fullmatch(words[0])):
        environment[assignment[1]] = assignment[2]
        del words[0]
    return Command(line, text, environment, words)
