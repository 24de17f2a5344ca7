"""Named configurations (``*.yaml``) and keypoint sets (``keypoints/*.yaml``), installed as ``ehrnet_tf.configs``."""

from pathlib import Path

FOLDER = Path(__file__).parent
