"""Generated data: pictures of articulated clothed people on busy backgrounds, with true COCO annotations."""

from ehrnet_tf.data.synthetic.dataset import make_dataset
from ehrnet_tf.data.synthetic.scene import make_picture

__all__ = ["make_dataset", "make_picture"]
