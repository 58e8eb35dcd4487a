"""What the plugin contributes."""

from __future__ import annotations

from appliance_drill.events import Begin, End
from appliance_drill.plugin import Drill


def test_one_service_one_command_that_changes_something() -> None:
    drill = Drill()
    assert [each.key for each in drill.appliance_services()] == ["stage"]
    (command,) = drill.appliance_commands()
    assert (command.path, command.reads) == (("ha", "rehearse"), False)
    assert drill.appliance_events() == [Begin, End]
