import json
import subprocess
import sys

LOOK = """
import json, sys
import appliance.net.rtnl
before = ["pyroute2.netlink.rtnl.rtmsg" in sys.modules, "pyroute2.ndb" in sys.modules, "asyncio" in sys.modules]
from pyroute2 import IPRoute
import pyroute2.netlink
print(json.dumps([before, IPRoute.__name__, pyroute2.netlink.__name__, pyroute2.ndb.__name__]))
"""


def test_only_the_encoders_are_imported_and_whoever_wants_all_of_pyroute2_gets_it() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", LOOK], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[True, False, False], "IPRoute", "pyroute2.netlink", "pyroute2.ndb"]
