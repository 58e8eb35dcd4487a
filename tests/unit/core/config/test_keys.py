"""Models say what may stand where; words become values."""

from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import ConfigDict, Field, RootModel

from appliance.config import Model, keys
from appliance.config.keys import Kind
from appliance.config.types import Cidr, InterfaceName, Ip, Mtu, Network, Secret, Vhid


class Colour(Enum):
    RED = "red"


class Vip(Model):
    name: InterfaceName
    """What it is called."""
    vhid: Vhid
    interface: InterfaceName | Annotated[list[InterfaceName], Field(min_length=1)] = "lan"


class Rule(Model):
    id: str = ""
    port: int | str = "any"


class Named(Model, RootModel[dict[InterfaceName, Vip]]):
    model_config = ConfigDict(extra=None)

    root: dict[InterfaceName, Vip]


class Table(Model):
    preempt: bool = True
    """Whether it comes back."""
    mode: Literal["on", "off"] = "on"
    colour: Colour = Colour.RED
    mtu: Mtu | None = None
    delay: Annotated[float, Field(ge=0, le=3600, strict=False)] = 0.5
    password: Secret | None = None
    addresses: list[Cidr] = []
    to: Literal["default"] | Network = "default"
    via: Ip | None = None
    vip: list[Vip] = []
    rule: list[Rule] = []
    by_name: dict[InterfaceName, Vip] = {}
    words: dict[str, str] = {}


def at(*path: str | int) -> list[object]:
    annotations: list[object] = [Table]
    for part in path:
        annotations = keys.below(annotations, part)
    return annotations


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ((), Kind.TABLE),
        (("preempt",), Kind.VALUE),
        (("addresses",), Kind.VALUES),
        (("vip",), Kind.ITEMS),
        (("vip", 0), Kind.TABLE),
        (("by_name",), Kind.NAMED),
        (("by_name", "x"), Kind.TABLE),
        (("words",), Kind.NAMED),
        (("words", "x"), Kind.VALUE),
        (("vip", 0, "interface"), Kind.VALUE),
    ],
)
def test_kinds_tell_how_words_go_on(path: tuple[str | int, ...], kind: Kind) -> None:
    assert keys.kind_of(at(*path)) is kind


def test_a_root_model_is_what_it_wraps() -> None:
    assert keys.kind_of([Named]) is Kind.NAMED
    assert [key.name for key in keys.keys_of(keys.below([Named], "lan"))] == ["name", "vhid", "interface"]


def test_keys_have_their_description_and_default() -> None:
    found = {key.name: key for key in keys.keys_of([Table])}
    assert (found["preempt"].doc, found["preempt"].default) == ("Whether it comes back.", "true")
    assert found["password"].default == ""
    assert {key.name: key.required for key in keys.keys_of(at("vip", 0))} == {
        "name": True,
        "vhid": True,
        "interface": False,
    }


def test_items_are_named_by_a_required_key() -> None:
    assert keys.identity_of(at("vip")) == "name"
    assert keys.identity_of(at("rule")) is None


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (("vip", 0, "vhid"), ("1..255", "whole number")),
        (("mtu",), ("576..65535", "whole number")),
        (("delay",), ("0..3600", "number")),
        (("addresses",), ("IPv4 address/prefix or IPv6 address/prefix",) * 2),
        (("via",), ("IPv4 address or IPv6 address",) * 2),
        (("vip", 0, "name"), ("text", "text")),
    ],
)
def test_values_are_described(path: tuple[str | int, ...], shown: tuple[str, str]) -> None:
    assert keys.describe(at(*path)) == shown


@pytest.mark.parametrize(
    ("path", "words"),
    [(("mode",), ["on", "off"]), (("preempt",), ["true", "false"]), (("colour",), ["red"]), (("mtu",), [])],
)
def test_some_values_are_one_of_a_few_words(path: tuple[str, ...], words: list[str]) -> None:
    assert keys.options_of(at(*path)) == words


@pytest.mark.parametrize(
    ("path", "word", "value"),
    [
        (("preempt",), "false", False),
        (("vip", 0, "vhid"), "7", 7),
        (("delay",), "2", 2),
        (("delay",), "0.5", 0.5),
        (("mode",), "off", "off"),
        (("rule", 0, "port"), "80", 80),
        (("rule", 0, "port"), "1000-2000", "1000-2000"),
        (("rule", 0, "id"), "80", "80"),
        (("via",), "192.168.1.1", "192.168.1.1"),
        (("to",), "10.0.0.0/8", "10.0.0.0/8"),
        (("password",), "12345", "12345"),
        (("addresses", 0), "2001:db8::1/64", "2001:db8::1/64"),
    ],
)
def test_a_word_becomes_the_value_that_the_model_wants(path: tuple[str | int, ...], word: str, value: Any) -> None:
    found = keys.value_of(at(*path), word, key="x")
    assert (found, type(found)) == (value, type(value))


def test_quotes_make_text_of_a_number() -> None:
    assert keys.value_of(at("rule", 0, "port"), "80", key="port", is_quoted=True) == "80"


@pytest.mark.parametrize(
    ("path", "word", "message"),
    [
        (("vip", 0, "vhid"), "300", "must be at most 255"),
        (("vip", 0, "vhid"), "many", "needs a whole number"),
        (("preempt",), "yes", "needs true or false"),
        (("mode",), "up", 'needs one of "on" or "off"'),
        (("addresses", 0), "192.168.1.1", "an address with its prefix length is needed, such as 192.168.1.1/24"),
        (("vip", 0, "name"), "LAN", "must be a lower-case letter"),
    ],
)
def test_a_wrong_word_is_refused_with_what_would_be_right(path: tuple[str | int, ...], word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        keys.value_of(at(*path), word, key="x")


def test_secrets_and_references_are_known_by_their_type() -> None:
    assert keys.holds_secret(at("password"))
    assert not keys.holds_secret(at("mode"))
    assert keys.is_reference(at("vip", 0, "interface"))
    assert not keys.is_reference(at("rule", 0, "id"))
    assert keys.takes_text(at("rule", 0, "port"))
    assert not keys.takes_text(at("mtu"))


def test_names_in_a_mapping_have_a_type_too() -> None:
    assert keys.value_of(keys.names_of(at("by_name")), "lan", key="name") == "lan"
    with pytest.raises(ValueError, match="lower-case"):
        keys.value_of(keys.names_of(at("by_name")), "Lan", key="name")
