"""A window."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from typing import Any

import cv2
import numpy as np

from ehrnet_tf.errors import EhrnetError

_LARGEST = (1280, 720)  # a new window's sides, pixels
_QUIT = (27, ord("q"))
_PATIENCE = 20.0  # seconds for the first window
_TRY = "import cv2; cv2.namedWindow('poses')"


def check_screen() -> None:
    """Raises the error that `Screen` would: for work that takes long before it shows."""
    places = [os.environ.get(name, "") for name in ("DISPLAY", "WAYLAND_DISPLAY")]
    if sys.platform.startswith("linux") and not any(places):
        raise EhrnetError("--show: there is no screen (DISPLAY is not set); leave it out, or export DISPLAY=:0")
    wrong = _try_window(*places)
    if wrong is not None:
        raise EhrnetError(wrong)


@functools.lru_cache(maxsize=None)
def _try_window(display: str, wayland: str) -> str | None:
    """What is wrong with windows here; tried by another process, since Qt ends the one that it finds no screen for."""
    no_window = f"--show: no window opens (DISPLAY={display}, WAYLAND_DISPLAY={wayland}); "
    no_window += "leave it out, or export DISPLAY=:0"
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _TRY], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:  # a forwarded screen that stalls
        return no_window
    if not tried.returncode:
        return None
    if b"not implemented" in tried.stderr:  # GTK's errors are cv2.error too
        return (
            "--show: this OpenCV has no windows (it is headless); leave it out, or: "
            "pip uninstall opencv-python-headless; pip install opencv-python"
        )
    return no_window


class Screen:
    """A window that shows pictures, for the main thread; closed by q, Escape, or like any window.

    Raises:
      EhrnetError: there is no screen, or this OpenCV has no windows.
    """

    NAME = "poses"

    def __init__(self) -> None:
        check_screen()
        # pip's opencv-python has Qt without fonts, which it complains of at every window
        os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
        self._opened = self._waits = False

    def show(self, image: np.ndarray, wait: bool = False) -> bool:
        """Shows a picture.

        Args:
          image: (H, W, 3) uint8, RGB.
          wait: whether it stays until a key is pressed.

        Returns:
          Whether the window is still wanted.
        """
        if not self._opened:  # not before, lest it is closed before it is looked after
            self._open(image)
        if wait != self._waits:
            self._waits = wait
            cv2.setWindowTitle(self.NAME, f"{self.NAME} (any key: the next; q: end)" if wait else self.NAME)
        cv2.imshow(self.NAME, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        while True:
            key = cv2.waitKey(50 if wait else 1)
            if key & 0xFF in _QUIT or not self._is_open():
                return False
            if key >= 0 or not wait:
                return True

    def _open(self, image: np.ndarray) -> None:
        cv2.namedWindow(self.NAME, cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL)
        height, width = image.shape[:2]
        scale = min(1.0, _LARGEST[0] / width, _LARGEST[1] / height)
        cv2.resizeWindow(self.NAME, max(1, round(width * scale)), max(1, round(height * scale)))
        self._opened = True

    def _is_open(self) -> bool:
        try:
            return cv2.getWindowProperty(self.NAME, cv2.WND_PROP_VISIBLE) > 0
        except cv2.error:  # Qt's answer where the last window has been closed
            return False

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._opened:
            cv2.destroyAllWindows()
