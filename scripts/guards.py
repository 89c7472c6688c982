#!/usr/bin/env python3
"""Takes every guard of tests/guards.toml out of the source, one after another, and runs the test that should miss it.

A guard whose test still passes without it is not tested: the run ends with status 1. Works on a copy of the committed source below
target/guards, so that the tree at hand stays as it is. Needs Python 3.11 (tomllib), git and cargo.

    scripts/guards.py [WORD]    only guards whose class, subject, file or test holds WORD
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import tomllib

TOP = pathlib.Path(__file__).resolve().parent.parent
COPY = TOP / "target/guards/source"
# Long enough for a test that waits in vain for what its guard would have ended.
PATIENCE_S = 180


def run(*command, cwd, patience=None):
    """Like subprocess.run; what hangs ends with all that it started."""
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0)
    try:
        stdout, stderr = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def copy_source():
    """A clone of the last commit, in the place of an earlier one, so that its builds are used again."""
    if not COPY.exists():
        subprocess.run(["git", "clone", "--quiet", "--shared", str(TOP), str(COPY)], check=True)
    subprocess.run(["git", "fetch", "--quiet", "origin", "HEAD"], cwd=COPY, check=True)
    subprocess.run(["git", "checkout", "--quiet", "--force", "FETCH_HEAD"], cwd=COPY, check=True)


def verdict(guard):
    """What happened without the guard: 'missed' is what should."""
    path = COPY / guard["file"]
    source = path.read_text()
    if source.count(guard["remove"]) != 1:
        return f"not found once in {guard['file']}"
    path.write_text(source.replace(guard["remove"], guard["put"]))
    try:
        test = ["cargo", "test", "--quiet", *guard["test"].split()]
        built = run(*test, "--no-run", cwd=COPY)
        if built.returncode != 0:
            return "does not compile without it:\n" + built.stderr
        tested = run(*test, cwd=COPY, patience=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return "missed"
    finally:
        path.write_text(source)
    if tested.returncode != 0:
        return "missed"
    return "the test passes without it" if re.search("[1-9][0-9]* passed", tested.stdout) else "no such test"


def main():
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    guards = tomllib.loads((TOP / "tests/guards.toml").read_text())["guard"]
    guards = [guard for guard in guards if any(word in str(value) for value in guard.values())]
    copy_source()
    failures = 0
    for guard in guards:
        begun = time.monotonic()
        result = verdict(guard)
        failures += result != "missed"
        print(f"{guard['class']:>3}  {guard['guard']}: {result} ({time.monotonic() - begun:.0f} s)", flush=True)
    print(f"{len(guards)} guards removed, {len(guards) - failures} of them missed by their tests")
    sys.exit(1 if failures or not guards else 0)


main()
