"""The questions, in the order in which somebody in front of two machines can answer them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

from appliance.console.wizard import answers as parse
from appliance.console.wizard import ports
from appliance.console.wizard.answers import GENERATE, NONE, PAIRING, Address, Answers, Kind, NetworkAnswer, Wish
from appliance.console.wizard.askers import Asker, Question
from appliance.console.wizard.plan import Family, allot, clients_range, free_vhid
from appliance.console.wizard.ports import Port
from appliance.errors import UsageError

T = TypeVar("T")


class Hearing(Protocol):
    """Somebody who listens on a network."""

    @property
    def is_done(self) -> bool:
        """Whether it has been long enough."""
        ...

    def __call__(self) -> Mapping[int, str]:
        """Wait until it is; who speaks for which VHID."""
        ...


AUTO = "auto"
EXAMPLE = {
    "primary": "fw1",
    "secondary": "fw2",
    "further": NONE,
    "password": PAIRING,
    "same_devices": "yes",
    "network.wan.ipv4": "198.51.100.200/24",
    "network.wan.gateway": "198.51.100.1",
    "network.lan.ipv4": "192.168.1.0/24",
    "network.sync.ipv4": "172.16.1.0/24",
}
"""The example cluster of all documents. Networks have no IPv6 unless it is told."""
PASSWORD_RANDOM_BYTES = 12
"""96 bits, 16 characters."""
_ADDRESSES = (
    "A network (192.168.1.0/24): its lowest usable address becomes the virtual one, the next are the nodes'.\n"
    "Or the virtual address with the prefix length (198.51.100.200/24): the nodes come after it.\n"
    "To choose those, too, put them behind it: VIRTUAL/24 PRIMARY SECONDARY."
)


@dataclass(slots=True)
class Interview:
    """One round of questions."""

    asker: Asker
    defaults: Mapping[str, str]
    """By key; before those of the example."""
    installed: Collection[str]
    """Names of installed plugins: nobody is asked about others."""
    devices: Sequence[str] = ()
    """Of this machine; empty: any name will do."""
    detect: Callable[[str], str] | None = None
    """Finds the device that a cable is plugged into, given the network's name."""
    listen: Callable[[Port], Hearing] | None = None
    """Begins to listen on what carries a network."""
    _networks: list[NetworkAnswer] = field(default_factory=list)
    _bundles: dict[str, str] = field(default_factory=dict)
    """How devices are bundled, by the devices."""

    def run(self) -> Answers:
        """Ask everything.

        Raises:
            UsageError: An answer is wrong and nobody is there to be asked again.
        """
        primary = self._ask("primary", "Name of the primary node", parse.node_name, _PRIMARY)
        secondary = self._ask("secondary", "Name of the secondary node", partial(_other_name, primary))
        this = self._ask(
            "this", "This machine is", lambda text: parse.choice(text, primary, secondary), default=primary
        )
        further = self._ask(
            "further", "Networks besides wan, lan and sync", partial(parse.interface_names, taken=tuple(Kind)), _FURTHER
        )
        for name in ("wan", "lan", *further, "sync"):
            self._networks.append(self._network(name))
        same = self._ask("same_devices", f"Has {secondary} devices of the same names", partial(_yes_or_no))
        self._other_devices(primary if this == secondary else secondary, this == primary, same=same)
        has_secret = self.defaults.get("password", PAIRING) not in (PAIRING, GENERATE)
        password = self._ask(
            "password", "Password of the virtual addresses", parse.password, _PASSWORD, is_secret=has_secret
        )
        chosen = {PAIRING: "", GENERATE: secrets.token_urlsafe(PASSWORD_RANDOM_BYTES)}.get(password, password)
        return Answers(nodes=(primary, secondary), this=this, networks=tuple(self._networks), password=chosen)

    def _network(self, name: str) -> NetworkAnswer:
        self.asker.say("")
        port = self._device(name)
        bundle = self._bundle(name, port) if port.is_bundle else ""
        has_vip = name != Kind.SYNC
        hearing = self.listen(port) if self.listen is not None and has_vip else None
        four = self._wish(name, 4, is_none_allowed=has_vip)
        six = self._wish(name, 6, is_none_allowed=four is not None) if has_vip else None
        told = tuple(wish for wish in (four, six) if wish is not None)
        gateways: tuple[Address, ...] = ()
        if name not in (Kind.LAN, Kind.SYNC):
            gateways = tuple(
                found for wish in told if (found := self._gateway(name, wish, is_needed=name == Kind.WAN)) is not None
            )
        kind = Kind.SYNC if not has_vip else Kind.WAN if gateways else Kind.LAN
        answer = NetworkAnswer(
            name=name,
            kind=kind,
            devices=(str(port), str(port)),
            wishes=told,
            gateways=gateways,
            bundle=bundle,
            vhid=self._vhid(name, told, gateways, hearing) if has_vip else None,
        )
        return replace(answer, clients=self._clients(answer)) if kind is Kind.LAN else answer

    def _device(self, name: str) -> Port:
        taken = [ports.read(network.devices[0]) for network in self._networks]
        used = {member for each in taken for member in each.members}
        free = [each for each in self.devices if each not in used]
        can_bundle = "lagg" in self.installed

        def parsed(text: str) -> Port:
            if text == AUTO and self.detect is not None:
                text = self.detect(name)
            return ports.port(text, self.devices, taken, can_bundle=can_bundle)

        how = f", or `{AUTO}` to find it by plugging its cable in" if self.detect is not None else ""
        more = f" Free are {', '.join(free)}." if free else ""
        also = "\n`eth0+eth1` bundles two to one, so that one cable may fail." if can_bundle else ""
        return self._ask(
            f"network.{name}.device",
            f"{name}: device",
            parsed,
            f"The kernel's name of the device{how}.{more}{also}\n`eth0.20` is the VLAN with the tag 20 on it.",
        )

    def _bundle(self, name: str, port: Port) -> str:
        if port.base not in self._bundles:
            self._bundles[port.base] = self._ask(
                f"network.{name}.bundle",
                f"{name}: how {' and '.join(port.members)} are bundled",
                lambda text: parse.choice(text, *ports.PROTOCOLS),
                _BUNDLE,
                default=ports.PROTOCOLS[0],
            )
        return self._bundles[port.base]

    def _vhid(self, name: str, wishes: Sequence[Wish], gateways: Sequence[Address], hearing: Hearing | None) -> int:
        families = [allot(each, has_vip=True, gateway=_of_version(gateways, each.interface.version)) for each in wishes]
        own = {str(node.ip) for family in families for node in family.nodes}
        if hearing is not None and not hearing.is_done:
            self.asker.say(f"{name}: listening for virtual routers of others …")
        heard = {vhid: who for vhid, who in hearing().items() if who not in own} if hearing is not None else {}
        if heard:
            rows = ", ".join(f"{vhid} ({who})" for vhid, who in sorted(heard.items()))
            self.asker.say(f"{name}: others use VHID {rows}.")
        used = {network.vhid for network in self._networks if network.vhid is not None}
        known = self.defaults.get(f"network.{name}.vhid", "")
        proposed = known if known and int(known) not in heard else str(free_vhid(families, {*used, *heard}))
        return self.asker.ask(
            Question(
                key=f"network.{name}.vhid",
                prompt=f"{name}: VHID",
                parse=lambda text: parse.vhid(text, heard),
                default=proposed,
                help=_VHID,
            )
        )

    def _wish(self, name: str, version: int, *, is_none_allowed: bool) -> Wish | None:
        earlier = [wish for network in self._networks for wish in network.wishes]
        has_vip = name != Kind.SYNC

        def parsed(text: str) -> Wish | None:
            if text == NONE and is_none_allowed:
                return None
            if text == NONE:
                raise UsageError(f"{name} would have no addresses", hint="Give a network of at least one family.")
            found = parse.wish(text, version, earlier)
            allot(found, has_vip=has_vip)  # too small a network is refused where it was told
            return found

        what = "network, or its virtual address" if has_vip else "network between the nodes"
        default = NONE if version == 6 else None
        return self._ask(
            f"network.{name}.ipv{version}", f"{name}: IPv{version} {what}", parsed, _ADDRESSES, default=default
        )

    def _gateway(self, name: str, wish: Wish, *, is_needed: bool) -> Address | None:
        version = wish.interface.version
        key = "gateway" if version == 4 else "gateway6"

        def parsed(text: str) -> Address | None:
            if text == NONE and not is_needed:
                return None
            found = parse.gateway(text, [wish], version)
            allot(wish, has_vip=True, gateway=found)
            return found

        help_ = "The provider's address in this network." + (
            "" if is_needed else f" `{NONE}`: it is a network of machines."
        )
        default = None if is_needed else NONE
        return self._ask(f"network.{name}.{key}", f"{name}: IPv{version} router", parsed, help_, default=default)

    def _clients(self, answer: NetworkAnswer) -> str:
        four = next((wish for wish in answer.wishes if wish.interface.version == 4), None)
        if four is None or "dhcp-failover" not in self.installed:
            return ""
        taken = addresses_of(allot(four, has_vip=True))
        return self._ask(
            f"network.{answer.name}.dhcp",
            f"{answer.name}: addresses for DHCP clients",
            lambda text: parse.clients(text, four.interface, taken),
            f"FIRST-LAST, or `{NONE}` for no DHCP.",
            default=clients_range(four.interface, taken) or NONE,
        )

    def _other_devices(self, other: str, is_secondary: bool, *, same: bool) -> None:
        """Devices were told for this machine; which of the two it is decides what becomes of them."""
        theirs: list[Port] = []
        for index, network in enumerate(self._networks):
            own = network.devices[0]
            device = own
            if not same:
                found = self._ask(
                    f"network.{network.name}.other_device",
                    f"{network.name}: device of {other}",
                    lambda text: ports.port(text, (), tuple(theirs), can_bundle="lagg" in self.installed),
                    default=own,
                )
                theirs.append(found)
                device = str(found)
            self._networks[index] = replace(network, devices=(own, device) if is_secondary else (device, own))

    def _ask(
        self,
        key: str,
        prompt: str,
        parse_: Callable[[str], T],
        help_: str = "",
        *,
        default: str | None = None,
        is_secret: bool = False,
    ) -> T:
        known = self.defaults.get(key, EXAMPLE.get(key, default))
        return self.asker.ask(
            Question(key=key, prompt=prompt, parse=parse_, default=known, help=help_, is_secret=is_secret)
        )


def addresses_of(family: Family) -> list[Address]:
    """The virtual address and both nodes'."""
    own = [node.ip for node in family.nodes]
    return own if family.vip is None else [family.vip.ip, *own]


def _other_name(primary: str, text: str) -> str:
    if parse.node_name(text) == primary:
        raise UsageError(f"`{text}` is the other node", hint="The two need different names.")
    return text


def _of_version(addresses: Sequence[Address], version: int) -> Address | None:
    return next((each for each in addresses if each.version == version), None)


def _yes_or_no(text: str) -> bool:
    return parse.choice(text, "yes", "no") == "yes"


_PRIMARY = "It owns the shared configuration and is preferred as MASTER. Both machines get a complete configuration."
_FURTHER = f"Names such as `dmz` or `wan2`, separated by blanks; `{NONE}` for none."
_BUNDLE = (
    "`failover`: one carries everything while it has a link, the switch needs no setting.\n"
    "`lacp`: all of them do; these ports of the switch, or of the stack, have to speak LACP."
)
_VHID = "The number of the virtual router, unique on the network: CARP and VRRP of others count, too."
_PASSWORD = (
    f"`{PAIRING}`: the nodes use one that comes from pairing them.\n"
    f"CARP of BSD or ucarp beside them needs a password: 1 to 19 bytes, or `{GENERATE}`."
)
