"""A node's kernel made ready, in a network namespace of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.net.conntrack import Injector, count, limit, node, prepare_node
from tests.netns.net.conntrack.connections import connection, create

pytestmark = pytest.mark.netns

Inside = Callable[[Callable[[], Any]], Any]
SYSCTLS = Path("/proc/sys/net/netfilter")


def sysctl(inside: Inside, name: str) -> str:
    value: str = inside((SYSCTLS / f"nf_conntrack_{name}").read_text)
    return value.strip()


def test_entries_are_counted_per_namespace(inside: Inside) -> None:
    with inside(Injector) as injector:
        create(injector, [connection(number) for number in range(3)])
    assert inside(count) == 3
    assert inside(limit) == int(sysctl(inside, "max"))


def test_a_kernel_without_connection_tracking_counts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "_SYSCTLS", tmp_path)
    assert (count(), limit()) == (0, 0)
    (tmp_path / "nf_conntrack_count").write_text("many\n")
    assert count() == 0


def test_what_taking_over_needs_is_set(inside: Inside) -> None:
    inside(lambda: (SYSCTLS / "nf_conntrack_tcp_loose").write_text("0"))
    assert inside(lambda: prepare_node(None)) == []
    assert [sysctl(inside, name) for name in ("tcp_be_liberal", "tcp_loose", "events")] == ["1", "1", "1"]
    assert inside(lambda: prepare_node(None)) == []


def test_a_limit_that_cannot_be_set_here_is_told(inside: Inside) -> None:
    there = inside(limit)
    [trouble] = inside(lambda: prepare_node(there + 1))
    assert trouble == (
        f"net.netfilter.nf_conntrack_max could not be set to {there + 1} (Permission denied): it stays {there}."
    )
    assert inside(lambda: prepare_node(there)) == []


def test_what_is_missing_is_told_in_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "_SYSCTLS", tmp_path)
    monkeypatch.setattr(node, "_HASH_SIZE", tmp_path / "hashsize")
    troubles = prepare_node(1000)
    assert len(troubles) == 5
    assert all(trouble.endswith(".") and "No such file or directory" in trouble for trouble in troubles)


def test_the_hash_table_grows_with_the_limit_and_never_shrinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"tcp_be_liberal": 1, "tcp_loose": 1, "events": 1, "max": 10, "buckets": 10}.items():
        (tmp_path / f"nf_conntrack_{name}").write_text(f"{value}\n")
    (tmp_path / "hashsize").write_text("10")
    monkeypatch.setattr(node, "_SYSCTLS", tmp_path)
    monkeypatch.setattr(node, "_HASH_SIZE", tmp_path / "hashsize")
    assert prepare_node(5000) == []
    assert (tmp_path / "nf_conntrack_max").read_text().strip() == "5000"
    assert (tmp_path / "hashsize").read_text() == "5000"
    (tmp_path / "nf_conntrack_buckets").write_text("5000")
    assert prepare_node(20) == []
    assert (tmp_path / "hashsize").read_text() == "5000"


def test_importing_the_package_costs_nothing() -> None:
    code = (
        "import sys; from appliance.net import conntrack; few = {*sys.modules};"
        "from appliance.net.conntrack import Asker, Dump, EventSocket, Injector, count;"
        "print('appliance.net.conntrack.messages' in few, {'trio', 'numpy', 'pyroute2'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["False", "set()"]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        node_package().nothing  # noqa: B018


def node_package() -> Any:
    from appliance.net import conntrack

    return conntrack
