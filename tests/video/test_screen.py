import cv2
import numpy as np
import pytest

from ehrnet_tf.errors import EhrnetError
from ehrnet_tf.video import screen as module
from ehrnet_tf.video.screen import Screen, check_screen


class Window:
    """OpenCV's functions for windows, with keys that are pressed one after the other; -1: none."""

    def __init__(self, keys, closed_after=None):
        self.keys, self.closed_after = list(keys), closed_after
        self.shown, self.size, self.titles = [], None, []

    def waitKey(self, milliseconds):
        return self.keys.pop(0) if self.keys else -1

    def getWindowProperty(self, name, what):
        if self.closed_after is not None and len(self.shown) > self.closed_after:
            raise cv2.error("NULL guiReceiver (please create a window)")  # as OpenCV 5 with Qt
        return 1.0

    def resizeWindow(self, name, width, height):
        self.size = width, height

    def setWindowTitle(self, name, title):
        self.titles.append(title)

    def imshow(self, name, image):
        self.shown.append(image)


@pytest.fixture
def open_screen(monkeypatch):
    def make(*arguments, **options):
        window = Window(*arguments, **options)
        monkeypatch.setattr(module, "check_screen", lambda: None)
        for name in ("waitKey", "getWindowProperty", "resizeWindow", "setWindowTitle", "imshow"):
            monkeypatch.setattr(cv2, name, getattr(window, name))
        for name in ("namedWindow", "destroyAllWindows"):
            monkeypatch.setattr(cv2, name, lambda *_: None)
        return Screen(), window

    return make


RED = np.full((1440, 1280, 3), (255, 0, 0), np.uint8)


def test_a_window_fits_the_screen_and_shows_until_q(open_screen):
    screen, window = open_screen([-1, -1, ord("q")])
    assert [screen.show(RED) for _ in range(3)] == [True, True, False]
    assert window.size == (640, 720) and window.shown[0][0, 0].tolist() == [0, 0, 255]


def test_a_window_that_is_closed_ends_it(open_screen):
    screen, _ = open_screen([], closed_after=1)
    assert [screen.show(RED), screen.show(RED)] == [True, False]
    screen, _ = open_screen([], closed_after=0)
    assert screen.show(RED, wait=True) is False


def test_a_picture_stays_until_a_key(open_screen):
    screen, window = open_screen([-1] * 5 + [ord(" "), -1, 27])
    assert [screen.show(RED, wait=True) for _ in range(2)] == [True, False]
    assert window.keys == []


def test_a_screen_that_cannot_be_reached_is_an_error(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":98765")  # Qt would end the process
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(EhrnetError, match=r"--show: (this OpenCV has no windows|no window opens)"):
        check_screen()


def test_the_title_says_what_keys_do(open_screen):
    screen, window = open_screen([ord(" "), ord(" ")])
    for wait in (True, True, False, False):
        screen.show(RED, wait=wait)
    assert window.titles == ["poses (any key: the next; q: end)", "poses"]


@pytest.fixture
def fails(monkeypatch):
    """Makes the window that is tried first run other code instead."""

    def make(code):
        monkeypatch.setattr(module, "_TRY", code)
        monkeypatch.setenv("DISPLAY", ":98764")
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        module._try_window.cache_clear()

    yield make
    module._try_window.cache_clear()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("The function is not implemented. Rebuild the library with Windows, GTK+ 2.x or Cocoa support", "is headless"),
        ("Can't initialize GTK backend in function 'cvInitSystem'", r"no window opens \(DISPLAY=:98764"),
    ],
)
def test_a_headless_opencv_is_told_from_a_wrong_screen(fails, error, said):
    fails(f"import sys; sys.exit({'cv2.error: ' + error!r})")
    with pytest.raises(EhrnetError, match=said):
        check_screen()


def test_a_screen_that_stalls_is_given_up(fails, monkeypatch):
    fails("import time; time.sleep(10)")
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    with pytest.raises(EhrnetError, match="no window opens"):
        check_screen()
