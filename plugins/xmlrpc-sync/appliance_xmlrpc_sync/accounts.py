"""Users that other nodes present here, as a second factor beside their certificate."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence

from appliance.identity.passwords import verify_password
from appliance.rpc import Fault, FaultCode
from appliance.rpc import Peer as RpcPeer
from appliance_xmlrpc_sync.settings import Account

_KEY_BYTES = 32


class Accounts:
    """The accounts of this node. A password that was right is recognized without scrypt from then on.

    What is remembered is one keyed hash for each account; the key is made anew with each object and never leaves it.
    """

    def __init__(self, accounts: Sequence[Account]) -> None:
        self._accounts = {account.name: account for account in accounts}
        self._key = secrets.token_bytes(_KEY_BYTES)
        self._right: dict[str, bytes] = {}

    def __bool__(self) -> bool:
        """Whether there is any: without, the certificate suffices."""
        return bool(self._accounts)

    def authenticate(self, user: str, password: str, peer: RpcPeer) -> bool:
        """Whether user and password are right (`appliance.rpc.Authenticate`). In a thread: takes 0.1 s at first."""
        del peer
        seen = self._seen(user, password)
        known = self._right.get(user)
        if known is not None and hmac.compare_digest(known, seen):
            return True
        account = self._accounts.get(user)
        if not verify_password(password, account.hashed if account else None):
            return False
        self._right[user] = seen
        return True

    def refuse_unless_sync(self, user: str) -> None:
        """Refuse a user who may only look.

        Raises:
            Fault: PRIVILEGE.
        """
        account = self._accounts.get(user)
        if self._accounts and (account is None or account.privilege != "sync"):
            raise Fault(FaultCode.PRIVILEGE, f"the user {user} may not change or read the configuration of this node")

    def _seen(self, user: str, password: str) -> bytes:
        text = f"{user}\0{password}".encode(errors="surrogatepass")
        return hashlib.blake2b(text, key=self._key, digest_size=_KEY_BYTES).digest()
