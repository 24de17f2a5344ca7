"""A network of a few layers with the outputs of an EfficientHRNet, and the stand-in for TensorRT."""

import pytest

from fake_tensorrt import cudart, cudart_path, use  # noqa: F401 (fixtures)
from painted import tiny


@pytest.fixture(scope="session")
def build_tiny():
    return tiny
