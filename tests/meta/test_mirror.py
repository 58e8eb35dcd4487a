"""Every source module has its test module where one would look for it, or says which one drives it."""

from __future__ import annotations

from pathlib import Path

from tests.meta.source import CORE, IMAGES, PLUGINS, ROOT, python_files

TESTS = ROOT / "tests"
UNIT = TESTS / "unit"

DRIVEN_BY = {
    # Declarations: what they declare is checked as a whole.
    "core/_version.py": "meta/test_packaging.py",
    "core/events/doctor.py": "unit/core/console/commands/test_show.py",
    "core/identity/remedy.py": "unit/plugins/carp/test_heartbeat.py",
    "core/events/ha.py": "unit/core/events/test_base.py",
    "core/events/link.py": "unit/core/events/test_base.py",
    "core/events/node.py": "unit/core/events/test_base.py",
    "core/plugin/context.py": "unit/core/host/test_context.py",
    "core/plugin/hookspecs.py": "meta/test_hooks.py",
    "core/plugin/node.py": "unit/core/config/test_model.py",
    # Parts of one mechanism that are tested together, through its front.
    "core/plugin/ruleset.py": "unit/core/net/test_ruleset.py",
    "core/lab/drill_commands.py": "netns/lab/test_drill.py",
    "core/lab/report.py": "unit/core/lab/test_drill_report.py",
    "core/lab/rehearsals.py": "netns/lab/test_drill.py",
    "core/lab/pairing.py": "netns/sync/test_push.py",
    "core/console/shell/verbs.py": "unit/core/console/shell/test_editor.py",
    "core/events/config.py": "unit/core/host/test_sharing.py",
    "core/events/ruleset.py": "netns/host/test_ruleset.py",
    "core/bus/envelope.py": "unit/core/bus/test_trace.py",
    "core/host/failures.py": "unit/core/host/test_bridge.py",
    "core/host/frames.py": "unit/core/host/test_bridge.py",
    "core/host/hooks.py": "unit/core/host/test_plugins.py",
    "core/host/isolated.py": "unit/core/host/test_isolation.py",
    "core/host/planning.py": "unit/core/host/test_reload.py",
    "core/host/remote.py": "unit/core/host/test_isolation.py",
    "core/host/unit.py": "unit/core/host/test_supervisor.py",
    "core/net/namespace.py": "netns/kit/test_netlab.py",
    "core/net/nftset.py": "netns/net/test_nft.py",
    "core/net/rtfacts.py": "unit/core/net/test_rtmessages.py",
    # Thin layers above tools: tested with the image that they make, and the machine that runs it.
    "images/cluster/channel.py": "unit/images/cluster/test_service.py",
    "images/cluster/events.py": "unit/images/cluster/test_commands.py",
    "images/cluster/leader.py": "unit/images/cluster/test_service.py",
    "images/cluster/local.py": "unit/images/cluster/test_service.py",
    "images/cluster/settings.py": "unit/images/cluster/test_config.py",
    "images/bundle.py": "unit/images/test_slots.py",
    "images/commands.py": "image/test_build.py",
    "images/installing.py": "unit/images/test_install.py",
    "images/initramfs.py": "image/test_boot.py",
    "images/inspect.py": "image/test_build.py",
    "images/plugin.py": "meta/test_citizens.py",
    "images/rootfs.py": "image/test_build.py",
    "images/session.py": "unit/images/test_qemu.py",
    "images/system.py": "image/test_build.py",
    "images/tools.py": "unit/images/test_disk.py",
    "plugins/carp/answers.py": "unit/plugins/carp/test_machine.py",
    "plugins/carp/demotion.py": "unit/plugins/carp/test_machine.py",
    "plugins/carp/election.py": "unit/plugins/carp/test_machine.py",
    "plugins/carp/events.py": "unit/plugins/carp/test_plugin.py",
    "plugins/carp/group.py": "unit/plugins/carp/test_machine.py",
    "plugins/carp/transitions.py": "unit/plugins/carp/test_machine.py",
    "plugins/carp/virtualhost.py": "unit/plugins/carp/test_machine.py",
    "plugins/carp/vocabulary.py": "unit/plugins/carp/test_machine.py",
    # What only a kernel can answer is tested on one, and what is made of it with it.
    "plugins/pfsync/deferral.py": "guest/pfsync/test_defer.py",
    "plugins/pfsync/events.py": "netns/pfsync/test_replication.py",
    "plugins/pfsync/replicator.py": "netns/pfsync/test_replication.py",
    "plugins/pfsync/service.py": "netns/pfsync/test_replication.py",
    "plugins/xmlrpc_sync/checks.py": "unit/plugins/xmlrpc_sync/test_commands.py",
    "plugins/xmlrpc_sync/peersync.py": "unit/plugins/xmlrpc_sync/test_sender.py",
    "plugins/xmlrpc_sync/requests.py": "unit/plugins/xmlrpc_sync/test_commands.py",
    "plugins/xmlrpc_sync/vocabulary.py": "unit/plugins/xmlrpc_sync/test_machine.py",
    "plugins/drill/events.py": "unit/plugins/drill/test_plugin.py",
    "plugins/drill/service.py": "unit/plugins/drill/test_stage.py",
    "plugins/dhcp_failover/events.py": "unit/plugins/dhcp_failover/test_plugin.py",
    "plugins/dhcp_failover/replicator.py": "netns/dhcp/test_failover.py",
    "plugins/ssh/events.py": "unit/plugins/ssh/test_plugin.py",
    "plugins/ssh/server.py": "unit/plugins/ssh/test_service.py",
    "plugins/lagg/events.py": "unit/plugins/lagg/test_states.py",
    "plugins/lagg/neighbours.py": "guest/lagg/test_neighbours.py",
    "plugins/lagg/settings.py": "unit/plugins/lagg/test_config.py",
    "plugins/interfaces/checks.py": "unit/plugins/interfaces/test_plugin.py",
    "plugins/interfaces/commands.py": "unit/plugins/interfaces/test_plugin.py",
    "plugins/interfaces/events.py": "netns/interfaces/test_service.py",
    "plugins/interfaces/report.py": "unit/plugins/interfaces/test_plugin.py",
    "plugins/interfaces/settings.py": "unit/plugins/interfaces/test_plan.py",
    "plugins/interfaces/sysctls.py": "netns/interfaces/test_service.py",
}
"""Modules without a test module of their own, and where they are tested. May only shrink."""


def expected() -> dict[str, Path]:
    """The test module of each source module, by ``core/...`` or ``plugins/<name>/...``."""
    wanted: dict[str, Path] = {}
    for package, folder in [
        (CORE, UNIT / "core"),
        (IMAGES, UNIT / "images"),
        *((path, UNIT / "plugins" / path.parent.name.replace("-", "_")) for path in PLUGINS),
    ]:
        for path in python_files(package):
            if path.name == "__init__.py":
                continue
            relative = path.relative_to(package)
            name = f"{folder.relative_to(UNIT)}/{relative}"
            wanted[name] = folder / relative.parent / f"test_{path.stem.strip('_')}.py"
    return wanted


def exists(test: Path) -> bool:
    """Whether there is such a test, here or, for what needs several nodes or a real kernel, in another tier."""
    return test.exists() or any(found for tier in ("netns", "sim") for found in (TESTS / tier).rglob(test.name))


def test_every_module_has_a_test_module() -> None:
    missing = {name for name, test in expected().items() if not exists(test)}
    assert sorted(missing - set(DRIVEN_BY)) == []


def test_modules_without_one_are_tested_where_it_is_said() -> None:
    assert sorted(name for name, test in DRIVEN_BY.items() if not (TESTS / test).exists()) == []


def test_the_list_of_exceptions_only_shrinks() -> None:
    modules = expected()
    assert sorted(name for name in DRIVEN_BY if name not in modules or modules[name].exists()) == []
