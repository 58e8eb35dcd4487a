"""A package of a plugin, recorded into an archive, and a Python that imports from there."""

from __future__ import annotations

import compileall
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "appliance_hello"
SOURCES = {
    "__init__.py": "",
    "shapes.py": (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n\n"
        "@dataclass(frozen=True, order=True)\nclass Point:\n    x: int\n    y: int = 2\n"
    ),
    "wrong.py": "def fail():\n    raise ValueError('as always')\n",
    "broken.py": "import a_module_that_does_not_exist\n",
    "quits.py": "raise SystemExit(3)\n",
    "talks.py": "print('/usr/bin/python3')\n",
    "command.py": "if __name__ == '__main__':\n    print('ran', __spec__.name)\n",
    "text.txt": "a resource",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An archive of the package, and the folder in which that is."""

    site: Path
    file: Path

    @property
    def instead_of(self) -> list[Path]:
        """The compiled files that are in it."""
        return [Path(line) for line in self.file.with_name("modules.instead").read_text().splitlines()]

    def python(self, *argv: str, use: bool = True) -> str:
        """What a Python with the package prints; with the archive unless told otherwise."""
        hook = f"import appliance_images.imports.finder as f; assert f.use({str(self.file)!r}) is {use}\n"
        (self.site / "sitecustomize.py").write_text(hook)
        return python(self.site, *argv)

    def again(self, file: Path, place: Path) -> None:
        """Record the package into another file, as if its folder were at that place of an image."""
        python(self.site, "-m", "appliance_images.imports.record", str(file), f"{self.site}={place}")


def python(site: Path, *argv: str) -> str:
    """What Python prints that has this folder of packages."""
    env = {**os.environ, "PYTHONPATH": str(site), "PYTHONHASHSEED": "0"}
    done = subprocess.run([sys.executable, *argv], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def record(folder: Path) -> Recorded:
    """Write the package into a new folder, compile and record it."""
    site, file = folder / "site", folder / "modules"
    (site / PACKAGE).mkdir(parents=True)
    for name, text in SOURCES.items():
        (site / PACKAGE / name).write_text(text)
    compileall.compile_dir(site, quiet=1)
    python(site, "-m", "appliance_images.imports.record", str(file), f"{site}={site}")
    return Recorded(site=site, file=file)
