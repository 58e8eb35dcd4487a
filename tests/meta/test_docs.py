"""Documents stay true: links lead somewhere, configurations load, commands exist."""

from __future__ import annotations

import functools
import re
import tomllib
from pathlib import Path

import pytest

from appliance.config.loader import load
from appliance.host.discovery import discover
from appliance.host.plugins import Plugins
from tests.meta.source import ROOT, tracked_files

DOCUMENTS = [path for path in tracked_files() if path.suffix == ".md"]
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```", re.M | re.S)
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\((?P<target>[^)\s]+)\)")
INLINE = re.compile(r"`(appliance [^`\n]+)`")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """The text without fenced blocks."""
    return FENCE.sub("", path.read_text())


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", prose(path), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    dead = []
    for found in LINK.finditer(prose(document)):
        target, _, anchor = found["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = (document.parent / target).resolve() if target else document
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            dead.append(found["target"])
    assert dead == []


def test_complete_configurations_load() -> None:
    for document in DOCUMENTS:
        for found in FENCE.finditer(document.read_text()):
            if found["info"].split() == ["toml", "complete"]:
                plugins = Plugins(discover())
                plugins.enable(tomllib.loads(found["body"]))
                verify = functools.partial(plugins.verify, old=None)
                load(found["body"], path=name(document), tables=plugins.tables(), verify=verify)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_code_that_names_its_file_is_in_that_file(document: Path) -> None:
    for found in FENCE.finditer(document.read_text()):
        match found["info"].split():
            case ["python", source]:
                assert found["body"] in (ROOT / source).read_text(), found["body"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_toml_in_documents_is_toml(document: Path) -> None:
    for found in FENCE.finditer(document.read_text()):
        if found["info"].split()[:1] == ["toml"]:
            tomllib.loads(found["body"])


def mentioned(path: Path) -> set[str]:
    lines = [
        line.strip().removeprefix("$ ").removeprefix("# ")
        for found in FENCE.finditer(path.read_text())
        if found["info"].split()[:1] in (["sh"], ["console"], ["shell"], ["bash"])
        for line in found["body"].splitlines()
    ]
    commands = [line for line in lines if line.startswith("appliance ")]
    return {*commands, *INLINE.findall(prose(path))}


def known_commands() -> set[tuple[str, ...]]:
    from appliance.console.commands import daemon_commands, local_commands

    plugins = Plugins(discover())
    plugins.enable(plugins.tables())
    own = [command.path for command in (*daemon_commands(), *local_commands())]
    # The example plugin is documented here but not installed here.
    return {*own, *(item.command.path for item in plugins.commands()), ("show", "hello")}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_commands_in_documents_exist(document: Path) -> None:
    known = known_commands()
    prefixes = {path[:length] for path in known for length in range(1, len(path) + 1)}
    unknown = []
    for line in sorted(mentioned(document)):
        words = [word for word in line.split()[1:] if not word.startswith("-")]
        alternatives = [[""]] if not words else [[]]
        for word in words[:3]:
            if not re.fullmatch(r"[a-z][a-z|/-]*", word):
                break
            alternatives = [[*head, part] for head in alternatives for part in re.split(r"[|/]", word)]
        for path in alternatives:
            matches = [length for length in range(1, len(path) + 1) if tuple(path[:length]) in known]
            if path not in ([], [""]) and not matches and tuple(path) not in prefixes:
                unknown.append(line)
    assert unknown == []


def test_documents_of_the_project_are_there() -> None:
    expected = {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/plugins.md", "docs/hooks.md", "docs/testing.md"}
    assert expected - {name(path) for path in DOCUMENTS} == set()
