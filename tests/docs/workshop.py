"""Runs a page's commands and Python in a folder of its own, where all that the page takes for granted is made."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import shutil
import traceback
from pathlib import Path

from . import fakes, inline, messages, names, programs, standins, table
from .packages import Fault
from .pages import ROOT, Snippet, snippets
from .shell import Command, commands


class Workshop:
    """What all pages share: commands that have been run already are not run again.

    Args:
      folder: for the pages' folders.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.done: dict[tuple[str, ...], tuple] = {}  # command → the page's folder, the value of --out, what was made
        self.seconds: dict[str, float] = {}  # command → CPU time

    def faults(self, page: str, text: str) -> list[str]:
        """What does not work of a page, a line each: "docs/a.md:12: ehrnet ...: why"."""
        desk = Desk(self, page, text)
        try:
            found = snippets(text)
        except ValueError as error:
            return [f"{page}: {error}"]
        said = []
        for snippet in found:
            for line, what, fault in desk.try_out(snippet):
                said.append(f"{page}:{line}: {what}: {fault}")
        return said + [f"{page}:{line}: {what}: {fault}" for line, what, fault in messages.faults(page, text)]


class Desk:
    """The folder of a page, its shell variables and its Python names."""

    def __init__(self, workshop: Workshop, page: str, text: str):
        self.workshop, self.page = workshop, page
        self.folder = workshop.folder / re.sub(r"\W", "_", page)
        for name in ("benchmarks", "docs/images", "android_demo/app/src/main/assets", "web_demo/models", "runs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.variables: dict[str, str] = {}
        self.names: dict[str, object] = {"__name__": "page"}
        yaml = [snippet.text for snippet in snippets(text) if snippet.kind == "yaml"] if "```yaml" in text else []
        self.keypoints = next((block for block in yaml if "keypoints:" in block), None)

    def try_out(self, snippet: Snippet):
        """Yields (line, what, fault) of what does not work."""
        if snippet.kind in ("python", "py"):
            if fault := self.run_code(snippet):
                yield fault
        elif snippet.kind == "inline":
            if not programs.is_known(snippet.text):
                try:
                    inline.check(snippet.text)
                except Fault as fault:
                    yield snippet.line, snippet.text, str(fault)
            elif len(snippet.text.split()) > 1:
                yield from self.run_all(snippet, inline=True)
        elif snippet.kind == "indented":
            known = table.TEXTS.get(self.page, [])
            if not any(snippet.text.startswith(begin) for begin in known):
                yield from self.run_all(snippet)
        elif snippet.kind in ("bash", "sh", "shell", "console"):
            yield from self.run_all(snippet)
        elif snippet.kind not in table.LANGUAGES:
            yield snippet.line, f"```{snippet.kind}", "a language that no test knows (tests/docs/table.py: LANGUAGES)"

    def run_all(self, snippet: Snippet, inline: bool = False):
        try:
            found = commands(snippet.text, snippet.line)
        except ValueError as error:
            yield snippet.line, snippet.text, str(error)
            return
        for command in found:
            fault = self.run(command, inline)
            if fault:
                yield command.line, command.text, fault

    def run(self, command: Command, inline: bool = False) -> str | None:
        """Runs a command; says what is wrong with it."""
        unknown = set(command.environment) - table.ENVIRONMENT
        if command.words and unknown:
            return f"nothing reads {', '.join(sorted(unknown))} (tests/docs/table.py: ENVIRONMENT)"
        if not command.words:
            self.variables.update(command.environment)
            return None
        words = [self._expanded(word) for word in command.words]
        if words[0].startswith("$"):
            words[0] = self.variables.get(words[0][1:], words[0])
        try:
            with self.here():
                programs.run(self, words, command, inline)
        except Fault as fault:
            return str(fault)
        except (Exception, SystemExit):
            return _last_lines(traceback.format_exc())
        return None

    def succeed(self, key: list[str], function, *arguments) -> None:
        """Calls what gives an exit status, unless a page has done the same before: then what that made is copied.

        Args:
          key: what is done; two commands that differ in the value of --out alone do the same.
          function, arguments: the call.

        Raises:
          Fault: another status than 0.
        """
        out = key[key.index("--out") + 1] if "--out" in key else None
        same = {**dict.fromkeys(table.DATASETS, "DATA"), **({out: f"OUT{Path(out).suffix}"} if out else {})}
        known = tuple(same.get(word, word) for word in key)
        if known in self.workshop.done:
            self._copy_made(*self.workshop.done[known], out)
            return
        before = self._listing()
        begin = sum(os.times()[:4])
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                status = function(*arguments)
        except (Exception, SystemExit):
            raise Fault(_last_lines(said.getvalue() + traceback.format_exc())) from None
        self.workshop.seconds[" ".join(key)] = sum(os.times()[:4]) - begin
        if status:
            raise Fault(f"exit status {status}: {_last_lines(said.getvalue())}")
        new = self._listing() - before
        self.workshop.done[known] = self.folder, out, sorted(name for name in new if name.parent not in new)

    def _copy_made(self, where: Path, was: str | None, made: list[Path], out: str | None) -> None:
        for name in made:
            target = name
            if out and was and name.parts[: len(Path(was).parts)] == Path(was).parts:
                target = Path(out).joinpath(*name.parts[len(Path(was).parts) :])
            elif out and was and name.with_suffix("") == Path(was).with_suffix(""):  # a.bin beside a.xml
                target = Path(out).with_suffix(name.suffix)
            if not (self.folder / target).exists():
                standins.copy(where / name, self.folder / target)

    def provide(self, words: list[str]) -> None:
        """Makes what arguments name and is not there, but for what they say is to be written."""
        for before, word in zip(["", *words], words, strict=False):
            if before in table.OUTPUTS or word.startswith("-"):
                continue
            value = word.partition("=")[2] if re.match(r"\w+\.\w+=", word) else word
            parts = Path(value).parts
            for count in range(1, len(parts) + 1):
                name = "/".join(parts[:count])
                if not os.path.lexists(self.folder / name):
                    self._make(name, whole=count == len(parts))

    def _make(self, name: str, whole: bool) -> None:
        path = self.folder / name
        if name.startswith(table.AS_IT_IS) and (ROOT / name).is_file():
            standins.copy(ROOT / name, path)
        elif name in table.KEYPOINTS:
            block = self.keypoints or (ROOT / "configs/keypoints/corners.yaml").read_text()
            path.write_text(block)
        elif name in table.DATASETS:
            self.provide_data(name)
        elif make := standins.maker(name):
            self._share(make, name, name)
        elif name not in table.STORIES.get(self.page, {name}):
            return  # an earlier command of the page should have made it
        elif name in table.MADE_BY:
            (command,) = commands(table.MADE_BY[name])
            store = self if self.page == "stand-ins" else Desk(self.workshop, "stand-ins", "")
            if not (store.folder / name).exists() and (fault := store.run(command)):
                raise Fault(f"no stand-in for {name}: {fault}")
            for part in table.COPIES.get(path.suffix, (name,)):  # a.bin beside a.xml
                part = str(Path(name).with_suffix(Path(part).suffix))
                self._copy(store, part, part)
        elif name in table.RUNS or re.fullmatch(r"runs/[^/.]+", name):
            self._copied("runs/a", name)
        elif whole and path.suffix in table.COPIES:
            for source in table.COPIES[path.suffix]:
                self._copied(source, str(Path(name).with_suffix(Path(source).suffix)) if source != "a.engine" else name)

    def provide_data(self, name: str) -> None:
        """Gives a data set this name."""
        self._share(standins.write_data, "data", name)

    def _share(self, make, kind: str, name: str) -> None:
        """Puts here what ``make`` writes, which is done once for all pages; folders are linked."""
        shared, path = self.workshop.folder / "shared" / kind, self.folder / name
        if not shared.exists():
            make(shared)
        path.parent.mkdir(parents=True, exist_ok=True)
        if shared.is_dir():
            path.symlink_to(shared)
        else:
            shutil.copyfile(shared, path)

    def _copied(self, source: str, name: str) -> None:
        store = Desk(self.workshop, "stand-ins", "")
        with store.here():
            store.provide([source])
        self._copy(store, source, name)

    def _copy(self, store: Desk, source: str, name: str) -> None:
        if not (self.folder / name).exists():
            standins.copy(store.folder / source, self.folder / name)

    @contextlib.contextmanager
    def here(self):
        before = os.getcwd()
        os.chdir(self.folder)
        try:
            yield
        finally:
            os.chdir(before)

    def run_code(self, snippet: Snippet) -> tuple[int, str, str] | None:
        """Runs Python in the page's names; gives line, text and fault where it fails."""
        code = snippet.text
        for old, new in table.CODE:
            code = code.replace(old, new)
        try:
            tree = ast.parse(code)
        except SyntaxError as error:
            return snippet.line + (error.lineno or 1) - 1, (error.text or "").strip(), f"SyntaxError: {error.msg}"
        ast.increment_lineno(tree, snippet.line - 1)
        constants = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        try:
            with self.here():
                self.provide([text for text in constants if re.fullmatch(r"[\w./-]+", text)])
                self._name({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})
                said = io.StringIO()
                with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), fakes.eagerly():
                    exec(compile(tree, self.page, "exec"), self.names)
        except KeyboardInterrupt:  # how made-up cameras end
            return None
        except Fault as fault:
            return snippet.line, "```python", str(fault)
        except Exception as error:
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self.page]
            line = frames[-1].lineno if frames else snippet.line
            text = snippet.text.split("\n")[line - snippet.line].strip()
            return line, text, f"{type(error).__name__}: {error}"
        return None

    def _name(self, wanted: set[str]) -> None:
        """Gives values to names that pages use without saying where they come from."""
        for name in (wanted & set(names.NAMES)) - set(self.names):
            if self.page in table.ASSUMED.get(name, {self.page}):
                self.names[name] = names.NAMES[name](self)

    def _expanded(self, word: str) -> str:
        for old, new in table.RENAMED.items():
            if word == old or word.startswith(old + "/"):
                return new + word[len(old) :]
        return word

    def _listing(self) -> set[Path]:
        return {path.relative_to(self.folder) for path in self.folder.rglob("*")}


def _last_lines(text: str) -> str:
    """The end of what a program said, in a line."""
    lines = [line.strip() for line in re.split(r"[\n\r]", text) if line.strip()]
    own = [
        line for line in lines if line.startswith(("ehrnet: ", "jetson: ", "camera: ", "usage: ")) or "error:" in line
    ]
    return " | ".join(own[-2:] or lines[-2:])
