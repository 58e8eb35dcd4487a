"""`[users]` as operators write it, and what others read of it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from appliance.config import ProvidesUsers, Scope, User, scope_of
from appliance.config.sections import merged, shared
from appliance_users.config import USERS_MAX, UsersConfig, UserTable, settings_of

HASH = "scrypt$15$8$1$c2FsdHNhbHRzYWx0c2FsdA==$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g="
OTHER = HASH.replace("c2Fs", "d2Fs")


def config(**users: dict[str, Any]) -> UsersConfig:
    return UsersConfig.model_validate(users)


def test_everybody_who_asks_gets_the_users_with_their_hashes() -> None:
    table = config(
        olga={"role": "operator", "hash": HASH, "description": "night shift"},
        eve={"role": "viewer", "disabled": True},
        push={"role": "sync", "hash": HASH, "nosync": True},
    )
    assert isinstance(table, ProvidesUsers)
    assert table.users() == {
        "olga": User(name="olga", role="operator", hash=HASH),
        "eve": User(name="eve", role="viewer", disabled=True),
        "push": User(name="push", role="sync", hash=HASH, own=True),
    }


def test_the_table_may_be_empty() -> None:
    assert config().users() == {}


def test_the_service_learns_no_hash() -> None:
    settings = settings_of(config(olga={"role": "operator", "hash": HASH}, eve={"role": "viewer"}))
    assert [(row.name, row.role, row.has_password) for row in settings.users] == [
        ("olga", "operator", True),
        ("eve", "viewer", False),
    ]
    assert "scrypt" not in repr(settings)


def test_a_hash_is_never_printed() -> None:
    table = config(olga={"role": "operator", "hash": HASH})
    assert "scrypt" not in repr(table)
    assert "scrypt" not in str(table.model_dump(mode="json"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"olga": {}},
        {"olga": {"role": "admin"}},
        {"olga": {"role": "viewer", "shell": "/bin/sh"}},
        {"olga": {"role": "viewer", "description": "x" * 201}},
        {"with:colon": {"role": "viewer"}},
        {"with blank": {"role": "viewer"}},
        {"-option": {"role": "viewer"}},
        {"": {"role": "viewer"}},
        {"x" * 65: {"role": "viewer"}},
        {f"user{number}": {"role": "viewer"} for number in range(USERS_MAX + 1)},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        UsersConfig.model_validate(wrong)


def test_all_that_is_said_of_a_user_travels_with_it() -> None:
    assert {scope_of(UserTable, field) for field in UserTable.model_fields} == {Scope.SHARED}


def test_a_user_of_one_node_stays_there_when_the_others_travel() -> None:
    models = {"users": UsersConfig}
    primary = {"users": {"olga": {"role": "operator"}, "push": {"role": "sync", "hash": HASH, "nosync": True}}}
    secondary = {"users": {"eve": {"role": "viewer"}, "push": {"role": "sync", "hash": OTHER, "nosync": True}}}
    sent = shared(primary, models)
    assert sent == {"users": {"olga": {"role": "operator"}}}
    assert merged(sent, secondary, models) == {
        "users": {"olga": {"role": "operator"}, "push": {"role": "sync", "hash": OTHER, "nosync": True}}
    }


def test_whoever_asks_gets_keys_without_their_comments() -> None:
    users = config(
        olga={"role": "operator", "ssh_keys": ["ssh-ed25519 AAAA olga@desk"]}, eve={"role": "viewer"}
    ).users()
    assert (users["olga"].ssh_keys, users["eve"].ssh_keys) == (("ssh-ed25519 AAAA",), ())


def test_keys_travel_with_their_users() -> None:
    assert scope_of(UserTable, "ssh_keys") is Scope.SHARED
