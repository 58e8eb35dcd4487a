"""Who is let in at the console: everybody, or operators who know their password; and nobody is locked out."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from appliance.console.wizard.askers import Terminal
from appliance.errors import UsageError
from appliance.identity.passwords import hash_password
from appliance_images import login

PASSWORD = "correct horse"
NODE = '[node]\nname = "fw1"\nconsole_login = true\n'


@pytest.fixture(scope="module")
def hashed() -> str:
    return hash_password(PASSWORD)


def users(hashed: str) -> str:
    return (
        f'[users.olga]\nrole = "operator"\nhash = "{hashed}"\n'
        f'[users.eve]\nrole = "viewer"\nhash = "{hashed}"\n'
        f'[users.gone]\nrole = "operator"\nhash = "{hashed}"\ndisabled = true\n'
    )


@pytest.mark.parametrize(
    "text", ["", "[node", '[node]\nname = "fw1"\n', '[node]\nname = "fw1"\nconsole_login = false\n']
)
def test_the_console_is_open_unless_a_readable_configuration_says_otherwise(text: str, tmp_path: Path) -> None:
    path = tmp_path / "appliance.toml"
    assert login.accounts_of(path).is_open
    path.write_text(text)
    assert login.accounts_of(path).is_open


def test_only_operators_get_in_and_wrong_passwords_take_ever_longer(hashed: str, tmp_path: Path) -> None:
    path = tmp_path / "appliance.toml"
    path.write_text(NODE + users(hashed))
    accounts = login.accounts_of(path)
    assert set(accounts.hashes) == {"olga"}
    typed = iter([PASSWORD, PASSWORD, "wrong", PASSWORD])
    slept: list[float] = []
    screen = io.StringIO()
    asker = Terminal(io.StringIO("eve\ngone\nolga\nolga\n"), screen)
    assert login.let_in(accounts, asker, slept.append, lambda _: next(typed)) == "olga"
    assert slept == [1.0, 2.0, 4.0]
    assert hashed not in screen.getvalue()
    assert hashed not in repr(accounts)


def test_the_end_of_the_input_is_no_way_in(hashed: str) -> None:
    accounts = login.Accounts(is_open=False, hashes={"olga": hashed})
    with pytest.raises(UsageError):
        login.let_in(accounts, Terminal(io.StringIO(""), io.StringIO()), lambda _: None, lambda _: PASSWORD)


def test_a_hash_that_means_nothing_opens_nothing() -> None:
    assert not login.is_known(login.Accounts(hashes={"olga": "hand-written"}), "olga", PASSWORD)
