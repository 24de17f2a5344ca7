"""Servers of this machine that a video source is given: one that sends JPEGs for ever, one that never answers."""

import contextlib
import socket
import threading
import time

import cv2


@contextlib.contextmanager
def jpeg_camera(picture, pause=0.02):
    """The address of a camera that sends pictures by HTTP; ``picture``: number → (H, W, 3) uint8 RGB."""

    def send(client):
        with contextlib.suppress(OSError):
            client.recv(4096)
            client.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=next\r\n\r\n")
            number = 0
            while True:
                jpeg = cv2.imencode(".jpg", picture(number)[:, :, ::-1])[1].tobytes()
                head = b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
                client.sendall(head + jpeg + b"\r\n")
                number += 1
                time.sleep(pause)

    with _server(send) as address:
        yield address


@contextlib.contextmanager
def silent_server():
    """The address of a server that takes a connection and says nothing."""
    with _server(lambda client: None) as address:
        yield address


@contextlib.contextmanager
def _server(talk):
    clients = []

    def accept():
        with contextlib.suppress(OSError):
            while True:
                clients.append(server.accept()[0])
                threading.Thread(target=talk, args=clients[-1:], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/camera"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for client in clients:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
                client.close()
