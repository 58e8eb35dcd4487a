"""One virtual host without I/O: changing its digest without losing its role, and counting its sends."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface

import pytest

from appliance_carp.host import CHANGE_WINDOW_S, PARDON_S, PEERS_SHOWN, SEND_ERRORS_MAX, VirtualHost
from appliance_carp.ledger import Ledger
from appliance_carp.settings import VipSettings
from appliance_carp.wire import Advert, parse

VIP = VipSettings(
    name="lan",
    interface="lan",
    vhid=1,
    addresses=(ip_interface("192.168.1.1/24"),),
    password="secret",
    advbase=1,
    advskew=0,
)
MORE = replace(VIP, aliases=(ip_interface("192.168.1.9/24"),))
NEW_PASSWORD = replace(VIP, password="other")
NOW = 100.0


def host(settings: VipSettings = VIP) -> VirtualHost:
    return VirtualHost(settings, 0, Ledger())


def advert(sender: VirtualHost, peers: tuple[bytes, ...] = ()) -> Advert:
    payload = sender.payload(
        sender.sending_key(peers), source="192.168.1.2", advbase=1, advskew=0, demote=0, unix_time=1.8e9
    )
    return parse(payload)


def test_two_hosts_with_the_same_settings_understand_each_other() -> None:
    assert host().authenticates(advert(host()), NOW)


@pytest.mark.parametrize("changed", [MORE, NEW_PASSWORD])
def test_another_password_or_address_set_is_not_understood(changed: VipSettings) -> None:
    assert not host().authenticates(advert(host(changed)), NOW)


@pytest.mark.parametrize("changed", [MORE, NEW_PASSWORD])
def test_a_changed_host_still_understands_the_old_digest_within_the_window(changed: VipSettings) -> None:
    one = host()
    one.change(changed, NOW, bridged=True)
    assert one.authenticates(advert(host(VIP)), NOW + CHANGE_WINDOW_S - 1)
    assert one.authenticates(advert(host(changed)), NOW)
    assert not one.authenticates(advert(host(VIP)), NOW + CHANGE_WINDOW_S + 1)


def test_a_changed_host_sends_the_old_digest_while_a_peer_still_has_the_old_addresses() -> None:
    one, peer = host(), host()
    one.change(MORE, NOW, bridged=True)
    assert peer.authenticates(advert(one, (VIP.fingerprint,)), NOW)
    peer.change(MORE, NOW, bridged=True)
    assert one.settle_change([MORE.fingerprint], NOW)
    assert peer.authenticates(advert(one, (MORE.fingerprint,)), NOW)
    assert not one.is_changing


def test_a_host_without_peers_of_our_kind_changes_at_once() -> None:
    one = host()
    one.change(MORE, NOW, bridged=False)
    assert not one.is_changing
    assert not one.authenticates(advert(host(VIP)), NOW)


def test_changing_only_the_timing_keeps_the_digest() -> None:
    one = host()
    one.change(replace(VIP, advskew=50), NOW, bridged=True)
    assert not one.is_changing


def test_the_fingerprint_ignores_the_order_of_addresses() -> None:
    addresses = (ip_interface("192.168.1.1/24"), ip_interface("2001:db8::1/64"))
    forward, backward = replace(VIP, addresses=addresses), replace(VIP, addresses=addresses[::-1])
    assert forward.fingerprint == backward.fingerprint != VIP.fingerprint


def test_three_failed_sends_in_a_row_break_a_host_and_three_good_ones_mend_it() -> None:
    one = host()
    verdicts = [one.sent(False) for _ in range(SEND_ERRORS_MAX)]
    assert (verdicts, one.broken) == ([False, False, True], True)
    verdicts = [one.sent(True) for _ in range(SEND_ERRORS_MAX)]
    assert (verdicts, one.broken) == ([False, False, True], False)


def test_single_failed_sends_break_nothing() -> None:
    one = host()
    for _ in range(10):
        one.sent(False)
        one.sent(True)
    assert not one.broken


def test_the_ledger_knows_the_last_stamp() -> None:
    one = host()
    advert(one)
    assert one.ledger.last_stamp(0) == one.stamper.sequence > 0


def test_only_the_latest_peers_are_remembered() -> None:
    one = host()
    for number in range(PEERS_SHOWN + 5):
        one.note_peer(f"10.0.0.{number}", 0, float(number))
    assert len(one.seen) == PEERS_SHOWN
    assert "10.0.0.0" not in one.seen


def test_of_several_new_masters_the_one_that_goes_before_the_others_will_stay() -> None:
    one = host()
    assert one.best_since(NOW) == ""
    one.note_peer("10.0.0.2", 0, NOW - 1)
    one.note_peer("10.0.0.3", 100, NOW + 0.001)
    one.note_peer("10.0.0.4", 200, NOW + 0.002)
    assert one.best_since(NOW) == "10.0.0.3"


def test_who_cannot_send_and_has_let_go_is_believed_again_after_a_while_and_each_time_later() -> None:
    one, now = host(), NOW
    for expected_s in (PARDON_S, 2 * PARDON_S, 4 * PARDON_S):
        for _ in range(SEND_ERRORS_MAX):
            one.sent(False)
        assert not one.pardon(now)
        assert not one.pardon(now + expected_s - 0.1)
        assert one.pardon(now + expected_s)
        assert not one.broken
        now += expected_s
    one.sent(True)
    for _ in range(SEND_ERRORS_MAX):
        one.sent(False)
    assert not one.pardon(now)
    assert one.pardon(now + PARDON_S), "it had been able to send in between"
