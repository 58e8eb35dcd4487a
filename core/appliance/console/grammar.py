"""The command tree: words to a command and its arguments, and the help for every prefix.

Words match exactly; abbreviations would change their meaning whenever a plugin is installed. A command
may be the prefix of another (``events`` and ``events why``): the longest match wins.

Besides what a command declares, every command understands ``--json``, ``--socket S`` and ``--help``. A
last positional argument whose name ends in ``...`` takes all that is left, untouched (``lab exec``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from appliance.errors import UsageError
from appliance.plugin.contributions import Argument, Command

SHORT = {"-c": "--config", "-o": "--output", "-s": "--socket", "-h": "--help"}
"""The only short options there are."""
GLOBAL = (
    Argument(name="--json", flag=True, help="print JSON of the documented shape"),
    Argument(name="--socket", help="the control socket of the node to ask (or APPLIANCE_SOCKET)"),
    Argument(name="--help", flag=True, help="say what the command does"),
)
REST = "..."
CHOICES_SHOWN_MAX = 24
"""Characters of choices that are spelled out in a usage line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A command line that was understood."""

    command: Command
    arguments: dict[str, object]
    """Every declared argument, by its Python name (``--state-dir`` is ``state_dir``)."""
    json: bool = False
    socket: str | None = None
    help: bool = False
    """Help was asked for; `arguments` is not complete then."""


@dataclass(slots=True)
class _Node:
    children: dict[str, _Node] = field(default_factory=dict)
    command: Command | None = None


def python_name(argument: Argument) -> str:
    """The keyword under which a command receives an argument."""
    return argument.name.lstrip("-").removesuffix(REST).replace("-", "_")


def usage(command: Command) -> str:
    """``appliance events [--follow] [--type TYPE]``."""
    words = ["appliance", *command.path]
    for argument in command.arguments:
        if not _is_option(argument):
            choices = "|".join(argument.choices)
            name = choices if 0 < len(choices) <= CHOICES_SHOWN_MAX else argument.name.upper()
            words.append(name if argument.required else f"[{name}]")
        else:
            words.append(f"[{_spelled(argument)}]")
    return " ".join(words)


class Grammar:
    """All commands that are known here. Of two with the same words, the first stays.

    `elsewhere` are first words that somebody else understands; they are only suggested.
    """

    def __init__(self, commands: Iterable[Command], *, elsewhere: Iterable[str] = ()) -> None:
        self._elsewhere = tuple(elsewhere)
        self._root = _Node()
        conflicts = []
        for command in commands:
            node = self._root
            for word in command.path:
                node = node.children.setdefault(word, _Node())
            if node.command is None:
                node.command = command
            else:
                conflicts.append(command)
        self.conflicts: tuple[Command, ...] = tuple(conflicts)
        """Commands that were left out because their words were taken."""

    def parse(self, argv: Sequence[str]) -> Parsed:
        """Find the command and its arguments.

        Raises:
            UsageError: With the usage line, and with what may have been meant.
        """
        node, words, reader = self._walk(argv)
        if node.command is None:
            raise self._unknown(node, words, reader)
        if node.children and not _takes_words(node.command) and reader.at_word():
            raise self._unknown(node, words, reader)
        return reader.finish(node.command)

    def help_wanted(self, argv: Sequence[str]) -> tuple[str, ...] | None:
        """The prefix that ``--help`` was asked for, or ``None``."""
        node, words, reader = self._walk(argv)
        if node.command is None:
            asked = reader.help_asked or any(token in ("--help", "-h") for token in reader.tokens[reader.at :])
        else:
            try:
                asked = reader.finish(node.command).help
            except UsageError:
                asked = reader.help_asked
        return tuple(words) if asked else None

    def _walk(self, argv: Sequence[str]) -> tuple[_Node, list[str], _Reader]:
        reader, node, words = _Reader(argv), self._root, list[str]()
        while reader.word_is_next() and reader.tokens[reader.at] in node.children:
            words.append(reader.take())
            node = node.children[words[-1]]
        return node, words, reader

    def knows(self, argv: Sequence[str]) -> bool:
        """Whether the first words are a command or lead to one."""
        words = [word for word in argv if not word.startswith("-")]
        return bool(words) and words[0] in self._root.children

    def commands(self, prefix: Sequence[str] = ()) -> tuple[Command, ...]:
        """All commands below a prefix, in alphabetical order."""
        node = self._find(prefix)[0]
        return tuple(sorted(_below(node), key=lambda command: command.path))

    def help(self, prefix: Sequence[str] = ()) -> str:
        """Help for as much of the prefix as exists."""
        node, depth = self._find(prefix)
        below = [command for command in self.commands(prefix[:depth]) if command is not node.command]
        parts = []
        if node.command is not None:
            parts.append(_manual(node.command))
        if below:
            width = max(len(" ".join(command.path)) for command in below)
            rows = [f"  {' '.join(command.path):<{width}}  {_first_line(command.help)}" for command in below]
            parts.append("\n".join(["commands:", *rows]))
        return "\n\n".join(parts)

    def _find(self, prefix: Sequence[str]) -> tuple[_Node, int]:
        node, depth = self._root, 0
        for word in prefix:
            if word not in node.children:
                break
            node, depth = node.children[word], depth + 1
        return node, depth

    def _unknown(self, node: _Node, words: list[str], reader: _Reader) -> UsageError:
        known = sorted({*node.children, *(self._elsewhere if node is self._root else ())})
        if not reader.more():
            typed = " ".join(words)
            return UsageError(
                f"`{typed}` is not complete" if typed else "a command is needed",
                hint=f"It goes on with: {', '.join(known)}." if known else "Nothing is known here.",
            )
        word = reader.tokens[reader.at]
        typed = " ".join([*words, word])
        near = get_close_matches(word, known, n=1)
        if near:
            return UsageError(
                f"unknown command `{typed}`", hint=f"Did you mean `appliance {' '.join([*words, near[0]])}`?"
            )
        return UsageError(f"unknown command `{typed}`", hint=f"Known here: {', '.join(known)}. See `appliance help`.")


class _Reader:
    """One pass over the words of a command line."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.tokens = list(argv)
        self.at = 0
        self._globals: dict[str, object] = {}

    def more(self) -> bool:
        return self.at < len(self.tokens)

    def at_word(self) -> bool:
        return self.more() and not _looks_like_option(self.tokens[self.at])

    @property
    def help_asked(self) -> bool:
        return self._globals.get("help") is True

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def word_is_next(self) -> bool:
        """Skip global options in front of the command's words."""
        while self.more() and self.tokens[self.at].startswith("-"):
            option = _lookup(self.tokens[self.at], GLOBAL)
            if option is None:
                return False
            self._option(option, self._globals, "appliance COMMAND")
        return self.more()

    def finish(self, command: Command) -> Parsed:
        """Read the arguments of a command."""
        line = usage(command)
        arguments: dict[str, object] = {}
        positionals = [argument for argument in command.arguments if not _is_option(argument)]
        options = [argument for argument in command.arguments if _is_option(argument)]
        literal = False
        while self.more():
            token = self.tokens[self.at]
            if token == "--" and not literal:
                literal = True
                self.at += 1
            elif not literal and _looks_like_option(token):
                self._named(token, options, arguments, line)
            else:
                self._positional(positionals, arguments, line)
        if not self.help_asked:
            _complete(command, arguments, line)
        socket = self._globals.get("socket")
        declared = {python_name(option) for option in options}
        arguments.update({key: value for key, value in self._globals.items() if key in declared})
        return Parsed(
            command=command,
            arguments=arguments,
            json=self._globals.get("json") is True,
            socket=str(socket) if socket is not None else None,
            help=self.help_asked,
        )

    def _named(self, token: str, options: Sequence[Argument], arguments: dict[str, object], line: str) -> None:
        everywhere = _lookup(token, GLOBAL)
        if everywhere is not None:
            self._option(everywhere, self._globals, line)
            return
        option = _lookup(token, options)
        if option is None:
            known = [argument.name for argument in (*options, *GLOBAL)]
            near = get_close_matches(token.partition("=")[0], known, n=1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise UsageError(f"unknown option {token}{meant}", hint=f"usage: {line}")
        self._option(option, arguments, line)

    def _option(self, option: Argument, into: dict[str, object], line: str) -> None:
        _, equals, attached = self.take().partition("=")
        if option.flag:
            if equals:
                raise UsageError(f"{option.name} takes no value", hint=f"usage: {line}")
            into[python_name(option)] = True
            return
        if not equals:
            if not self.more():
                raise UsageError(f"{option.name} needs a value", hint=f"usage: {line}")
            attached = self.take()
        into[python_name(option)] = _converted(option, attached, line)

    def _positional(self, positionals: list[Argument], arguments: dict[str, object], line: str) -> None:
        if not positionals:
            raise UsageError(f"unexpected argument `{self.tokens[self.at]}`", hint=f"usage: {line}")
        argument = positionals.pop(0)
        if argument.name.endswith(REST):
            rest, self.at = self.tokens[self.at :], len(self.tokens)
            arguments[python_name(argument)] = tuple(_converted(argument, word, line) for word in rest)
            return
        arguments[python_name(argument)] = _converted(argument, self.take(), line)


def _complete(command: Command, arguments: dict[str, object], line: str) -> None:
    for argument in command.arguments:
        name = python_name(argument)
        if name in arguments:
            continue
        if argument.required and not _is_option(argument):
            raise UsageError(f"{argument.name.upper()} is missing", hint=f"usage: {line}")
        empty: object = False if argument.flag else () if argument.name.endswith(REST) else None
        arguments[name] = argument.default if argument.default is not None else empty


def _converted(argument: Argument, text: str, line: str) -> object:
    if argument.choices and text not in argument.choices:
        near = get_close_matches(text, argument.choices, n=1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(
            f"`{text}` is not a value of {argument.name}{meant}: {', '.join(argument.choices)}", hint=f"usage: {line}"
        )
    try:
        return argument.type(text)
    except ValueError:
        kind = getattr(argument.type, "__name__", "value")
        kind = {"int": "a whole number", "float": "a number"}.get(kind, f"a valid {kind}")
        raise UsageError(f"`{text}` is not {kind} ({argument.name})", hint=f"usage: {line}") from None


def _takes_words(command: Command) -> bool:
    return any(not _is_option(argument) for argument in command.arguments)


def _is_option(argument: Argument) -> bool:
    return argument.name.startswith("--")


def _looks_like_option(token: str) -> bool:
    return len(token) > 1 and token[0] == "-" and not token[1].isdigit()


def _lookup(token: str, options: Sequence[Argument]) -> Argument | None:
    name = token.partition("=")[0]
    name = SHORT.get(name, name)
    return next((option for option in options if option.name == name), None)


def _spelled(argument: Argument) -> str:
    return argument.name if argument.flag else f"{argument.name} {python_name(argument).upper()}"


def _below(node: _Node) -> list[Command]:
    own = [node.command] if node.command is not None else []
    return own + [command for child in node.children.values() for command in _below(child)]


def _manual(command: Command) -> str:
    rows = []
    for argument in command.arguments:
        notes = [argument.help] if argument.help else []
        if argument.choices:
            notes.append(f"one of {', '.join(argument.choices)}")
        if argument.default is not None and not argument.flag:
            notes.append(f"default {argument.default}")
        name = _spelled(argument) if _is_option(argument) else argument.name.upper()
        rows.append((name, "; ".join(notes)))
    rows += [(_spelled(option), option.help) for option in GLOBAL if option.name != "--help"]
    width = max(len(name) for name, _ in rows)
    lines = [f"usage: {usage(command)}", "", command.help, ""]
    return "\n".join(lines + [f"  {name:<{width}}  {note}".rstrip() for name, note in rows])


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
