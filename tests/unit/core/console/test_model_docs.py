from enum import StrEnum
from ipaddress import IPv4Interface
from typing import Annotated, Literal

from appliance.config import Model, Scope
from appliance.config.types import Cidr, Secret, Vhid
from appliance.console.model_docs import fields, type_name


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(Model):
    vhid: Vhid
    """The group."""
    addresses: list[Cidr] = []


class Outer(Model):
    name: Annotated[str, Scope.LOCAL] = "x"
    """Name of it,
    in two lines."""
    password: Secret | None = None
    profile: Literal["book", "fast"] = "book"
    colour: Colour = Colour.RED
    vip: Annotated[list[Inner], Scope.MIRRORED] = []
    networks: dict[str, Inner] = {}
    inner: Inner | None = None


def test_every_key_of_a_table_and_of_the_tables_inside_is_a_row() -> None:
    assert [row["key"] for row in fields(Outer)] == [
        "name",
        "password",
        "profile",
        "colour",
        "vip",
        "vip[].vhid",
        "vip[].addresses",
        "networks",
        "networks.NAME.vhid",
        "networks.NAME.addresses",
        "inner",
        "inner.vhid",
        "inner.addresses",
    ]


def test_a_row_says_what_an_operator_needs() -> None:
    rows = {row["key"]: row for row in fields(Outer)}
    assert rows["name"] == {
        "key": "name",
        "type": "text",
        "required": False,
        "default": "x",
        "scope": "local",
        "doc": "Name of it, in two lines.",
    }
    assert rows["vip[].vhid"]["required"] is True
    assert rows["vip"]["scope"] == "mirrored"
    assert rows["colour"]["default"] == "red"


def test_types_are_named_in_words() -> None:
    rows = {row["key"]: row["type"] for row in fields(Outer)}
    assert rows["password"] == "secret"
    assert rows["profile"] == '"book" | "fast"'
    assert rows["colour"] == '"red" | "blue"'
    assert rows["vip"] == "list of table"
    assert rows["networks"] == "table of table"
    assert rows["vip[].addresses"] == "list of IPv4 address/prefix or IPv6 address/prefix"
    assert type_name(IPv4Interface) == "IPv4 address/prefix"


def test_a_table_that_contains_itself_ends() -> None:
    class Tree(Model):
        children: "list[Tree]" = []

    Tree.model_rebuild(_types_namespace={"Tree": Tree})
    assert len(fields(Tree)) == 7
