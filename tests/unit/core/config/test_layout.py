"""New tables stand where they belong; nothing else of a text moves."""

import json
import tomllib
from typing import Any

import pytest

from appliance.config.layout import block_end, with_new_tables, with_renamed
from appliance.config.positions import locate

TEXT = """\
[interfaces.lan]
device = "lan0"      # the first card

# what may pass
[firewall]
log = true

[[firewall.rule]]
interface = "lan"

# the end
"""


def written(path: tuple[str, ...], value: Any) -> str:
    """Something with the right header; the contents do not matter here."""
    name = ".".join(path)
    header = f"[[{name}]]" if isinstance(value, list) else f"[{name}]"
    item = value[0] if isinstance(value, list) else value
    return f"{header}\n" + "".join(f"{key} = {json.dumps(each)}\n" for key, each in item.items())


def added(path: tuple[str, ...], value: Any) -> str:
    """What is different from the text, with one line around it."""
    old = tomllib.loads(TEXT)
    new = tomllib.loads(TEXT)
    at = new
    for part in path[:-1]:
        at = at.setdefault(part, {})
    at[path[-1]] = value if not isinstance(value, list) else [*at.get(path[-1], []), *value]
    text = with_new_tables(TEXT, old, new, written)
    assert tomllib.loads(text) == new
    kept = text.split("\n")
    assert [line for line in TEXT.split("\n") if line not in kept] == []
    return text


def test_a_new_table_stands_behind_its_sisters_and_not_behind_the_comment_of_the_next_table() -> None:
    text = added(("interfaces", "wan"), {"device": "wan0"})
    assert '# the first card\n\n[interfaces.wan]\ndevice = "wan0"\n\n# what may pass\n[firewall]' in text


def test_a_new_item_stands_behind_the_last_one() -> None:
    text = added(("firewall", "rule"), [{"interface": "wan"}])
    assert text.endswith('interface = "lan"\n\n# the end\n\n[[firewall.rule]]\ninterface = "wan"\n')


def test_a_new_top_table_stands_at_the_end() -> None:
    assert added(("carp",), {"preempt": True}).rstrip().endswith("[carp]\npreempt = true")


def test_into_an_empty_text_goes_just_the_table() -> None:
    assert with_new_tables("", {}, {"carp": {"preempt": True}}, written) == "[carp]\npreempt = true\n"


@pytest.mark.parametrize(("path", "end"), [(("interfaces",), 2), (("firewall",), 11), (("firewall", "log"), 6)])
def test_a_block_ends_before_what_is_about_the_next_and_the_last_one_with_the_text(
    path: tuple[str, ...], end: int
) -> None:
    assert block_end(locate(TEXT), TEXT.split("\n"), path) == end


def test_a_table_and_all_tables_in_it_get_another_name() -> None:
    text = "[a.b] # one\nx = 1\n[[a.b.c]]\n[a.bb]\n[ a . b . d ]\n"
    assert with_renamed(text, ("a", "b"), "new name") == (
        '[a."new name"] # one\nx = 1\n[[a."new name".c]]\n[a.bb]\n[a."new name".d]\n'
    )
