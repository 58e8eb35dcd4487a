"""`[notify]` as operators write it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from appliance.config import Config, Scope, scope_of
from appliance.config.model import NodeTable
from appliance.testing import LogicalInterfaces
from appliance_notify.config import (
    MailTable,
    NotifyConfig,
    SyslogTable,
    WebhookTable,
    instead_of_virtual,
    settings_of,
)
from appliance_notify.settings import Mail, Syslog, Wanted, Webhook
from appliance_notify.vocabulary import Severity

URL = "https://chat.example.net/hook/s3cret?x=1"
MAIL = {"server": "mail.example.net", "sender": "fw@example.net", "recipients": ["noc@example.net"]}


def config(**table: Any) -> Config:
    model = NotifyConfig.model_validate(table)
    return Config({"notify": model, "interfaces": LogicalInterfaces.of(lan="192.168.1.2/24")}, node=NodeTable(name="a"))


def test_each_sort_of_target_has_its_defaults() -> None:
    found = settings_of(
        config(webhook={"chat": {"url": URL}}, mail={"noc": MAIL}, syslog={"central": {"server": "192.0.2.1"}})
    )
    assert found.targets == (
        Webhook(name="chat", host="chat.example.net", port=443, tls=True, path="/hook/s3cret?x=1"),
        Mail(
            name="noc",
            host="mail.example.net",
            port=587,
            security="starttls",
            sender="fw@example.net",
            recipients=("noc@example.net",),
        ),
        Syslog(name="central", transport="udp", host="192.0.2.1", port=514, path="/dev/log"),
    )


@pytest.mark.parametrize(("security", "port"), [("starttls", 587), ("tls", 465), ("none", 25)])
def test_the_port_follows_the_security(security: str, port: int) -> None:
    (mail,) = settings_of(config(mail={"noc": MAIL | {"security": security}})).targets
    assert isinstance(mail, Mail)
    assert mail.port == port


@pytest.mark.parametrize(("transport", "port"), [("udp", 514), ("tcp", 514), ("tls", 6514)])
def test_the_port_follows_the_transport(transport: str, port: int) -> None:
    (syslog,) = settings_of(config(syslog={"a": {"server": "x", "transport": transport}})).targets
    assert isinstance(syslog, Syslog)
    assert syslog.port == port


def test_what_a_target_wants() -> None:
    table = {"url": URL, "classes": ["role", "peer"], "severity": "critical", "per_minute": 1}
    (chat,) = settings_of(config(webhook={"chat": table})).targets
    assert chat.wanted == Wanted(classes=frozenset({"role", "peer"}), severity=Severity.CRITICAL, per_minute=1)


def test_secrets_are_never_printed() -> None:
    whole = config(
        webhook={"chat": {"url": URL, "secret": "s3cret"}},
        mail={"noc": MAIL | {"username": "fw", "password": "s3cret"}},
    )
    assert "s3cret" not in repr(whole[NotifyConfig])
    assert "s3cret" not in str(whole.dump())
    assert "s3cret" not in repr(settings_of(whole))
    assert "s3cret" not in str([target.where for target in settings_of(whole).targets])


@pytest.mark.parametrize(
    "wrong",
    [
        {"webhook": {"chat": {}}},
        {"webhook": {"chat": {"url": "ftp://example.net/"}}},
        {"webhook": {"chat": {"url": "example.net"}}},
        {"webhook": {"chat": {"url": "https://example.net:99999/"}}},
        {"webhook": {"chat": {"url": "https://example.net:0/"}}},
        {"webhook": {"chat": {"url": "https://user:pw@example.net/"}}},
        {"webhook": {"chat": {"url": "https://example.net/#part"}}},
        {"webhook": {"chat": {"url": "https://example.net/a b"}}},
        {"webhook": {"chat": {"url": "https://example.net/ä"}}},
        {"webhook": {"Chat": {"url": URL}}},
        {"webhook": {"chat": {"url": URL, "classes": ["everything"]}}},
        {"webhook": {"chat": {"url": URL, "severity": "notice"}}},
        {"webhook": {"chat": {"url": URL, "per_minute": 0}}},
        {"webhook": {f"chat{number}": {"url": URL} for number in range(9)}},
        {"mail": {"noc": MAIL | {"recipients": []}}},
        {"mail": {"noc": MAIL | {"recipients": ["noc"]}}},
        {"mail": {"noc": MAIL | {"sender": "fw@example.net\nBcc: x@example.net"}}},
        {"mail": {"noc": MAIL | {"server": "-x"}}},
        {"syslog": {"a": {"transport": "carrier-pigeon"}}},
        {"syslog": {"a": {"server": "x", "facility": "kern"}}},
        {"unknown": {}},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NotifyConfig.model_validate(wrong)


def test_all_of_it_is_shared() -> None:
    models = (NotifyConfig, WebhookTable, MailTable, SyslogTable)
    assert {scope_of(model, field) for model in models for field in model.model_fields} == {Scope.SHARED}


def test_virtual_addresses_have_own_ones_in_their_place() -> None:
    from appliance_carp.config import CarpConfig

    carp = CarpConfig.model_validate(
        {
            "password": "x",
            "vip": [
                {"name": "lan", "interface": "lan", "vhid": 1, "addresses": ["192.168.1.1/24", "2001:db8::1/64"]},
            ],
        }
    )
    interfaces = LogicalInterfaces.of(lan=["192.168.1.2/24", "192.168.1.9/24"])
    whole = Config({"interfaces": interfaces, "carp": carp}, node=NodeTable(name="a"))
    assert instead_of_virtual(whole) == {"192.168.1.1": ("192.168.1.2", "192.168.1.9"), "2001:db8::1": ()}
