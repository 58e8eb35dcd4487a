"""Mistakes in the configuration of a node."""

from __future__ import annotations

from appliance.lab import Lab, NodeSettings
from tests.netns.dhcp.clients import udhcpc
from tests.netns.doctor.doing import Fault, advised, chain, change
from tests.netns.doctor.examining import SETTLE_S, Case
from tests.netns.doctor.private import KEY

NODE = "fw1"
SETTINGS = NodeSettings(
    profile="fast",
    pfsync={},
    firewall=True,
    xmlrpc_sync=True,
    dhcp={"range": ["192.168.1.150-192.168.1.151"]},
    extra=f"""
[ssh]
listen = ["lan"]

[users.olga]
role = "operator"
ssh_keys = ["{KEY}"]
""",
)
AUTOMATIC = '[outbound_nat]\nmode = "automatic"\n'
BY_HAND = '[outbound_nat]\nmode = "manual"\n[[outbound_nat.rule]]\ninterface = "wan"\n'
ROUTES = '[[interfaces.wan.routes]]\nto = "default"\nvia = '
RANGE = 'range = ["192.168.1.150-192.168.1.151"]'
ELSEWHERE = (
    ('"198.51.100.201/24"', '"203.0.113.201/24"'),
    (
        'addresses = ["198.51.100.200/24", "2001:db8:ffff::200/64"]',
        'addresses = ["203.0.113.200/24", "2001:db8:ffff::200/64"]\naliases = ["198.51.100.200/24"]',
    ),
    (f'{ROUTES}"198.51.100.1"\n', "# no route\n"),
)
"""The network of the gateway only has a stacked address in it, which this node has as MASTER only."""
FORWARD = '[[outbound_nat.port_forward]]\ninterface = "wan"\nprotocol = "tcp"\nport = 8080\ntarget = "192.168.1.10"\n'


def mistake(name: str, finds: dict[str, str], wrong: Fault, advice: str, right: Fault, *, slow: bool = False) -> Case:
    """A case of this node."""
    return Case(name=name, node=NODE, finds=finds, fault=wrong, remedy=advised(advice, right), slow=slow)


def take_all(lab: Lab) -> None:
    """Two clients come."""
    for number in (1, 2):
        assert udhcpc(lab, number=number) is not None


def has_everything(node: str) -> Fault:
    """Wait until a node is MASTER of all."""
    return lambda lab: lab.wait_settled(node, deadline_s=SETTLE_S)


CASES = (
    mistake(
        "CARP has no link of its own",
        {"carp-sync-link": "the sync interface lan also carries the virtual hosts lan"},
        change(('"fast"\nsync_interface = "sync"', '"fast"\nsync_interface = "lan"')),
        "name that interface in carp.sync_interface",
        change(('"fast"\nsync_interface = "lan"', '"fast"\nsync_interface = "sync"')),
    ),
    mistake(
        "states have no link of their own",
        {"pfsync-link": "states travel on lan, a network of clients with the virtual hosts lan"},
        change(('[pfsync]\ninterface = "sync"', '[pfsync]\ninterface = "lan"')),
        "name that interface in pfsync.interface",
        change(('[pfsync]\ninterface = "lan"', '[pfsync]\ninterface = "sync"')),
    ),
    mistake(
        "states are not secured",
        {"pfsync-secured": "states travel on sync without authentication and encryption"},
        change(("key_file = ", "plain = true # ")),
        "set [pfsync] key_file",
        change(("plain = true # ", "key_file = ")),
    ),
    mistake(
        "clients are told the address of the node",
        {"dhcp-gateway": "clients get the gateway 192.168.1.2, which is one node's own address"},
        change((RANGE, f'{RANGE}\ngateway = "192.168.1.2"')),
        "Correct [dhcp_failover] and commit",
        change((f'{RANGE}\ngateway = "192.168.1.2"', RANGE)),
    ),
    mistake(
        "operators are locked out",
        {"firewall-lockout": "anti-lockout is off and no rule passes port 22 or 443"},
        change(
            ("[firewall]\n", '[firewall]\nanti_lockout = ""\n'),
            ('source = "net:lan"\n', 'source = "net:lan"\nprotocol = "udp"\n'),
        ),
        'Set [firewall] anti_lockout to an interface such as "lan"',
        change(
            ('anti_lockout = ""', 'anti_lockout = "lan"'),
            ('source = "net:lan"\nprotocol = "udp"\n', 'source = "net:lan"\n'),
        ),
    ),
    mistake(
        "what the appliance needs is not passed",
        {"firewall-automatic": "automatic rules are replaced, and no rule passes: carp at wan, carp at sync"},
        change(("[firewall]\n", '[firewall]\nreplace = ["carp"]\n')),
        "Take it out of [firewall] replace",
        change(('replace = ["carp"]\n', "")),
    ),
    mistake(
        "a network without outbound NAT",
        {"nat-networks": "manual outbound NAT has no rule for lan 192.168.1.0/24 on wan"},
        change((AUTOMATIC, f'{BY_HAND}source = "192.168.1.7"\ntranslation = "vip:wan"\n')),
        "Add an [[outbound_nat.rule]] for each",
        change(('source = "192.168.1.7"\n', 'source = "net:lan"\n')),
    ),
    mistake(
        "outbound NAT by the node's own address",
        {"nat-vip": "outbound NAT by a node's own address although there is a virtual host: rule 1 (net:lan on wan"},
        change(('translation = "vip:wan"', 'translation = "interface"')),
        'Write the "vip:NAME" above',
        change(('translation = "interface"', 'translation = "vip:wan"')),
    ),
    mistake(
        "a port forward from the node's own address",
        {"nat-forwards": "port forwards from this node's own address: port 8080 of 198.51.100.201"},
        change(("[gateways.gateway", f'{FORWARD}destination = "198.51.100.201"\n\n[gateways.gateway')),
        'Write destination = "vip:NAME"',
        change(('destination = "198.51.100.201"', 'destination = "vip:wan"')),
    ),
    mistake(
        "no default route",
        {"gateways-default": "this node has no IPv4 and IPv6 default route"},
        change(
            (f'{ROUTES}"198.51.100.1"\n', ""),
            (f'{ROUTES}"2001:db8:ffff::1"\n', ""),
        ),
        "or a default route in [interfaces]",
        change(("[interfaces.lan]", f'{ROUTES}"198.51.100.1"\n{ROUTES}"2001:db8:ffff::1"\n[interfaces.lan]')),
    ),
    mistake(
        "nobody can log in",
        {"ssh-reachable": "no user has a key"},
        change(("ssh_keys", "# ssh_keys")),
        "Add the line of a .pub file to `ssh_keys`",
        change(("# ssh_keys", "ssh_keys")),
    ),
    mistake(
        "the secondary has the lower advskew",
        {"carp-preferred": "this primary is BACKUP of lan, wan (192.168.1.3 advertises advskew "},
        chain(
            change(("advskew = 0\n", "advskew = 100\n"), times=2),
            change(("advskew = 100\n", "advskew = 0\n"), node="fw2", times=2),
            has_everything("fw2"),
        ),
        "Give the primary the lowest advskew (0, and 100 on the secondary)",
        chain(
            change(("advskew = 100\n", "advskew = 0\n"), times=2),
            change(("advskew = 0\n", "advskew = 100\n"), node="fw2", times=2),
        ),
        slow=True,
    ),
    mistake(
        "a gateway out of reach",
        {"gateways-network": "198.51.100.1 of wan_gw is in no network of wan"},
        chain(has_everything(NODE), change(*ELSEWHERE)),
        "Correct the gateway, or the addresses of the interface",
        change(*((after, before) for before, after in ELSEWHERE)),
    ),
    mistake(
        "all addresses are taken",
        {"dhcp-leases": "0 of 2 addresses of lan are free"},
        chain(has_everything(NODE), take_all),
        "Enlarge the range",
        change((RANGE, 'range = ["192.168.1.150-192.168.1.199"]')),
    ),
)
