"""What models say about one place is the same for all elements of a list, and asked once. See also test_schema."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from appliance.config import Model, Scope
from appliance.config.shape import Shape, secret_paths


class Item(Model):
    name: str = ""
    device: Annotated[str, Scope.LOCAL] = ""
    from_: Annotated[list[int | str], Field(alias="from")] = []


class Table(Model):
    item: list[Item] = []
    words: dict[str, str] = {}
    anything: Any = None
    address: IPv4Address | None = None
    kind: Literal["a", "b"] = "a"
    pair: tuple[int, Item] | None = None
    own: Annotated[int, Scope.LOCAL] = 0
    password: SecretStr | None = None


def test_keys_that_stay_and_keys_of_which_no_part_can_stay() -> None:
    shape = Shape([Table])
    assert shape.local == {"own"}
    assert shape.flat == {"address", "kind", "password"}
    assert shape.inner("item").inner(5).local == {"device"}
    assert shape.inner("item").inner(0).flat == {"name", "from"}
    assert Shape([]).flat == Shape([]).local == frozenset()


def test_secrets_in_a_list_of_thousands_are_all_found() -> None:
    data: dict[str, object] = {"t": {"item": [{"name": "x", "api_token": "p"}] * 3, "password": "q"}, "u": {"token": 1}}
    found = secret_paths(data, {"t": Table})
    assert found == {("t", "password"), ("u", "token"), *(("t", "item", at, "api_token") for at in range(3))}
    assert Shape([Table]).hides("password")
    assert not Shape([Table]).hides("kind")
