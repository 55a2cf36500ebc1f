"""Does a node of a cluster stay alive under load, fail when a shard of it hangs, and count what each slot costs?

usage: cluster_node.py [WORD ...] [--shards N] [--slotwise PATH] [--redis PATH] [--connections N] [--seconds N]

Every test is a function whose name is the sentence it proves; WORDs select those whose name holds one of them.
--connections and --seconds are the load under which the control core has to stay alive: 500 for 6 s unless told otherwise.
"""

import argparse
import subprocess
import sys
import time
import traceback
from pathlib import Path

import support
from cluster import NODE_TIMEOUT_MS, House, address, ask, cli, equal, is_ok, is_primary, lines, true
from support import ErrorReply, wait_until

TESTS = []
DEBUG = ("--enable-debug-command", "yes")


def test(function):
    TESTS.append(function)
    return function


def primaries(house, count, extra=()):
    """A cluster of so many nodes without replicas."""
    nodes = [house.node(extra=extra) for _ in range(count)]
    cli("--cluster", "create", *map(address, nodes), "--cluster-yes")
    wait_until(lambda: all(is_ok(node) for node in nodes), 20, "a cluster that works")
    return nodes


def add_replica(house, nodes, of, extra=()):
    """One more node, a replica of `of` that has its data."""
    replica = house.node(extra=extra)
    primary = ask(of, "CLUSTER", "MYID")
    ask(replica, "CLUSTER", "MEET", "127.0.0.1", of.port)
    wait_until(lambda: ask(replica, "CLUSTER", "REPLICATE", primary) == b"OK", 10, "the replica to know its primary")
    wait_until(lambda: b"master_link_status:up" in ask(replica, "INFO", "replication"), 15, "the link")
    me = ask(replica, "CLUSTER", "MYID")
    wait_until(lambda: all(any(line[0].encode() == me and "slave" in line[2] for line in lines(node)) for node in nodes), 10,
               "everybody to know the replica")
    return replica


def flags(node, about):
    """What `node` says of `about`, a node's id."""
    return next((line[2] for line in lines(node) if line[0].encode() == about), "")


@test
def a_node_with_a_shard_that_hangs_is_replaced_and_comes_back(house):
    nodes = primaries(house, 3, DEBUG)
    victim, rest = nodes[0], nodes[1:]
    replica = add_replica(house, nodes, victim, DEBUG)
    shards = house.options.shards
    me = ask(victim, "CLUSTER", "MYID")
    timeout = NODE_TIMEOUT_MS / 1000
    with victim.client(timeout=20) as client:
        start = time.monotonic()
        client.send("DEBUG", "STALL-SHARD", shards - 1, 4 * timeout + 2)
        wait_until(lambda: is_primary(replica), 3 * timeout + 3, "the replica in its place")
        true(time.monotonic() - start > timeout, "no sooner than the time-out")
        wait_until(lambda: all(is_ok(node) for node in rest), 5, "a cluster that works")
    log = wait_until(lambda: "is back" in text_of(victim) and text_of(victim), 20, "the shard to be back")
    true(f"Shard {shards - 1} hangs" in log and "cluster bus is silent" in log, log[-600:])
    wait_until(lambda: not is_primary(victim), 10, "the old primary to follow the new one")
    wait_until(lambda: all("fail" not in flags(node, me) for node in rest), 10, "everybody to see it again")


@test
def a_shard_that_hangs_for_less_than_the_time_out_is_not_noticed(house):
    nodes = primaries(house, 3, DEBUG)
    me = ask(nodes[0], "CLUSTER", "MYID")
    seen = []
    with nodes[0].client(timeout=20) as client:
        client.send("DEBUG", "STALL-SHARD", 0, NODE_TIMEOUT_MS / 1000 * 0.9)
        end = time.monotonic() + 2 * NODE_TIMEOUT_MS / 1000
        while time.monotonic() < end:
            seen += [flags(node, me) for node in nodes[1:]]
            time.sleep(0.1)
    true(not any("fail" in one for one in seen), f"{set(seen)}")


@test
def a_node_that_sleeps_is_a_node_that_has_failed(house):
    nodes = primaries(house, 3, DEBUG)
    replica = add_replica(house, nodes, nodes[0], DEBUG)
    with nodes[0].client(timeout=20) as client:
        client.send("DEBUG", "SLEEP", 2 * NODE_TIMEOUT_MS / 1000 + 3)
        wait_until(lambda: is_primary(replica), 2 * NODE_TIMEOUT_MS / 1000 + 3, "the replica in its place")
        equal(client.read()[0].value(), b"OK")
    wait_until(lambda: not is_primary(nodes[0]), 10, "the old primary to follow the new one")


@test
def a_server_without_a_cluster_says_that_a_shard_hangs_too(house):
    server = support.slotwise(house.options.slotwise, shards=house.options.shards,
                              extra=(*DEBUG, "--cluster-node-timeout", "1000"))
    house.nodes.append(server)
    server.start()
    with server.client() as client:
        client.call("DEBUG", "STALL-SHARD", 0, 1.0)
        wait_until(lambda: "is back" in text_of(server), 5, "the line")
    text = text_of(server)
    equal((text.count("Shard 0 hangs"), text.count("is back")), (1, 1))


@test
def the_control_core_stays_alive_under_load(house):
    nodes = primaries(house, 3)
    busy, rest = nodes[0], nodes[1:]
    me = ask(busy, "CLUSTER", "MYID")
    tag = next(tag for tag in map(str, range(1000)) if b"MOVED" not in bytes(str(ask(busy, "GET", "{%s}" % tag)), "utf-8"))
    seconds = house.options.seconds
    loads = [subprocess.Popen(
        ["redis-benchmark", "-h", "127.0.0.1", "-p", str(busy.port), "-c", str(max(1, house.options.connections // 2)),
         "-P", "64", "-n", "1000000000", "-q", "-r", "10000", "SET", "{%s}:__rand_int__" % tag, "x" * 64],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
    seen, slowest = set(), {}
    try:
        wait_until(lambda: int(field(busy, "connected_clients")) >= house.options.connections - 2, 20, "the connections")
        admin = busy.client(timeout=20)
        before, end = int(field(busy, "total_commands_processed")), time.monotonic() + seconds
        while time.monotonic() < end:
            for words in (("CLUSTER", "INFO"), ("INFO",), ("CONFIG", "GET", "maxmemory"), ("CLUSTER", "SLOTS"),
                          ("CONFIG", "SET", "maxmemory-samples", "5")):
                start = time.monotonic()
                answer = admin.call(*words)
                true(not isinstance(answer, ErrorReply), f"{words}: {answer!r}")
                name = " ".join(words[:2])
                slowest[name] = max(slowest.get(name, 0), time.monotonic() - start)
            for node in rest:
                seen.add(flags(node, me))
            seen.update(line[2] for line in lines(busy) if line[0].encode() != me)
            time.sleep(0.02)
        ran = int(field(busy, "total_commands_processed")) - before
    finally:
        for load in loads:
            load.kill()
            load.wait()
    true(not any("fail" in one for one in seen), f"{seen}")
    true(all(one.poll() is not None for one in loads) and ran > 1000 * seconds, f"{ran} commands are no load")
    true(max(slowest.values()) < 1.0, f"answers took up to {slowest}")
    print(f"      {ran / seconds:.0f} commands a second; slowest answers in ms: "
          + ", ".join(f"{name} {bound * 1000:.0f}" for name, bound in slowest.items()))
    true(all("fail" not in flags(node, me) for node in rest), "nobody has been lost")
    true("possibly failing" not in "".join(text_of(node) for node in nodes), "and nobody thought so")


def field(node, name):
    info = ask(node, "INFO").decode()
    return next(line.split(":", 1)[1] for line in info.splitlines() if line.startswith(name + ":"))


def text_of(server):
    return Path(server.log_path).read_text(errors="replace")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--slotwise", help="the server under test (target/quick/slotwise)")
    parser.add_argument("--redis", default="redis-server")
    parser.add_argument("--connections", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=6)
    options = parser.parse_args()
    chosen = [one for one in TESTS if not options.words or any(word in one.__name__ for word in options.words)]
    passed = failed = 0
    for one in chosen:
        start, house = time.monotonic(), House(options)
        try:
            one(house)
            passed += 1
            print(f"ok    {one.__name__} ({time.monotonic() - start:.1f} s)", flush=True)
        except Exception as problem:
            failed += 1
            detail = str(problem) if isinstance(problem, AssertionError) else traceback.format_exc()
            print(f"FAIL  {one.__name__}: {detail}", flush=True)
        finally:
            house.close()
    print(f"{Path(sys.argv[0]).stem} with {options.shards} shards: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
