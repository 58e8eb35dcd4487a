"""Every hook is documented with its exact signature and implemented by a plugin that is tested."""

from __future__ import annotations

import inspect
import re

import pytest

from appliance.plugin import hookspecs
from appliance.testing.conformance import hooks
from tests.meta.source import ROOT

DOCUMENT = (ROOT / "docs" / "hooks.md").read_text()
TESTED = "\n".join(
    path.read_text() for folder in ("tests", "examples") for path in sorted((ROOT / folder).rglob("*.py"))
)


@pytest.mark.parametrize("hook", sorted(hooks()))
def test_hooks_are_documented_with_their_signature(hook: str) -> None:
    signature = str(hooks()[hook]).replace("'", "")
    assert f"{hook}{signature}" in DOCUMENT


def test_the_documentation_names_no_hook_that_does_not_exist() -> None:
    assert set(re.findall(r"^### `(appliance_\w+)", DOCUMENT, re.M)) == set(hooks())


@pytest.mark.parametrize("hook", sorted(hooks()))
def test_hooks_are_implemented_by_a_tested_plugin(hook: str) -> None:
    assert re.search(rf"def {hook}\(", TESTED)


@pytest.mark.parametrize("hook", sorted(hooks()))
def test_hooks_explain_themselves(hook: str) -> None:
    text = inspect.getdoc(getattr(hookspecs, hook)) or ""
    assert text.splitlines()[0].endswith(".")
    for parameter in hooks()[hook].parameters:
        assert parameter in text or len(hooks()[hook].parameters) == 1
