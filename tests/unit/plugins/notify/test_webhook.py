"""Webhooks, against a real web server."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import trio

from appliance_notify.dialing import Dialer
from appliance_notify.formats import signature
from appliance_notify.settings import Webhook
from appliance_notify.vocabulary import DeliveryError
from appliance_notify.webhook import SIGNATURE, deliver
from tests.unit.plugins.notify.servers import HOST, MESSAGE, Certificate, free_port, run, tcp, web

PLAIN = Webhook(name="chat", host=HOST, port=0, tls=False, path="/hook?token=x")


def failure(target: Webhook) -> DeliveryError:
    found: list[DeliveryError] = []

    async def main() -> None:
        with pytest.raises(DeliveryError) as error:
            await deliver(target, MESSAGE, Dialer({}))
        found.append(error.value)

    run(main)
    return found[0]


def test_a_web_server_gets_json_with_a_signature() -> None:
    with web() as server:
        run(lambda: deliver(replace(PLAIN, port=server.port, secret="key"), MESSAGE, Dialer({})))
    assert server.paths == ["/hook?token=x"]
    assert json.loads(server.bodies[0])["notices"][0]["what"] == "BACKUP ä"
    assert server.headers[0][SIGNATURE] == signature("key", server.bodies[0])
    assert server.headers[0]["Host"] == f"{HOST}:{server.port}"
    assert server.headers[0]["Content-Type"] == "application/json; charset=utf-8"


def test_without_a_secret_nothing_is_signed() -> None:
    with web() as server:
        run(lambda: deliver(replace(PLAIN, port=server.port), MESSAGE, Dialer({})))
    assert SIGNATURE not in server.headers[0]


def test_https_with_a_certificate_that_is_trusted(certificate: Certificate) -> None:
    with web(certificate) as server:
        target = replace(PLAIN, port=server.port, tls=True, ca_file=str(certificate.path))
        run(lambda: deliver(target, MESSAGE, Dialer({})))
    assert len(server.bodies) == 1


def test_https_with_one_that_is_not(certificate: Certificate) -> None:
    with web(certificate) as server:
        error = failure(replace(PLAIN, port=server.port, tls=True))
    assert "its certificate is not accepted (self-signed certificate)" in error.reason
    assert (server.bodies, error.lasting) == ([], False)


def test_a_missing_file_of_certificates_is_named() -> None:
    with web() as server:
        error = failure(replace(PLAIN, port=server.port, tls=True, ca_file="/nowhere.pem"))
    assert error.reason == "cannot use the certificates in /nowhere.pem: No such file or directory"


@pytest.mark.parametrize(("status", "lasting"), [(301, True), (404, True), (429, False), (500, False), (503, False)])
def test_only_2xx_is_success_and_the_status_says_whether_to_try_again(status: int, lasting: bool) -> None:
    with web() as server:
        server.statuses = [status]
        error = failure(replace(PLAIN, port=server.port))
    assert f"http://{HOST}:{server.port} answered {status} " in error.reason
    assert error.lasting is lasting
    assert "token" not in error.reason


def test_nobody_listens() -> None:
    port = free_port()
    assert failure(replace(PLAIN, port=port)).reason == f"cannot connect to {HOST}:{port}: Connection refused"


@pytest.mark.parametrize(
    ("said", "reason"), [(b"", "closed the connection before it answered"), (b"SSH-2.0-x\r\n\r\n", "as a web server")]
)
def test_a_server_that_is_no_web_server(said: bytes, reason: str) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        if said:
            await stream.send_all(said)

    async def main() -> None:
        async with tcp(answer) as port:
            with pytest.raises(DeliveryError, match=reason):
                await deliver(replace(PLAIN, port=port), MESSAGE, Dialer({}))

    run(main)


def test_an_address_of_ip_version_6_is_in_brackets() -> None:
    from appliance_notify.webhook import _host

    assert _host(replace(PLAIN, host="2001:db8::1", port=8080)) == "[2001:db8::1]:8080"
    assert _host(replace(PLAIN, host="example.net", port=443, tls=True)) == "example.net"
