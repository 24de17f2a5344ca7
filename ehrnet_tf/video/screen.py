"""A window."""

from __future__ import annotations

import os
import sys
from typing import Any

import cv2
import numpy as np

from ehrnet_tf.errors import EhrnetError


def check_screen() -> None:
    """Raises the error that `Screen` would where there is no screen: for work that takes long before it shows."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise EhrnetError("--show: there is no screen (DISPLAY is not set); leave it out, or export DISPLAY=:0")


class Screen:
    """A window that shows pictures, for the main thread; closed by q, Escape, or like any window.

    Raises:
      EhrnetError: there is no screen, or this OpenCV has no windows.
    """

    NAME = "poses"

    def __init__(self) -> None:
        check_screen()
        try:
            cv2.namedWindow(self.NAME, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise EhrnetError(
                "--show: this OpenCV has no windows (it is headless); leave it out, or: "
                "pip uninstall opencv-python-headless; pip install opencv-python"
            ) from error

    def show(self, image: np.ndarray) -> bool:
        """Shows a picture (H, W, 3) uint8, RGB; gives whether the window is still wanted."""
        cv2.imshow(self.NAME, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        return (
            cv2.waitKey(1) & 0xFF not in (27, ord("q")) and cv2.getWindowProperty(self.NAME, cv2.WND_PROP_VISIBLE) > 0
        )

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: Any) -> None:
        cv2.destroyAllWindows()
