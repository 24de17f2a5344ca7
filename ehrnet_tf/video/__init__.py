"""Pictures that come one after the other: videos, cameras, network streams, folders; and what becomes of them."""

from ehrnet_tf.video.sources import Frame, Source, open_source
from ehrnet_tf.video.stream import Stream

__all__ = ["Frame", "Source", "Stream", "open_source"]
