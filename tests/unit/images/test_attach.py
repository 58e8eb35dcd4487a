"""A terminal that is attached to consoles: keys go to one of them, and one key leads to another, or out."""

from __future__ import annotations

import os
import pty
import select
import socket
import threading

import pytest

from appliance_images import attach
from appliance_images.attach import Attachment


def test_keys_go_to_one_machine_and_one_key_leads_to_another() -> None:
    attachment = Attachment(["fw1", "fw2"])
    assert attachment.typed(b"show\r") == [("fw1", b"show\r")]
    assert attachment.typed(b"a\x1d") == [("fw1", b"a")]
    assert attachment.typed(b"2b") == [("fw2", b"\rb")], "it draws its prompt again"
    assert attachment.typed(b"\x03\x1d\x1d") == [("fw2", b"\x03\x1d")], "Ctrl-C and the key itself reach the machine"
    assert attachment.typed(b"\x1d9x") == [("fw2", b"x")], "there is no ninth one"
    assert not attachment.is_over
    assert attachment.typed(b"\x1dq") == []
    assert attachment.is_over


def test_what_it_says_names_the_machines_only_if_there_are_several() -> None:
    assert Attachment(["node"]).help == "Ctrl-] q ends."
    assert "Ctrl-] 2 leads to fw2" in Attachment(["fw1", "fw2"]).help


def test_a_console_is_shown_as_it_is_until_the_machine_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    person, terminal = pty.openpty()
    machine, console = socket.socketpair()
    with os.fdopen(terminal, "r+b", buffering=0) as handle, console, machine:
        monkeypatch.setattr("sys.stdin", handle)
        monkeypatch.setattr("sys.stdout", handle)
        attached = threading.Thread(target=attach.attend, args=({"node": console},))
        attached.start()
        shown = until(person, "ends.")
        machine.sendall(b"\x1b[1mlogin\x1b[0m: ")
        shown += until(person, "\x1b[0m: ")
        os.write(person, b"\x03x")
        assert machine.recv(16) == b"\x03x"
        machine.shutdown(socket.SHUT_RDWR)
        shown += until(person, "node has ended ---")
        attached.join(10)
        assert not attached.is_alive()
    os.close(person)
    assert "\x1b[1mlogin\x1b[0m: " in shown


def until(terminal: int, text: str) -> str:
    """What is shown until this text is."""
    shown = ""
    while text not in shown:
        assert select.select([terminal], [], [], 10)[0], shown
        shown += os.read(terminal, 4096).decode()
    return shown
