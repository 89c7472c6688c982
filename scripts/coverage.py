#!/usr/bin/env python3
"""How much of the decoders the tests and the seeds of the fuzzer reach: lines and branches, a row for each file.

A decoder is what reads bytes that a peer, the disk or a person made, and is fed to `make fuzz`: the files below. What stands behind
`#[cfg(test)]` in them does not count. The status is 1 where a test fails or fewer branches are reached than LEAST says. Needs
Python 3, a nightly toolchain of rustup's and its component llvm-tools.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / "target/coverage"
LEAST = 90.0

DECODERS = """
    protocol/src: connection.rs frame.rs field.rs field/compound.rs message.rs slave_words.rs master_words.rs words.rs entry.rs
    protocol/src: preface.rs identity.rs fingerprint.rs error_code.rs remote_path.rs
    auth/src: ticket.rs invitation.rs accounts.rs fleet.rs own_keys.rs password.rs pins.rs served_file.rs toml_file.rs
    storage/src/local: digest_cache.rs quota/text.rs
    client/src: target.rs trailer.rs upload_record.rs
    ftpclient/src: args.rs filter.rs glob.rs netrc.rs words.rs
    ftpmaster/src: args.rs place.rs
    ftpslave/src: args.rs
    cli/src: config_file.rs number.rs size.rs
    admission/src: limits.rs
"""
PACKAGES = "admission auth cli client ftpclient ftpmaster ftpslave fuzzing protocol storage".split()
TESTS = ["--lib", "--test", "seeds", "--test", "specification"]


def output(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=TOP, **options).stdout


def decoders():
    for line in DECODERS.strip().splitlines():
        folder, files = line.strip().split(": ")
        for file in files.split():
            yield TOP / "crates" / folder / file


def tool(name):
    sysroot = pathlib.Path(output("rustc", "+nightly", "--print", "sysroot").strip())
    return str(next(sysroot.glob(f"lib/rustlib/*/bin/{name}")))


def run():
    """Runs the tests; their programs, and the merged profile."""
    profiles = BUILD / "profiles"
    profiles.mkdir(parents=True, exist_ok=True)
    for old in profiles.glob("*.profraw"):
        old.unlink()
    environment = os.environ | {
        "RUSTFLAGS": "-C instrument-coverage -Z coverage-options=branch",
        "CARGO_TARGET_DIR": str(BUILD),
        "LLVM_PROFILE_FILE": str(profiles / "%p-%m.profraw"),
    }
    packages = [word for package in PACKAGES for word in ("-p", package)]
    test = ["cargo", "+nightly", "test", "--locked", "--quiet", *packages, *TESTS]
    built = output(*test, "--no-run", "--message-format=json", env=environment)
    messages = [json.loads(line) for line in built.splitlines()]
    programs = [message["executable"] for message in messages if message.get("executable")]
    tests = subprocess.run([*test, "--no-fail-fast"], stdout=sys.stderr, cwd=TOP, env=environment)
    if tests.returncode:
        sys.exit("coverage: a test fails, and what the others reach is no figure")
    merged = profiles / "all.profdata"
    raw = [str(profile) for profile in profiles.glob("*.profraw")]
    output(tool("llvm-profdata"), "merge", "--sparse", "--failure-mode=all", "-o", str(merged), *raw)
    return programs, merged


def first_test_line(path):
    lines = path.read_text().splitlines()
    return next((number for number, line in enumerate(lines, 1) if line == "#[cfg(test)]"), len(lines) + 1)


def line_counts(segments, end):
    """How often each line ran that holds code: the most that any segment says which begins or goes on there."""
    counts = {}
    for (line, _, count, has_count, _, is_gap), following in zip(segments, segments[1:]):
        if has_count and not is_gap:
            for number in range(line, min(following[0], end - 1) + 1):
                counts[number] = max(counts.get(number, 0), count)
    return {number: count for number, count in counts.items() if number < end}


def branch_sides(branches, end):
    """Both sides of each condition, over all instances of generic code."""
    sides = {}
    for line, column, end_line, end_column, taken, passed, *_ in branches:
        if line < end:
            place = (line, column, end_line, end_column)
            before = sides.get(place, (0, 0))
            sides[place] = (before[0] + taken, before[1] + passed)
    return [side > 0 for both in sides.values() for side in both]


def percent(part, whole):
    return 100.0 * part / whole if whole else 100.0


def row(name, lines, branches):
    reached = [(sum(1 for count in counts if count), len(counts)) for counts in (lines, branches)]
    cells = [f"{part:5} of {whole:5} {percent(part, whole):6.1f} %" for part, whole in reached]
    print(f"{name:44} {cells[0]}   {cells[1]}")
    return percent(*reached[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-v", "--verbose", action="store_true", help="show every condition that was never true or never false")
    verbose = parser.parse_args().verbose
    (first, *others), profile = run()
    objects = [word for program in others for word in ("--object", program)]
    files = list(decoders())
    command = [tool("llvm-cov"), "export", first, *objects, f"--instr-profile={profile}"]
    found = json.loads(output(*command, *map(str, files)))["data"][0]["files"]
    by_name = {file["filename"]: file for file in found}
    print(f"{'decoder':44} {'lines':>22}   {'branches':>22}")
    all_lines, all_branches = [], []
    for path in files:
        file = by_name.get(str(path), {"segments": [], "branches": []})
        end = first_test_line(path)
        lines = list(line_counts(file["segments"], end).values())
        branches = branch_sides(file["branches"], end)
        row(str(path.relative_to(TOP / "crates")), lines, branches)
        if verbose:
            missing(path, file, end)
        all_lines += lines
        all_branches += branches
    reached = row("all", all_lines, all_branches)
    sys.exit(reached < LEAST)


def missing(path, file, end):
    """Where a side was never taken."""
    source = path.read_text().splitlines()
    seen = {}
    for line, column, _, _, taken, passed, *_ in file["branches"]:
        if line < end:
            before = seen.get((line, column), (0, 0))
            seen[line, column] = (before[0] + taken, before[1] + passed)
    for (line, _), (taken, passed) in sorted(seen.items()):
        if not taken or not passed:
            print(f"    {line}: never {'true' if not taken else 'false'}: {source[line - 1].strip()}")


if __name__ == "__main__":
    main()
