"""Build the packages of a release, look inside, and try them; upload nothing.

    make release                      # or: python release.py
    python release.py --no-install    # without the new environment, which takes 1.1 GB and minutes
    python release.py --draft         # while the tree has changes, or the address is the placeholder

It prints the commands that publish, for a person to run.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
DIST = ROOT / "dist"
NEEDED = ("maskling/py.typed", "maskling/presets/modern-mini.toml", "maskling/serve/page/vendor/LICENSE-preact")
PLACEHOLDER = "https://example.org/"


def run(*command: str | Path) -> str:
    """Run a command in the project's folder and return its output; leave with its output if it fails."""
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def version() -> str:
    """Return the version of the source."""
    found = re.search(r'__version__ = "(.+)"', (ROOT / "src/maskling/version.py").read_text(encoding="utf-8"))
    assert found
    return found[1]


def reasons_against(number: str) -> Iterator[str]:
    """Yield what must be done before a release."""
    if run("git", "status", "--porcelain"):
        yield "commit or remove the changes that 'git status' lists"
    if run("git", "tag", "--list", f"v{number}"):
        yield f"the tag v{number} exists; raise __version__ in src/maskling/version.py"
    if f"\n## {number}\n" not in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"):
        yield f"CHANGELOG.md has no section '## {number}'"
    if f"\nversion: {number}\n" not in (ROOT / "CITATION.cff").read_text(encoding="utf-8"):
        yield f"CITATION.cff names another version than {number}"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if project["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"].startswith(PLACEHOLDER):
        yield "the repository's address in pyproject.toml is a placeholder"


def faults_inside(wheel: Path, source: Path) -> Iterator[str]:
    """Yield what is wrong with the contents of the packages."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode("utf-8")
    for name in NEEDED:
        if name not in names:
            yield f"{wheel.name} lacks {name}"
    for name in names:
        if not name.startswith(("maskling/", f"maskling-{version()}.dist-info/")) or "test" in name.lower():
            yield f"{wheel.name} holds {name}"
    for link in re.findall(r"\]\((?!https?:|#)([^)]+)\)", metadata):
        yield f"the description has a relative link: {link}"
    with tarfile.open(source) as archive:
        for name in archive.getnames():
            if "/tests/" in name or "/." in name.replace("/.gitignore", ""):
                yield f"{source.name} holds {name}"


def try_out(wheel: Path) -> None:
    """Install the wheel into a new environment and run it there."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder, "venv", "bin", "python")
        run(sys.executable, "-m", "venv", Path(folder, "venv"))
        index = ("--extra-index-url", "https://download.pytorch.org/whl/cpu")
        pip = (python, "-m", "pip", "--disable-pip-version-check", "install", "--constraint", "constraints.txt")
        run(*pip, "--retries", "1", "--no-deps", *index, "torch")
        run(*pip, wheel)
        (Path(folder) / "text.txt").write_text("The north wind and the sun argued. " * 3, encoding="utf-8")
        for words in (["--version"], ["train", "--show"], ["inspect", f"{folder}/text.txt"]):
            run(python, "-m", "maskling", *words)


def main() -> None:
    """Check, build, look inside, try."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draft", action="store_true", help="go on although the release is not ready")
    parser.add_argument("--no-install", action="store_true", help="do not install the wheel into a new environment")
    options = parser.parse_args()
    number = version()
    against = list(reasons_against(number))
    sys.stderr.write("".join(f"not ready: {reason}\n" for reason in against))
    if against and not options.draft:
        sys.exit(1)
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST)
    (wheel,), (source,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    if faults := list(faults_inside(wheel, source)):
        sys.exit("\n".join(faults))
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, source)
    if not options.no_install:
        try_out(wheel)
    sys.stderr.write(
        f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, {source.name}: {source.stat().st_size / 1e6:.1f} MB; "
        f"their contents are right\n"
        f"to publish:\n"
        f"  git tag -a v{number} -m 'maskling {number}' && git push origin v{number}\n"
        f"  python -m twine upload dist/*\n"
    )


if __name__ == "__main__":
    main()
