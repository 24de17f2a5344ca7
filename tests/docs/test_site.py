"""The documentation builds as a site, without warnings and without fetching anything from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ehrnet_tf
from ehrnet_tf.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; what `make docs` runs."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_pages_outside_docs_are_pages_of_the_site(site):
    home = (site / "index.html").read_text(encoding="utf-8")
    for address in ("jetson.html", "android.html", "browser.html", "training.html#which-configuration"):
        assert f'href="{address}"' in home
    phone = (site / "android.html").read_text(encoding="utf-8")
    assert 'src="images/android.jpg"' in phone and (site / "images" / "android.jpg").is_file()


def test_files_that_pages_link_to_are_copied(site):
    page = (site / "variants.html").read_text(encoding="utf-8")
    assert 'href="files/benchmarks/variants.csv"' in page
    for name in ("benchmarks/variants.csv", "ehrnet_tf/models/scaling.py"):
        assert (site / "files" / name).read_bytes() == (ROOT / name).read_bytes()


def test_reference_holds_public_names_and_commands(site):
    reference = "".join(path.read_text(encoding="utf-8") for path in sorted((site / "api").glob("*.html")))
    for name in ehrnet_tf._HOMES:
        assert f'id="{ehrnet_tf._HOMES[name]}.{name}"' in reference
    for command in COMMANDS:
        assert f'id="ehrnet-{command}"' in reference
    assert "TypeError" not in reference and "/tmp/" not in reference


def test_nothing_comes_from_elsewhere(site):
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|img|iframe)[^>]*\ssrc="https?:|<link[^>]*\shref="https?:', text), path


def test_notebooks_are_pages_whose_links_lead_to_pages(site):
    for name in ("inference", "own_keypoints"):
        page = (site / "notebooks" / f"{name}.html").read_text(encoding="utf-8")
        assert 'href="../own-data.html"' in page and "data:image/jpeg" in page.replace("\n", "")
        assert not re.findall(r'<a href="[^":]*\.md', page)
