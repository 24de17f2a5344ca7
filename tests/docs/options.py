"""Options and values of the repository's commands, for code that names some of them without the whole command."""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from . import table
from .packages import Fault
from .pages import ROOT

Options = Mapping[str, argparse.Action]
_PLACEHOLDER = re.compile(r"[A-Z]+\d?|\.\.\.")


@functools.cache
def all_options() -> dict[str, Options]:
    """Program → its options: `ehrnet COMMAND`, the Jetson's modules, the scripts of `SCRIPT_FOLDERS`."""
    from ehrnet_tf import cli
    from ehrnet_tf.cli_parser import build_parser
    from ehrnet_tf.converters.jetson import camera, deploy

    (subs,) = (a for a in build_parser(cli.COMMANDS)._actions if isinstance(a, argparse._SubParsersAction))
    found = {f"ehrnet {name}": sub._option_string_actions for name, sub in subs.choices.items()}
    for module in (deploy, camera):
        found[module.__name__] = module.parser()._option_string_actions
    for folder in table.SCRIPT_FOLDERS:
        for path in sorted((ROOT / folder).glob("*.py")):
            found[f"{folder}{path.name}"] = _script_options(path.read_text(encoding="utf-8"))
    return found


def _script_options(source: str) -> Options:
    """Those that a script adds to a parser, read and not run; choices that are computed there are not known."""
    made = argparse.ArgumentParser(conflict_handler="resolve")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            names = [word.value for word in node.args if isinstance(word, ast.Constant)]
            given: dict[str, Any] = {}
            for word in node.keywords:
                if word.arg in ("action", "choices", "nargs"):
                    with contextlib.suppress(ValueError):
                        given[word.arg] = ast.literal_eval(word.value)
                elif word.arg == "type":
                    given["type"] = {"int": int, "float": float}.get(ast.unparse(word.value), str)
            made.add_argument(*names, **given)
    return made._option_string_actions


def check_options(known: Options, words: Sequence[str], program: str) -> None:
    """Raises Fault for an option that a program has not, and for a value that an option cannot have."""
    for place, word in enumerate(words):
        if not word.startswith("--"):
            continue
        name, equals, value = word.partition("=")
        if name not in known:
            raise Fault(f"{program} has no option {name}")
        rest = list(takewhile(lambda word: not word.startswith("--"), words[place + 1 :]))
        nargs = known[name].nargs
        count = 1 if nargs is None else nargs if isinstance(nargs, int) else len(rest)
        for given in [value] if equals else rest[:count]:
            for one in given.split("|"):
                _check_value(name, known[name], one)


def _check_value(name: str, action: argparse.Action, value: str) -> None:
    if _PLACEHOLDER.fullmatch(value):
        return
    if action.choices and value not in action.choices:
        raise Fault(f"{name}: '{value}' is none of {', '.join(map(str, action.choices))}")
    files = [ROOT / folder / f"{value}.yaml" for folder in ("configs", "configs/pretrain")]
    if name == "--config" and re.fullmatch(r"[\w-]+", value) and not any(file.is_file() for file in files):
        raise Fault(f"no configuration {value}.yaml in configs/ or configs/pretrain/")
    try:
        (action.type or str)(value)
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise Fault(f"{name}: {error}") from None


def check_anywhere(words: Sequence[str]) -> None:
    """Raises Fault unless one program has all these options, with these values; scripts count where no command has."""
    wanted = {word.partition("=")[0] for word in words if word.startswith("--")} - set(table.OPTIONS)
    for option in sorted(wanted):
        if not any(option in known for known in all_options().values()):
            raise Fault(f"no command has an option {option} (of other programs: tests/docs/table.py: OPTIONS)")
    able = {program: known for program, known in all_options().items() if wanted <= set(known)}
    if not able:
        raise Fault(f"no command has all of {', '.join(sorted(wanted))}")
    commands = {program: known for program, known in able.items() if not program.endswith(".py")}
    faults = []
    for program, known in (commands or able).items():
        try:
            check_options(known, [word for word in words if word not in table.OPTIONS], program)
            return
        except Fault as fault:
            faults.append(fault)
    raise faults[0]
