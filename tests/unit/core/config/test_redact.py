"""Secrets are replaced where they stand; lines keep their numbers."""

from __future__ import annotations

from appliance.config import Model
from appliance.config.positions import locate
from appliance.config.redact import REDACTED, redact, redact_line, redact_paths
from appliance.config.types import Secret


class Table(Model):
    key: Secret | None = None
    plain: str = ""


def test_only_secrets_are_replaced() -> None:
    text = "[t]\nkey = 'a' # why\nplain = 'b'\n"
    assert redact(text, {"t": Table}) == f"[t]\nkey = {REDACTED} # why\nplain = 'b'\n"


def test_a_secret_over_several_lines_keeps_the_numbers_of_the_lines_below() -> None:
    shown = redact("[t]\nkey = '''\na\nb'''\nplain = 'c'\n", {"t": Table})
    assert shown.split("\n")[4] == "plain = 'c'"
    assert "b" not in shown


def test_single_paths_can_be_marked_and_nested_values_are_replaced_once() -> None:
    found = locate("a = [1, [2, 3]]\nb = 4\n")
    assert redact_paths(found, {("a",), ("b",)}, {("b",): "?"}) == f"a = {REDACTED}\nb = ?\n"


def test_a_line_that_is_not_toml_is_judged_by_the_name_of_its_key() -> None:
    assert redact_line('password = "hunter2') == f"password = {REDACTED}"
    assert redact_line('device = "eth0') == 'device = "eth0'
    assert redact_line("# password = x") == "# password = x"
