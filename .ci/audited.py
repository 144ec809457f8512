"""What pip-audit has found, in lines: python .ci/audited.py FOUND.json SAID.

SAID is what it printed, whose last line says why there is no FOUND.json. The exit status is 1 where
a vulnerability has been mended in a later release, else 0.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(found: Path, said: Path) -> int:
    """Print a line for each vulnerability and one at the end; return the exit status."""
    try:
        packages = json.loads(found.read_text(encoding="utf-8"))["dependencies"]
    except (OSError, ValueError, KeyError):
        lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = lines[-1] if lines else "it took too long"
        print(f"pip-audit: skipped, since no service of vulnerabilities answers: {reason:.200}")
        return 0
    audited = [package for package in packages if "vulns" in package]
    if not audited:
        print("pip-audit: skipped, since no service here knows these packages (no network?)")
        return 0
    known = [(package, fault) for package in audited for fault in package["vulns"]]
    for package, fault in known:
        mended = ", ".join(fault["fix_versions"]) or "no release"
        print(f"{package['name']} {package['version']}: {fault['id']}, mended in {mended}")
    print(
        f"pip-audit: {len(audited)} of {len(packages)} pinned packages are audited, "
        f"{len(known)} vulnerabilities are known"
    )
    return int(any(fault["fix_versions"] for _, fault in known))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
