"""Problems as text: ``path:line:column: key.path: message`` and the source line, secrets redacted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.config.positions import Position, Positions, format_path
from appliance.config.redact import redact_line
from appliance.errors import ConfigError, Problem

PROBLEMS_SHOWN_MAX = 100
"""Problems printed for one file; a wrong tool writes thousands, and nobody reads those."""
LINE_SHOWN_MAX = 160
"""Characters of a source line that are printed: enough to recognise it."""


@dataclass(frozen=True, slots=True)
class Report:
    """Prints problems of one text."""

    path: str
    """File name, as given by the operator."""
    positions: Positions
    shown: str
    """The text without its secrets; same lines as the original."""

    def format(self, problem: Problem) -> str:
        """One problem; further places of the same problem follow with their lines."""
        mark = "warning: " if problem.severity == "warning" else ""
        where = format_path(problem.path)
        text = f"{mark}{where}: {problem.message}" if where else f"{mark}{problem.message}"
        blocks = [self.block(self.positions.nearest(problem.path), text)]
        for path in problem.also:
            blocks.append(self.block(self.positions.nearest(path), f"{format_path(path)}: this belongs to it"))
        return "\n".join(blocks)

    def block(self, position: Position, text: str) -> str:
        """``path:line:column: text`` and the source line."""
        lines = self.shown.split("\n")
        source = lines[position.line - 1] if position.line <= len(lines) else ""
        cut = source if len(source) <= LINE_SHOWN_MAX else f"{source[:LINE_SHOWN_MAX]}…"
        return f"{self.path}:{position.line}:{position.column}: {text}\n{position.line:6d} | {cut}".rstrip()

    def ordered(self, problems: Sequence[Problem]) -> list[Problem]:
        """In the order of the file."""
        return sorted(problems, key=lambda problem: self.positions.nearest(problem.path))

    def refusal(self, problems: Sequence[Problem]) -> ConfigError:
        """The error that says everything at once."""
        ordered = self.ordered(problems)
        errors = [problem for problem in ordered if problem.severity not in ("warning", "confirm")]
        blocks = [self.format(problem) for problem in ordered[:PROBLEMS_SHOWN_MAX]]
        if len(ordered) > PROBLEMS_SHOWN_MAX:
            blocks.append(f"… and {len(ordered) - PROBLEMS_SHOWN_MAX} more")
        count = "the problem" if len(errors) == 1 else f"the {len(errors)} problems"
        return ConfigError(
            "\n".join(blocks), hint=f"Correct {count} above; nothing has been changed.", problems=ordered
        )


def refuse_syntax(path: str, text: str, position: Position, message: str) -> ConfigError:
    """The error for a text that is not TOML, of which nothing more can be said."""
    lines = [redact_line(line) for line in text.split("\n")]
    report = Report(path=path, positions=Positions(text=text, keys={}, spans={}), shown="\n".join(lines))
    return ConfigError(
        report.block(position, message),
        hint="Correct the line above (the file is not valid TOML); nothing has been changed.",
        problems=(Problem(path=(), message=message),),
    )
