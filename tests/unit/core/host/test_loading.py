"""Plugins are enabled by the configuration that is in force, and by no candidate that was refused."""

from __future__ import annotations

import pytest

from appliance.config import Config, Model
from appliance.errors import ConfigError, Problem
from appliance.host.discovery import Found
from appliance.host.loading import ConfigLoader
from appliance.host.plugins import Plugins
from appliance.plugin import ConfigTable, SyncSection, hookimpl

NODE = '[node]\nname = "fw1"\n'


class AlphaTable(Model):
    value: int = 0


class Alpha:
    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="alpha", model=AlphaTable, summary="x")

    @hookimpl
    def appliance_verify(self, config: Config, old: Config | None) -> list[Problem]:
        if old is not None and old[AlphaTable].value > config[AlphaTable].value:
            return [Problem(path=("alpha", "value"), message="only grows")]
        return []


class Newer:
    api = (99, 0)


def explode() -> object:
    raise ImportError("no libx")


def made(*, blocked: tuple[str, ...] = ()) -> tuple[Plugins, ConfigLoader]:
    plugins = Plugins(
        [
            Found(name="alpha", distribution="alpha-dist", factory=Alpha),
            Found(name="bro-ken", distribution="broken-dist", factory=explode),
            Found(name="newer", distribution="newer-dist", factory=Newer),
        ],
        blocked=blocked,
    )
    return plugins, ConfigLoader(plugins)


def enabled(plugins: Plugins) -> list[str]:
    return [entry.name for entry in plugins.entries if entry.enabled]


def test_an_accepted_text_enables_and_a_refused_one_changes_nothing() -> None:
    plugins, loader = made()
    first = loader.strict(NODE + "[alpha]\nvalue = 5\n", path="x", old=None).config
    assert enabled(plugins) == ["alpha"]
    with pytest.raises(ConfigError, match="only grows"):
        loader.strict(NODE + "[alpha]\nvalue = 4\n", path="x", old=first)
    with pytest.raises(ConfigError):
        loader.strict(NODE + "[nobody]\n", path="x", old=first)
    assert enabled(plugins) == ["alpha"]
    loader.strict(NODE, path="x", old=None)
    assert enabled(plugins) == []


def test_tables_of_plugins_that_are_not_loaded_are_told_with_their_distribution() -> None:
    _, loader = made()
    with pytest.raises(ConfigError) as caught:
        loader.strict(NODE + "[bro_ken]\n[newer]\n", path="x", old=None)
    assert "bro_ken: cannot be read: the plugin bro-ken of broken-dist is broken: ImportError: no libx" in str(
        caught.value
    )
    assert "newer: cannot be read: the plugin newer of newer-dist is refused: it is written for plugin API 99.0" in str(
        caught.value
    )


def test_the_table_of_a_blocked_plugin_has_no_effect() -> None:
    plugins, loader = made(blocked=("alpha",))
    loaded = loader.strict(NODE + '[alpha]\nwhatever = 1\n[plugins]\nblocked = ["alpha"]\n', path="x", old=None)
    assert "alpha: has no effect: the plugin alpha is in [plugins] blocked" in loaded.warnings[0]
    assert enabled(plugins) == []


def test_a_tolerant_load_refuses_the_plugin_of_a_wrong_table() -> None:
    plugins, loader = made()
    loaded = loader.tolerant(NODE + "[alpha]\nvalue = 'x'\n", path="x")
    assert list(loaded.config) == []
    (entry,) = [entry for entry in plugins.entries if entry.name == "alpha"]
    assert str(entry.state) == "refused"
    assert "x:4:1: alpha.value" in str(entry.error)


def test_a_required_plugin_that_does_not_run_is_a_warning_at_its_line() -> None:
    _, loader = made()
    loaded = loader.strict(NODE + '[plugins]\nrequired = ["alpha", "bro-ken"]\n[alpha]\n', path="x", old=None)
    assert loaded.warnings == (
        "x:4:22: warning: plugins.required[1]: the plugin bro-ken of broken-dist could not be loaded; "
        'the node will stay demoted\n     4 | required = ["alpha", "bro-ken"]',
    )


def test_models_are_known_by_table_for_redaction() -> None:
    assert made()[1].models() == {"alpha": AlphaTable}


class Off(Model):
    """Names sections."""

    off: list[str] = []

    def named_sections(self) -> dict[tuple[str | int, ...], str]:
        return {("off", "off", place): name for place, name in enumerate(self.off)}


class Sections:
    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="off", model=Off, summary="x")

    @hookimpl
    def appliance_sync_sections(self) -> list[SyncSection]:
        return [SyncSection(name="rules", keys=(("alpha", "rule"),))]


def test_a_section_that_nobody_declares_is_refused_with_its_line_and_those_there_are() -> None:
    loader = ConfigLoader(Plugins([Found(name="off", distribution="d", factory=Sections)]))
    loader.strict(NODE + '[off]\noff = ["rules"]\n', path="x", old=None)
    with pytest.raises(ConfigError) as refused:
        loader.strict(NODE + '[off]\noff = ["rules",\n  "ruls"]\n', path="x", old=None)
    assert refused.value.message.startswith("x:5:3: off.off[1]: there is no section 'ruls'; there are rules\n")
