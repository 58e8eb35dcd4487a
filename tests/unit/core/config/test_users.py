"""The capability of declaring users is recognised by shape."""

from __future__ import annotations

import pytest

from appliance.config import Config, Model, ProvidesUsers, User, UserRole
from appliance.config.model import NodeTable
from appliance.config.users import console_problems


class Silent(Model):
    pass


class Speaking(Model):
    def users(self) -> dict[str, User]:
        return {}


def test_only_a_table_with_the_method_provides_users() -> None:
    assert isinstance(Speaking(), ProvidesUsers)
    assert not isinstance(Silent(), ProvidesUsers)


def test_the_hash_of_a_password_is_not_shown() -> None:
    assert "scrypt" not in repr(User(name="olga", role="operator", hash="scrypt$15$8$1$x$y"))


@pytest.mark.parametrize(("role", "may"), [("operator", True), ("sync", True), ("viewer", False)])
def test_who_may_change_something(role: UserRole, may: bool) -> None:
    assert User(name="olga", role=role).may_change is may
    assert not User(name="olga", role=role, disabled=True).may_change


class Listed(Model):
    role: UserRole = "operator"
    hash: str | None = "scrypt$15$8$1$x$y"
    disabled: bool = False

    def users(self) -> dict[str, User]:
        return {"olga": User(name="olga", role=self.role, hash=self.hash, disabled=self.disabled)}


@pytest.mark.parametrize(
    ("tables", "is_locked"),
    [
        ({"users": Listed()}, False),
        ({"users": Listed(role="viewer")}, True),
        ({"users": Listed(hash=None)}, True),
        ({"users": Listed(disabled=True)}, True),
        ({}, True),
    ],
)
def test_a_configuration_that_locks_everybody_out_of_the_console_is_refused(
    tables: dict[str, Model], is_locked: bool
) -> None:
    locked = Config(tables, node=NodeTable(name="fw1", console_login=True))
    assert [problem.path for problem in console_problems(locked)] == [("node", "console_login")] * is_locked
    assert console_problems(Config(tables, node=NodeTable(name="fw1"))) == []
