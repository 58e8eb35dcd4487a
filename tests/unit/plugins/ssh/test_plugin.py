"""What the plugin contributes."""

from __future__ import annotations

import re
from importlib.resources import files

from appliance.events import Event, Request
from appliance.plugin import SyncSection
from appliance.testing import check_plugin
from appliance_ssh.events import EndSession, GetSsh, LoginRefused, SessionClosed, SessionOpened
from appliance_ssh.plugin import Ssh
from tests.unit.plugins.ssh.doors import OLGA, tables


def test_it_is_a_good_citizen() -> None:
    check_plugin(Ssh, config={"listen": ["lo"]}, tables=tables(olga=OLGA), start=False)


def test_it_declares_its_events_and_requests() -> None:
    declared = Ssh().appliance_events()
    assert {each for each in declared if issubclass(each, Event)} == {SessionOpened, SessionClosed, LoginRefused}
    assert {each for each in declared if issubclass(each, Request)} == {GetSsh, EndSession}


def test_it_is_configured_once_for_all_nodes() -> None:
    assert Ssh().appliance_sync_sections() == [SyncSection(name="ssh", keys=(("ssh",),))]


def test_an_image_gets_what_it_needs() -> None:
    part = Ssh().appliance_image()
    assert part.packages == ("libnss-extrausers", "openssh-server")
    package, _, name = part.files["/etc/nsswitch.conf"].partition(":")
    assert re.search(r"^passwd: +files extrausers$", files(package).joinpath(name).read_text(), re.MULTILINE)
