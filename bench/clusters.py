#!/usr/bin/env python3
"""What does cluster mode cost a request, and how long does it take to move slots?

Called by compare.py (`cluster_on`, `cluster3`, `reshard`). Nodes of one cluster share the server's CPU; clusters are made by
hand, so that nothing but the nodes runs. A figure counts beside the other one of the same run only.
"""

import binascii
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "client"))  # after bench: some names stand in both
import support  # noqa: E402
from measure import probed, run_command  # noqa: E402
from support import wait_until  # noqa: E402

SLOTS = 16384
#: The bus listens 10,000 above; beyond this its port would be one that the system gives to outgoing connections.
PORT_MAX = 22_000
CLUSTER = ["--cluster-enabled", "yes", "--cluster-node-timeout", "15000"]


def node(make):
    """A server of `make` whose bus has a port."""
    while True:
        server = make()
        if server.port < PORT_MAX:
            return server
        server.stop()


def ask(server, *words):
    with server.client(timeout=60.0) as client:
        return client.must(*words)


class Cluster:
    """Some nodes as one server: what in_turn and benchmark want of a server."""

    def __init__(self, name, nodes):
        self.name, self.nodes = name, nodes

    @property
    def port(self):
        return self.nodes[0].port

    @property
    def pids(self):
        return [node.pid for node in self.nodes]

    def alive(self):
        return all(node.alive() for node in self.nodes)

    def log_tail(self):
        return "\n".join(node.log_tail(10) for node in self.nodes)

    def client(self, **options):
        return self.nodes[0].client(**options)

    def start(self, owners=None):
        """Starts the nodes; the first `owners` of them share the slots."""
        for each in self.nodes:
            each.start()
        owners = self.nodes[:owners] if owners else self.nodes
        bounds = [at * SLOTS // len(owners) for at in range(len(owners) + 1)]
        for at, each in enumerate(owners):
            ask(each, "CLUSTER", "ADDSLOTSRANGE", bounds[at], bounds[at + 1] - 1)
            ask(each, "CLUSTER", "SET-CONFIG-EPOCH", at + 1)
        for each in self.nodes[1:]:
            ask(self.nodes[0], "CLUSTER", "MEET", "127.0.0.1", each.port)

        def is_whole(each):
            told = ask(each, "CLUSTER", "INFO")
            return b"cluster_state:ok" in told and b"cluster_known_nodes:%d\r" % len(self.nodes) in told
        wait_until(lambda: all(map(is_whole, self.nodes)), 60, "a cluster that works")
        return self

    def stop(self):
        for each in self.nodes:
            each.stop()


def tags(first, last):
    """A tag for each slot from `first` to `last`."""
    found, number = {}, 0
    while len(found) < last - first + 1:
        slot = binascii.crc_hqx(b"%d" % number, 0) % SLOTS
        if first <= slot <= last:
            found.setdefault(slot, b"%d" % number)
        number += 1
    return [found[slot] for slot in range(first, last + 1)]


def reshard(cluster, keys, slots, load_cpus):
    """Moves the first slots, which hold so many small keys, from the first node to the second by redis-cli."""
    source, target = cluster.nodes
    probed_slot = binascii.crc_hqx(b"prober:none", 0) % SLOTS
    if probed_slot < slots:
        raise RuntimeError("the prober's key would move")
    names = tags(0, slots - 1)
    form = b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$8\r\nsmallval\r\n"

    def requests():
        for number in range(keys):
            key = b"{%s}:%d" % (names[number % slots], number)
            yield form % (len(key), key)
    support.load_pipelined(("127.0.0.1", source.port), requests(), 5)

    quiet = probed(source, load_cpus, 500, lambda: time.sleep(2))
    seconds = 0.0

    def move():
        nonlocal seconds
        status, text, seconds, _ = run_command(
            ["redis-cli", "--cluster", "reshard", f"127.0.0.1:{source.port}", "--cluster-from", ask(source, "CLUSTER", "MYID").decode(),
             "--cluster-to", ask(target, "CLUSTER", "MYID").decode(), "--cluster-slots", str(slots), "--cluster-yes"],
            load_cpus, 1800)
        if status != 0:
            raise RuntimeError(f"redis-cli: {text[-400:]}")
    during = probed(source, load_cpus, 500, move)
    left, moved = (int(ask(each, "DBSIZE")) for each in (source, target))
    if (left, moved) != (0, keys):
        raise RuntimeError(f"{moved} keys have moved and {left} have stayed, of {keys}")
    return {
        "seconds": round(seconds, 2), "quiet_p99_ms": round(quiet["p99_ms"], 3), "p99_ms": round(during["p99_ms"], 3),
        "max_ms": round(during["max_ms"], 3), "added_p99_ms": round(during["p99_ms"] - quiet["p99_ms"], 3),
    }
