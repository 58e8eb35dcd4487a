"""Who may do what over the control socket."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from appliance.config import Config, Model, User
from appliance.config.model import NodeTable
from appliance.control.access import Access, Caller
from appliance.errors import RefusedError
from appliance.plugin import Command

ROOT = Caller(name="root", trusted=True)
HEAD = '[node]\nname = "fw1"\n'


class People(Model):
    """``[users]``, as some plugin may declare it."""

    names: dict[str, Any]

    def users(self) -> dict[str, User]:
        return {name: User(name=name, **values) for name, values in self.names.items()}


def access(names: dict[str, Any] | None = None, text: str = "") -> Access:
    tables: dict[str, Model] = {} if names is None else {"users": People(names=names)}
    config = Config(tables, node=NodeTable(name="fw1"), text=text)
    return Access(lambda: config)


def command(*, reads: bool = False) -> Command:
    return Command(path=("states", "flush"), help="", run=print, reads=reads)


def let_in(access: Access, caller: Caller) -> None:
    trio.run(access.refuse_stranger, caller)


def refused(access: Access, name: str) -> RefusedError:
    with pytest.raises(RefusedError) as error:
        let_in(access, Caller(name=name))
    return error.value


@pytest.mark.parametrize("names", [None, {}])
def test_without_users_every_member_of_the_group_may_do_everything(names: dict[str, Any] | None) -> None:
    made = access(names, HEAD)
    let_in(made, Caller(name="anybody"))
    made.refuse_change(Caller(name="anybody"), command())


def test_an_operator_may_do_everything() -> None:
    made = access({"olga": {"role": "operator"}})
    let_in(made, Caller(name="olga"))
    made.refuse_change(Caller(name="olga"), command())


def test_a_viewer_may_look() -> None:
    made = access({"eve": {"role": "viewer"}})
    let_in(made, Caller(name="eve"))
    made.refuse_change(Caller(name="eve"), command(reads=True))
    with pytest.raises(RefusedError, match="the user eve may only look; `states flush` changes something") as error:
        made.refuse_change(Caller(name="eve"), command())
    assert 'role = "operator" in [users.eve]' in error.value.hint


def test_a_command_that_does_not_say_what_it_does_changes_something() -> None:
    assert not Command(path=("x",), help="", run=print).reads


def test_somebody_unknown_is_refused_as_soon_as_there_is_one_user() -> None:
    error = refused(access({"olga": {"role": "operator"}}), "mallory")
    assert error.message == "there is no user mallory in [users]"
    assert '[users.mallory] with role = "operator" or role = "viewer"' in error.hint


def test_a_disabled_user_is_refused() -> None:
    made = access({"olga": {"role": "operator", "disabled": True}})
    error = refused(made, "olga")
    assert error.message == "the user olga is disabled"
    assert "[users.olga]" in error.hint
    with pytest.raises(RefusedError):
        made.refuse_change(Caller(name="olga"), command())


def test_a_user_for_other_nodes_has_nothing_to_do_here() -> None:
    error = refused(access({"push": {"role": "sync"}}), "push")
    assert error.message == "the user push has the role sync, which is for calls of other nodes only"
    assert error.hint


def test_root_may_do_everything_whatever_the_configuration_says() -> None:
    for made in (
        access({"root": {"role": "viewer", "disabled": True}}),
        access({"olga": {"role": "operator"}}),
        access(None, HEAD + "[users.eve]\n"),
    ):
        let_in(made, ROOT)
        made.refuse_change(ROOT, command())


def test_a_table_that_is_not_in_force_opens_the_node_to_nobody() -> None:
    made = access(None, HEAD + '[users.eve]\nrole = "viewr"\n')
    for _ in range(2):  # the file is parsed once
        error = refused(made, "eve")
        assert "the table [users] of this node is not in force, so only root may control it" in error.message
        assert "appliance config reload" in error.hint


def test_every_decision_is_made_with_the_configuration_in_force() -> None:
    configs = [
        Config({"users": People(names={"olga": {"role": role}})}, node=NodeTable(name="fw1"))
        for role in ("operator", "viewer")
    ]
    made = Access(lambda: configs[0])
    made.refuse_change(Caller(name="olga"), command())
    configs.pop(0)
    with pytest.raises(RefusedError):
        made.refuse_change(Caller(name="olga"), command())
