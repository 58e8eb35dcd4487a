"""Lines of commands: abbreviations, completion, places of errors, all from their declarations. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from appliance.console.grammar import GLOBAL, REST, Grammar, Parsed, python_name
from appliance.console.shell.choices import Choice, matching, meant
from appliance.console.shell.words import LineError, Word
from appliance.errors import UsageError
from appliance.plugin.contributions import Argument, Command

Values = Callable[[Argument, Sequence[Word], Word], list[Choice]]
"""What an argument may be: the argument, the words before it (from the first argument on), the word being typed."""


@dataclass(frozen=True, slots=True)
class _Resolved:
    path: tuple[str, ...]
    command: Command | None
    rest: tuple[Word, ...]


def plain_values(names: Mapping[str, Sequence[str]]) -> Values:
    """Values of arguments: their choices, or the things that exist of the kind they are named after.

    Args:
        names: Existing names by kind: ``interface``, ``vip``, ``alias``, ``gateway``.
    """

    def values(argument: Argument, _before: Sequence[Word], _typed: Word) -> list[Choice]:
        kind = python_name(argument)
        known = [*argument.choices, *(names.get(kind) or names.get(kind.removesuffix("s")) or ())]
        notes = argument.help or f"a value of {kind}"
        return [Choice(text=name, help=notes) for name in known] or [placeholder(argument)]

    return values


def placeholder(argument: Argument) -> Choice:
    """What describes a value that cannot be listed."""
    kind = getattr(argument.type, "__name__", "")
    note = {"int": "a whole number", "float": "a number"}.get(kind, "")
    default = f"default {argument.default}" if argument.default is not None else ""
    text = "; ".join(filter(None, [argument.help, note, default]))
    return Choice(text=f"<{python_name(argument)}>", help=text, is_value=True)


class CommandLine:
    """Understands the lines of some commands."""

    def __init__(self, commands: Iterable[Command], values: Values | None = None) -> None:
        self.commands = tuple(sorted(commands, key=lambda command: command.path))
        self._values = values or plain_values({})

    def parse(self, words: Sequence[Word], end: int) -> Parsed:
        """The command that a line means.

        Args:
            words: Without pipes.
            end: Column behind the line.

        Raises:
            LineError: With the place.
        """
        resolved = self._resolve(words)
        if resolved.command is None:
            below = self._next(resolved.path)
            if resolved.rest:
                meant(resolved.rest[0], list(below), what="command")
            typed = " ".join(resolved.path)
            hint = f"It goes on with: {', '.join(sorted(below))}."
            raise LineError(f"`{typed}` is not complete" if typed else "a command is needed", hint=hint, at=end)
        argv = [*resolved.path, *self._arguments(resolved.command, resolved.rest)]
        try:
            return Grammar([resolved.command]).parse(argv)
        except UsageError as error:
            places = [word.start for word in resolved.rest if word.text and f"`{word.text}`" in f"`{error.message}`"]
            options = [word.start for word in resolved.rest if word.text in error.message.split()]
            at = [*places, *options, end][0]
            raise LineError(error.message, hint=error.hint.replace("appliance ", "", 1), at=at) from None

    def argv(self, words: Sequence[Word], end: int) -> list[str]:
        """The full words of a line, for the node or a local command.

        Raises:
            LineError: With the place.
        """
        self.parse(words, end)
        resolved = self._resolve(words)
        assert resolved.command is not None
        return [*resolved.path, *self._arguments(resolved.command, resolved.rest)]

    def complete(self, before: Sequence[Word], typed: Word) -> list[Choice]:
        """What the word being typed may become."""
        resolved = self._resolve(before)
        found: list[Choice] = []
        if not resolved.rest:
            found += [Choice(text=word, help=text) for word, text in sorted(self._next(resolved.path).items())]
        if resolved.command is not None:
            found += self._argument_choices(resolved.command, resolved.rest, typed)
        return matching(found, typed.text)

    def _next(self, path: tuple[str, ...]) -> dict[str, str]:
        """Words that may follow, each with what it leads to."""
        depth, found = len(path), dict[str, list[Command]]()
        for command in self.commands:
            if len(command.path) > depth and command.path[:depth] == path:
                found.setdefault(command.path[depth], []).append(command)
        return {word: _about(commands, depth + 1) for word, commands in found.items()}

    def _resolve(self, words: Sequence[Word]) -> _Resolved:
        path: tuple[str, ...] = ()
        for at, word in enumerate(words):
            below = self._next(path)
            command = self._at(path)
            if word.text in below:
                path = (*path, word.text)
                continue
            found = [name for name in below if name.startswith(word.text)]
            if len(found) != 1 or word.quoted or word.text.startswith("-"):
                if len(found) > 1 and (command is None or not _takes_words(command)):
                    meant(word, found, what="command")
                return _Resolved(path, command, tuple(words[at:]))
            path = (*path, found[0])
        return _Resolved(path, self._at(path), ())

    def _at(self, path: tuple[str, ...]) -> Command | None:
        return next((command for command in self.commands if command.path == path), None)

    def _arguments(self, command: Command, words: Sequence[Word]) -> list[str]:
        """Words of arguments with their abbreviations spelled out."""
        options = [each.name for each in (*command.arguments, *GLOBAL) if each.name.startswith("--")]
        positionals = [each for each in command.arguments if not each.name.startswith("--")]
        out, is_value = list[str](), False
        for at, word in enumerate(words):
            name, equals, value = word.text.partition("=")
            is_option = name.startswith("--") and name != "--" and not word.quoted
            if positionals and positionals[0].name.endswith(REST) and not (is_value or is_option):
                return [*out, "--", *(each.text for each in words[at:])]
            if is_value or word.quoted or word.text == "--":
                out.append(word.text)
                is_value = False
            elif is_option:
                full = meant(Word(name, word.start, word.end), options, what="option") if name not in options else name
                flags = [each.name for each in (*command.arguments, *GLOBAL) if each.flag]
                is_value = not equals and full not in flags
                out.append(f"{full}{equals}{value}")
            else:
                argument = positionals.pop(0) if positionals else None
                chosen = [each for each in (argument.choices if argument else ()) if each.startswith(word.text)]
                out.append(chosen[0] if len(chosen) == 1 else word.text)
        return out

    def _argument_choices(self, command: Command, given: Sequence[Word], typed: Word) -> list[Choice]:
        options = {each.name: each for each in command.arguments if each.name.startswith("--")}
        positionals = [each for each in command.arguments if not each.name.startswith("--")]
        waiting: Argument | None = None
        used = set[str]()
        for at, word in enumerate(given):
            if waiting is not None:
                waiting = None
            elif word.text in options:
                used.add(word.text)
                waiting = None if options[word.text].flag else options[word.text]
            elif positionals and not positionals[0].name.endswith(REST):
                positionals.pop(0)
            elif positionals:
                return self._values(positionals[0], given[at:], typed)
        if waiting is not None:
            return self._values(waiting, given, typed)
        found = self._values(positionals[0], (), typed) if positionals else []
        if typed.text.startswith("-") or not positionals or not positionals[0].required:
            found = found + [
                Choice(text=name, help=option.help) for name, option in options.items() if name not in used
            ]
        return found


def _about(commands: Sequence[Command], depth: int) -> str:
    own = next((command for command in commands if len(command.path) == depth), None)
    if own is not None:
        return own.help.partition("\n")[0]
    return ", ".join(dict.fromkeys(command.path[depth] for command in commands))


def _takes_words(command: Command) -> bool:
    return any(not argument.name.startswith("--") for argument in command.arguments)
