"""Code in running text that is no command: options, values of a configuration, names of the package."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
import re

import ehrnet_tf

from . import options, table
from .packages import Fault

_KEY = re.compile(r"(\w+)\.(\w+)")
_NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(\(.*)?")
_LEFT_OUT = re.compile(r"[A-Z]+|\.\.\.")


def check(text: str) -> None:
    """Raises Fault for an option, a key, a value or a name that there is not."""
    words = text.split()
    if any(re.match(r"--\w", word) for word in words):
        options.check_anywhere(words)
    check_overrides([word for word in words if _KEY.fullmatch(word.partition("=")[0]) and "=" in word])
    for word in words:
        if name := _NAME.fullmatch(word):
            _check_name(name[1])


@functools.cache
def _sections() -> dict[str, set[str]]:
    """Section → keys, of the configurations of poses and classifiers."""
    from ehrnet_tf.config import Config, PretrainConfig

    found: dict[str, set[str]] = {}
    for config in (Config(), PretrainConfig()):
        for section in dataclasses.fields(config):
            keys = {field.name for field in dataclasses.fields(getattr(config, section.name))}
            found.setdefault(section.name, set()).update(keys)
    return found


def check_overrides(overrides: list[str]) -> None:
    """Raises Fault for section.key=value that no configuration takes; placeholders stand for any value."""
    from ehrnet_tf.config import Config, PretrainConfig, load_config
    from ehrnet_tf.errors import UsageError

    valued = []
    for override in overrides:
        key, _, value = override.partition("=")
        if key == "a.b":  # how usage lines say it
            continue
        if _LEFT_OUT.fullmatch(value):
            section, _, name = key.partition(".")
            if name not in _sections().get(section, ()):
                raise Fault(f"no configuration has a key {key}")
        elif not value.endswith(".yaml"):  # a set of the reader's
            valued.append(override)
    faults = []
    for kind in (Config, PretrainConfig):
        try:
            load_config(None, valued, kind)
            return
        except UsageError as error:
            faults.append(error)
    raise Fault(str(faults[0]))


@functools.cache
def _packages() -> set[str]:
    return {"ehrnet_tf", "converters"} | {part.name for part in pkgutil.iter_modules(ehrnet_tf.__path__) if part.ispkg}


def _check_name(name: str) -> None:
    """Raises Fault for the name of a configuration's key, or within the package, that there is not."""
    first, _, rest = name.partition(".")
    if name in table.OTHERS_NAMES or name.rpartition(".")[2] in table.FILES:
        return
    if rest in _sections().get(first, ()):
        return
    if first in _packages():
        _resolve(name if first == "ehrnet_tf" else f"ehrnet_tf.{name}")
    elif first in _sections():
        raise Fault(f"no configuration has a key {name}")


def _resolve(name: str) -> None:
    here, parts = ehrnet_tf, name.split(".")
    for count, part in enumerate(parts[1:], 2):
        try:
            here = getattr(here, part)
        except AttributeError:
            try:
                here = importlib.import_module(".".join(parts[:count]))
            except ModuleNotFoundError:
                raise Fault(f"there is no {'.'.join(parts[:count])}") from None
