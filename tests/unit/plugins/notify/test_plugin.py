"""What the plugin contributes, as the host asks for it."""

from __future__ import annotations

from appliance.plugin import CrashPolicy, SyncSection
from appliance.testing import check_plugin
from appliance_notify.plugin import Notify

CONFIG = {
    "webhook": {"chat": {"url": "https://chat.example.net/hook", "secret": "x"}},
    "mail": {"noc": {"server": "mail.example.net", "sender": "a@example.net", "recipients": ["b@example.net"]}},
    "syslog": {"here": {"transport": "local"}},
}


def test_it_is_a_good_citizen() -> None:
    check_plugin(Notify, config={})
    check_plugin(Notify, config=CONFIG, start=False)


def test_nothing_of_it_decides_who_is_master() -> None:
    from appliance.config import Config
    from appliance.config.model import NodeTable
    from appliance_notify.config import NotifyConfig

    config = Config({"notify": NotifyConfig.model_validate(CONFIG)}, node=NodeTable(name="fw1"))
    (service,) = Notify().appliance_services(config=config)
    assert service.on_crash is CrashPolicy.RESTART
    assert not service.needs


def test_targets_are_the_same_on_all_nodes() -> None:
    assert Notify().appliance_sync_sections() == [SyncSection(name="notifications", keys=(("notify",),))]
