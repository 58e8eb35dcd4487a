"""The needs of plugins become one recipe, and contradictions are errors that name both."""

from __future__ import annotations

import pytest

from appliance.errors import PluginError, UsageError
from appliance.plugin import ImagePart
from appliance_images import recipe


def chosen(name: str, **part: object) -> recipe.Chosen:
    return recipe.Chosen(name=name, distribution="d", package=name, part=ImagePart(**part))  # type: ignore[arg-type]


def test_needs_are_united() -> None:
    flavor = recipe.flavor_named("vm")
    plugins = [
        chosen(
            "b",
            packages=("unbound", "nftables"),
            kernel_modules=("bonding",),
            users=("zed", "amy"),
            units=("u.service",),
        ),
        chosen("a", sysctls={"net.x": "1"}, files={"/etc/x": "a:x"}),
    ]
    made = recipe.merge(flavor, plugins)
    assert "unbound" in made.packages
    assert made.packages.count("nftables") == 1
    assert [plugin.name for plugin in made.plugins] == ["a", "b"]
    assert (made.modules, made.units) == (("bonding",), ("u.service",))
    assert (made.sysctls, made.files) == ({"net.x": "1"}, {"/etc/x": ("a", "x")})
    assert made.users == {"amy": 700, "zed": 701}


def test_the_same_wish_twice_is_no_contradiction() -> None:
    plugins = [chosen("a", sysctls={"net.x": "1"}), chosen("b", sysctls={"net.x": "1"})]
    assert recipe.merge(recipe.flavor_named("vm"), plugins).sysctls == {"net.x": "1"}


@pytest.mark.parametrize(("field", "one", "two"), [("sysctls", "0", "1"), ("files", "a:x", "b:x")])
def test_contradictions_name_both_plugins(field: str, one: str, two: str) -> None:
    plugins = [chosen("a", **{field: {"k": one}}), chosen("b", **{field: {"k": two}})]
    with pytest.raises(PluginError, match="the plugins a and b want k"):
        recipe.merge(recipe.flavor_named("vm"), plugins)


def test_an_unknown_flavor_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no flavor arm") as caught:
        recipe.flavor_named("arm")
    assert "vm, usb" in caught.value.hint
