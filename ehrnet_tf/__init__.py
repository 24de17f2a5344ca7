"""EfficientHRNet for TensorFlow and Keras: multi-person pose estimation.

Importing this package imports neither TensorFlow nor Keras; each name below loads what it needs on first use.
"""

import importlib
import os
import sys
from importlib.machinery import PathFinder

__version__ = "0.1.0"

_HOMES = {
    "CompactEfficientNet": "ehrnet_tf.models.efficientnet",
    "EfficientHRNet": "ehrnet_tf.models.efficienthrnet",
    "PoseEstimator": "ehrnet_tf.runtime.estimator",
    "Smoother": "ehrnet_tf.smoothing",
    "Tracker": "ehrnet_tf.tracking",
    "load_config": "ehrnet_tf.config",
}
_ROOMS = ("benchmark", "converters", "data", "decoding", "evaluation", "keypoints", "models", "runtime", "training")
_BESIDE = ("ehrnet_tf.configs", "ehrnet_tf.converters")

__all__ = [
    "CompactEfficientNet",
    "EfficientHRNet",
    "PoseEstimator",
    "Smoother",
    "Tracker",
    "__version__",
    "load_config",
]

_checkout = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class _Beside:
    """Finds configs and converters, and nothing else, beside this folder, where they lie in a checkout.

    A script that runs there finds this folder before any installed one, and then those two nowhere or in another copy.
    """

    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [_checkout]) if name in _BESIDE else None


if os.path.isfile(os.path.join(_checkout, "setup.py")) and os.path.isdir(os.path.join(_checkout, "converters")):
    sys.meta_path.insert(0, _Beside)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"ehrnet_tf.{name}")
    raise AttributeError(f"module 'ehrnet_tf' has no attribute '{name}'")
