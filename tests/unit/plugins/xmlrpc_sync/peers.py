"""A peer and this node for `machine.exchange`, as prepared answers: no network, no clock."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from appliance.config.compare import changed_keys
from appliance.config.sections import digest
from appliance.events.config import ConfigState, Hidden, Section, SectionChanges
from appliance_xmlrpc_sync import vocabulary
from appliance_xmlrpc_sync.diff import KEYS_MAX

Data = dict[str, Any]


@dataclass
class Fake:
    """Both nodes. Whatever is an exception in `errors` is raised at that call, once for each entry."""

    ours: dict[str, Data] = field(default_factory=dict)
    """Sections of this node by name."""
    theirs: dict[str, Data] = field(default_factory=dict)
    drift: dict[str, Data] = field(default_factory=dict)
    hello: Data = field(default_factory=dict)
    revision: int = 7
    unconfirmed_s: float | None = None
    unconfirmed: list[str] = field(default_factory=list)
    errors: dict[str, list[Exception | None]] = field(default_factory=dict)
    restored: Data = field(default_factory=dict)
    """Overrides members of the answer of restore_config_section."""
    forgets: bool = False
    """Says yes and does nothing."""
    takes_s: float = 0.0
    """How long a call takes that fails."""
    clock: float = 1000.0
    steps: list[str] = field(default_factory=list)
    """What was done, in order."""
    params: dict[str, tuple[object, ...]] = field(default_factory=dict)
    """Of the last call of each method."""
    asked: list[vocabulary.AskSections] = field(default_factory=list)
    _staged: dict[str, Data] = field(default_factory=dict)

    def run(self, steps: Generator[vocabulary.Step, Any, Any]) -> Any:
        """Drive an exchange to its end."""
        try:
            step = next(steps)
            while True:
                try:
                    answer = self.do(step)
                except Exception as error:  # noqa: BLE001 - thrown where it belongs
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            return end.value

    def do(self, step: vocabulary.Step) -> object:
        """The answer to one step."""
        match step:
            case vocabulary.AskState():
                return ConfigState(
                    revision=self.revision,
                    text=Hidden(""),
                    unconfirmed_s=self.unconfirmed_s,
                    addresses={"lan": ("192.168.1.2/24",)},
                    schemas={"rules": "s" * 64},
                )
            case vocabulary.AskSections():
                self.asked.append(step)
                return tuple(self.section(name, data) for name, data in self.ours.items())
            case vocabulary.AskChanges(theirs=theirs):
                return tuple(self.changes(name, dict(data)) for name, data in theirs.items())
            case vocabulary.Work(run=run):
                return run()
            case vocabulary.AskClock():
                return self.clock
            case vocabulary.Sleep(seconds=seconds):
                self.clock += seconds
                self.steps.append(f"sleep {seconds:g}")
                return None
            case vocabulary.Call(method=method, params=params, fresh=fresh):
                self.steps.append(method + (" over a new connection" if fresh else ""))
                self.params[method] = params
                waiting = self.errors.get(method, [])
                error = waiting.pop(0) if waiting else None
                self.clock += self.takes_s if error is not None else 0.0
                if error is not None:
                    raise error
                sent, self.clock = self.clock, self.clock + 0.01
                return vocabulary.Answer(value=getattr(self, method)(*params), sent=sent, received=self.clock)

    def changes(self, name: str, theirs: Data) -> SectionChanges:
        keys = tuple(changed_keys(theirs, self.ours[name], {}))
        return SectionChanges(name=name, keys=keys[:KEYS_MAX], more=len(keys) > KEYS_MAX)

    @staticmethod
    def section(name: str, data: Data) -> Section:
        return Section(name=name, owner="rules", digest=digest(data), data=Hidden(data))

    # --- the methods of the peer -----------------------------------------------------------------------------

    def host_firmware_version(self) -> Data:
        return {
            "product": "ha-appliance",
            "version": "0.1.0",
            "api": [1, 0],
            "node": "fw2",
            "role": "secondary",
            "schemas": {"rules": "s" * 64},
            "addresses": {"lan": ["192.168.1.3/24"]},
            "time": self.clock,
            **self.hello,
        }

    def config_digest(self) -> Data:
        sections = {name: digest(data) for name, data in self.theirs.items()}
        return {
            "revision": 40 + len(self.steps),
            "sections": sections,
            "drift": self.drift,
            "unconfirmed": self.unconfirmed,
        }

    def restore_config_section(self, sections: dict[str, Data], how: Data) -> Data:
        self._staged = {name: json.loads(each["data"]) for name, each in sections.items()}
        return {"txn": "t1", "revision": 44, "applied": list(sections), "kept": [], **self.restored}

    def confirm_config(self, txn: str) -> Data:
        assert txn == "t1"
        self.unconfirmed = []
        if not self.forgets:
            self.theirs = {**self.theirs, **self._staged}
            self.drift = {name: each for name, each in self.drift.items() if name not in self._staged}
        return {"revision": 44}

    def backup_config_section(self, names: list[str]) -> dict[str, bytes]:
        return {name: json.dumps(self.theirs[name]).encode() for name in names}
