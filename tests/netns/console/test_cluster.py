"""The shell at a cluster: the role in the prompt, and what the other node makes of a commit."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.lab import Lab
from appliance.lab.waiting import wait_until
from tests.netns.console.ptys import Person
from tests.netns.sync.clusters import ARRIVE_S, cluster, in_sync

pytestmark = [pytest.mark.netns, pytest.mark.slow]


@pytest.fixture(scope="module")
def pair() -> Iterator[Lab]:
    """Two nodes that are paired and in sync."""
    with cluster() as lab:
        yield lab


def has(lab: Lab, node: str, text: str) -> bool:
    """Whether the configuration in force on a node has a text."""
    return text in lab.request(node, "config", "show")["text"]


def test_a_commit_says_what_became_of_it_on_the_other_node(pair: Lab, tmp_path: Path) -> None:
    with Person(pair.socket("fw1"), tmp_path) as olga:
        olga.gets_prompt("fw1[MASTER]>")
        olga.enters("configure")
        olga.gets_prompt("fw1[MASTER]#")
        olga.enters("set firewall rule 1 interface lan")
        olga.gets_prompt("fw1[MASTER]#")
        olga.enters("set firewall rule 1 action pass")
        olga.gets_prompt("fw1[MASTER]#")
        olga.enters('set firewall rule 1 description "from the shell"')
        olga.gets_prompt("fw1[MASTER]#")
        olga.enters("commit")
        olga.sees("is in force; changed: firewall")
        olga.sees("fw2: in-sync")
        assert has(pair, "fw2", "from the shell")
        olga.gets_prompt("fw1[MASTER]#")
        olga.enters("compare peer")
        olga.gets_prompt("fw1[MASTER]#")


def test_a_commit_that_nobody_confirms_is_gone_on_both_nodes(pair: Lab, tmp_path: Path) -> None:
    with Person(pair.socket("fw1"), tmp_path, "configure") as olga:
        olga.gets_prompt("fw1[MASTER]#")
        olga.enters('set firewall rule 0 description "for a moment"')
        olga.gets_prompt("fw1[MASTER]#")
        olga.enters("commit confirmed 0.1")
        olga.sees("fw2: gets it when it is confirmed")
        olga.sees("rolls back in 0:0")
        assert has(pair, "fw1", "for a moment")
        for name in ("fw1", "fw2"):
            wait_until(lambda name=name: not has(pair, name, "for a moment"), f"{name} is as before", ARRIVE_S + 10)
        in_sync(pair)
        assert not has(pair, "fw2", "for a moment")


def test_the_log_has_what_services_in_processes_of_their_own_have_written(pair: Lab) -> None:
    rows = pair.request("fw1", "show", "log", "--count", "2000")
    assert {"carp/heartbeat", "xmlrpc-sync/sender"} <= {row.get("service") for row in rows}


def test_the_role_in_the_prompt_is_live(pair: Lab, tmp_path: Path) -> None:
    with Person(pair.socket("fw1"), tmp_path) as olga:
        olga.gets_prompt("fw1[MASTER]>")
        pair.exec("fw1", "appliance", "ha", "maintenance", "on")
        olga.gets_prompt("fw1[BACKUP]>")
        olga.enters("ha maintenance off")
        olga.gets_prompt("fw1[MASTER]>")
