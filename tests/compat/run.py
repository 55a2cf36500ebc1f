"""Does Slotwise pass what Redis passes of Redis's own test suite, with one shard and with four?

The suite is not part of this repository. REDIS_SRC names a checkout of redis/redis at tag 7.2.4 (built, or with
redis-cli and redis-benchmark on the path); without it nothing runs, and that is said. The checkout stays as it is: the
suite runs in a scratch copy below target/tmp.

Five modes. *external*: each unit runs against a server that we start (`runtest --host --port`). *replace*: our binary
stands in the place of src/redis-server, so that units run which start servers of their own. *replication*: the same for
the units about replication, and with the checks of other units that read the stream (tagged needs:repl), which the other
modes leave out. *needs-repl*: of all units those checks alone, which takes two minutes. *cluster*: the same for
unit/cluster, and for `runtest-cluster`, whose twenty nodes are started anew for each of its units (cluster/00-base and so on).

A check that does not pass must stand in known.txt, with its reason; an entry whose check passes is stale, and that is
a failure too. So are checks that Redis passes and that we never came to (known.txt has the numbers).

    REDIS_SRC=~/redis python3 tests/compat/run.py [UNIT ...] [--shards 1,4] [--binary PATH] [--replace|--replication|--needs-repl|--cluster]

A unit whose checks fail is run once more (--tries), since some checks measure time; what fails every time counts.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "client"))

from support import default_slotwise, is_redis, scratch_root, slotwise  # noqa: E402 (the path comes first)

KNOWN = HERE / "known.txt"
UNIT_SECONDS_MAX = 420
CLUSTER_SECONDS_MAX = 900  # of one unit of runtest-cluster
FAILURES_SHOWN_MAX = 12  # of one unit; the whole output of each unit stays in target/test-logs/compat

EXTERNAL_UNITS = [f"unit/{name}" for name in """
    bitfield bitops dump expire functions geo hyperloglog info-command info introspection introspection-2 keyspace
    latency-monitor lazyfree multi networking other pause protocol pubsub pubsubshard querybuf quit scan scripting
    slowlog sort tracking violations type/hash type/incr type/list type/list-2 type/list-3 type/set type/stream
    type/stream-cgroups type/string type/zset
""".split()] + ["integration/redis-cli", "integration/redis-benchmark"]

# Units of which most checks start servers of their own.
REPLACE_UNITS = [f"unit/{name}" for name in """
    acl acl-v2 auth aofrw client-eviction dump info introspection latency-monitor limits maxmemory memefficiency multi
    networking obuf-limits oom-score-adj other pause replybufsize scripting shutdown tracking violations type/list
""".split()] + [f"integration/{name}" for name in """
    aof aof-multi-part aof-race convert-ziplist-hash-on-load convert-ziplist-zset-on-load convert-zipmap-hash-on-load
    corrupt-dump corrupt-dump-fuzzer dismiss-mem logging rdb
""".split()]

# Units about replication, and those that have checks tagged needs:repl.
REPLICATION_UNITS = [f"integration/{name}" for name in """
    block-repl replication replication-2 replication-3 replication-4 replication-psync replication-buffer psync2 psync2-reg
    psync2-pingoff psync2-master-restart failover shutdown redis-cli
""".split()] + [f"unit/{name}" for name in """
    wait auth dump expire introspection maxmemory multi networking pause scripting slowlog type/list type/set type/string
    type/zset
""".split()]

# unit/cluster, and the units of runtest-cluster by the names of their files. Two of these (20, 21) are switched off at
# this tag.
CLUSTER_UNITS = [f"unit/cluster/{name}" for name in """
    announced-endpoints cli cluster-response-tls hostnames human-announced-nodename links misc multi-slot-operations
    scripting slot-ownership
""".split()] + [f"cluster/{name}" for name in """
    00-base 01-faildet 02-failover 03-failover-loop 04-resharding 05-slave-selection 06-slave-stop-cond
    07-replica-migration 08-update-msg 09-pubsub 10-manual-failover 11-manual-takeover 12-replica-migration-2
    12.1-replica-migration-3 13-no-failover-option 14-consistency-check 15-cluster-slots 16-transactions-on-replica
    17-diskless-load-swapdb 18-info 19-cluster-nodes-slots 22-replica-in-sync 25-pubsubshard-slot-migration 26-pubsubshard 28-cluster-shards 29-slot-migration-response
""".split()]

FAST_ONLY = ["--tags", "-slow"]
WITHOUT_STREAM = ["--tags", "-needs:repl"]

# The suite can leave out what has a tag, and run what a tag of the whole file lets in; of checks with a tag of their own it
# knows no "only these". So its copy is told.
TAGS_OF_A_CHECK = "    set tags [concat $::tags $tags]\n"
ONLY_WITH_STREAM = TAGS_OF_A_CHECK + """\
    if {"needs:repl" ni $tags} {
        incr ::num_skipped
        send_data_packet $::test_server_fd skip $name
        return
    }
"""


# What of a unit is left out where it would hold up or end all that follows: outside of all checks there is no other way,
# and a check that fails may leave a save behind that takes for ever. Each part with what stands in its place.
LEFT_OUT = {
    "unit/scripting": {  # there is no script debugger
        "    r script debug sync\n    r eval {return 'hello'} 0\n    r eval {return 'hello'} 0\n}": "}",
    },
    "integration/aof-multi-part": {  # they stop a rewrite by killing a child process, or read Redis's manifest
        f'test "{name}" {{': "if 0 {" for name in (
            "AOF multiple rewrite failures will open multiple INCR AOFs",
            "AOF rewrite doesn't open new aof when AOF turn off",
            "AOF enable/disable auto gc",
            "AOF can produce consecutive sequence number after reload",
            "AOF enable during BGSAVE will not write data util AOFRW finish",
            "AOF will trigger limit when AOFRW fails many times",
            "AOF will open a temporary INCR AOF to accumulate data until the first AOFRW success when AOF is dynamically"
            " enabled",
        )
    },
}

# Some checks rewrite Redis's append-only files between two starts of a server. Ours writes its own beside them and would
# ask which of the two are meant; here, what the check has written.
ANSWER = """\
if [ -f "${1:-}" ]; then
    dir=$(sed -n 's/^dir //p' "$1" | tail -n 1)
    own="${dir:-.}/appendonlydir/slotwise.manifest"
    if [ -f "$own" ] && [ -n "$(find "$dir" -maxdepth 2 -name '*.aof*' ! -name '*.aof.*.*.*.*' -newer "$own")" ]; then
        rm -f "$own" "$dir"/appendonlydir/*.aof.*.*.*.*
    fi
fi
"""


class Known:
    """What known.txt says: reference numbers, and the checks that differ, each with a reason."""

    def __init__(self, path):
        self.passes = {}
        self.differs = []
        for number, line in enumerate(path.read_text().splitlines(), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            fields = [field.strip() for field in line.split(" | ")]
            if len(fields) == 3 and fields[1].startswith("passes "):
                self.passes[(fields[0], fields[1].split()[1])] = int(fields[2])
            elif len(fields) == 5 and fields[1] in ("differs", "varies", "spoils", "ends") and fields[4]:
                mode, shards = fields[2].split()
                self.differs.append({
                    "unit": fields[0], "kind": fields[1], "mode": mode,
                    "shards": {int(count) for count in shards.split(",")}, "name": fields[3], "reason": fields[4],
                })
            else:
                sys.exit(f"{path}:{number}: not understood: {line[:200]}")

    def of(self, unit, mode, shards):
        """The entries that concern this run, by the check's name. What differs in one way of replacing the binary does so
        in the other."""
        also = {mode, "both"}
        if mode in ("replication", "needs-repl", "cluster"):
            also.add("replace")
        if mode == "needs-repl":
            also.add("replication")
        return {
            entry["name"]: entry for entry in self.differs
            if entry["unit"] == unit and entry["mode"] in also and shards in entry["shards"]
        }


class Outcome:
    """What one run of one unit said: names of checks that passed, failures with their text, how many were skipped."""

    def __init__(self):
        self.passed = []
        self.failed = {}
        self.failures = 0  # a name may fail several times
        self.skipped = []
        self.broken = ""  # why the unit did not come to its end
        self.spoilt = False  # a check has failed that makes later ones fail

    def read(self, text):
        """Reads runtest's output, up to its summary, which repeats the failures."""
        current = None
        loose = ""  # an error without a check's name: of the check that fails next, or of none
        for line in text.splitlines():
            if line.strip() == "The End":
                self.broken = self.broken or loose
                return self
            found = re.match(r"\[(ok|err|skip|ignore|exception|TIMEOUT)\]: (.*)$", line)
            if not found:
                if current is not None and line.strip() and len(self.failed[current]) < 4:
                    self.failed[current].append(line.strip())
                continue
            kind, rest = found.groups()
            current = None
            if kind == "ok":
                self.passed.append(re.sub(r" \(\d+ ms\)$", "", rest))
            elif kind == "err" and not re.search(r" in tests/\S+\.tcl$", rest):
                loose = f"outside the checks: {rest}"
            elif kind == "err":
                loose = ""
                current = re.sub(r" in tests/\S+\.tcl$", "", rest)
                self.failed.setdefault(current, [])
                self.failures += 1
            elif kind in ("skip", "ignore"):
                self.skipped.append(rest)
            else:
                self.broken = f"{kind}: {rest}"
        self.broken = self.broken or loose or "it ended without a summary"
        return self


class InstancesOutcome(Outcome):
    """What one run of one unit of runtest-cluster said."""

    def read(self, text):
        """Reads lines such as `12:30:05> Cluster is up: OK`. A check prints what it likes before its OK, on lines of its own too."""
        current, began = "", False
        for line in text.splitlines():
            began = began or line.startswith("Testing unit:")
            if not began:
                continue
            if line.startswith("Cleaning up..."):
                return self
            found = re.match(r"\d\d:\d\d:\d\d> (.*)$", line)
            if found:
                current = found.group(1)
            failed = re.match(r"(?:.*?: )?(FAILED: .*)$", line) or re.match(r"(?:.*: )?(\[exception\].*|WARNING: .*)$", line)
            name = current.split(": ")[0]
            if failed and line.startswith("FAILED: caught an error in the test"):
                # The check before has said what it was; an error outside of checks has no name.
                if not self.failed:
                    self.broken = failed.group(1)
            elif failed:
                self.failed.setdefault(name, []).append(failed.group(1))
                self.failures += 1
            elif line.endswith("OK") and name:
                self.passed.append(name)
        self.broken = self.broken or "it ended without cleaning up"
        return self


def units_with_stream(source):
    """The units that have checks with the tag needs:repl (those about modules ask for one to be built)."""
    tests = source / "tests"
    files = sorted([*tests.glob("unit/*.tcl"), *tests.glob("unit/type/*.tcl"), *tests.glob("integration/*.tcl")])
    return [str(path.relative_to(tests).with_suffix("")) for path in files if "needs:repl" in path.read_text()]


def prepare(source, binary, shards, replace, stream_only=False):
    """Makes the scratch copy: the suite, the tools, and in the second mode our binary behind src/redis-server."""
    scratch = Path(tempfile.mkdtemp(prefix="compat-", dir=scratch_root()))
    shutil.copytree(source / "tests", scratch / "tests")
    for program in ("runtest", "runtest-cluster"):
        shutil.copy(source / program, scratch / program)
    for optional in ("redis.conf", "sentinel.conf", "utils"):
        if (source / optional).is_dir():
            shutil.copytree(source / optional, scratch / optional)
        elif (source / optional).exists():
            shutil.copy(source / optional, scratch / optional)
    (scratch / "tests" / "tmp").mkdir(exist_ok=True)
    (scratch / "tests" / "cluster" / "tmp").mkdir(exist_ok=True)
    for unit, parts in LEFT_OUT.items() if replace and not is_redis(binary) else ():
        path = scratch / "tests" / f"{unit}.tcl"
        text = path.read_text()
        for left_out, instead in parts.items():
            if left_out not in text:
                sys.exit(f"compat: {path} has no {left_out!r}")
            text = text.replace(left_out, instead)
        path.write_text(text)
    if stream_only:
        path = scratch / "tests" / "support" / "test.tcl"
        text = path.read_text()
        if TAGS_OF_A_CHECK not in text:
            sys.exit(f"compat: {path} has no {TAGS_OF_A_CHECK!r}")
        path.write_text(text.replace(TAGS_OF_A_CHECK, ONLY_WITH_STREAM))
    tools = scratch / "src"
    tools.mkdir()
    for tool in ("redis-cli", "redis-benchmark", "redis-check-aof", "redis-check-rdb"):
        built = source / "src" / tool
        place = str(built) if built.exists() else shutil.which(tool)
        if place:
            (tools / tool).symlink_to(os.path.abspath(place))
        elif tool in ("redis-cli", "redis-benchmark"):
            sys.exit(f"compat: {built} is not built and there is no {tool} on the path")
    if replace:
        server = tools / "redis-server"
        options = "" if is_redis(binary) else f"--shards {shards}"
        # The suite knows a server by the process that it started, so the shell gives way to it. Our option stands at the
        # end, or before all others where the last one is left without a value, as some checks do.
        server.write_text(
            "#!/bin/sh\n"
            f"{ANSWER}"
            f"case \"${{1:-}}\" in -v|--version|-h|--help|--check-system) exec '{binary}' \"$@\" ;; esac\n"
            "for last; do :; done\n"
            "case \"$1\" in --*) option=\"$1\" ;; *) option=\"$2\" ;; esac\n"
            "case \"$last $option\" in --*' --'*) ;; *)\n"
            f"exec '{binary}' \"$@\" {options} ;; esac\n"
            "case \"$1\" in --*)\n"
            f"exec '{binary}' {options} \"$@\" ;; esac\n"
            "first=\"$1\"\n"
            "shift\n"
            f"exec '{binary}' \"$first\" {options} \"$@\"\n")
        server.chmod(0o755)
    return scratch


def run_suite(scratch, unit, arguments, baseport, seconds_max, log):
    """Runs one unit and returns what it said. All its processes are in one session, which is ended with it."""
    if unit.startswith("cluster/"):
        # Ports are not among its options; its own would have the buses where the system takes ports for connections from.
        instances = scratch / "tests" / "instances.tcl"
        text = instances.read_text()
        instances.write_text(text.replace("set ::redis_base_port 30000", f"set ::redis_base_port {baseport}"))
        command = ["./runtest-cluster", "--single", f"/{unit.split('/')[1]}.tcl"]
        seconds_max = max(seconds_max, CLUSTER_SECONDS_MAX)
        outcome = InstancesOutcome()
    else:
        command = ["./runtest", "--single", unit, "--durable", *arguments, "--baseport", str(baseport)]
        outcome = Outcome()
    environment = dict(os.environ, TERM="dumb")
    with open(log, "ab") as output:
        output.write(f"== {' '.join(command)}\n".encode())
        output.flush()
        begin = output.tell()
        process = subprocess.Popen(command, cwd=scratch, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, env=environment, start_new_session=True)
        late = False
        try:
            process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            late = True
        end_session(process)
    with open(log, "rb") as output:
        output.seek(begin)
        text = output.read().decode("utf-8", "replace")
    outcome.read(text)
    if late:
        outcome.broken = f"it was ended after {seconds_max} s"
    return outcome


def end_session(process):
    """Ends what the suite started and left: servers and load generators are in the session that we made for it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def run_unit(options, source, unit, shards, log):
    """One run of one unit in a fresh scratch copy and, in the first mode, against a fresh server."""
    scratch = prepare(source, options.binary, shards, options.replace, options.needs_repl)
    try:
        if options.replace:
            tags = FAST_ONLY + ([] if options.replication or options.needs_repl or options.cluster else WITHOUT_STREAM)
            arguments = ["--clients", "1", "--portcount", str(options.portcount), *tags]
            return run_suite(scratch, unit, arguments, options.baseport, options.seconds, log)
        extra = ["--enable-debug-command", "yes", "--enable-protected-configs", "yes", *options.extra.split()]
        try:
            server = slotwise(options.binary, shards=shards, extra=extra).start()
        except RuntimeError as error:
            outcome = Outcome()
            outcome.broken = str(error)
            return outcome
        try:
            arguments = ["--host", "127.0.0.1", "--port", str(server.port), *FAST_ONLY, *WITHOUT_STREAM]
            outcome = run_suite(scratch, unit, arguments, options.baseport, options.seconds, log)
            if not server.alive():
                outcome.broken = "the server ended"
            with open(log, "ab") as output:
                output.write(b"== the server's last lines\n" + server.log_tail(60).encode() + b"\n")
            return outcome
        finally:
            server.stop()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def judge(outcome, entries, expected):
    """Compares with what is known: (failures that count, known ones, stale entries, how many checks were never run)."""
    spoilt = False
    for name in list(outcome.failed):
        if spoilt and name not in entries:
            entries = {**entries, name: {"kind": "varies"}}
        spoilt = spoilt or entries.get(name, {}).get("kind") == "spoils"
    ends = [name for name, entry in entries.items() if entry["kind"] == "ends"]
    not_run = sum(int(name) for name in ends)
    entries = {name: entry for name, entry in entries.items() if entry["kind"] != "ends" and name not in outcome.skipped}
    unknown = {name: text for name, text in outcome.failed.items() if name not in entries}
    known = [name for name in outcome.failed if name in entries]
    passed = set(outcome.passed)
    stale = [name for name, entry in entries.items()
             if name in passed and name not in outcome.failed and entry["kind"] == "differs"]
    missing = 0
    if expected is not None:
        # Checks that differ may fail or, standing behind one that breaks off, not run.
        unseen = sum(1 for name in entries if name not in outcome.failed)
        missing = expected - len(outcome.passed) - outcome.failures - unseen
        if not_run and missing <= 0:
            stale += [f"the unit ends early ({name} checks)" for name in ends]
        missing = max(0, missing - not_run)
    outcome.spoilt = spoilt
    if ends or spoilt:
        outcome.broken = ""
    if spoilt:
        missing = 0
    return unknown, known, stale, max(0, missing)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("units", nargs="*", help="units such as unit/other (all of the mode's list unless given)")
    parser.add_argument("--binary", default=default_slotwise(), help="the server under test")
    parser.add_argument("--shards", default="1,4", help="shard counts, comma-separated")
    parser.add_argument("--replace", action="store_true", help="our binary in the place of src/redis-server")
    parser.add_argument("--replication", action="store_true", help="the same, for what concerns replication")
    parser.add_argument("--needs-repl", action="store_true", help="the same, only the checks with this tag, of all units")
    parser.add_argument("--cluster", action="store_true", help="the same, for what concerns clusters")
    parser.add_argument("--tries", type=int, default=2, help="how often a unit with failures is run at most")
    parser.add_argument("--seconds", type=int, default=UNIT_SECONDS_MAX, help="bound of one unit's run")
    parser.add_argument("--baseport", type=int, default=21111, help="first port that the suite itself may use")
    parser.add_argument("--portcount", type=int, default=400, help="how many ports its servers may use")
    parser.add_argument("--extra", default="", help="further arguments of the server (external mode)")
    parser.add_argument("--record", action="store_true",
                        help="print the lines with reference numbers; for --binary .../redis-server 7.2.4")
    options = parser.parse_args()

    named = os.environ.get("REDIS_SRC", "")
    if not named:
        print("compat: skipped, REDIS_SRC does not name a checkout of redis/redis at tag 7.2.4")
        return 0
    source = Path(named).resolve()
    if not (source / "runtest").exists():
        sys.exit(f"compat: {source} has no runtest: it is no checkout of redis/redis")
    if not shutil.which("tclsh") and not shutil.which("tclsh8.6"):
        sys.exit("compat: the suite needs tclsh (package tcl)")
    options.binary = os.path.abspath(options.binary)

    mode = next((mode for mode in ("cluster", "needs-repl", "replication", "replace")
                 if getattr(options, mode.replace("-", "_"))), "external")
    options.replace = mode != "external"
    units = options.units or {"replication": REPLICATION_UNITS, "needs-repl": units_with_stream(source), "replace": REPLACE_UNITS,
                              "cluster": CLUSTER_UNITS, "external": EXTERNAL_UNITS}[mode]
    counts = [int(count) for count in options.shards.split(",")]
    if is_redis(options.binary):
        counts = [1]
    known = Known(KNOWN)
    logs = scratch_root().parent / "test-logs" / "compat"
    logs.mkdir(parents=True, exist_ok=True)

    totals = {"passed": 0, "failed": 0, "known": 0, "skipped": 0}
    for shards in counts:
        for unit in units:
            log = logs / f"{mode}-{shards}-{unit.replace('/', '-')}.log"
            log.unlink(missing_ok=True)
            began = time.monotonic()
            entries = known.of(unit, mode, shards)
            expected = known.passes.get((unit, mode))
            best = None
            for _ in range(options.tries):
                outcome = run_unit(options, source, unit, shards, log)
                if best is not None:
                    # What failed in both runs stays; what passed in either has passed.
                    outcome.failed = {name: text for name, text in outcome.failed.items() if name in best.failed}
                    outcome.passed = max(outcome.passed, best.passed, key=len)
                    outcome.failures = min(outcome.failures, best.failures)
                best = outcome
                unknown, recognised, stale, missing = judge(best, entries, expected)
                if not unknown and not best.broken and not missing and not best.spoilt:
                    break
            if options.record:
                print(f"{unit} | passes {mode} | {len(best.passed)}", flush=True)
                for name, text in best.failed.items():
                    print(f"# failed: {name}: {' '.join(text)[:200]}")
                continue
            bad = len(unknown) + len(stale) + missing + (1 if best.broken else 0)
            totals["passed"] += len(best.passed)
            totals["failed"] += bad
            totals["known"] += len(recognised)
            totals["skipped"] += len(best.skipped)
            of = "" if expected is None else f" of {expected}"
            print(f"{unit} with {shards}: passed {len(best.passed)}{of}, failed {len(unknown)}, known {len(recognised)}, "
                  f"stale {len(stale)}, not run {missing}, skipped {len(best.skipped)}, "
                  f"{time.monotonic() - began:.0f} s{'' if bad == 0 else ' <-- FAILED'}", flush=True)
            if best.broken:
                print(f"    broken off: {best.broken[:600]}")
            for name, text in list(unknown.items())[:FAILURES_SHOWN_MAX]:
                print(f"    {name}: {' '.join(text)[:300]}")
            if len(unknown) > FAILURES_SHOWN_MAX:
                print(f"    and {len(unknown) - FAILURES_SHOWN_MAX} more: {log}")
            for name in stale:
                print(f"    stale entry in known.txt (it passes): {name}")
            sys.stdout.flush()
    if options.record:
        return 0
    print(f"{totals['known']} known differences, {totals['skipped']} skipped; logs in {logs}")
    print(f"compat: {totals['passed']} passed, {totals['failed']} failed")
    return 1 if totals["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
