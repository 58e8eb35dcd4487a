"""Running things in namespaces."""

from __future__ import annotations

import signal
import subprocess

import pytest

from appliance.errors import KernelError
from appliance.lab import Lab, netns
from appliance.lab.waiting import wait_until

pytestmark = pytest.mark.netns


def test_processes_are_found_by_their_namespace_and_only_they_are_killed(lab: Lab) -> None:
    inside = lab.popen("client", "sleep", "60")
    outside = subprocess.Popen(["sleep", "60"])
    namespace = lab.topology.namespace("client")
    try:
        assert inside.pid in netns.pids(namespace)
        assert outside.pid not in netns.pids(namespace)
        wait_until(lambda: netns.command_line(inside.pid) == "sleep 60", "the command runs")
        assert netns.kill_all(namespace) == 1
        assert netns.pids(namespace) == ()
        assert outside.poll() is None
    finally:
        outside.kill()
        outside.wait()
        inside.kill()
        inside.wait()
        assert inside.stdout is not None
        inside.stdout.close()


def test_settings_are_those_of_the_namespace(lab: Lab) -> None:
    namespace = lab.topology.namespace("client")
    netns.write_sysctls(namespace, {"net/ipv4/ip_default_ttl": "77"})
    assert netns.read_sysctl(namespace, "net/ipv4/ip_default_ttl") == "77"
    assert netns.read_sysctl(lab.topology.namespace("server"), "net/ipv4/ip_default_ttl") == "64"
    netns.write_sysctls(namespace, {"net/ipv4/ip_default_ttl": "64"})


def test_a_setting_that_does_not_exist_is_named(lab: Lab) -> None:
    with pytest.raises(KernelError, match="net/ipv4/nonsense"):
        netns.write_sysctls(lab.topology.namespace("client"), {"net/ipv4/nonsense": "1"})


def test_a_failing_line_of_a_batch_is_an_error_with_the_kernels_words(lab: Lab) -> None:
    with pytest.raises(KernelError, match="Cannot find device"):
        netns.batch("ip", lab.topology.namespace("client"), ["link set nonsense up"])


def test_a_namespace_that_is_gone_is_an_error_and_has_no_processes() -> None:
    with pytest.raises(KernelError, match="no network namespace"):
        netns.inside("lab-never-built", lambda: None)
    assert netns.pids("lab-never-built") == ()
    netns.delete(["lab-never-built"])


def test_signals_to_processes_that_ended_are_no_error() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    netns.send_signal([ended.pid], signal.SIGTERM)
    assert netns.process_state(ended.pid) == netns.command_line(ended.pid) == netns.process_name(ended.pid) == ""
