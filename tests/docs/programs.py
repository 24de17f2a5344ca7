"""What is done with a command, by its program."""

from __future__ import annotations

import argparse
import contextlib
import glob
import importlib.util
import io
import json
import os
import re
import runpy
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from . import fakes, options, table
from .inline import check_overrides
from .packages import Fault, check_pip
from .pages import ROOT

_OVERRIDE = re.compile(r"\w+\.\w+=")


class _Parsed(Exception):
    """A script's arguments have been parsed; that is enough."""


def is_known(text: str) -> bool:
    """Whether code in running text is a command, by its first word; variables may stand before it."""
    words = [word for word in text.split() if not re.match(r"[A-Z_]+=", word)]
    return bool(words) and (words[0] in PROGRAMS or words[0] in set(table.ELSEWHERE) - {"."})


def run(desk: Any, words: list[str], command: Any, inline: bool) -> None:
    """Runs a command, or checks what can be checked of it.

    Args:
      desk: the page's `Desk`.
      words: the program and its arguments.
      command: the `Command` as it is written.
      inline: whether it stands in running text, where arguments may be left out.

    Raises:
      Fault: it does not work.
    """
    program = PROGRAMS.get(words[0])
    if program:
        program(desk, words, command, inline)
    elif words[0] not in table.ELSEWHERE:
        raise Fault(f"'{words[0]}' is a program that no test knows (tests/docs/table.py: ELSEWHERE, TEXTS)")


# ---- ehrnet


def _ehrnet(desk: Any, words: list[str], command: Any, inline: bool) -> None:
    from ehrnet_tf import cli

    name = words[1]
    if inline and not _is_complete(words[1:]):
        _check_incomplete(words[1:])
        return
    if "--help" in words:
        return _parse_ehrnet(words[1:])
    small = table.SMALL.get(name, [])
    if "--resume" in words:
        small = [*small, *table.RESUMED]
    if any(re.search(pattern, command.text) for pattern, _ in table.PARSED):
        return _parse_ehrnet(words[1:])
    if not fakes.HAS_GCC and "engine" in command.text:
        return _parse_ehrnet(words[1:])
    words = [table.VARIANTS.get(name, {}).get(word, word) for word in words]
    if "pytorch" in words:  # only a whole network has these names
        words[2] = "whole.keras"
    _parse_ehrnet(words[1:])  # as written
    if name == "train" and "--resume" not in words:
        shutil.rmtree(table.RENAMED["RUN"], ignore_errors=True)  # stands for any new run
    desk.provide(words[3 if name == "make-data" else 2 :])
    arguments = [*(part for word in words[1:] for part in _globbed(word)), *small]
    desk.provide(table.SOURCES.get(name, []))
    with fakes.eagerly(name in table.EAGER):
        desk.succeed(["ehrnet", *_effective(arguments)], cli.main, arguments)
    if name == "make-data" and not os.path.islink(words[2]):  # stand-ins see painted people only
        shutil.rmtree(words[2], ignore_errors=True)
        desk.provide_data(words[2])


def _effective(arguments: list[str]) -> list[str]:
    """The arguments without configuration values that later ones replace."""
    last = {word.partition("=")[0]: place for place, word in enumerate(arguments) if _OVERRIDE.match(word)}
    options = [word for word in arguments if not _OVERRIDE.match(word)]
    return options + sorted(arguments[place] for place in last.values())


def _is_complete(arguments: list[str]) -> bool:
    from ehrnet_tf import cli

    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            cli.parse(arguments)
        except SystemExit as stop:
            return stop.code == 0
    return True


def _parse_ehrnet(arguments: list[str]) -> None:
    """Raises Fault for arguments that the command does not take, or values that its configuration has not."""
    from ehrnet_tf import cli
    from ehrnet_tf.config import PretrainConfig, load_config
    from ehrnet_tf.errors import UsageError

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            args = cli.parse(arguments)
    except SystemExit as stop:
        if stop.code:
            raise Fault(said.getvalue().strip().splitlines()[-1]) from None
        return
    if args.function in (cli.train, cli.pretrain):
        kind = [PretrainConfig] if args.function is cli.pretrain else []
        overrides = [text for text in args.overrides if not text.startswith("model.keypoints=")]  # may be a file
        try:
            load_config(args.config, overrides, *kind)
        except UsageError as error:
            raise Fault(str(error)) from None
    if args.function is cli.models:
        for variant in args.variants:
            _check_variant(variant)


def _check_variant(variant: str) -> None:
    from ehrnet_tf.errors import UsageError
    from ehrnet_tf.models.scaling import classifier_scale, scale

    try:
        (classifier_scale if variant.upper().startswith("B") else scale)(variant)
    except UsageError as error:
        raise Fault(str(error)) from None


def _check_incomplete(arguments: list[str]) -> None:
    """Raises Fault for a command, an option or a value that there is not, in a command that is not all there."""
    program = f"ehrnet {arguments[0]}"
    known = options.all_options().get(program)
    if known is None:
        raise Fault(f"ehrnet has no command '{arguments[0]}'")
    options.check_options(known, arguments[1:], program)
    if arguments[0] in ("train", "pretrain", "quantize", "demo"):
        check_overrides([word for word in arguments[1:] if _OVERRIDE.match(word)])


def _globbed(word: str) -> list[str]:
    return sorted(glob.glob(word)) or [word] if "*" in word else [word]


# ---- Python


def _python(desk: Any, words: list[str], command: Any, inline: bool) -> None:
    if words[1] == "-c":
        desk.provide(re.findall(r"'([\w./-]+)'", words[2]))
        exec(compile(words[2], "-c", "exec"), {"__name__": "__main__"})
    elif words[1] == "-m":
        _module(desk, words[2:])
    elif words[1].startswith(table.SCRIPT_FOLDERS):
        _benchmark(desk, words[1:], inline)
    elif words[1] not in table.SCRIPTS or not (ROOT / words[1]).is_file():
        raise Fault(f"no such script: {words[1]} (tests/docs/table.py: SCRIPTS)")


def _module(desk: Any, words: list[str]) -> None:
    name, *arguments = words
    if name in table.MODULES:
        for word in arguments:
            if word.startswith("-") and word not in table.MODULES[name][1]:
                raise Fault(f"python -m {name} has no option {word} that a test knows (tests/docs/table.py: MODULES)")
        return
    if not name.startswith("ehrnet_tf."):
        raise Fault(f"'{name}' is a module that no test knows (tests/docs/table.py: MODULES)")
    with contextlib.suppress(ModuleNotFoundError):
        if importlib.util.find_spec(f"{name}.__main__"):
            name += ".__main__"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise Fault(str(error)) from None
    desk.provide(arguments)
    if fakes.HAS_GCC or ("engine" not in " ".join(words) and not name.endswith("jetson.__main__")):
        desk.succeed(["-m", *words], module.main, arguments)


def _benchmark(desk: Any, words: list[str], inline: bool) -> None:
    path = ROOT / words[0]
    if not path.is_file():
        raise Fault(f"no such script: {words[0]}")
    if inline and len(words) == 1:
        return
    small = table.BENCHMARKS.get(path.name)
    if small is None and path.name not in table.PARSED_BENCHMARKS:
        raise Fault(f"{path.name} is in neither table (tests/docs/table.py: BENCHMARKS, PARSED_BENCHMARKS)")
    arguments = [part for word in words[1:] for part in _globbed(word)]
    if small is not None:
        desk.provide([word for word in arguments if word not in table.WRITTEN.get(path.name, ())])
        desk.succeed([*words, *small], _script, path, [*arguments, *small], False)
    else:
        desk.succeed(words, _script, path, arguments, True)


def _script(path: Path, arguments: list[str], only_parse: bool) -> None:
    """Runs a script of this repository in this process."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self, *given):
        parse(self, *given)
        raise _Parsed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(path), *arguments])
        patch.setattr(sys, "path", [str(path.parent), *sys.path])
        patch.setattr(os, "environ", os.environ.copy())
        if only_parse:
            patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        try:
            runpy.run_path(str(path), run_name="__main__")
        except _Parsed:
            return
        except SystemExit as end:
            if end.code:
                raise
    if only_parse:
        raise Fault(f"{path.name} parses no arguments")


# ---- others


def _make(desk: Any, words: list[str], command: Any, inline: bool) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for word in words[1:]:
        if word not in targets:
            raise Fault(f"the Makefile has no target {word}")


def _npm(desk: Any, words: list[str], command: Any, inline: bool) -> None:
    if words[1] in ("ci", "install"):
        return
    scripts = json.loads((ROOT / "web_demo" / "package.json").read_text())["scripts"]
    if words[1] != "run" or words[2] not in scripts:
        raise Fault(f"web_demo/package.json has no script {' '.join(words[1:3])}")


def _pytest(desk: Any, words: list[str], command: Any, inline: bool) -> None:
    for word in words[1:]:
        if not word.startswith("-") and not (ROOT / word).exists():
            raise Fault(f"no such test: {word}")


def _cd(desk: Any, words: list[str], command: Any, inline: bool) -> None:
    if not (ROOT / words[1]).is_dir():
        raise Fault(f"no such folder: {words[1]}")


def _cp(desk: Any, words: list[str], command: Any, inline: bool) -> None:
    desk.provide(words[1:2])
    shutil.copy(words[1], words[2])


def _unzip(desk: Any, words: list[str], command: Any, inline: bool) -> None:
    """By Python's zipfile: the program is not on every machine."""
    if words[1] != "-p" or len(words) != 4:
        raise Fault("only unzip -p FILE MEMBER is known here")
    name, member = words[2:]
    desk.provide([name])
    with zipfile.ZipFile(name) as archive:
        if member not in archive.namelist():
            raise Fault(f"{name} has no member {member}")


PROGRAMS = {
    "ehrnet": _ehrnet,
    "python": _python,
    "python3": _python,
    "make": _make,
    "pip": lambda desk, words, command, inline: check_pip(words[1:]),
    "npm": _npm,
    "pytest": _pytest,
    "cd": _cd,
    "cp": _cp,
    "unzip": _unzip,
}
