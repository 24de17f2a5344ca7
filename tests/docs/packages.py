"""What the pages have people install."""

from __future__ import annotations

import ast
import re

from packaging.requirements import InvalidRequirement, Requirement

from . import table
from .pages import ROOT

_PIP = {"install", "wheel", "uninstall", "check", "list"}


class Fault(Exception):
    """What is wrong with a command, one line."""


def check_pip(arguments: list[str]) -> None:
    """Raises Fault for what pip cannot do, for extras that setup.py has not, and for packages that are in no table."""
    if arguments[0] not in _PIP:
        raise Fault(f"pip {arguments[0]}: not among {', '.join(sorted(_PIP))}")
    before = ""
    for word in arguments[1:]:
        if not word.startswith("-") and before not in ("--extra-index-url", "-w"):
            _check_requirement(word)
        before = word


def _check_requirement(word: str) -> None:
    wheel = re.fullmatch(r"(?:wheels/)?([\w]+)-\*\.whl", word)
    here = re.fullmatch(r"\.(\[.*\])?", word)
    if wheel:
        word = wheel[1]
    try:
        wanted = Requirement(f"ehrnet-tf{here[1] or ''}" if here else word)
    except InvalidRequirement as error:
        raise Fault(f"{word}: {error}") from None
    if wanted.name.replace("_", "-") == "ehrnet-tf":
        if missing := wanted.extras - extras():
            raise Fault(f"setup.py has no extra {', '.join(sorted(missing))}")
    elif wanted.name not in table.PACKAGES:
        raise Fault(f"'{wanted.name}' is a package that no test knows (tests/docs/table.py: PACKAGES)")


def extras() -> set[str]:
    """The names of the package's extras, by setup.py."""
    for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())):
        if isinstance(node, ast.keyword) and node.arg == "extras_require":
            return {ast.literal_eval(key) for key in node.value.keys}
    raise AssertionError("setup.py has no extras_require")
