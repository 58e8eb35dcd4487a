"""The shell without its terminal: one line in, output and a status out. Operational and configuration mode.

Lines come from a terminal (`terminal`), from a pipe, or from ``appliance -c`` (`linemode`).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import threading
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from appliance.console.colour import painter
from appliance.console.shell import node
from appliance.console.shell.choices import Choice
from appliance.console.shell.commandline import CommandLine, plain_values
from appliance.console.shell.pipes import Piping, piping
from appliance.console.shell.setlines import set_lines
from appliance.console.shell.snapshot import restored
from appliance.console.shell.sync import peers_after
from appliance.console.shell.verbs import PIPES, SHELL_COMMANDS, VERBS
from appliance.console.shell.words import Line, LineError, SecretMissingError, Word, split, understood
from appliance.control import client, wire
from appliance.errors import RefusedError, UnreachableError
from appliance.plugin.contributions import Command, Where

HIDDEN = frozenset({"shell"})
"""First words of commands that are only for this program; so are those below `configure` but one."""
FILE_MAX = 16 << 20
"""Bytes of a file that is loaded, as much as a configuration may have."""
CLEAR = "\x1b[H\x1b[2J"


class Left(Exception):  # noqa: N818 - it is no error
    """The shell was left."""


class Screen(Protocol):
    """Where output goes."""

    @property
    def width(self) -> int:
        """Columns; 0: not a terminal."""
        ...

    def show(self, lines: Iterator[str], *, pages: bool, paint: Callable[[str], str] = str) -> None:
        """Print lines as they come; `paint` adds colours to a line where there are any."""
        ...

    def clear(self) -> None:
        """Begin at the top again, where that can be."""
        ...


class Shell:
    """One person at one node.

    Args:
        path: The control socket.
        screen: Where output goes.
        seen: What is known of the node, for refreshing what is completed.
        on_notice: Called, in another thread, when there is a new notice.
    """

    def __init__(
        self,
        path: str,
        screen: Screen,
        seen: Callable[[], node.Seen] = node.Seen,
        on_notice: Callable[[], None] = lambda: None,
    ) -> None:
        self._path, self._screen, self._seen, self._on_notice = path, screen, seen, on_notice
        self._known: dict[tuple[int, bool, tuple[str, ...]], CommandLine] = {}
        self._lock = threading.Lock()
        self.link: node.EditingLink | None = None
        """The editing session; `None` in operational mode."""
        self.notices: list[str] = []
        """What others have done, to be told above the prompt or before the next one."""
        self.has_secret = False
        """The last line had a secret in it."""
        self._status = 0

    # --- one line -------------------------------------------------------------------------------------------

    def execute(self, text: str, *, as_json: bool = False) -> int:
        """Do what a line says, and print what there is to print; its exit status.

        Raises:
            LineError: It was not understood, with the place.
            ApplianceError: It failed.
            Left: The shell is to end.
        """
        self.has_secret, self._status = False, 0
        line = understood(text)
        if (not line.words and not line.pipes) or text.lstrip().startswith("#"):
            return 0
        pipes = piping(line)
        if as_json:
            pipes = Piping(format="json", filters=pipes.filters, pages=pipes.pages)
        if self.link is not None:
            self._configure(self.link, line, pipes)
        else:
            self._operate(line.words, len(line.before_pipes), pipes)
        return self._status

    def complete(self, text: str) -> tuple[list[Choice], int]:
        """What the end of a line may become, and where its last word begins.

        Raises:
            ApplianceError: The node does not answer, or the line cannot go on.
        """
        line = split(text)
        before, typed = line.partial()
        if line.pipes:
            return CommandLine(PIPES).complete(before, typed), typed.start
        if self.link is None:
            return self._completed(before, typed), typed.start
        if before and before[0].text in ("ru", "run"):
            return self._completed(before[1:], typed), typed.start
        answer = self.link.complete(text)
        _refuse(answer)
        rows = answer.get("choices", ())
        return [Choice(text=row["text"], help=row["help"], is_value=row["is_value"]) for row in rows], answer["start"]

    def _completed(self, before: Sequence[Word], typed: Word) -> list[Choice]:
        return self.commands(before[0].text if before else "").complete(before, typed)

    def commands(self, first: str = "") -> CommandLine:
        """The commands of operational mode, as they are now.

        Args:
            first: The first word of a line, or its beginning. Of the commands of this machine only those are loaded
                that it may mean: all of them take half a second.
        """
        from appliance.console import commands as own

        heads = tuple(head for head in own.LOCAL_HEADS if head.startswith(first))
        with self._lock:
            known = (self._seen().revision, self._seen().role == "", heads)
            if known not in self._known:
                self._known = {each: line for each, line in self._known.items() if each[:2] == known[:2]}
                self._known[known] = self._read_commands(heads)
            return self._known[known]

    # --- operational mode -----------------------------------------------------------------------------------

    def _operate(self, words: Sequence[Word], end: int, pipes: Piping) -> None:
        commands = self.commands(words[0].text if words else "")
        argv = commands.argv(words, end)
        match argv:
            case ["exit" | "quit"]:
                raise Left
            case ["configure", *how] if not how or how == ["exclusive"]:
                self.configure(exclusive=bool(how))
                return
        command = commands.parse(words, end).command
        if "--json" in argv:
            pipes = Piping(format="json", filters=pipes.filters, pages=pipes.pages)
        lines = self._locally(argv, pipes) if command.where is Where.LOCAL else self._asked(argv, pipes)
        follows = "--follow" in argv or argv[0] == "monitor"
        paint = painter(argv, os.environ) if pipes.format == "text" else str
        self._screen.show(pipes.applied(lines), pages=pipes.pages and not follows, paint=paint)

    def _asked(self, argv: list[str], pipes: Piping) -> Iterator[str]:
        live = argv[0] == "monitor"
        for reply in client.request(self._path, argv, json=pipes.format != "text", width=self._screen.width):
            match reply:
                case wire.Data(data=data):
                    yield from _as_set(argv, data) if pipes.format == "set" else _as_json(data)
                case wire.Text(text=text):
                    if live:
                        self._screen.clear()
                    yield from text.split("\n")
                case wire.Failure():
                    raise node.NodeFailedError(reply)
                case wire.RunLocally():
                    yield from self._locally(argv, pipes)
                case wire.Exit(status=status):
                    self._status = status

    def _locally(self, argv: list[str], pipes: Piping) -> Iterator[str]:
        """A command of this machine. It has the terminal, unless its output is to be filtered."""
        from appliance.console import local

        parsed = local.grammar(argv[0]).parse([*argv, *(["--json"] if pipes.format == "json" else [])])
        if not pipes.filters:
            self._status = local.run(parsed)
            return
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            self._status = local.run(parsed)
        yield from output.getvalue().rstrip("\n").split("\n")

    def _read_commands(self, heads: Sequence[str]) -> CommandLine:
        from appliance.console import commands as own

        local = [*SHELL_COMMANDS, *(command for head in heads for command in own.local_commands(head))]
        try:
            answer = node.data(self._path, ["shell", "grammar"])
        except UnreachableError:
            return CommandLine([*own.daemon_commands(), *local])
        found = [restored(each) for each in answer["commands"]]
        taken = {command.path for command in local}
        shown = [each for each in found if each.path not in taken and not _is_hidden(each)]
        return CommandLine([*shown, *local], plain_values(answer["names"]))

    # --- configuration mode -----------------------------------------------------------------------------------

    def configure(self, *, exclusive: bool = False) -> None:
        """Go to configuration mode."""
        self.link = node.EditingLink(self._path, exclusive=exclusive, notice=self.tell)
        for other in self.link.others:
            self._say(f"{other}.")

    def tell(self, text: str) -> None:
        """Something that somebody else, or the node itself, has done; also from another thread."""
        self.notices.append(text)
        self._on_notice()

    def leave(self) -> None:
        """Go back to operational mode; what is not committed is gone."""
        if self.link is not None:
            self.link.close()
            self.link = None

    def _configure(self, link: node.EditingLink, line: Line, pipes: Piping) -> None:
        command = CommandLine(VERBS).parse(line.words, len(line.before_pipes)).command
        if command.where is Where.LOCAL:
            self._here(link, command, line, pipes)
            return
        answer = link.line(line.before_pipes, format=pipes.format)
        self.has_secret = bool(answer.get("secret"))
        _refuse(answer)
        self._print(answer, pipes)
        if answer.get("revision"):
            self._screen.show(
                peers_after(self._path, int(answer["revision"]), is_pending=bool(answer.get("pending"))), pages=False
            )

    def _here(self, link: node.EditingLink, command: Command, line: Line, pipes: Piping) -> None:
        """Verbs of the shell itself."""
        words = line.words[len(command.path) :]
        match command.path:
            case ("run",):
                self._operate(words, len(line.before_pipes), pipes)
            case ("help",):
                self._screen.show(iter(f"{' '.join(each.path):<18} {each.help}" for each in VERBS), pages=pipes.pages)
            case ("load", how):
                answer = link.load(_read(Path(words[0].text), words[0]), how)
                _refuse(answer)
                self._print(answer, pipes)
            case ("compare", _):
                self._screen.show(pipes.applied(self._asked(["sync", "diff"], pipes)), pages=pipes.pages)
            case ("exit", "discard"):
                self.leave()
            case _ if link.place:
                link.line("top")
            case _ if link.is_changed:
                raise RefusedError(
                    "there are changes that are not committed", hint="`commit` them, or `exit discard` to forget them."
                )
            case _:
                self.leave()

    def _print(self, answer: dict[str, Any], pipes: Piping) -> None:
        data, text = answer.get("data"), str(answer.get("text", ""))
        lines = (
            _as_json(data) if pipes.format == "json" and data is not None else iter(text.split("\n") if text else ())
        )
        self._screen.show(pipes.applied(lines), pages=pipes.pages)

    def _say(self, text: str) -> None:
        self._screen.show(iter([text]), pages=False)


def _refuse(answer: dict[str, Any]) -> None:
    """Raise the error of a line that the node did not understand."""
    error = answer.get("error")
    if error is not None:
        kind = SecretMissingError if error.get("wants_secret") else LineError
        raise kind(str(error["message"]), hint=str(error["hint"]), at=int(error["at"]))


def _is_hidden(command: Command) -> bool:
    return command.path[0] in HIDDEN or (command.path[0] == "configure" and command.path[1:] != ("status",))


def _as_json(data: Any) -> Iterator[str]:
    yield from json.dumps(data, indent=2).split("\n")


def _as_set(argv: Sequence[str], data: Any) -> Iterator[str]:
    """A configuration that the node has shown, as commands that make it."""
    is_shown = argv[:2] in (["config", "show"], ["show", "configuration"])
    text = data.get("text") if isinstance(data, dict) and is_shown else None
    if not isinstance(text, str):
        raise RefusedError("only a configuration can be shown as set commands", hint="`show configuration | set`.")
    yield from set_lines(tomllib.loads(text))


def _read(path: Path, word: Word) -> str:
    try:
        with path.expanduser().open("rb") as file:
            raw = file.read(FILE_MAX + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise LineError(f"{path} cannot be read: {error.strerror}", hint="Name another file.", at=word.start) from None
    except UnicodeDecodeError:
        raise LineError(f"{path} is not UTF-8", hint="Name another file.", at=word.start) from None
    if len(raw) > FILE_MAX:
        raise LineError(f"{path} is too large", hint="Check that it is a configuration.", at=word.start)
    return text
