"""A network of a few layers with the outputs of an EfficientHRNet, and the stand-in for TensorRT."""

import pytest

from fake_tensorrt import cudart, cudart_path, use  # noqa: F401 (fixtures)
from painted import tiny

# Files that take a minute or more. They come first (`make test` keeps the order), lest one is left for the end.
LONG = (
    "test_resume.py",
    "test_finetune.py",
    "test_devices.py",
    "test_commands.py",
    "test_rounding.py",
    "test_notebooks.py",
    "test_options.py",
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session")
def build_tiny():
    return tiny
