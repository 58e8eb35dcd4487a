"""PUBLIC. XML-RPC over mutually authenticated TLS: a hardened server, a client that says why, and the codec.

A server has `Method`\\s by name and serves clients whose certificate is pinned (`server_tls`), with user and
password as a second factor. A `Client` raises a `Fault` when the method said no, and otherwise one subclass
of `RpcError` per cause. Values are bool, int (32 bit), float, str, bytes, datetime, list and dict of str.

Beside it, plain HTTP for what is not between nodes: `PageServer` serves pages to be read, `post` sends one request.
For any other protocol an `Acceptor` listens on an address that comes and goes, and gives each connection its `Slot`.
"""

from appliance.rpc.accepting import Acceptor as Acceptor
from appliance.rpc.auth import Authenticate as Authenticate
from appliance.rpc.auth import Peer as Peer
from appliance.rpc.client import Client as Client
from appliance.rpc.client import call as call
from appliance.rpc.connecting import Target as Target
from appliance.rpc.dispatch import Caller as Caller
from appliance.rpc.dispatch import Method as Method
from appliance.rpc.dispatch import expect as expect
from appliance.rpc.errors import BusyPeerError as BusyPeerError
from appliance.rpc.errors import CodecError as CodecError
from appliance.rpc.errors import ConnectionLostError as ConnectionLostError
from appliance.rpc.errors import ForbiddenError as ForbiddenError
from appliance.rpc.errors import NonsenseError as NonsenseError
from appliance.rpc.errors import NotAcceptedError as NotAcceptedError
from appliance.rpc.errors import NotTlsError as NotTlsError
from appliance.rpc.errors import RefusedConnectionError as RefusedConnectionError
from appliance.rpc.errors import RpcError as RpcError
from appliance.rpc.errors import SilentPeerError as SilentPeerError
from appliance.rpc.errors import TooLargeError as TooLargeError
from appliance.rpc.errors import TooManyAttemptsError as TooManyAttemptsError
from appliance.rpc.errors import UnauthorizedError as UnauthorizedError
from appliance.rpc.errors import UnreachablePeerError as UnreachablePeerError
from appliance.rpc.errors import WrongPeerError as WrongPeerError
from appliance.rpc.faults import Fault as Fault
from appliance.rpc.faults import FaultCode as FaultCode
from appliance.rpc.limits import Limits as Limits
from appliance.rpc.limits import Timeouts as Timeouts
from appliance.rpc.listening import Listen as Listen
from appliance.rpc.pages import MakePage as MakePage
from appliance.rpc.pages import Page as Page
from appliance.rpc.pages import PageServer as PageServer
from appliance.rpc.posting import Posted as Posted
from appliance.rpc.posting import post as post
from appliance.rpc.server import Server as Server
from appliance.rpc.slots import Slot as Slot
from appliance.rpc.tls import Tls as Tls
from appliance.rpc.tls import TlsError as TlsError
from appliance.rpc.tls import client_tls as client_tls
from appliance.rpc.tls import fingerprint as fingerprint
from appliance.rpc.tls import readable as readable
from appliance.rpc.tls import server_tls as server_tls
from appliance.rpc.values import BODY_MAX as BODY_MAX
from appliance.rpc.values import Value as Value
