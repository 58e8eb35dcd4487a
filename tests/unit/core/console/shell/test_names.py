"""Names of what exists, in force and in the candidate."""

from pathlib import Path

from appliance.config.document import Document
from appliance.config.loader import load
from appliance.console.shell.names import SMALL, existing_names
from appliance.host.discovery import discover
from appliance.host.plugins import Plugins

TABLES = Plugins(discover()).tables()
MODELS = {table.name: table.model for table in TABLES.values()}
TEXT = (Path(__file__).parents[5] / "appliance.toml").read_text()
CONFIG = load(TEXT, path="appliance.toml", tables=TABLES)


def test_names_are_those_that_tables_offer() -> None:
    names = existing_names(CONFIG)
    assert names["interface"] == ("wan", "lan", "sync")
    assert names["vip"] == ("wan", "lan")
    assert names["user"] == ("admin",)
    assert "wan_gw" in names["gateway"]


def test_what_is_new_in_the_candidate_counts_too() -> None:
    candidate = Document(TEXT + '[interfaces.dmz]\ndevice = "dmz0"\n')
    assert existing_names(CONFIG, candidate, MODELS)["interface"] == ("wan", "lan", "sync", "dmz")


def test_half_of_an_edit_hides_nothing() -> None:
    candidate = Document(TEXT + "[interfaces.dmz]\nmtu = 1500\n[other]\nx = 1\n")
    assert existing_names(CONFIG, candidate, MODELS)["interface"] == ("wan", "lan", "sync")


def test_large_candidates_are_not_read_at_every_key() -> None:
    candidate = Document(TEXT + '[interfaces.dmz]\ndevice = "dmz0"\n' + "#" * SMALL)
    assert "dmz" not in existing_names(CONFIG, candidate, MODELS)["interface"]
