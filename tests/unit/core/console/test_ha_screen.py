from typing import Any

from appliance.console.ha_screen import render_ha

SINCE = {"since": "2026-01-31T12:00:00.000Z", "age_s": 63.0}
HEALTHY: dict[str, Any] = {
    "node": "fw1",
    "role": "MASTER",
    "summary": "fw1 is MASTER of its virtual host",
    "failover": {"ready": True, "what": "fw2 would take over", "fix": None},
    "vips": [{"interface": "lan", "vhid": 1, "state": "MASTER", "reason": "master timed out", **SINCE}],
    "demotion": 0,
    "reasons": [],
    "peers": [
        {"peer": "fw2", "alive": True, "healthy": True, "demotion": 0, "summary": "heard on lan, wan", **SINCE},
    ],
    "links": [{"interface": "lan", "device": "lan0", "present": True, "up": True, **SINCE}],
    "notes": [],
    "problems": [],
    "config": {"revision": 7, "role": "primary"},
}


def test_the_screen_of_a_healthy_master_is_short_and_complete() -> None:
    assert render_ha(HEALTHY) == (
        "fw1 is MASTER of its virtual host\n"
        "failover: fw2 would take over\n"
        "configuration: revision 7, primary\n"
        "\n"
        "VIP    STATE   SINCE  WHY\n"
        "lan/1  MASTER  1m 3s  master timed out\n"
        "\n"
        "demotion: 0 (nothing makes this node worse)\n"
        "\n"
        "peers:\n"
        "  fw2  healthy for 1m 3s, demotion 0: heard on lan, wan\n"
        "\n"
        "links:\n"
        "  lan (lan0)  up for 1m 3s\n"
        "\n"
        "problems: none"
    )


def test_everything_that_is_wrong_is_on_the_screen_with_what_to_do() -> None:
    sick = HEALTHY | {
        "failover": {"ready": False, "what": "nobody would take over: fw2 does not answer", "fix": "Start it."},
        "demotion": 240,
        "reasons": [{"name": "link:wan", "weight": 240, **SINCE}],
        "peers": [
            {"peer": "fw2", "alive": False, "healthy": False, "demotion": 0, "summary": "gone", **SINCE},
            {"peer": "fw3", "alive": True, "healthy": False, "demotion": 240, "summary": "no link", **SINCE},
        ],
        "links": [
            {"interface": "wan", "device": "wan0", "present": True, "up": False, **SINCE},
            {"interface": "dmz", "device": "dmz0", "present": False, "up": False, **SINCE},
        ],
        "problems": [
            {"what": "its table is wrong:\nappliance.toml:3:1", "fix": "Correct it.", "health": "fail"},
            {"what": "clock is off", "fix": "Set it.", "health": "warn"},
        ],
    }
    screen = render_ha(sick)
    for line in (
        "\nfailover: nobody would take over: fw2 does not answer\n  -> Start it.\nconfiguration: ",
        "demotion: 240\n  link:wan  240  for 1m 3s\n",
        "  fw2  not answering for 1m 3s, demotion 0: gone\n",
        "  fw3  alive, not healthy for 1m 3s, demotion 240: no link\n",
        "  wan (wan0)  DOWN for 1m 3s\n",
        "  dmz (dmz0)  MISSING for 1m 3s\n",
        "  !! its table is wrong:\n     appliance.toml:3:1\n     -> Correct it.\n",
        "  !  clock is off\n     -> Set it.",
    ):
        assert line in screen


def test_what_one_remedy_puts_right_stands_together() -> None:
    def problem(what: str, fix: str, health: str = "warn") -> dict[str, str]:
        return {"what": what, "fix": fix, "health": health}

    several = [problem("a", "Pair.", "fail"), problem("b", "Plug in."), problem("c", "Pair.")]
    assert render_ha(HEALTHY | {"problems": several}).endswith(
        "problems:\n  !! a\n  !  c\n     -> Pair.\n  !  b\n     -> Plug in."
    )


def test_notes_are_what_is_not_wrong_and_what_can_be_done_about_it() -> None:
    note = {"source": "carp/carp", "what": "handed over", "fix": "Take it back."}
    assert "\n\nnotes:\n  *  carp/carp: handed over\n     -> Take it back.\n\nproblems: none" in render_ha(
        HEALTHY | {"notes": [note]}
    )


def test_a_node_without_anything_says_so() -> None:
    empty = HEALTHY | {"summary": "fw1 has no virtual hosts", "vips": [], "peers": [], "links": []}
    empty["failover"] = None
    empty["config"] = {"revision": None, "role": "secondary"}
    assert render_ha(empty) == (
        "fw1 has no virtual hosts\n"
        "configuration: not applied, secondary\n"
        "\n"
        "demotion: 0 (nothing makes this node worse)\n"
        "\n"
        "peers: none has been heard\n"
        "\n"
        "problems: none"
    )
