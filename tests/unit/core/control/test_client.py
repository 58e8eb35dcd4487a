import socket
import threading
from pathlib import Path

import pytest

from appliance.control import client, wire
from appliance.errors import ApplianceError, UnreachableError


def test_nothing_listening_is_unreachable(tmp_path: Path) -> None:
    path = tmp_path / "absent"
    with pytest.raises(UnreachableError) as refused:
        list(client.request(path, ["show", "ha"]))
    assert refused.value.exit_code == 3
    assert refused.value.message == f"no node is running on {path}"
    assert "--socket" in refused.value.hint


def test_a_stopped_node_is_unreachable_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "GREETING_TIME_S", 0.05)
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(str(tmp_path / "s"))
        stopped.listen(1)
        with pytest.raises(UnreachableError, match="does not answer"):
            list(client.request(tmp_path / "s", ["show", "ha"]))


def test_a_node_that_dies_in_the_middle_is_an_error_and_not_a_result(tmp_path: Path) -> None:
    def die(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b'{"node":"fw1","protocol":1}\n{"data":{"half":true}}\n')

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(1)
        thread = threading.Thread(target=die, args=(listener,))
        thread.start()
        replies = client.request(tmp_path / "s", ["x"])
        assert next(replies) == wire.Data(data={"half": True})
        with pytest.raises(ApplianceError, match="closed the connection"):
            next(replies)
        thread.join()


def test_a_reason_for_being_turned_away_is_read_although_the_node_has_closed(tmp_path: Path) -> None:
    refusal = wire.Failure(message="64 clients are connected already", hint="Close some.", exit=1)

    def turn_away(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(wire.encode_reply(refusal))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(1)
        thread = threading.Thread(target=turn_away, args=(listener,))
        thread.start()
        assert list(client.request(tmp_path / "s", ["x" * 60_000])) == [refusal]
        thread.join()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied"), "not allowed to talk to the node on /s"),
        (BlockingIOError(11, "Resource temporarily unavailable"), "the node behind /s does not answer"),
        (OSError(36, "File name too long"), "cannot connect to /s: File name too long"),
    ],
)
def test_every_reason_for_not_connecting_has_its_remedy(error: OSError, message: str) -> None:
    unreachable = client._unreachable("/s", error)
    assert unreachable.message == message
    assert unreachable.hint
    assert unreachable.exit_code == 3


def test_a_request_that_is_too_long_is_refused_here(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(1)
        with pytest.raises(wire.WireError):
            list(client.request(tmp_path / "s", ["x" * wire.REQUEST_LINE_MAX]))
