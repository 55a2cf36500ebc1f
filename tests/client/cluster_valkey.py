"""Are our nodes and Valkey's one cluster, whoever is primary and whoever replica?

usage: cluster_valkey.py --valkey PATH [WORD ...] [--kind v|r] [--shards N] [--jobs N] [--slotwise PATH] [--redis PATH]
                         [--cli PATH] [--valkey-cli PATH]

--valkey is a valkey-server of 8.0 or newer; --valkey-cli the tool beside it unless told otherwise. In the names of clusters
`s` is one of ours and `v` one of Valkey's; --kind r puts Redis's in their place, which proves the tests themselves. Keys are
written by a client that knows what it wrote.
"""

import argparse
import sys
import time
from pathlib import Path

import cluster
from cluster import (
    NODE_TIMEOUT_MS, Follower, Load, address, agree, ask, cli, equal, filled, has_data, is_ok, is_primary, killed_and_back, knows_replicas,
    lines, named, node_id, ready, up_to_date,
    primary_of, run, true,
)
from support import ErrorReply, wait_until

TESTS = []
OTHER = ["v"]


def test(function):
    TESTS.append(function)
    return function


def kinds(text):
    return text.replace("v", OTHER[0])


def with_tool(path, what):
    """Does something with another redis-cli."""
    before, cluster.CLI[:] = cluster.CLI[:], [path]
    try:
        return what()
    finally:
        cluster.CLI[:] = before


def tools(house):
    """The tools that must work: Redis's, and Valkey's if it is there."""
    options = house.options
    beside = Path(options.valkey).with_name("valkey-cli")
    valkey_cli = options.valkey_cli or (str(beside) if beside.exists() else "")
    return [options.cli] + [valkey_cli] * bool(valkey_cli)


def fail_over(successor, old):
    """Asks for it as often as it takes: nobody votes twice about one primary within twice the time-out."""
    asked = [0.0]

    def is_done():
        if is_primary(successor) and not is_primary(old):
            return True
        if time.monotonic() > asked[0] and ask(successor, "CLUSTER", "FAILOVER") == b"OK":
            asked[0] = time.monotonic() + 6.0  # an attempt is over after five seconds
        return False

    wait_until(is_done, 40, "the replica to be a primary")


def with_both_tools(house, mixture, what):
    for tool in tools(house):
        with_tool(tool, lambda: what(house.cluster(kinds(mixture), replicas=1)))
        house.close()


@test
def each_tool_makes_checks_and_extends_a_mixed_cluster(house):
    def steps(nodes):
        ready(nodes, 3)
        first = address(nodes[0])
        true("[OK] All 16384 slots covered." in cli("--cluster", "check", first), "check")
        follower = filled(nodes)
        for kind in kinds("sv"):
            more = house.node(kind=kind)
            cli("--cluster", "add-node", address(more), first)
            nodes.append(more)
            wait_until(lambda: agree(nodes) and all(len(lines(node)) == len(nodes) for node in nodes), 15, "a node more")
            wait_until(lambda: is_ok(more), 15, "the new node to serve")  # it waits a while after its start
            cli("--cluster", "reshard", first, "--cluster-from", "all", "--cluster-to", node_id(more), "--cluster-slots", 60,
                "--cluster-pipeline", 50, "--cluster-yes")
            wait_until(lambda: agree(nodes), 15, "everybody to agree")
        follower.check()

    with_both_tools(house, "svsvsv", steps)


@test
def slots_move_both_ways_under_load(house):
    def steps(nodes):
        ready(nodes, 3)
        primaries = [node for node in nodes if is_primary(node)]
        ours = next(node for node in primaries if node.kind == "s")
        theirs = next(node for node in primaries if node.kind != "s")
        with Load(nodes) as follower:
            for source, target in ((ours, theirs), (theirs, ours)):
                wait_until(lambda: agree(nodes), 15, "everybody to agree")
                cli("--cluster", "reshard", address(nodes[0]), "--cluster-from", node_id(source), "--cluster-to",
                    node_id(target), "--cluster-slots", 150, "--cluster-yes")
        follower.check()
        wait_until(lambda: agree(nodes), 15, "everybody to agree")
        cli("--cluster", "check", address(nodes[0]))

    with_both_tools(house, "svssvv", steps)


@test
def values_of_all_types_move_both_ways(house):
    nodes = house.cluster(kinds("svs"))
    ours, theirs = nodes[0], nodes[1]
    tag = next(f"{{t{number}}}" for number in range(10000)
               if not isinstance(ask(ours, "EXISTS", f"{{t{number}}}"), ErrorReply))
    slot = ask(ours, "CLUSTER", "KEYSLOT", tag)
    writes = [
        ("SET", "string", "x" * 1000), ("SET", "number", "12345"), ("SETRANGE", "long", "300000", "end"),
        ("HSET", "hash", *(word for at in range(20) for word in (f"f{at}", f"v{at}"))),
        ("HSET", "table", *(word for at in range(900) for word in (f"f{at}", f"v{at}"))),
        ("SADD", "ints", *map(str, range(100))), ("SADD", "words", *(f"m{at}" for at in range(20))),
        ("SADD", "set", *(f"m{at}" for at in range(900))),
        ("ZADD", "zset", *(word for at in range(20) for word in (str(at / 3), f"m{at}"))),
        ("ZADD", "ranks", *(word for at in range(900) for word in (str(at / 3), f"m{at}"))),
        ("RPUSH", "list", *(f"e{at}" for at in range(900))),
        ("XADD", "stream", "1-1", "a", "b"), ("XADD", "stream", "2-1", "c", "d"), ("XADD", "stream", "3-1", "e", "f"),
        ("XDEL", "stream", "2-1"), ("XGROUP", "CREATE", "stream", "group", "0"),
        ("XREADGROUP", "GROUP", "group", "one", "COUNT", "1", "STREAMS", "stream", ">"),
        ("PFADD", "hll", *(f"p{at}" for at in range(500))), ("SETEX", "fades", "5000", "x"),
    ]
    for word, *rest in writes:
        at = 2 if word == "XGROUP" else 6 if word == "XREADGROUP" else 0
        rest[at if word != "XGROUP" else 1] = tag + rest[at if word != "XGROUP" else 1]
        answer = ask(ours, word, *rest)
        true(not isinstance(answer, ErrorReply), f"{word}: {answer!r}")
    keys = sorted(ask(ours, "CLUSTER", "GETKEYSINSLOT", slot, 100))
    before = {key: ask(ours, "DEBUG", "DIGEST-VALUE", key) for key in keys}
    for source, target in ((ours, theirs), (theirs, ours)):
        equal(ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(source)), b"OK")
        equal(ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", node_id(target)), b"OK")
        equal(ask(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 10000, "KEYS", *keys), b"OK")
        for node in (target, source, nodes[2]):
            equal(ask(node, "CLUSTER", "SETSLOT", slot, "NODE", node_id(target)), b"OK")
        equal(sorted(ask(target, "CLUSTER", "GETKEYSINSLOT", slot, 100)), keys)
        equal(ask(source, "CLUSTER", "COUNTKEYSINSLOT", slot), 0)
        equal({key: ask(target, "DEBUG", "DIGEST-VALUE", key) for key in keys}, before)
        true(4000 < ask(target, "TTL", tag + "fades") <= 5000, "a time to live")
        equal(ask(target, "XPENDING", tag + "stream", "group"), [1, b"1-1", b"1-1", [[b"one", b"1"]]])


@test
def messages_reach_subscribers_of_the_other_kind(house):
    nodes = house.cluster(kinds("svsvsv"), replicas=1)
    ready(nodes, 3)
    for here in nodes:
        there = [node for node in nodes if node.kind != here.kind]
        clients = [node.client(timeout=10) for node in there]
        try:
            for client in clients:
                equal(client.call("SUBSCRIBE", "news"), [b"subscribe", b"news", 1])
            for text in ("short", "x" * 100_000):
                ask(here, "PUBLISH", "news", text)
                for client in clients:
                    equal(client.read()[0].value(), [b"message", b"news", text.encode()])
        finally:
            for client in clients:
                client.close()
    for primary in [node for node in nodes if is_primary(node)]:
        for replica in [node for node in nodes if not is_primary(node) and primary_of(node) == node_id(primary)]:
            channel = next(f"c{number}" for number in range(10000)
                           if not isinstance(ask(primary, "EXISTS", f"c{number}"), ErrorReply))
            with replica.client(timeout=10) as client:
                equal(client.call("SSUBSCRIBE", channel), [b"ssubscribe", channel.encode(), 1])
                ask(primary, "SPUBLISH", channel, "hello")
                equal(client.read()[0].value(), [b"smessage", channel.encode(), b"hello"])


@test
def names_and_replica_groups_are_told_to_all(house):
    nodes = house.cluster(kinds("svsvsv"), replicas=1)
    ready(nodes, 3)
    for number, node in enumerate(nodes):
        equal(ask(node, "CONFIG", "SET", "cluster-announce-hostname", f"host{number}.example"), b"OK")
        equal(ask(node, "CONFIG", "SET", "cluster-announce-human-nodename", f"node{number}"), b"OK")
    for node in nodes:
        for number, other in enumerate(nodes):
            told = lambda: any(line[0] == node_id(other) and f",host{number}.example" in line[1] for line in lines(node))
            wait_until(told, 15, "all names")

    def groups(node):
        """Names of nodes, by replica group."""
        shards = ask(node, "CLUSTER", "SHARDS")
        return sorted(sorted(one[one.index(b"id") + 1] for one in shard[shard.index(b"nodes") + 1]) for shard in shards)

    wait_until(lambda: all(groups(node) == groups(nodes[0]) for node in nodes), 15, "all to see the same groups")
    equal([len(group) for group in groups(nodes[0])], [2, 2, 2])
    equal(len({ask(node, "CLUSTER", "MYSHARDID") for node in nodes}), 3)


@test
def failovers_by_hand_go_both_ways_and_lose_nothing(house):
    nodes = house.cluster(kinds("sssvvv"), replicas=1)
    ready(nodes, 3)
    replica = next(node for node in nodes if node.kind != "s" and not is_primary(node))
    primary = named(nodes, primary_of(replica))
    true(primary.kind == "s", "a replica of the other kind")
    with Load(nodes, keys=300) as follower:
        for successor, old in ((replica, primary), (primary, replica)):
            wait_until(lambda: has_data(successor), 20, "a replica with its data")
            wait_until(lambda: knows_replicas(nodes, 3), 15, "everybody to know the replicas")
            wait_until(lambda: ask(successor, "CLUSTER", "FAILOVER") == b"OK", 5, "the failover to begin")
            wait_until(lambda: is_primary(successor) and not is_primary(old), 12, "the replica to be a primary")
    follower.check()
    time.sleep(2.2 * NODE_TIMEOUT_MS / 1000)  # nobody votes twice about one primary within twice that time
    for how, successor, old in (("FORCE", replica, primary), ("TAKEOVER", primary, replica)):
        wait_until(lambda: has_data(successor), 20, "a replica with its data")
        up_to_date(old)
        wait_until(lambda: ask(successor, "CLUSTER", "FAILOVER", how) == b"OK", 5, "the failover to begin")
        wait_until(lambda: is_primary(successor) and not is_primary(old), 12, f"{how} to be done")
        wait_until(lambda: agree(nodes) and all(is_ok(node) for node in nodes), 15, "everybody to agree")
        follower.check()


@test
def a_killed_primary_of_ours_is_replaced_by_theirs_and_comes_back(house):
    killed_and_back(house.cluster(kinds("sssvvv"), replicas=1), lambda node: node.kind == kinds("s"))


@test
def a_killed_primary_of_theirs_is_replaced_by_ours_and_comes_back(house):
    killed_and_back(house.cluster(kinds("vvvsss"), replicas=1), lambda node: node.kind == kinds("v"))


@test
def a_slot_under_way_survives_a_failover_of_either_side(house):
    """Valkey's primaries tell their replicas of open slots; ours learn it from the tool, which opens the slot anew."""
    nodes = house.cluster(kinds("vsvsvs"), replicas=1)
    ready(nodes, 3)
    source = next(node for node in nodes if is_primary(node) and node.kind == "s")
    target = next(node for node in nodes if is_primary(node) and node.kind != "s")
    for first, second in ((source, target), (target, source)):
        tag = next(f"{{t{number}}}" for number in range(10000)
                   if not isinstance(ask(first, "EXISTS", f"{{t{number}}}"), ErrorReply))
        slot = ask(first, "CLUSTER", "KEYSLOT", tag)
        for number in range(50):
            equal(ask(first, "SET", f"{tag}{number}", number), b"OK")
        up_to_date(first)
        equal(ask(second, "CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(first)), b"OK")
        equal(ask(first, "CLUSTER", "SETSLOT", slot, "MIGRATING", node_id(second)), b"OK")
        keys = ask(first, "CLUSTER", "GETKEYSINSLOT", slot, 20)
        equal(ask(first, "MIGRATE", "127.0.0.1", second.port, "", 0, 10000, "KEYS", *keys), b"OK")
        up_to_date(first)
        up_to_date(second)
        for old in (first, second):
            successor = next(node for node in nodes if not is_primary(node) and primary_of(node) == node_id(old))
            fail_over(successor, old)
            wait_until(lambda: knows_replicas(nodes, 3), 15, "everybody to know")
        cli("--cluster", "fix", address(nodes[0]))
        follower = Follower(nodes)
        follower.wrote = {f"{tag}{number}": str(number) for number in range(50)}
        follower.check()
        for node in (first, second):
            wait_until(lambda: has_data(node), 20, "replicas with their data")
            fail_over(node, named(nodes, primary_of(node)))
            wait_until(lambda: knows_replicas(nodes, 3), 15, "everybody to know")
        # A primary of ours does not tell Valkey's replica that the slot is closed: that one still has it open, and says so.
        cli("--cluster", "fix", address(nodes[0]))
        wait_until(lambda: agree(nodes), 15, "everybody to agree")
        cli("--cluster", "check", address(nodes[0]))
        follower.check()


@test
def a_forgotten_node_is_forgotten_by_all(house):
    nodes = house.cluster(kinds("svs"))
    for teller in nodes[:2]:
        more = house.node(kind=kinds("v"))
        cli("--cluster", "add-node", address(more), address(nodes[0]))
        wait_until(lambda: all(len(lines(node)) == 4 for node in [*nodes, more]), 15, "a node more")
        name = node_id(more)
        more.process.kill()
        more.process.wait()
        equal(ask(teller, "CLUSTER", "FORGET", name), b"OK")
        wait_until(lambda: all(name not in str(lines(node)) for node in nodes), 20, "all to forget it")


def moved_to_orphan(house, home_kind):
    nodes = house.cluster(kinds("svsvsv"), replicas=1)
    ready(nodes, 3)
    primaries = [node for node in nodes if is_primary(node)]
    home = next(node for node in primaries if node.kind == kinds(home_kind))
    orphan = next(node for node in primaries if node.kind != kinds(home_kind))
    spare = house.node(kind=orphan.kind)
    cli("--cluster", "add-node", address(spare), address(nodes[0]), "--cluster-slave", "--cluster-master-id", node_id(home))
    nodes.append(spare)
    wait_until(lambda: knows_replicas(nodes, 4), 15, "everybody to know the replicas")
    victim = next(node for node in nodes if not is_primary(node) and primary_of(node) == node_id(orphan))
    victim.process.kill()
    victim.process.wait()
    followers = [node for node in nodes if node is not victim and not is_primary(node)]
    wait_until(lambda: any(primary_of(node) == node_id(orphan) for node in followers), 60, "a replica to move")
    wait_until(lambda: all(has_data(node) for node in followers), 30, "replicas with their data")


@test
def a_replica_moves_from_ours_to_theirs_that_has_none(house):
    moved_to_orphan(house, "s")


@test
def a_replica_moves_from_theirs_to_ours_that_has_none(house):
    moved_to_orphan(house, "v")


if __name__ == "__main__":
    early = argparse.ArgumentParser(add_help=False)
    early.add_argument("--kind", default="v")
    OTHER[0] = early.parse_known_args()[0].kind
    sys.exit(run(TESTS, __doc__, valkey="valkey-server", valkey_cli="", kind="v"))
