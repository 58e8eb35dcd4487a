"""Delivers a message as a POST of JSON."""

from __future__ import annotations

import time

from appliance.rpc import RpcError, post
from appliance_notify.dialing import Dialer, encrypted
from appliance_notify.formats import signature, webhook_body
from appliance_notify.settings import Webhook
from appliance_notify.vocabulary import DeliveryError, Message

SIGNATURE = "X-Appliance-Signature"
PASSING = frozenset({408, 425, 429})
"""Refusals that do not last (RFC 9110, RFC 8470, RFC 6585); so are all beginning with 5."""


async def deliver(target: Webhook, message: Message, dialer: Dialer) -> None:
    """Deliver, under the caller's deadline.

    Raises:
        DeliveryError: It was not accepted.
    """
    body = webhook_body(message, time.time())
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "ha-appliance"}
    if target.secret is not None:
        headers[SIGNATURE] = signature(target.secret, body)
    connection = await dialer.stream(target.host, target.port)
    async with connection:
        stream = await encrypted(connection, target.host, target.ca_file) if target.tls else connection
        try:
            answer = await post(stream, host=_host(target), path=target.path, headers=headers, body=body)
        except RpcError as error:
            raise DeliveryError(f"{target.where}: {error.message}") from None
    if not 200 <= answer.status < 300:
        lasting = answer.status < 500 and answer.status not in PASSING
        raise DeliveryError(f"{target.where} answered {answer.status} {answer.reason}".rstrip(), lasting=lasting)


def _host(target: Webhook) -> str:
    name = f"[{target.host}]" if ":" in target.host else target.host
    return name if target.port == (443 if target.tls else 80) else f"{name}:{target.port}"
