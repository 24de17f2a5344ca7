"""Both notebooks run from their first cell to their last, in a copy of what they need, and give what they say."""

import ast
import os
import shutil
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="the notebooks need the extra `docs`")
nbclient = pytest.importorskip("nbclient", reason="the notebooks need the extra `docs`")

DOCS = Path(__file__).parents[2] / "docs"


def execute(name: str, scratch: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str] | None = None) -> dict:
    """Runs a notebook in a copy of docs/models and docs/notebooks, and gives its last cell's value.

    ``changes``: what is replaced in its code, where it stands exactly once.
    """
    for folder in ("models", "notebooks"):
        shutil.copytree(DOCS / folder, scratch / "docs" / folder)
    path = scratch / "docs" / "notebooks" / name
    notebook = nbformat.read(path, as_version=4)
    for old, new in (changes or {}).items():
        (cell,) = (cell for cell in notebook.cells if cell.cell_type == "code" and old in cell.source)
        cell.source = cell.source.replace(old, new)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    client = nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(path.parent)}})
    client.execute()  # a cell that fails is shown with its error
    return ast.literal_eval(notebook.cells[-1].outputs[-1]["data"]["text/plain"])


def committed(name: str) -> dict:
    """The value that the last cell has in the repository."""
    notebook = nbformat.read(DOCS / "notebooks" / name, as_version=4)
    return ast.literal_eval(notebook.cells[-1].outputs[-1]["data"]["text/plain"])


@pytest.mark.parametrize("name", ["inference.ipynb", "own_keypoints.ipynb"])
def test_what_is_committed_is_small_and_clean(name):
    path = DOCS / "notebooks" / name
    assert path.stat().st_size < 700_000
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output["output_type"] in ("stream", "display_data", "execute_result")
            assert output.get("name") != "stderr", "warnings of the machine it was made on"
            assert not any(folder in str(output.get("text", "")) for folder in ("/work", "/tmp", "/home", "/root"))


def test_inference(tmp_path, monkeypatch):
    result = execute("inference.ipynb", tmp_path, monkeypatch)
    assert abs(result["people"] - result["drawn"]) <= 2
    assert result["median_error"] < 10  # pixels of 480, where one of the network's is 3.75
    assert result["ids"] == [0, 1] and result["moved_right"] == [0]  # nobody takes the other's id
    assert result["people"] == committed("inference.ipynb")["people"]


def test_own_keypoints_are_learnt(tmp_path, monkeypatch):
    """With a third of the training, whose AP was 0.11; the whole of it is what is committed."""
    fewer = {'"train.epochs=3"': '"train.epochs=1"', '"train.validate_every=3"': '"train.validate_every=1"'}
    result = execute("own_keypoints.ipynb", tmp_path, monkeypatch, fewer)
    assert result["exact"] > 0.03 and result["live"] > 0.03
    assert result["int8"] > result["live"] - 0.05
    assert abs(result["found"] - result["drawn"]) < 0.3 * result["drawn"]
    assert result["median_error"] < 8  # pixels of 128
    assert committed("own_keypoints.ipynb")["exact"] > 0.7
