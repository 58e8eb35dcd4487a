"""Differences are found by table, by key and by line, and show no secret."""

from __future__ import annotations

import tomllib

from appliance.config import Config, Model
from appliance.config.diff import changed_tables, text_diff
from appliance.config.model import NodeTable
from appliance.config.redact import redact
from appliance.config.types import Secret


class Vip(Model):
    vhid: int
    password: Secret | None = None


class Carp(Model):
    vip: list[Vip] = []
    keys: list[Secret] = []


MODELS = {"carp": Carp}
OLD = '[carp]\nvip = [{ vhid = 1, password = "alpha" }] # one\n'


def config(text: str) -> Config:
    data = tomllib.loads(text)
    tables = {"carp": Carp.model_validate(data["carp"])} if "carp" in data else {}
    return Config(tables, node=NodeTable(name=data.get("name", "fw1")), text=text)


def test_tables_that_mean_the_same_are_unchanged_however_they_are_written() -> None:
    assert changed_tables(config(OLD), config('[[carp.vip]]\npassword = "alpha"\nvhid = 1\n')) == ()


def test_changed_added_and_removed_tables_are_named() -> None:
    assert changed_tables(config(OLD), config(OLD.replace("alpha", "beta"))) == ("carp",)
    assert changed_tables(config(""), config(OLD)) == ("carp",)
    assert changed_tables(config(OLD), config('name = "fw2"\n')) == ("node", "carp")
    assert changed_tables(None, config(OLD)) == ("node", "plugins", "carp")


def test_the_text_diff_shows_that_a_secret_changed_but_not_to_what() -> None:
    diff = text_diff(OLD, OLD.replace("alpha", "beta"), MODELS, old_name="1", new_name="2")
    assert diff.split("\n")[-2:] == [
        '-vip = [{ vhid = 1, password = "********** (old)" }] # one',
        '+vip = [{ vhid = 1, password = "********** (new)" }] # one',
    ]
    assert text_diff(OLD, OLD, MODELS, old_name="1", new_name="2") == ""


def test_redacted_text_keeps_everything_else_as_written() -> None:
    text = '# top\n[carp]\nkeys = [ "a", """\nb""", ]\n[[carp.vip]]\nvhid = 0x01 # hex\n"password"  =  \'x\'\n'
    assert redact(text, MODELS) == (
        '# top\n[carp]\nkeys = [ "**********", "**********"\n, ]\n'
        '[[carp.vip]]\nvhid = 0x01 # hex\n"password"  =  "**********"\n'
    )


def test_a_table_in_place_of_a_secret_is_redacted_whole() -> None:
    assert "hunter" not in redact('[carp.vip]\n[carp.keys]\n[[x]]\npassword = { a = "hunter" }\n', MODELS)
    assert "hunter" not in redact('[[carp.vip]]\n[carp.vip.password]\na = "hunter"\n', MODELS)
