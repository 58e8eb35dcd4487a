"""Set elements without `nft`, and how it is noticed that somebody has flushed the ruleset."""

from __future__ import annotations

import errno
import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from appliance.errors import KernelError
from appliance.net import nftset

pytestmark = pytest.mark.netns

Inside = Callable[[Callable[[], Any]], Any]
RULES = "table inet t {\n set names {\n type ifname\n }\n chain c {\n iifname @names drop\n }\n}\n"


def nft(*argv: str, rules: str = "") -> str:
    return subprocess.run(["nft", *argv], input=rules, capture_output=True, text=True, timeout=10, check=True).stdout


def listed() -> list[str]:
    rows = json.loads(nft("-j", "list", "set", "inet", "t", "names"))["nftables"]
    return [name for row in rows if "set" in row for name in row["set"].get("elem", [])]


def test_elements_come_and_go(inside: Inside) -> None:
    def work() -> None:
        nft("-f", "-", rules=RULES)
        keys = [nftset.interface_key(name) for name in ("lan0.v1", "wan0.v200")]
        with nftset.NetfilterSocket() as through:
            through.send(nftset.element_change("t", "names", keys, add=True))
            assert sorted(listed()) == ["lan0.v1", "wan0.v200"]
            through.send(nftset.element_change("t", "names", keys, add=True))
            through.send(nftset.element_change("t", "names", keys[:1], add=False))
            assert listed() == ["wan0.v200"]

    inside(work)


def test_a_flushed_ruleset_is_noticed_and_refusals_are_told_unless_tolerated(inside: Inside) -> None:
    def work() -> None:
        nft("-f", "-", rules=RULES)
        add = nftset.element_change("t", "names", [nftset.interface_key("lan0.v1")], add=True)
        with nftset.NetfilterSocket() as through:
            assert through.has_set("t", "names")
            assert not through.has_set("t", "others")
            nft("flush", "ruleset")
            assert not through.has_set("t", "names")
            through.send(add, tolerate=(errno.ENOENT,))
            with pytest.raises(KernelError, match="No such file"):
                through.send(add)
            nft("-f", "-", rules=RULES)
            assert through.has_set("t", "names")
            through.send(add)
            assert listed() == ["lan0.v1"]

    inside(work)
