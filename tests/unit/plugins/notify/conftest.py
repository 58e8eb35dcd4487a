"""A certificate for the servers of the tests; one is enough."""

from __future__ import annotations

import pytest

from tests.unit.plugins.notify.servers import Certificate, make_certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("notify"))
