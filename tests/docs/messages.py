"""Messages that the pages' tables of symptoms quote: the package must still say so."""

from __future__ import annotations

import ast
import functools
import re

from . import programs, table
from .pages import ROOT

_HEADS = ("symptom", "it says")
_QUOTED = re.compile(r'`([^`]+)`|"([^"]+)"')
# What stands for anything: ..., a name in quotes or brackets, a number or nan, a single capital.
_PLACEHOLDER = re.compile(r"\.\.\.|'[^']*'|\([A-Z]\w*\)|\bnan\b|\b\d+(?:\.\d+)?\b|\b[A-Z]\b")


def faults(page: str, text: str) -> list[tuple[int, str, str]]:
    """(line, message, fault) of quoted messages that nothing says, for the pages of `table.MESSAGES`."""
    if page not in table.MESSAGES:
        return []
    return [
        (
            line,
            message,
            "no message of ehrnet_tf or converters has these words (others': tests/docs/table.py: MESSAGES)",
        )
        for line, message in quoted(text)
        if message not in table.MESSAGES[page] and not is_said(message)
    ]


def quoted(text: str) -> list[tuple[int, str]]:
    """(line, message) of the first column of tables of symptoms: what is quoted, two words or more, and no command."""
    found, inside = [], False
    for number, row in enumerate(text.split("\n"), 1):
        first = row.split("|")[1].strip() if row.startswith("| ") else ""
        if not row.startswith("|"):
            inside = False
        elif first in _HEADS:
            inside = True
        elif inside:
            for code, words in _QUOTED.findall(first):
                message = code or words
                if " " in message and not message.startswith("--") and not programs.is_known(message):
                    found.append((number, message))
    return found


def is_said(message: str) -> bool:
    """Whether some string of the sources has a message's words, in their order."""
    parts = [" ".join(part.split()) for part in _PLACEHOLDER.split(message)]
    wanted = re.compile(".*".join(re.escape(part) for part in parts if part))
    return any(wanted.search(said) for said in _strings())


@functools.cache
def _strings() -> tuple[str, ...]:
    """The strings of the sources but for their docstrings; of f-strings the words around the values."""
    found = []
    for folder in ("ehrnet_tf", "converters"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            nodes = [ast.parse(path.read_text(encoding="utf-8"))]
            for node in nodes:  # grows
                if isinstance(node, ast.JoinedStr):
                    found.append("".join(part.value if _is_text(part) else " " for part in node.values))
                elif _is_text(node):
                    found.append(node.value)
                nodes += (part for part in ast.iter_child_nodes(node) if not _is_docstring(part))
    return tuple(" ".join(said.split()) for said in found if " " in said)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and _is_text(node.value)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
