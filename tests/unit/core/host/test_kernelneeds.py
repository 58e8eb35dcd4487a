"""What a configuration needs of the kernel is tried before it is accepted."""

from __future__ import annotations

import pytest

from appliance.config import Config, Model
from appliance.errors import ConfigError
from appliance.host import kernelneeds
from appliance.host.discovery import Found
from appliance.host.kernelneeds import missing, probe_kernel
from appliance.host.loading import ConfigLoader
from appliance.host.plugins import Plugins
from appliance.net.kernel import Support
from appliance.plugin import ConfigTable, KernelNeed, hookimpl

NODE = '[node]\nname = "fw1"\n'
NEED = KernelNeed(path=("bonds",), kind="bond", what_for="link aggregation")
ABSENT = Support(available=False, why="this kernel has no bond devices", fix="Load the module (`modprobe bonding`).")


class BondsTable(Model):
    count: int = 0


class Bonds:
    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="bonds", model=BondsTable, summary="x")

    @hookimpl
    def appliance_kernel(self, config: Config) -> list[KernelNeed]:
        return [NEED] if config[BondsTable].count else []


def loader(answer: Support | None, asked: list[str]) -> ConfigLoader:
    def probe(kind: str) -> Support | None:
        asked.append(kind)
        return answer

    return ConfigLoader(Plugins([Found(name="bonds", distribution="x", factory=Bonds)]), probe=probe)


def test_a_kernel_that_lacks_it_refuses_the_configuration_with_the_line_and_the_remedy() -> None:
    asked: list[str] = []
    with pytest.raises(ConfigError) as caught:
        loader(ABSENT, asked).strict(NODE + "[bonds]\ncount = 1\n", path="x.toml", old=None)
    assert "x.toml:3:1: bonds: link aggregation is not possible: this kernel has no bond devices" in str(caught.value)
    assert "modprobe bonding" in str(caught.value)
    assert asked == ["bond"]


def test_what_is_not_needed_or_in_use_already_is_not_tried() -> None:
    asked: list[str] = []
    made = loader(Support(available=True), asked)
    made.strict(NODE + "[bonds]\n", path="x", old=None)
    assert asked == []
    old = made.strict(NODE + "[bonds]\ncount = 1\n", path="x", old=None).config
    made.strict(NODE + "[bonds]\ncount = 2\n", path="x", old=old)
    assert asked == ["bond"]


def test_a_configuration_for_another_machine_is_not_judged_by_this_kernel() -> None:
    plugins = Plugins([Found(name="bonds", distribution="x", factory=Bonds)])
    loaded = ConfigLoader(plugins, probe=None).strict(NODE + "[bonds]\ncount = 1\n", path="x", old=None)
    assert list(loaded.warnings) == []


def test_who_may_not_try_is_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernelneeds, "has_cap_net_admin", lambda: False)
    (problem,) = missing([NEED], probe_kernel)
    assert (problem.severity, problem.path) == ("warning", ("bonds",))
    assert problem.message.startswith("whether link aggregation works here is not known")


def test_a_kind_that_nobody_can_try_is_an_error_of_the_plugin() -> None:
    (problem,) = missing([KernelNeed(path=("x",), kind="wormhole", what_for="travel")], probe_kernel)
    assert problem.message.startswith("travel is not possible: 'wormhole' is no kind of device")
