"""What the dialects have in common and what not."""

from __future__ import annotations

import pytest

from appliance_pfsync.bsd.actions import FORMS, TIMEOUT_S, Action, Timeout
from appliance_pfsync.settings import BSD_VERSIONS, Version


def test_every_configurable_version_has_its_form() -> None:
    assert tuple(FORMS) == BSD_VERSIONS
    assert [FORMS[name].state_bytes for name in BSD_VERSIONS] == [242, 277, 360, 264]
    assert [FORMS[name].version for name in BSD_VERSIONS] == [5, 5, 5, 6]
    assert [FORMS[name].inet6 for name in BSD_VERSIONS] == [28, 28, 28, 24]
    assert len(TIMEOUT_S) == len(Timeout)


@pytest.mark.parametrize("version", BSD_VERSIONS)
def test_freebsd_forms_understand_each_other(version: Version) -> None:
    sizes = FORMS[version].sizes
    if version == "openbsd":
        assert Action.INS_1301 not in sizes
        assert sizes[Action.DEL] == 264
    else:
        assert (sizes[Action.INS_1301], sizes[Action.INS], sizes[Action.INS_1500]) == (242, 277, 360)
        assert Action.DEL not in sizes
