"""A network full of DHCP clients, in one process with one packet socket; what happened to them comes out as JSON.

``python dhcp_clients.py DEVICE [--renewing N] [--new RATE] [--renew-every S] [--stay S] [--seconds MAX]``

First N clients get a lease and begin to renew it; then a line "ready" is printed, and from there new clients come at
their rate. A line on standard input, or the time, ends it. A client does what RFC 2131 asks of it: it repeats DISCOVER
every second with growing `secs`, renews by unicast and then rebinds by broadcast, more and more seldom, gives up its
address when it is refused or the lease runs out, and answers ARP for what it holds. Unlike a real one it renews every
few seconds.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import select
import socket
import struct
import sys
import time
from enum import Enum, auto
from ipaddress import IPv4Address
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.netns.dhcp import frames
from tests.netns.dhcp.frames import Question, Reply

RETRY_S = 1.0
"""Between repetitions of anything; RFC 2131 §4.1 begins with 4 s, most clients of today with 1 to 3."""
REQUEST_TRIES = 4
RENEW_TRIES = 2
"""By unicast; then by broadcast until the lease runs out."""
RENEW_RETRY_MAX_S = 4.0
"""After 1 and 2 s; a real client waits for a minute (RFC 2131 §4.4.5)."""
FIRST_RATE = 100.0
"""Of the clients that will renew."""
READY_MAX_S = 30.0
RECEIVE_BUFFER = 8 << 20
BATCH = 64
SO_RCVBUFFORCE, SOL_PACKET = 33, 263
PACKET_ADD_MEMBERSHIP, PACKET_STATISTICS, PACKET_IGNORE_OUTGOING, PACKET_MR_PROMISC = 1, 6, 23, 1
ETH_P_ALL = 3


class Phase(Enum):
    """Of a client (RFC 2131, figure 5)."""

    IDLE = auto()
    SELECTING = auto()
    REQUESTING = auto()
    BOUND = auto()
    RENEWING = auto()
    REBINDING = auto()
    GONE = auto()


class Client:
    """One client."""

    def __init__(self, number: int, *, renews: bool) -> None:
        self.number, self.renews = number, renews
        self.mac = b"\x02\xdc" + number.to_bytes(4, "big")
        self.phase = Phase.IDLE
        self.asked_at = 0.0
        """When it began to do what it is doing."""
        self.tries = 0
        self.offer: Reply | None = None
        self.lease: Reply | None = None
        self.held_since = self.expires_at = 0.0
        self.timer = 0
        """Number of the timer that counts; older ones are void."""
        self.turn = 0

    @property
    def xid(self) -> int:
        """Another one for each exchange."""
        return (self.number << 10 | self.turn & 1023) & 0xFFFFFFFF


class Crowd:
    """All clients of a network."""

    def __init__(self, channel: socket.socket, options: argparse.Namespace) -> None:
        self._channel, self._options = channel, options
        self._clients: dict[bytes, Client] = {}
        self._holders: dict[IPv4Address, Client] = {}
        self._timers: list[tuple[float, int, Client]] = []
        self._numbers = itertools.count(1)
        self._masters: dict[int, IPv4Address] = {}
        self.ready = False
        self.record: dict[str, list[list[object]]] = {
            name: [] for name in ("offers", "waiting", "holds", "renewals", "refused", "masters")
        }

    # --- time ---------------------------------------------------------------------------------------------------

    def come(self, now: float, *, renews: bool) -> None:
        """A new client appears."""
        client = Client(len(self._clients) + 1, renews=renews)
        self._clients[client.mac] = client
        self._discover(client, now)

    def tick(self, now: float) -> float:
        """Everything that is due; returns when the next thing is."""
        while self._timers and self._timers[0][0] <= now:
            _, number, client = heapq.heappop(self._timers)
            if number == client.timer:
                self._timeout(client, now)
        return self._timers[0][0] if self._timers else now + RETRY_S

    def _after(self, client: Client, when: float) -> None:
        client.timer = next(self._numbers)
        heapq.heappush(self._timers, (when, client.timer, client))

    def _timeout(self, client: Client, now: float) -> None:
        if client.phase is Phase.SELECTING:
            self._ask_all(client, now)
        elif client.phase is Phase.REQUESTING:
            if client.tries >= REQUEST_TRIES:
                self._discover(client, now)
            else:
                self._request(client, now)
        elif client.phase is Phase.BOUND:
            self._leave_or_renew(client, now)
        elif client.phase in (Phase.RENEWING, Phase.REBINDING):
            if now >= client.expires_at:
                self._lost(client, now, "expired")
            else:
                self._renew(client, now)

    def _leave_or_renew(self, client: Client, now: float) -> None:
        if client.renews:
            client.phase, client.asked_at, client.tries = Phase.RENEWING, now, 0
            client.turn += 1
            self._renew(client, now)
        elif client.lease is not None:
            lease = client.lease
            leaving = Question(kind=frames.RELEASE, xid=client.xid, mac=client.mac, ciaddr=lease.address,
                               server=lease.server)  # fmt: skip
            self._end_hold(client, now)
            client.phase = Phase.GONE
            self._send(leaving.frame(lease.source_mac, lease.server))

    # --- asking -------------------------------------------------------------------------------------------------

    def _discover(self, client: Client, now: float) -> None:
        client.phase, client.asked_at, client.offer = Phase.SELECTING, now, None
        client.turn += 1
        self._ask_all(client, now)

    def _ask_all(self, client: Client, now: float) -> None:
        before = client.lease.address if client.lease else None
        self._send(self._question(client, now, frames.DISCOVER, requested=before).frame())
        self._after(client, now + RETRY_S)

    def _request(self, client: Client, now: float) -> None:
        assert client.offer is not None
        client.tries += 1
        wanted = self._question(client, now, frames.REQUEST, requested=client.offer.address, server=client.offer.server)
        self._send(wanted.frame())
        self._after(client, now + RETRY_S)

    def _renew(self, client: Client, now: float) -> None:
        assert client.lease is not None
        client.tries += 1
        again = self._question(client, now, frames.REQUEST, ciaddr=client.lease.address)
        if client.tries <= RENEW_TRIES:
            self._send(again.frame(client.lease.source_mac, client.lease.server))
        else:
            client.phase = Phase.REBINDING
            self._send(again.frame())
        pause = min(RETRY_S * 2 ** (client.tries - 1), RENEW_RETRY_MAX_S)
        self._after(client, min(now + pause, client.expires_at))

    @staticmethod
    def _question(client: Client, now: float, kind: int, **more: IPv4Address | None) -> Question:
        return Question(kind=kind, xid=client.xid, mac=client.mac, secs=int(now - client.asked_at),
                        hostname=f"c{client.number}", **more)  # fmt: skip

    def _send(self, frame: bytes) -> None:
        self._channel.send(frame)

    # --- hearing ------------------------------------------------------------------------------------------------

    def receive(self, frame: bytes, now: float) -> None:
        """One frame from the network."""
        if (reply := frames.read_reply(frame)) is not None:
            client = self._clients.get(reply.mac)
            if client is not None and reply.xid == client.xid:
                self._answered(client, reply, now)
        elif (asked := frames.arp_asked(frame)) is not None:
            if (holder := self._holders.get(asked)) is not None:
                self._send(frames.arp_answer(frame, holder.mac))
        elif (advert := frames.carp_sender(frame)) is not None and self._masters.get(advert[0]) != advert[1]:
            self._masters[advert[0]] = advert[1]
            self.record["masters"].append([now, advert[0], str(advert[1])])

    def _answered(self, client: Client, reply: Reply, now: float) -> None:
        asking = client.phase in (Phase.RENEWING, Phase.REBINDING)
        if client.phase is Phase.RENEWING and client.lease and reply.source_mac != client.lease.source_mac:
            return  # overheard: a real card would not have taken a frame for another machine
        if reply.kind == frames.OFFER and client.phase is Phase.SELECTING:
            self.record["offers"].append([now, client.asked_at, client.number, str(reply.server)])
            client.phase, client.offer, client.tries = Phase.REQUESTING, reply, 0
            self._request(client, now)
        elif reply.kind == frames.NAK and asking:
            self._lost(client, now, "refused")
        elif reply.kind == frames.NAK and client.phase is Phase.REQUESTING:
            self.record["refused"].append([now, client.number, str(reply.server)])
            self._discover(client, now)
        elif reply.kind == frames.ACK and client.phase is Phase.REQUESTING:
            self._bind(client, reply, now)
        elif reply.kind == frames.ACK and asking:
            how = "renewed" if client.phase is Phase.RENEWING else "rebound"
            self.record["renewals"].append([client.asked_at, now, client.number, how, str(reply.server)])
            self._bind(client, reply, now)

    def _bind(self, client: Client, reply: Reply, now: float) -> None:
        if client.lease is None or client.lease.address != reply.address or not client.held_since:
            self._end_hold(client, now)
            client.held_since = now
            self._holders.setdefault(reply.address, client)
        client.lease, client.phase, client.expires_at = reply, Phase.BOUND, now + reply.lease_s
        if client.renews:
            # Never all at once: each number has a place of its own in the interval.
            spread = 0.5 + client.number * 0.618 % 1
            self._after(client, now + self._options.renew_every * spread)
        elif self._options.stay:
            self._after(client, now + self._options.stay)

    def _lost(self, client: Client, now: float, why: str) -> None:
        self.record["renewals"].append([client.asked_at, now, client.number, why, ""])
        self._end_hold(client, now)
        self._discover(client, now)

    def _end_hold(self, client: Client, now: float) -> None:
        if client.held_since and client.lease is not None:
            address = client.lease.address
            self.record["holds"].append([client.held_since, now, client.number, str(address)])
            if self._holders.get(address) is client:
                del self._holders[address]
        client.held_since = 0.0

    # --- the whole ----------------------------------------------------------------------------------------------

    def bound(self) -> int:
        """How many hold an address."""
        return sum(bool(client.held_since) for client in self._clients.values())

    def finish(self, now: float) -> dict[str, object]:
        """Closes the books."""
        for client in self._clients.values():
            self._end_hold(client, min(now, client.expires_at))
            if client.phase is Phase.SELECTING:
                self.record["waiting"].append([client.asked_at, client.number])
            elif client.phase in (Phase.RENEWING, Phase.REBINDING):
                self.record["renewals"].append([client.asked_at, now, client.number, "open", ""])
        statistics = self._channel.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        return {**self.record, "clients": len(self._clients), "frames_lost": struct.unpack("=II", statistics)[1]}


def run(crowd: Crowd, channel: socket.socket, options: argparse.Namespace) -> None:
    """Until somebody says stop, or the time is over."""
    begun = time.monotonic()
    come, total, since = 0, options.renewing, begun
    while (now := time.monotonic()) < begun + options.seconds:
        rate = options.new if crowd.ready else FIRST_RATE
        while come < (total if not crowd.ready else total + int((now - since) * rate)) and (
            crowd.ready or come < (now - since) * rate
        ):
            crowd.come(now, renews=come < total)
            come += 1
        if not crowd.ready and come == total and (crowd.bound() == total or now > begun + READY_MAX_S):
            crowd.ready, since = True, now
            print("ready", flush=True)
        pause = min(crowd.tick(now), now + 0.5 / max(rate, 1.0)) - time.monotonic()
        readable, _, _ = select.select([channel, sys.stdin], [], [], max(0.0, pause))
        if sys.stdin in readable:
            return
        if channel in readable:
            _receive_some(crowd, channel)


def _receive_some(crowd: Crowd, channel: socket.socket) -> None:
    for _ in range(BATCH):
        try:
            frame = channel.recv(2048)
        except BlockingIOError:
            return
        crowd.receive(frame, time.monotonic())


def open_channel(device: str) -> socket.socket:
    """A packet socket that hears the frames for every client."""
    channel = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    channel.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    channel.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    channel.bind((device, ETH_P_ALL))
    index = socket.if_nametoindex(device)
    channel.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, struct.pack("iHH8s", index, PACKET_MR_PROMISC, 0, b""))
    channel.setblocking(False)
    return channel


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser()
    parser.add_argument("device")
    parser.add_argument("--renewing", type=int, default=0)
    parser.add_argument("--new", type=float, default=0.0)
    parser.add_argument("--renew-every", type=float, default=4.0)
    parser.add_argument("--stay", type=float, default=0.0, help="new clients release their lease after this time")
    parser.add_argument("--seconds", type=float, default=300.0)
    options = parser.parse_args()
    with open_channel(options.device) as channel:
        crowd = Crowd(channel, options)
        run(crowd, channel, options)
        print(json.dumps(crowd.finish(time.monotonic())), flush=True)


if __name__ == "__main__":
    main()
