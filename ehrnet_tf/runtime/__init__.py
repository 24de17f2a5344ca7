"""Running models: one `Runner` interface over every file format, and `PoseEstimator` on top of it.

Importing this package imports neither TensorFlow nor Keras.
"""

from ehrnet_tf.runtime.estimator import PoseEstimator
from ehrnet_tf.runtime.letterbox import Letterbox, letterbox
from ehrnet_tf.runtime.metadata import append_metadata, model_metadata, read_metadata, save_keras
from ehrnet_tf.runtime.protocol import Protocol
from ehrnet_tf.runtime.runners import (
    KerasRunner,
    OnnxRunner,
    OpenVINORunner,
    Runner,
    SavedModelRunner,
    TensorRTRunner,
    TFLiteRunner,
    open_runner,
)

__all__ = [
    "KerasRunner",
    "Letterbox",
    "OnnxRunner",
    "OpenVINORunner",
    "PoseEstimator",
    "Protocol",
    "Runner",
    "SavedModelRunner",
    "TFLiteRunner",
    "TensorRTRunner",
    "append_metadata",
    "letterbox",
    "model_metadata",
    "open_runner",
    "read_metadata",
    "save_keras",
]
