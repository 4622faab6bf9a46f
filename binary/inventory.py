"""Write what is in the static file: a list (SPDX 2.3) and the texts of the licences.

Usage: python3 binary/inventory.py FILE REPOSITORY WORK SITE FOREIGN PACKAGE...

FILE: the static file; FILE.spdx.json and FILE.licenses are written beside it. WORK: where CPython's
source and the libraries' source distributions lie; SITE: the libraries as pip unpacked them.
FOREIGN: where tools/backports.sh has put another processor's libraries, or nothing. PACKAGE:
Debian's packages whose libraries are linked in.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import subprocess
import sys
from email.parser import HeaderParser
from typing import Any, NamedTuple
from urllib.parse import quote

_CREATED = "2023-11-14T22:13:20Z"  # SOURCE_DATE_EPOCH of tools/binary.sh


class Part(NamedTuple):
    """One thing that is in the file: licence is an SPDX expression, texts are files."""

    name: str
    version: str
    licence: str
    origin: str
    texts: list[str]


def _python_parts(folder: str) -> list[Part]:
    parts = []
    for metadata in sorted(
        glob.glob(f"{folder}/*.dist-info/METADATA") + glob.glob(f"{folder}/*/PKG-INFO")
    ):
        with open(metadata, encoding="utf-8") as file:
            headers = HeaderParser().parse(file)
        top = os.path.dirname(metadata)
        texts = [
            path
            for path in sorted(glob.glob(f"{top}/**", recursive=True))
            if os.path.isfile(path) and _is_licence(os.path.basename(path))
        ]
        name, version = headers["Name"], headers["Version"]
        licence = _licence(headers)
        if name in _BY_NAME:
            licence, text = _BY_NAME[name]
            texts.append(text)
        origin = f"pkg:pypi/{name.lower()}@{version}"
        parts.append(Part(name, version, licence, origin, texts))
    return parts


def _is_licence(name: str) -> bool:
    return name.upper().startswith(("LICEN", "COPYING", "NOTICE", "AUTHORS"))


_BY_WORDS = {
    "MIT": "MIT", "MIT License": "MIT", "BSD": "BSD-3-Clause", "Apache": "Apache-2.0",
    "Public domain": "Unlicense",
}  # fmt: skip
_BY_NAME = {"python-prctl": ("GPL-3.0-or-later", "/usr/share/common-licenses/GPL-3")}
"""Whose distribution names no licence; its documentation does."""


def _licence(headers: Any) -> str:
    """Return the SPDX expression of a distribution's metadata."""
    expression = headers["License-Expression"]
    if expression:
        return str(expression)
    words = str(headers["License"] or "")
    if words in _BY_WORDS:
        return _BY_WORDS[words]
    for line in headers.get_all("Classifier", []):
        if line.startswith("License :: OSI Approved :: MIT"):
            return "MIT"
        if line.startswith("License :: OSI Approved :: BSD"):
            return "BSD-3-Clause"
    return words if words and " " not in words else "NOASSERTION"


def _debian_part(package: str, foreign: str) -> Part:
    unpacked = _unpacked(foreign) if foreign else {}
    asked = ["dpkg-query", "-W", "-f=${Version}", package]
    version = (
        unpacked.get(package)
        or subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    )
    licence = {
        "libc6": "LGPL-2.1-or-later", "zlib1g": "Zlib", "libyaml": "MIT",
        "libgcc": "GPL-3.0-or-later WITH GCC-exception-3.1",
        "libcap": "BSD-3-Clause OR GPL-2.0-only",
    }[package.partition("-")[0]]  # fmt: skip
    origin = f"pkg:deb/debian/{package}@{quote(version, ':')}"
    root = f"{foreign}/unpacked" if package in unpacked else ""
    return Part(package, version, licence, origin, [f"{root}/usr/share/doc/{package}/copyright"])


def _unpacked(foreign: str) -> dict[str, str]:
    """Return the packages that tools/backports.sh unpacked, with their versions."""
    with open(f"{foreign}/versions", encoding="ascii") as lines:
        return dict(line.split() for line in lines)


def _document(file: str, digest: str, version: str, parts: list[Part]) -> dict[str, Any]:
    packages = [
        {
            "SPDXID": f"SPDXRef-{number}",
            "name": part.name,
            "versionInfo": part.version,
            "downloadLocation": "NOASSERTION",
            "licenseConcluded": part.licence,
            "licenseDeclared": part.licence,
            "copyrightText": "NOASSERTION",
            "externalRefs": [
                {
                    "referenceCategory": "PACKAGE-MANAGER",
                    "referenceType": "purl",
                    "referenceLocator": part.origin,
                }
            ],
        }
        for number, part in enumerate(parts)
    ]
    packages[0]["checksums"] = [{"algorithm": "SHA256", "checksumValue": digest}]
    related = [("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-0")]
    related += [("SPDXRef-0", "CONTAINS", f"SPDXRef-{n}") for n in range(1, len(parts))]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{os.path.basename(file)}-{version}",
        "documentNamespace": f"https://spdx.org/spdxdocs/pyshim-{version}-{digest}",
        "creationInfo": {"created": _CREATED, "creators": ["Tool: pyshim-binary"]},
        "packages": packages,
        "relationships": [
            {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
            for one, kind, other in related
        ],
    }


def main(file: str, repository: str, work: str, site: str, foreign: str, *debian: str) -> None:
    """Write both files."""
    with open(file, "rb") as data:
        digest = hashlib.sha256(data.read()).hexdigest()
    with open(f"{repository}/binary/cpython", encoding="ascii") as lines:
        source = dict(line.strip().split("=") for line in lines if "=" in line and line[0] != "#")
    sys.path.insert(0, repository)
    from ocishim import __version__  # noqa: PLC0415

    own = Part(
        "pyshim",
        __version__,
        "Apache-2.0",
        f"pkg:generic/pyshim@{__version__}",
        [f"{repository}/LICENSE"],
    )
    cpython = Part(
        source["PACKAGE"], source["VERSION"], "Python-2.0",
        f"pkg:deb/debian/{source['PACKAGE']}@{quote(source['VERSION'], ':')}?arch=source",
        # The second: of what CPython has from others (dtoa, HACL*, the Mersenne Twister ...).
        [f"{work}/source/cpython/{name}" for name in ("LICENSE", "debian/copyright")],
    )  # fmt: skip
    parts = [own, cpython, *(_debian_part(package, foreign) for package in debian)]
    parts += _python_parts(site) + _python_parts(f"{work}/sdist")
    with open(f"{file}.spdx.json", "w", encoding="utf-8") as out:
        json.dump(_document(file, digest, __version__, parts), out, indent=1)
        out.write("\n")
    with open(f"{file}.licenses", "w", encoding="utf-8") as out:
        for part in parts:
            out.write(f"{'=' * 78}\n{part.name} {part.version}: {part.licence}\n{'=' * 78}\n\n")
            for path in part.texts:
                with open(path, encoding="utf-8", errors="replace") as text:
                    out.write(text.read().rstrip() + "\n\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
