"""Do CLUSTER's subcommands, and the cluster's words beside them, answer byte for byte as redis-server does, odd arguments above all?

Each line below is sent to one node of ours and one of Redis, on one connection each, in order, in RESP2 and in RESP3. Where
a line holds `ME` the node's own name is sent, and the names of both nodes read ME in what comes back. Lines whose answer is a matter of
the node itself (times, addresses, counters) are compared by their shape.

    tests/client/cluster_words.py [--slotwise PATH] [--redis PATH] [--shards N]

With a redis-server of 7.0 what 7.2 has changed is left out.
"""

import argparse
import re
import shlex
import sys

from cluster import is_free
from support import default_slotwise, redis, slotwise, wait_until

NOBODY = "0123456789abcdef0123456789abcdef01234567"

EQUAL = f"""
CLUSTER
CLUSTER NONSENSE
CLUSTER NONSENSE a b
CLUSTER MYID x
CLUSTER MYID
CLUSTER KEYSLOT
CLUSTER KEYSLOT foo
CLUSTER KEYSLOT foo bar
CLUSTER KEYSLOT {{a}}b
CLUSTER KEYSLOT {{}}b
CLUSTER KEYSLOT ""
CLUSTER COUNTKEYSINSLOT
CLUSTER COUNTKEYSINSLOT 0
CLUSTER COUNTKEYSINSLOT -1
CLUSTER COUNTKEYSINSLOT 16383
CLUSTER COUNTKEYSINSLOT 16384
CLUSTER COUNTKEYSINSLOT x
CLUSTER COUNTKEYSINSLOT 1 2
CLUSTER GETKEYSINSLOT 1
CLUSTER GETKEYSINSLOT 1 0
CLUSTER GETKEYSINSLOT 1 -1
CLUSTER GETKEYSINSLOT 1 x
CLUSTER GETKEYSINSLOT 16384 1
CLUSTER GETKEYSINSLOT x 1
CLUSTER GETKEYSINSLOT -1 -1
CLUSTER GETKEYSINSLOT 99999999999999999999 1
CLUSTER ADDSLOTS
CLUSTER ADDSLOTS x
CLUSTER ADDSLOTS -1
CLUSTER ADDSLOTS 16384
CLUSTER ADDSLOTS 1 1
CLUSTER ADDSLOTS 1 2 x
CLUSTER ADDSLOTS ""
CLUSTER ADDSLOTS 1 2 3
CLUSTER ADDSLOTS 3
CLUSTER ADDSLOTS 4 3
CLUSTER ADDSLOTS 4 4
CLUSTER ADDSLOTSRANGE
CLUSTER ADDSLOTSRANGE 1
CLUSTER ADDSLOTSRANGE 10 11 12
CLUSTER ADDSLOTSRANGE 11 10
CLUSTER ADDSLOTSRANGE 10 16384
CLUSTER ADDSLOTSRANGE x y
CLUSTER ADDSLOTSRANGE 3 6
CLUSTER ADDSLOTSRANGE 10 12 12 13
CLUSTER ADDSLOTSRANGE 10 12 14 14
CLUSTER ADDSLOTSRANGE 1 2 10 12
CLUSTER DELSLOTS
CLUSTER DELSLOTS x
CLUSTER DELSLOTS 16384
CLUSTER DELSLOTS 100
CLUSTER DELSLOTS 1 1
CLUSTER DELSLOTS 1 100
CLUSTER DELSLOTS 1
CLUSTER DELSLOTS 1
CLUSTER DELSLOTSRANGE
CLUSTER DELSLOTSRANGE 1
CLUSTER DELSLOTSRANGE 5 4
CLUSTER DELSLOTSRANGE 2 3 3 4
CLUSTER DELSLOTSRANGE 2 100
CLUSTER DELSLOTSRANGE 10 11
CLUSTER DELSLOTSRANGE 10 11 12
CLUSTER DELSLOTSRANGE 16000 20000
CLUSTER BUMPEPOCH x
CLUSTER BUMPEPOCH
CLUSTER BUMPEPOCH
CLUSTER SET-CONFIG-EPOCH
CLUSTER SET-CONFIG-EPOCH x
CLUSTER SET-CONFIG-EPOCH -1
CLUSTER SET-CONFIG-EPOCH 5
CLUSTER SET-CONFIG-EPOCH 0
CLUSTER SET-CONFIG-EPOCH 1 2
CLUSTER SETSLOT
CLUSTER SETSLOT 2
CLUSTER SETSLOT 2 STABLE
CLUSTER SETSLOT 2 stable x
CLUSTER SETSLOT x STABLE
CLUSTER SETSLOT 16384 STABLE
CLUSTER SETSLOT -1 STABLE
CLUSTER SETSLOT 2 NONSENSE
CLUSTER SETSLOT 2 NONSENSE {NOBODY}
CLUSTER SETSLOT 2 MIGRATING
CLUSTER SETSLOT 2 MIGRATING {NOBODY}
CLUSTER SETSLOT 2 MIGRATING x
CLUSTER SETSLOT 2 MIGRATING ME
CLUSTER SETSLOT 500 MIGRATING ME
CLUSTER SETSLOT 500 MIGRATING {NOBODY}
CLUSTER SETSLOT 2 IMPORTING {NOBODY}
CLUSTER SETSLOT 2 IMPORTING ME
CLUSTER SETSLOT 500 IMPORTING ME
CLUSTER SETSLOT 500 IMPORTING x
CLUSTER SETSLOT 500 IMPORTING {NOBODY}
CLUSTER SETSLOT 2 NODE
CLUSTER SETSLOT 2 NODE x
CLUSTER SETSLOT 2 NODE {NOBODY}
CLUSTER SETSLOT 2 NODE ME
CLUSTER SETSLOT 2 NODE ME x
CLUSTER SETSLOT 777 NODE ME
CLUSTER MEET
CLUSTER MEET 127.0.0.1
CLUSTER MEET 127.0.0.1 x
CLUSTER MEET 127.0.0.1 0
CLUSTER MEET 127.0.0.1 -1
CLUSTER MEET 127.0.0.1 70000
CLUSTER MEET 127.0.0.1 60000
CLUSTER MEET 127.0.0.1 6000 x
CLUSTER MEET 127.0.0.1 6000 70000
CLUSTER MEET 127.0.0.1 6000 -1
CLUSTER MEET localhost 6000
CLUSTER MEET "" 6000
CLUSTER MEET 1.2.3 6000
CLUSTER MEET 127.0.0.1 6000 16000 x
CLUSTER FORGET
CLUSTER FORGET x
CLUSTER FORGET {NOBODY}
CLUSTER FORGET ME
CLUSTER FORGET ME x
CLUSTER REPLICATE
CLUSTER REPLICATE x
CLUSTER REPLICATE {NOBODY}
CLUSTER REPLICATE ME
CLUSTER REPLICAS
CLUSTER REPLICAS x
CLUSTER REPLICAS {NOBODY}
CLUSTER REPLICAS ME
CLUSTER SLAVES x
CLUSTER SLAVES ME
CLUSTER SLAVES ME x
CLUSTER FAILOVER
CLUSTER FAILOVER FORCE
CLUSTER FAILOVER TAKEOVER
CLUSTER FAILOVER NONSENSE
CLUSTER FAILOVER FORCE x
CLUSTER COUNT-FAILURE-REPORTS
CLUSTER COUNT-FAILURE-REPORTS x
CLUSTER COUNT-FAILURE-REPORTS {NOBODY}
CLUSTER COUNT-FAILURE-REPORTS ME
CLUSTER RESET NONSENSE
CLUSTER RESET HARD x
CLUSTER SAVECONFIG x
CLUSTER SAVECONFIG
CLUSTER FLUSHSLOTS x
CLUSTER LINKS x
CLUSTER LINKS
CLUSTER INFO x
CLUSTER NODES x
CLUSTER SLOTS x
CLUSTER SHARDS x
READONLY x
READONLY
READWRITE x
READWRITE
ASKING x
ASKING
SELECT 1
SELECT 0
MOVE foo 1
COPY foo bar DB 1
SWAPDB 0 1
GET foo
SET foo bar
ASKING
GET foo
MGET foo bar
REPLICAOF 127.0.0.1 1
SLAVEOF NO ONE
FAILOVER
SPUBLISH foo bar
SSUBSCRIBE foo bar
SORT foo BY x_*
SORT_RO foo GET x_*
CONFIG SET cluster-require-full-coverage no
CONFIG SET cluster-node-timeout x
CONFIG SET cluster-announce-ip 10.1.2.3
CONFIG SET cluster-announce-ip ""
CONFIG SET cluster-announce-hostname "a b"
CONFIG SET cluster-announce-hostname _
CONFIG SET cluster-preferred-endpoint-type x
CONFIG SET cluster-migration-barrier -1
CONFIG SET cluster-replica-validity-factor -1
CONFIG SET cluster-enabled no
CONFIG SET cluster-port 5
CONFIG SET cluster-config-file x
CONFIG SET cluster-announce-port 70000
CONFIG SET cluster-link-sendbuf-limit -1
MULTI
GET foo
EXEC
CLUSTER FLUSHSLOTS
CLUSTER FLUSHSLOTS
CLUSTER RESET SOFT
CLUSTER SLOTS
"""

SHAPED = """
CLUSTER INFO
CLUSTER NODES
CLUSTER ADDSLOTSRANGE 0 100 200 200
CLUSTER NODES
CLUSTER SHARDS
CLUSTER SLOTS
CLUSTER RESET HARD
CLUSTER NODES
"""

# What came with 7.2, or was said otherwise before; left out beside an older Redis.
SINCE_7_2 = """
CLUSTER MYSHARDID
CLUSTER MYSHARDID x
CONFIG SET cluster-announce-human-nodename "a b"
CONFIG SET cluster-allow-replica-migration x
"""

# Refused, since a node could not read its own file with such a name (docs/compatibility.md).
DIFFERS = {'CONFIG SET cluster-announce-human-nodename "a b"'}


def text(value):
    if isinstance(value, (list, tuple)):
        return [text(item) for item in value]
    if isinstance(value, dict):
        return {text(key): text(item) for key, item in value.items()}
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def shape(value):
    """Without numbers and names."""
    if isinstance(value, list):
        return [shape(item) for item in value]
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, str):
        return re.sub(r"\d+", "N", re.sub(r"[0-9a-f]{40}", "NAME", value))
    return type(value).__name__


def node(make):
    while True:
        server = make()
        if server.port < 22_000 and is_free(server.port + 10_000):
            return server.start()
        server.stop()


def answers(server, resp, lines):
    with server.client(resp=resp) as client:
        me = client.call("CLUSTER", "MYID").decode()
        for line in lines:
            words = [me if word == "ME" else word for word in shlex.split(line)]
            found = client.call(*words)
            name = re.compile(re.escape(me))
            yield line, replaced(text(found), name)
            if words[:3] == ["CLUSTER", "RESET", "HARD"]:
                me = client.call("CLUSTER", "MYID").decode()


def replaced(value, name):
    if isinstance(value, list):
        return [replaced(item, name) for item in value]
    return name.sub("ME", value) if isinstance(value, str) else value


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slotwise", default=default_slotwise())
    parser.add_argument("--redis", default="redis-server")
    parser.add_argument("--shards", type=int, default=2)
    options = parser.parse_args()
    extra = ["--cluster-enabled", "yes"]
    compared, problems = 0, []
    for resp in (2, 3):
        ours = node(lambda: slotwise(options.slotwise, shards=options.shards, extra=extra))
        theirs = node(lambda: redis(options.redis, extra=extra))
        try:
            with theirs.client() as client:
                is_old = b"redis_version:7.0" in client.call("INFO", "server")
            # A primary that has just started looks at its cluster after two seconds only.
            for server in (ours, theirs):
                with server.client() as client:
                    wait_until(lambda: client.call("CLUSTER", "INFO") is not None, 5, "a node")
            lines = EQUAL.strip().splitlines()
            if not is_old:
                lines += SINCE_7_2.strip().splitlines()[1:]
            for kind, chosen in (("equal", lines), ("shape", SHAPED.strip().splitlines())):
                pairs = zip(answers(ours, resp, chosen), answers(theirs, resp, chosen))
                for (line, found), (_, expected) in pairs:
                    compared += 1
                    if is_old and isinstance(expected, str):
                        expected = expected.replace("Invalid TCP b", "Invalid b")
                    if kind == "shape":
                        found, expected = shape(found), shape(expected)
                    if found != expected and line not in DIFFERS:
                        problems.append(f"RESP{resp} {line}\n   ours:  {found!r}\n   Redis: {expected!r}")
        finally:
            ours.stop()
            theirs.stop()
    print("\n".join(problems))
    print(f"cluster_words with {options.shards} shards: {compared - len(problems)} passed, {len(problems)} failed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
