"""Do connection, transaction and server commands answer byte for byte as redis-server does, errors above all?

Each line below is sent to both servers, in RESP2 and in RESP3, on one connection each, in order. Lines whose answer
is a matter of the server itself (addresses, times, sizes) are compared by their shape: numbers and texts are left out.

    tests/client/server_commands.py [--slotwise PATH] [--redis PATH] [--shards N]
"""

import argparse
import shlex
import sys

from support import default_slotwise, redis, slotwise

# Answers equal to the byte.
EQUAL = """
PING
PING hello
PING a b
ECHO x
ECHO
SELECT 1
SELECT x
SELECT -1
SELECT 16
SELECT 99999999999
SELECT 0
HELLO 4
HELLO x
HELLO 03
HELLO 3 foo
HELLO 3 AUTH a
HELLO 3 SETNAME "a b"
HELLO 2 AUTH a b
AUTH a
AUTH a b
AUTH default anything
AUTH a b c
CLIENT
CLIENT FOO
CLIENT ID x
CLIENT GETNAME
CLIENT SETNAME worker
CLIENT GETNAME
CLIENT SETNAME "a b"
CLIENT SETNAME ""
CLIENT GETNAME
CLIENT LIST TYPE x
CLIENT LIST TYPE
CLIENT LIST ID x
CLIENT LIST ID
CLIENT LIST ID 123456
CLIENT LIST FOO
CLIENT LIST TYPE master
CLIENT LIST TYPE REPLICA
CLIENT KILL
CLIENT KILL x
CLIENT KILL ID x
CLIENT KILL ID 0
CLIENT KILL ID 123456
CLIENT KILL TYPE x
CLIENT KILL TYPE pubsub
CLIENT KILL USER x
CLIENT KILL ADDR 1.2.3.4:5 LADDR 1.2.3.4:6
CLIENT KILL SKIPME x
CLIENT KILL FOO x
CLIENT KILL ID 1 ID
CLIENT REPLY x
CLIENT REPLY ON
CLIENT UNBLOCK x
CLIENT UNBLOCK 5 x
CLIENT UNBLOCK 123456
CLIENT UNBLOCK 1 TIMEOUT x
CLIENT PAUSE x
CLIENT PAUSE -1
CLIENT PAUSE 0 x
CLIENT PAUSE 1 WRITE x
CLIENT PAUSE 1 WRITE
CLIENT UNPAUSE
CLIENT NO-EVICT on
CLIENT NO-EVICT off
CLIENT NO-EVICT x
MULTI
MULTI
WATCH k
SET k v
EXEC
EXEC
DISCARD
MULTI
NOSUCH
SET k v
EXEC
MULTI
SET k
EXEC
MULTI
CLIENT GETNAME
PING
SELECT 2
SET k v
SELECT 0
COMMAND GETKEYS GET a
CONFIG GET maxmemory-samples
EXEC
WATCH k
UNWATCH
WATCH k
SET k w
MULTI
GET k
EXEC
MULTI
DISCARD
MULTI
SHUTDOWN
EXEC
COMMAND FOO
COMMAND COUNT x
COMMAND INFO nosuch
COMMAND DOCS nosuch
COMMAND GETKEYS GET a
COMMAND GETKEYS MSET a 1 b 2
COMMAND GETKEYS MSET a
COMMAND GETKEYS ZUNIONSTORE d 2 a b
COMMAND GETKEYS ZUNIONSTORE d 3 a b
COMMAND GETKEYS SINTERCARD 2 a b
COMMAND GETKEYS SET a
COMMAND GETKEYS PING a
COMMAND GETKEYS NOSUCH a
COMMAND GETKEYS OBJECT ENCODING a
COMMAND GETKEYS MEMORY USAGE a
COMMAND GETKEYSANDFLAGS SET a b
COMMAND GETKEYSANDFLAGS SET a b GET
COMMAND GETKEYSANDFLAGS COPY a b
COMMAND GETKEYSANDFLAGS RENAME a b
COMMAND GETKEYSANDFLAGS ZUNIONSTORE d 2 a b
COMMAND GETKEYSANDFLAGS SINTERSTORE d a b
COMMAND LIST FILTERBY MODULE x
COMMAND LIST FILTERBY ACLCAT nosuch
COMMAND LIST FILTERBY PATTERN mult*
COMMAND LIST FILTERBY x y
COMMAND LIST FILTERBY
COMMAND LIST x
CONFIG
CONFIG FOO
CONFIG GET
CONFIG GET maxmemory-samples
CONFIG GET nosuch
CONFIG SET a
CONFIG SET nosuch 1
CONFIG SET a b c
CONFIG SET maxmemory-samples x
CONFIG SET maxmemory-samples 7 lfu-log-factor x
CONFIG GET maxmemory-samples
CONFIG SET maxmemory-samples 7 lfu-log-factor 9
CONFIG GET lfu-log-factor
CONFIG SET maxmemory-samples 5 lfu-log-factor 10
CONFIG SET databases 3
CONFIG REWRITE
CONFIG RESETSTAT
CONFIG RESETSTAT x
INFO nosuch
MEMORY
MEMORY FOO
MEMORY USAGE
MEMORY USAGE nokey
MEMORY USAGE k SAMPLES
MEMORY USAGE k SAMPLES x
MEMORY USAGE k SAMPLES -1
MEMORY USAGE k FOO
MEMORY PURGE
SLOWLOG FOO
SLOWLOG GET x
SLOWLOG GET -2
SLOWLOG GET 1 2
SLOWLOG RESET
SLOWLOG LEN
LATENCY FOO
LATENCY LATEST
LATENCY HISTORY x
LATENCY GRAPH x
LATENCY RESET
LATENCY RESET x
LATENCY HISTOGRAM nosuch
SHUTDOWN x
SHUTDOWN SAVE NOSAVE
SHUTDOWN ABORT NOW
SHUTDOWN ABORT
TIME x
DEBUG FOO
DEBUG SLEEP
DEBUG SLEEP 0
DEBUG OBJECT nokey
DEBUG HTSTATS 99
DEBUG HTSTATS-KEY k
DEBUG HTSTATS-KEY nokey
DEBUG LISTPACK k
DEBUG SET-ACTIVE-EXPIRE 1
DEBUG QUICKLIST-PACKED-THRESHOLD 100b
DEBUG QUICKLIST-PACKED-THRESHOLD x
DEBUG CHANGE-REPL-ID
DEBUG ERROR "ERR made up"
DEBUG PROTOCOL x
DEBUG PROTOCOL string
DEBUG PROTOCOL integer
DEBUG PROTOCOL double
DEBUG PROTOCOL bignum
DEBUG PROTOCOL null
DEBUG PROTOCOL array
DEBUG PROTOCOL set
DEBUG PROTOCOL map
DEBUG PROTOCOL attrib
DEBUG PROTOCOL push
DEBUG PROTOCOL verbatim
DEBUG PROTOCOL true
DEBUG PROTOCOL false
"""

# Answers of one shape: the same types in the same places.
ALIKE = """
HELLO
TIME
CLIENT LIST
CLIENT INFO
COMMAND COUNT
INFO
INFO all
INFO everything
INFO server clients keyspace
MEMORY STATS
MEMORY USAGE k
MEMORY DOCTOR
DEBUG OBJECT k
CONFIG GET maxmemory*
"""

LAST = ["RESET", "PING", "QUIT"]


def shape(node):
    """The types of an answer, as deep as they go. How many configuration directives or bytes there are is left out."""
    if node.kind in b"*%~>" and node.payload is not None:
        return node.kind, len(node.payload), [shape(child) for child in node.payload]
    return node.kind


def ask(client, line):
    client.send(*shlex.split(line))
    return client.read()


def compare(ours, theirs):
    found = []
    for line in EQUAL.strip().splitlines() + LAST:
        mine, reference = ask(ours, line), ask(theirs, line)
        if mine[1] != reference[1]:
            found.append(f"RESP{ours.resp} {line}:\n  ours   {mine[1][:500]!r}\n  theirs {reference[1][:500]!r}")
    return found


def compare_shapes(ours, theirs):
    found = []
    ours.call("SET", "k", "v"), theirs.call("SET", "k", "v")
    for line in ALIKE.strip().splitlines():
        mine, reference = ask(ours, line), ask(theirs, line)
        if shape(mine[0]) != shape(reference[0]):
            found.append(f"RESP{ours.resp} {line}:\n  ours   {mine[1][:500]!r}\n  theirs {reference[1][:500]!r}")
    return found


def fields_missing(ours, theirs):
    """Fields of INFO that the reference has and we have not; those of its build say nothing of ours."""
    of_its_build = {"redis_build_id", "monotonic_clock", "gcc_version"}

    def fields(client):
        lines = client.must("INFO", "everything").decode().splitlines()
        return {line.split(":")[0] for line in lines if ":" in line}

    missing = fields(theirs) - fields(ours) - of_its_build
    # What was counted differs, and so do the commands and errors that have a line.
    counted = ("cmdstat_", "errorstat_", "latency_percentiles_")
    return [f"INFO has no field {name}" for name in sorted(missing) if not name.startswith(counted)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slotwise", default=default_slotwise(), help="path of the server under test")
    parser.add_argument("--redis", default="redis-server", help="path of the reference")
    parser.add_argument("--shards", type=int, default=2, help="shards of the server under test")
    options = parser.parse_args()
    debug = ("--enable-debug-command", "yes")
    found = []
    with slotwise(options.slotwise, shards=options.shards, extra=debug) as one, redis(options.redis, extra=debug) as other:
        for resp in (2, 3):
            with one.client(resp) as ours, other.client(resp) as theirs:
                found += compare(ours, theirs)
            with one.client(resp) as ours, other.client(resp) as theirs:
                found += compare_shapes(ours, theirs)
        with one.client() as ours, other.client() as theirs:
            found += fields_missing(ours, theirs)
    for line in found:
        print(line)
    print(f"{len(EQUAL.strip().splitlines()) + len(ALIKE.strip().splitlines())} lines compared, {len(found)} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
