"""Does the server pass ioredis's own tests, with one shard and with four, by itself and as a cluster?

The tests are not part of this repository. IOREDIS_SRC names a checkout of redis/ioredis at version 5 in which `npm ci`
has been run. Without it nothing runs, and that is said. The checkout stays as it is: the suite runs in a scratch copy,
in which the port of the server under test stands for 6379, and those of a cluster's nodes for 3000 to 3005.

    IOREDIS_SRC=~/ioredis python3 tests/client/ioredis_own.py [--shards 1,4] [--slotwise PATH] [--grep WORDS]
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cluster import House, address, cli, is_ok
from support import default_slotwise, scratch_root, slotwise, wait_until

SECONDS_MAX = 400  # of one run of mocha
ALONE = ("test/helpers/*.ts", "test/unit/**/*.ts", "test/functional/**/*.ts")
CLUSTER = ("test/cluster/**/*.ts",)

# Tests that fail, each with its reason.
KNOWN = {
    r"hp?expire should .*": "HEXPIRE and HPEXPIRE came with 7.4",
    r"\*scanStream hscanStream should recognize `NOVALUES`": "it came with 7.4",
}


def copy_of(source, scratch, ports, six):
    """The suite, speaking to our ports; what it is built with stays where it is."""
    for name in ("package.json", "tsconfig.json"):
        shutil.copy(source / name, scratch / name)
    for name in ("lib", "test"):
        shutil.copytree(source / name, scratch / name)
    (scratch / "node_modules").symlink_to(source / "node_modules")
    for path in [*scratch.glob("lib/**/*.ts"), *scratch.glob("test/**/*.ts")]:
        text = path.read_text()
        if ports:
            text = re.sub(r"(?<!\d)6379(?!\d)", str(ports), text)
        for place, port in enumerate(six):
            text = re.sub(rf"(?<!\d)300{place}(?!\d)", str(port), text)
        path.write_text(text)


def mocha(scratch, files, grep):
    """Runs files of the suite: names that passed, names that did not with what they said, names left out, the end of all."""
    command = ["node_modules/.bin/mocha", "--reporter", "tap", *files, *(("--grep", grep) if grep else ())]
    environment = dict(os.environ, TS_NODE_TRANSPILE_ONLY="true", NODE_ENV="test")
    try:
        run = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=SECONDS_MAX, check=False,
                             env=environment)
        text, end = run.stdout, run.stdout[-400:] + run.stderr[-400:]
    except subprocess.TimeoutExpired as late:
        text, end = (late.stdout or b"").decode(), f"it was ended after {SECONDS_MAX} s"
    passed, failed, skipped = [], {}, 0
    current = None
    for line in text.splitlines():
        found = re.match(r"(not ok|ok) \d+ (.*?)(?: # (SKIP).*)?$", line)
        if found:
            current = None
            outcome, name, left_out = found.groups()
            if left_out:
                skipped += 1
            elif outcome == "ok":
                passed.append(name)
            else:
                current = name
                failed[name] = []
        elif current is not None and line.startswith("  ") and len(failed[current]) < 2:
            failed[current].append(line.strip())
    is_whole = re.search(r"^# pass \d+$", text, re.M)
    return passed, failed, skipped, "" if is_whole else end


def told(title, outcome):
    """Prints an outcome; how many failures are not known."""
    passed, failed, skipped, broken = outcome
    def reason(name):
        return next((why for pattern, why in KNOWN.items() if re.fullmatch(pattern, name)), "")

    unknown = [name for name in failed if not reason(name)]
    print(f"ioredis's suite, {title}: {len(passed)} passed, {len(failed)} failed, {skipped} skipped; "
          f"{len(unknown)} not known", flush=True)
    for name in failed:
        print(f"    {name}: {reason(name) or ' '.join(failed[name])[:300]}")
    if broken:
        print(f"    it has no end: {broken}")
    return len(unknown) + bool(broken)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slotwise", default=default_slotwise(), help="path of the server under test")
    parser.add_argument("--shards", default="1,4", help="shard counts, comma-separated")
    parser.add_argument("--grep", default="", help="only the tests whose names hold this")
    options = parser.parse_args()
    named = os.environ.get("IOREDIS_SRC", "")
    if not named:
        print("ioredis: skipped, IOREDIS_SRC does not name a checkout of redis/ioredis")
        return 0
    source = Path(named).resolve()
    if not (source / "node_modules" / ".bin" / "mocha").exists():
        sys.exit(f"ioredis: {source} has no node_modules/.bin/mocha; run npm ci there")
    bad = 0
    for count in options.shards.split(","):
        options.shards = int(count)
        with (tempfile.TemporaryDirectory(dir=scratch_root()) as scratch,
              slotwise(options.slotwise, shards=options.shards) as server):
            copy_of(source, Path(scratch), server.port, ())
            bad += told(f"{count} shards", mocha(scratch, ALONE, options.grep))
        house = House(options)
        try:
            with tempfile.TemporaryDirectory(dir=scratch_root()) as scratch:
                # The suite takes the three lowest ports for those of the primaries, and the slots for laid out in their order.
                nodes = sorted((house.node() for _ in range(6)), key=lambda node: node.port)
                cli("--cluster", "create", *map(address, nodes), "--cluster-replicas", 1, "--cluster-yes")
                wait_until(lambda: all(map(is_ok, nodes)), 20, "a cluster that works")
                copy_of(source, Path(scratch), 0, [node.port for node in nodes])
                bad += told(f"a cluster, {count} shards", mocha(scratch, CLUSTER, options.grep))
        finally:
            house.close()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
