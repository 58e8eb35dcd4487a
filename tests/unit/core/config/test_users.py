"""The capability of declaring users is recognised by shape."""

from __future__ import annotations

import pytest

from appliance.config import Model, ProvidesUsers, User, UserRole


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
