"""What is refused beyond the table itself; each problem names the key and the remedy."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.config import Config
from appliance.config.model import NodeTable
from appliance.errors import Problem
from appliance_users.config import UsersConfig
from appliance_users.verify import verify
from tests.unit.plugins.users.test_config import HASH
from tests.unit.plugins.users.test_sshkeys import ED25519


def problems(**users: dict[str, Any]) -> list[Problem]:
    return verify(Config({"users": UsersConfig.model_validate(users)}, node=NodeTable(name="fw1")))


def only(found: list[Problem]) -> tuple[tuple[str | int, ...], str]:
    assert len(found) == 1, found
    return found[0].path, found[0].message


def test_ordinary_users_have_no_problems() -> None:
    assert problems() == []
    assert (
        problems(
            olga={"role": "operator", "hash": HASH},
            eve={"role": "viewer"},
            push={"role": "sync", "hash": HASH, "nosync": True},
            root={"role": "operator"},
        )
        == []
    )


def test_a_password_in_place_of_its_hash_is_refused_and_not_shown() -> None:
    path, message = only(problems(olga={"role": "operator", "hash": "secret"}))
    assert path == ("users", "olga", "hash")
    assert message == (
        "a password hash is not of the form scrypt$15$8$1$SALT$HASH; `appliance user password` makes one"
    )


def test_a_hash_that_would_cost_too_much_is_refused() -> None:
    path, message = only(problems(olga={"role": "operator", "hash": HASH.replace("$15$", "$20$")}))
    assert path == ("users", "olga", "hash")
    assert "asks for costs 20, 8, 1" in message


@pytest.mark.parametrize("entry", [{"role": "viewer"}, {"role": "operator", "disabled": True}])
def test_root_cannot_be_restricted(entry: dict[str, Any]) -> None:
    path, message = only(problems(root=entry))
    assert path == ("users", "root")
    assert "root of this machine may do everything, whatever is here" in message


def test_a_user_for_other_nodes_needs_a_password() -> None:
    path, message = only(problems(push={"role": "sync", "nosync": True}))
    assert path == ("users", "push", "role")
    assert "add its hash, `appliance user password` makes one" in message


def test_a_user_for_other_nodes_belongs_to_one_node() -> None:
    path, message = only(problems(push={"role": "sync", "hash": HASH}))
    assert path == ("users", "push", "role")
    assert "add nosync = true" in message


def test_a_wrong_key_is_named_at_its_place() -> None:
    path, message = only(problems(olga={"role": "operator", "ssh_keys": [ED25519, ED25519[:-8]]}))
    assert path == ("users", "olga", "ssh_keys", 1)
    assert message == "the key is cut off or damaged: copy the line of the .pub file again"


def test_a_key_is_given_once() -> None:
    path, message = only(problems(olga={"role": "viewer", "ssh_keys": [f"{ED25519} desk", f"{ED25519} home"]}))
    assert (path, message) == (("users", "olga", "ssh_keys", 1), "this key is there twice: remove one of them")


def test_two_people_may_share_a_machine_and_its_key() -> None:
    assert (
        problems(olga={"role": "operator", "ssh_keys": [ED25519]}, eve={"role": "viewer", "ssh_keys": [ED25519]}) == []
    )


@pytest.mark.parametrize(
    ("name", "entry", "said"),
    [
        ("root", {"role": "operator"}, "root does not log in over SSH"),
        ("push", {"role": "sync", "hash": HASH, "nosync": True}, "a user of the role sync does not log in"),
    ],
)
def test_keys_of_those_who_never_log_in_are_refused(name: str, entry: dict[str, Any], said: str) -> None:
    path, message = only(problems(**{name: {**entry, "ssh_keys": [ED25519]}}))
    assert path == ("users", name, "ssh_keys")
    assert message.startswith(said)
