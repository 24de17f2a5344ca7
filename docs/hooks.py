"""MkDocs hooks: pages and files that lie outside docs/, and the command line's reference.

Pages link as GitHub wants it (`../android_demo/README.md`, `../configs/h-4.yaml`). Here READMEs that are pages of the
site get their address in it, and other files of the repository are copied to files/.
"""

from __future__ import annotations

import argparse
import os
import posixpath
import re
import tempfile
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from ehrnet_tf.cli import COMMANDS
from ehrnet_tf.cli_parser import build_parser

ROOT = Path(__file__).resolve().parents[1]
COMMAND_LINE = "api/command-line.md"
PAGES = {"README.md": "index.md", "android_demo/README.md": "android.md", "web_demo/README.md": "browser.md"}
_SOURCES = {address: source for source, address in PAGES.items()}
_LINK = re.compile(r"(\]\()([^)\s#]+)")
_NOTEBOOK_LINK = re.compile(r'(<a href=")([^":#]+\.(?:md|ipynb))(?=["#])')
_FENCE = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)


@event_priority(100)  # before mkdocstrings
def on_config(config: MkDocsConfig) -> None:
    """Shows mkdocstrings the package as it is installed: with converters/ and configs/ inside."""
    installed = tempfile.TemporaryDirectory()
    package = Path(installed.name, "ehrnet_tf")
    package.mkdir()
    for path in [*(ROOT / "ehrnet_tf").iterdir(), ROOT / "converters", ROOT / "configs"]:
        (package / path.name).symlink_to(path)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [installed.name]
    config.extra["installed"] = installed  # removed with the configuration


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the READMEs and the command line's reference to the pages."""
    for source, address in PAGES.items():
        files.append(File.generated(config, address, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, COMMAND_LINE, content=command_line()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns the links that leave docs/ into the site's own."""

    def link(match: re.Match) -> str:
        return match[1] + site_link(match[2], page.file.src_uri, config, files)

    parts = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Does so in notebooks, which come as HTML: there MkDocs itself looks at no link."""
    address = page.file.src_uri
    if not address.endswith(".ipynb"):
        return html

    def link(match: re.Match) -> str:
        goal = site_link(match[2], address, config, files)
        if files.get_file_from_path(posixpath.normpath(posixpath.join(posixpath.dirname(address), goal))) is None:
            raise PluginError(f"{address}: its link {match[2]} leads nowhere")
        return match[1] + re.sub(r"\.(md|ipynb)$", ".html", goal)

    return _NOTEBOOK_LINK.sub(link, html)


def site_link(link: str, address: str, config: MkDocsConfig, files: Files) -> str:
    """What a link of the page of this address, as GitHub wants it, is in the site."""
    if re.match(r"[a-z]+:|/", link):
        return link
    source = PurePosixPath(_SOURCES.get(address, f"docs/{address}"))
    goal = site_address(posixpath.normpath(str(source.parent / link)), config, files)
    return posixpath.relpath(goal, posixpath.dirname(address) or ".")


def site_address(target: str, config: MkDocsConfig, files: Files) -> str:
    """Where a file of the repository is in the site, which gets a copy of it if it has none.

    Args:
      target: relative to the repository's root.
    """
    if target in PAGES:
        return PAGES[target]
    if target.startswith("docs/"):
        return target[len("docs/") :]
    # a Markdown file as it is: pages are in the navigation
    address = f"files/{target}" + (".txt" if target.endswith(".md") else "")
    if (ROOT / target).is_file() and files.get_file_from_path(address) is None:
        files.append(File.generated(config, address, abs_src_path=os.fspath(ROOT / target)))
    return address


def command_line() -> str:
    """The commands' help texts as a page."""
    os.environ["COLUMNS"] = "88"  # argparse wraps at two less
    parser = build_parser(COMMANDS)
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    parts = ["# Command line", f"    {parser.format_usage().removeprefix('usage: ').strip()}"]
    parts.append("Exit status: 0, or 2 for unusable arguments, 1 for failures, with one line that says why.")
    for name, command in commands.choices.items():
        parts += [f"## ehrnet {name}", "```text", command.format_help().strip(), "```"]
    return "\n\n".join(parts).replace("```text\n\n", "```text\n").replace("\n\n```", "\n```") + "\n"
