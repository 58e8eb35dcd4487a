"""Something else in the place of a node: ``python impostor.py ADDRESS PORT KIND [CERTIFICATE KEY]``.

silent: accepts and says nothing. http: speaks HTTP without TLS. tls: speaks TLS 1.3 with this certificate, and to
whoever accepts that it promises an answer and stops in the middle of it. Prints a line when it listens.
"""

from __future__ import annotations

import socket
import ssl
import sys
from contextlib import suppress

HEAD = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: 1000\r\n\r\n"
PIECE = 65536


def main(address: str, port: int, kind: str, certificate: str = "", key: str = "") -> None:
    """Serve one connection after the other, for ever."""
    context = None
    if kind == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(certificate, key)
    with socket.create_server((address, port), reuse_port=False) as server:
        print("listening", flush=True)
        while True:
            connection, _ = server.accept()
            with suppress(OSError), connection:
                talk(connection, context, kind)


def talk(connection: socket.socket, context: ssl.SSLContext | None, kind: str) -> None:
    """One conversation, until the other side has enough of it."""
    if context is not None:
        connection = context.wrap_socket(connection, server_side=True)
        connection.recv(PIECE)
        connection.sendall(HEAD % (b"200 OK", b"text/xml") + b"<?xml version='1.0'?><methodResponse>")
    elif kind == "http":
        connection.recv(PIECE)
        connection.sendall(HEAD % (b"400 Bad Request", b"text/html") + b" " * 1000)
    while connection.recv(PIECE):
        pass


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
