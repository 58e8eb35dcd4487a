import pytest

from tests.unit.core.rpc.peers import Peers, make_peers


@pytest.fixture(scope="session")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Peers:
    """Certificates take milliseconds to make and are the same for all tests."""
    return make_peers(tmp_path_factory.mktemp("rpc"))
