"""Draws samples/people.jpg: made-up people, as `ehrnet make-data` draws them.

python web_demo/tools/draw_sample.py
"""

from pathlib import Path

import cv2

from ehrnet_tf.data.synthetic.scene import make_picture

PATH = Path(__file__).parents[1] / "samples" / "people.jpg"

if __name__ == "__main__":
    image, _ = make_picture(seed=9, split=1, index=7, size=640, max_people=4, upright=True)
    cv2.imwrite(str(PATH), image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(f"{PATH}: {PATH.stat().st_size / 1024:.0f} KiB")
