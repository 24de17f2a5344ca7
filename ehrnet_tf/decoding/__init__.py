"""From a network's maps to people."""

from ehrnet_tf.decoding.decoder import DecoderSettings, decode
from ehrnet_tf.decoding.live import decode_live
from ehrnet_tf.decoding.maps import View, merge, project

__all__ = ["DecoderSettings", "View", "decode", "decode_live", "merge", "project"]
