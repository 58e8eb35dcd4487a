"""Manifests say what is in an image; the list for scanners follows from them."""

from __future__ import annotations

from appliance_images import manifest, recipe
from appliance_images.lock import Lock, Pin

COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
License: GPL-2+

Files: lib/*
License: BSD-3-clause
 Redistribution and use …

License: GPL-2+
 On Debian systems …
"""


def test_licences_are_those_of_the_machine_readable_file_once_each() -> None:
    assert manifest.licences(COPYRIGHT) == "GPL-2+, BSD-3-clause"
    assert manifest.licences("see /usr/share/common-licenses/GPL-3 for") == "GPL-3"
    assert manifest.licences("") == "unknown"


def test_the_manifest_has_hashes_of_what_was_pinned_and_the_list_has_the_same() -> None:
    deb = Pin(name="acl", version="2.3", file="acl.deb", sha256="ab" * 32)
    kernel = Pin(name="linux-image-6.1.0-1-amd64", version="6.1", file="k.deb", sha256="cd" * 32)
    wheel = Pin(name="pydantic_core", version="2.5", file="p.whl", sha256="ef" * 32)
    pinned = Lock(date=1, suite="bookworm", wanted=(), debs=(deb,), kernel=(kernel,), wheels=(wheel,))
    made = manifest.manifest(
        recipe.merge(recipe.flavor_named("vm"), ()),
        pinned,
        version="1.0",
        debian=list(manifest.debian_packages([deb], lambda _: COPYRIGHT)),
        python=[{"name": "pydantic-core", "version": "2.5", "licence": "MIT"}],
    )
    assert made["kernel"] == "6.1.0-1-amd64"
    assert made["debian"] == [{"name": "acl", "version": "2.3", "licence": "GPL-2+, BSD-3-clause", "sha256": "ab" * 32}]
    assert made["python"][0]["sha256"] == "ef" * 32
    components = manifest.sbom(made)["components"]
    assert [each["purl"] for each in components] == ["pkg:deb/debian/acl@2.3?arch=amd64", "pkg:pypi/pydantic-core@2.5"]
    assert components[0]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
