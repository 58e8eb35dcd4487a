"""The far end of the probes: echoes datagrams, answers small questions, sends downloads.

``python -m appliance.lab.probe_server udp|tcp`` runs one half until it is killed; it prints ``ready``.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import sys
import threading
import time

from appliance.lab.probe import DOWNLOAD_PORT, ECHO_PORT, UDP_PORT, go_realtime

CHUNK = bytes(32 * 1024)
CHUNK_INTERVAL_S = 0.005
"""With `CHUNK` about 50 Mbit/s: a visible download that leaves the processor to what is being measured."""


def bound(port: int, kind: socket.SocketKind) -> socket.socket:
    """A socket for both families, or for IPv4 alone on a machine without IPv6."""
    try:
        channel = socket.socket(socket.AF_INET6, kind)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        channel.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        channel.bind(("::", port))
    except OSError:
        channel = socket.socket(socket.AF_INET, kind)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        channel.bind(("0.0.0.0", port))
    return channel


def serve_udp() -> None:
    """Echoes until it is killed."""
    channel = bound(UDP_PORT, socket.SOCK_DGRAM)
    go_realtime()
    print("ready", flush=True)
    receive, send = channel.recvfrom, channel.sendto
    while True:
        data, sender = receive(2048)
        with contextlib.suppress(OSError):  # the way back may be cut at the moment
            send(data, sender)


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it receives."""

    def handle(self) -> None:
        """One connection."""
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            while data := self.request.recv(4096):
                self.request.sendall(data)


class Download(socketserver.BaseRequestHandler):
    """Sends at a steady rate until the client leaves."""

    def handle(self) -> None:
        """One connection."""
        with contextlib.suppress(OSError):
            while True:
                self.request.sendall(CHUNK)
                time.sleep(CHUNK_INTERVAL_S)


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread per connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__(("", port), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = bound(port, socket.SOCK_STREAM)
        self.server_activate()


def serve_tcp() -> None:
    """Both TCP services until it is killed."""
    echo, downloads = Server(ECHO_PORT, Echo), Server(DOWNLOAD_PORT, Download)
    threading.Thread(target=downloads.serve_forever, daemon=True).start()
    print("ready", flush=True)
    echo.serve_forever()


if __name__ == "__main__":
    serve_udp() if sys.argv[1:] == ["udp"] else serve_tcp()
