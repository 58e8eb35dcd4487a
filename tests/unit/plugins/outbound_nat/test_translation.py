"""What outbound traffic is translated to."""

from __future__ import annotations

import pytest

from appliance_outbound_nat.scene import Scene
from appliance_outbound_nat.selectors import BadValueError
from appliance_outbound_nat.translation import parse_translation, resolve, statement
from tests.unit.plugins.outbound_nat.fakes import scene

SCENE = scene()


def said(text: str, version: int = 4, *, around: Scene = SCENE, ports: str = "", randomize: bool = False) -> str:
    translation = parse_translation(text, "wan", around)
    return statement(translation, version, around, ports=ports, randomize=randomize)


def test_each_kind_of_translation_as_nftables_says_it() -> None:
    assert said("none") == "accept"
    assert said("interface") == "snat ip to 198.51.100.201"
    assert said("vip:wan") == "snat ip to 198.51.100.200"
    assert said("vip:wan", 6) == "snat ip6 to 2001:db8:ffff::200"
    assert said("203.0.113.7") == "snat ip to 203.0.113.7"


def test_one_client_keeps_one_address_of_a_pool() -> None:
    assert said("203.0.113.4-203.0.113.7") == "snat ip to 203.0.113.4-203.0.113.7 persistent"
    assert said("203.0.113.4/30") == "snat ip to 203.0.113.4-203.0.113.7 persistent"


def test_a_range_of_ports_and_random_ports() -> None:
    assert said("vip:wan", ports="1024-65535") == "snat ip to 198.51.100.200:1024-65535"
    assert said("vip:wan", 6, ports="1024-65535") == "snat ip6 to [2001:db8:ffff::200]:1024-65535"
    assert said("vip:wan", randomize=True) == "snat ip to 198.51.100.200 fully-random"
    assert said("203.0.113.4/30", randomize=True).endswith(" fully-random,persistent")


def test_an_interface_without_configured_addresses_is_left_to_the_kernel() -> None:
    bare = scene(interfaces={"wan": []}, vips={})
    assert said("interface", around=bare) == "masquerade"
    assert (
        said("interface", around=bare, ports="1024-65535", randomize=True) == "masquerade to :1024-65535 fully-random"
    )


def test_an_address_that_changes_is_followed() -> None:
    moved = scene(vips={"wan": ["wan", "198.51.100.222/24"]})
    assert resolve(parse_translation("vip:wan", "wan", moved), 4, moved) == "198.51.100.222"


def test_an_interface_with_a_virtual_host_alone_has_no_address_of_its_own() -> None:
    assert parse_translation("interface", "wan", scene(interfaces={"wan": []})).families == frozenset()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vip:wna", "there is no virtual host 'wna'; there are: lan, wan"),
        ("web", 'no address to translate to; write "vip:NAME"'),
        ("!10.0.0.1", "no address to translate to"),
        ("wan", "'wan' is an interface"),
        ("10.0.0.0/8", "at most 65536 addresses, 10.0.0.0/8 has 16777216"),
        ("2001:db8::/64", "at most 65536 addresses"),
        ("10.0.0.9-10.0.0.1", "reversed"),
        ("nobody", "neither an address"),
    ],
)
def test_what_cannot_be_translated_to_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadValueError) as refused:
        parse_translation(text, "wan", SCENE)
    assert message in str(refused.value)
