import subprocess
import sys
from typing import Annotated

from pydantic import Field

from appliance.config import Model, description_of


class Base(Model):
    plain: int = 0
    """What it
    is for.
    """
    silent: int = 0
    described: Annotated[int, Field(description="By itself.")] = 0
    """Not this."""


class Heir(Base):
    own: str = ""
    """Its own."""

    class Inner(Model):
        deep: int = 0
        """Far inside."""


def test_the_docstring_under_a_field_is_its_description() -> None:
    assert [description_of(Base, name) for name in ("plain", "silent", "described")] == [
        "What it\nis for.",
        "",
        "By itself.",
    ]


def test_descriptions_are_inherited_and_classes_are_found_wherever_they_are() -> None:
    class Local(Model):
        here: int = 0
        """In a function."""

    assert [description_of(Heir, name) for name in ("plain", "own")] == ["What it\nis for.", "Its own."]
    assert (description_of(Heir.Inner, "deep"), description_of(Local, "here")) == ("Far inside.", "In a function.")


def test_a_model_without_a_source_has_no_descriptions() -> None:
    names = {"Model": Model, "__name__": "made_up"}
    exec("class Made(Model):\n    key: int = 0\n    'What for.'", names)
    made = names["Made"]
    assert isinstance(made, type)
    assert issubclass(made, Model)
    assert description_of(made, "key") == ""


def test_no_source_is_parsed_until_somebody_asks() -> None:
    program = (
        "import appliance.host.plugins, appliance_carp.config\n"
        "from appliance.config import description_of, docstrings\n"
        "before = docstrings._of_module.cache_info().currsize\n"
        "print(before, description_of(appliance_carp.config.CarpConfig, 'vip') != '')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "0 True\n"
