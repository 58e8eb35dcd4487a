"""One virtual host without I/O: changing its digest without losing its role, and counting its sends."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface

import pytest

from appliance_carp.host import PARDON_S, PEERS_SHOWN, SEND_ERRORS_MAX, VirtualHost
from appliance_carp.ledger import Ledger
from appliance_carp.settings import VipSettings
from appliance_carp.transaction import KEEP_S, Stance
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
NEW_VHID = replace(VIP, vhid=7)
CHANGES = [MORE, NEW_PASSWORD, NEW_VHID]
NOW = 100.0


def host(settings: VipSettings = VIP) -> VirtualHost:
    return VirtualHost(settings, 0, Ledger())


def advert(sender: VirtualHost, *peers: Stance) -> Advert:
    payload = sender.payload(
        sender.sending(peers), source="192.168.1.2", advbase=1, advskew=0, demote=0, unix_time=1.8e9
    )
    return parse(payload)


def stance(host: VirtualHost) -> Stance:
    """What a peer with this host says."""
    held = host.transaction
    return Stance("fw2", True, held.active, held.wanted, frozenset(held.kept))


def test_two_hosts_with_the_same_settings_understand_each_other() -> None:
    assert host().authenticates(advert(host()))


@pytest.mark.parametrize("changed", CHANGES)
def test_another_password_address_set_or_vhid_is_not_understood(changed: VipSettings) -> None:
    assert not host().authenticates(advert(host(changed)))


@pytest.mark.parametrize("changed", CHANGES)
def test_a_staged_change_is_understood_and_not_spoken_until_it_is_put_in_force(changed: VipSettings) -> None:
    one = host()
    one.propose(changed, NOW)
    assert one.settings == VIP
    assert (one.authenticates(advert(host())), one.authenticates(advert(host(changed)))) == tuple(one.voices.values())
    assert host().authenticates(advert(one))
    one.switch(NOW)
    assert one.settings == changed
    assert host(changed).authenticates(advert(one))
    assert one.authenticates(advert(host())), "a peer may not have switched yet"
    assert not one.drop([stance(host())], NOW + KEEP_S), "it still has not"
    assert one.drop([stance(host(changed))], NOW + KEEP_S)
    assert not one.authenticates(advert(host()))


def test_a_peer_that_comes_back_with_the_former_edition_is_spoken_to_in_that() -> None:
    one, peer = host(), host()
    one.propose(NEW_PASSWORD, NOW)
    one.switch(NOW)
    assert peer.authenticates(advert(one, stance(peer)))
    peer.propose(NEW_PASSWORD, NOW)
    assert host(NEW_PASSWORD).authenticates(advert(one, stance(peer)))


def test_what_no_digest_covers_is_in_force_at_once_even_beside_a_staged_change() -> None:
    one = host()
    one.propose(replace(NEW_PASSWORD, advskew=50), NOW)
    assert (one.settings, one.is_changing) == (replace(VIP, advskew=50), True)
    one.propose(replace(VIP, advskew=60), NOW)
    assert (one.settings, one.transaction.is_open) == (replace(VIP, advskew=60), False)


def test_stamps_never_go_back_whatever_changes() -> None:
    one, last = host(), 0
    for settings in (MORE, NEW_PASSWORD, NEW_VHID, VIP):
        one.propose(settings, NOW)
        one.switch(NOW)
        advert(one)
        assert one.stamper.sequence > last
        last = one.stamper.sequence
        one.stamper.heard(last + 1000)
        last += 1000


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
