"""From a network's maps to people."""

from ehrnet_tf.decoding.decoder import DecoderSettings, decode
from ehrnet_tf.decoding.maps import project

__all__ = ["DecoderSettings", "decode", "project"]
