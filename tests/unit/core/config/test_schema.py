"""Models are walked by key path through unions, lists, dicts, aliases and root models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, RootModel, SecretStr

from appliance.config import Model
from appliance.config.schema import known_keys, sounds_secret
from appliance.config.shape import secret_paths


class Leaf(Model):
    password: SecretStr | None = None
    """Shared secret."""
    plain: str = ""


class Other(Model):
    kind: Literal["other"] = "other"
    pin: SecretStr


class Chosen(Model):
    kind: Literal["chosen"] = "chosen"
    size: int = 0


class Many(RootModel[list[Leaf]]):
    pass


class Table(Model):
    one: Leaf | None = None
    many: list[Leaf] = []
    named: dict[str, Leaf] = {}
    either: Annotated[Other | Chosen, Field(discriminator="kind")] | None = None
    rooted: Many | None = None
    from_: Annotated[Leaf | None, Field(alias="from")] = None
    secrets: list[SecretStr] = []
    pair: tuple[int, Leaf] | None = None
    token_size: int = 0


def test_known_keys_of_every_kind_of_path() -> None:
    leaf = {"password": "Shared secret.", "plain": ""}
    assert known_keys(Table, ("one",)) == leaf
    assert known_keys(Table, ("many", 3)) == leaf
    assert known_keys(Table, ("named", "plain")) == leaf  # a key that is called like a field
    assert known_keys(Table, ("rooted", 0)) == leaf
    assert known_keys(Table, ("from",)) == leaf
    assert known_keys(Table, ("pair", 1)) == leaf
    assert set(known_keys(Table, ("either",))) == {"kind", "pin", "size"}
    assert set(known_keys(Table, ("either",), {"kind": "other"})) == {"kind", "pin", "size"}  # both tags have defaults
    assert known_keys(Table, ("many", 0, "plain", "x")) == {}
    assert "from" in known_keys(Table, ())


def test_secrets_are_found_wherever_models_declare_them() -> None:
    data = {
        "t": {
            "one": {"password": "a", "plain": "b"},
            "many": [{"plain": "x"}, {"password": "c"}],
            "named": {"x": {"password": "d"}},
            "either": {"pin": "e"},
            "rooted": [{"password": "f"}],
            "from": {"password": "g"},
            "secrets": ["h"],
            "pair": [1, {"password": "i"}],
            "token_size": 5,  # sounds secret, but its model says that it is a number
        }
    }
    assert secret_paths(data, {"t": Table}) == {
        ("t", "one", "password"),
        ("t", "many", 1, "password"),
        ("t", "named", "x", "password"),
        ("t", "either", "pin"),
        ("t", "rooted", 0, "password"),
        ("t", "from", "password"),
        ("t", "secrets", 0),
        ("t", "pair", 1, "password"),
    }


def test_misspelled_secrets_and_those_of_unknown_tables_are_found_by_name() -> None:
    data: dict[str, object] = {"t": {"one": {"paswrod": "a", "plian": "b"}}, "u": {"x": [{"psk": "c", "size": 1}]}}
    assert secret_paths(data, {"t": Table}) == {("t", "one", "paswrod"), ("u", "x", 0, "psk")}


def test_names_that_sound_secret() -> None:
    assert all(map(sounds_secret, ["Password", "wpa_psk", "api-token", "private_key", "shared_secret"]))
    assert all(map(sounds_secret, ["hash", " preshared "]))
    assert not any(map(sounds_secret, ["device", "keyboard", "name", "pass", "hash_size"]))
