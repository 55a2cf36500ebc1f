"""Do the tools that operators have for Redis clusters work unmodified on ours, alone and mixed with Redis's nodes?

usage: cluster_tools.py [WORD ...] [--shards N] [--jobs N] [--slotwise PATH] [--redis PATH] [--cli PATH] [--slots N]

Each function of redis-cli --cluster, redis-cli -c and redis-benchmark --cluster. In the names of clusters `s` is one of our
nodes and `r` one of Redis's. Keys are checked at the end of each test by a client that knows what it wrote.
--slots is how many move under the load of redis-benchmark: 100 unless told otherwise.
"""

import subprocess
import sys
import time
from pathlib import Path

from cluster import (
    CLI, NODE_TIMEOUT_MS, Follower, Load, address, agree, ask, cli, equal, filled, is_ok, is_primary, killed_and_back, knows_replicas, lines,
    named, node_id, owners,
    primary_of, run, true,
)
from support import ErrorReply, wait_until

TESTS = []


def test(function):
    TESTS.append(function)
    return function


def slots_of(node):
    """How many slots a node says are its own."""
    mine = next(line for line in lines(node) if "myself" in line[2])
    count = 0
    for item in mine[8:]:
        if not item.startswith("["):
            first, _, last = item.partition("-")
            count += int(last or first) - int(first) + 1
    return count


def owner_of(nodes, slot):
    key = next(f"k{number}" for number in range(100000) if ask(nodes[0], "CLUSTER", "KEYSLOT", f"k{number}") == slot)
    return key, next(node for node in nodes if not isinstance(ask(node, "GET", key), ErrorReply))


@test
def redis_cli_shows_and_configures_all_nodes(house):
    nodes = house.cluster("srsrsr", replicas=1)
    follower = filled(nodes)
    wait_until(lambda: knows_replicas(nodes, 3), 10, "everybody to know the replicas")
    first = address(nodes[0])
    true("[OK] All 16384 slots covered." in cli("--cluster", "check", first, "--cluster-search-multiple-owners"), "check")
    true("[OK] 400 keys in 3 masters." in cli("--cluster", "info", first), "info")
    equal(cli("--cluster", "call", first, "PING").count("PONG"), 6)
    equal(cli("--cluster", "call", first, "PING", "--cluster-only-masters").count("PONG"), 3)
    cli("--cluster", "set-timeout", first, 3000)
    for node in nodes:
        equal(ask(node, "CONFIG", "GET", "cluster-node-timeout"), [b"cluster-node-timeout", b"3000"])
    backup = Path(house.nodes[0].dir) / "backup"
    backup.mkdir()
    cli("--cluster", "backup", first, backup)
    files = sorted(path.name for path in backup.iterdir())
    equal(sum(name.endswith(".rdb") for name in files), 3)
    true("nodes.json" in files, f"{files}")
    true(all(path.stat().st_size > 100 for path in backup.glob("*.rdb")), "snapshots with keys")
    follower.check()


@test
def redis_cli_mends_slots_that_a_move_left_open(house):
    nodes = house.cluster("ssr")
    follower = filled(nodes)
    key, source = owner_of(nodes, 12182)
    follower.write(key, "kept")
    others = [node for node in nodes if node is not source]
    target, third = others
    fix = ("--cluster", "fix", address(nodes[0]), "--cluster-yes")

    def is_mended(holder):
        wait_until(lambda: agree(nodes), 15, "everybody to agree")
        cli("--cluster", "check", address(third))
        equal(ask(holder, "GET", key), b"kept")

    # Only the one side knows of the move.
    equal(ask(source, "CLUSTER", "SETSLOT", 12182, "MIGRATING", node_id(target)), b"OK")
    cli(*fix)
    is_mended(source)
    equal(ask(target, "CLUSTER", "SETSLOT", 12182, "IMPORTING", node_id(source)), b"OK")
    cli(*fix)
    is_mended(source)
    # Both know, and a key has gone already.
    ask(target, "CLUSTER", "SETSLOT", 12182, "IMPORTING", node_id(source))
    ask(source, "CLUSTER", "SETSLOT", 12182, "MIGRATING", node_id(target))
    equal(ask(source, "MIGRATE", "127.0.0.1", target.port, key, 0, 5000), b"OK")
    true(ask(source, "GET", key).startswith(b"ASK 12182 "), "the key is asked for elsewhere")
    cli(*fix)
    is_mended(target)
    follower.check()


@test
def redis_cli_covers_slots_that_nobody_owns_and_collects_their_keys(house):
    nodes = house.cluster("ssr")
    follower = filled(nodes)
    key, source = owner_of(nodes, 12182)
    follower.write(key, "kept")
    empty = next(slot for slot in range(100) if all(ask(node, "CLUSTER", "COUNTKEYSINSLOT", slot) == 0 for node in nodes))
    for node in nodes:
        equal(ask(node, "CLUSTER", "DELSLOTS", 12182, empty), b"OK")
    true(any(not is_ok(node) for node in nodes), "slots are missing")
    # It asks for a word of its own even with --cluster-yes.
    done = subprocess.run([*CLI, "--cluster", "fix", address(nodes[0]), "--cluster-yes"], input="yes\nyes\nyes\n",
                          capture_output=True, text=True, timeout=60)
    equal(done.returncode, 0)
    wait_until(lambda: agree(nodes) and all(is_ok(node) for node in nodes), 15, "a cluster that is whole")
    cli("--cluster", "check", address(nodes[1]))
    equal(ask(source, "GET", key), b"kept")
    follower.check()


@test
def nodes_are_added_balanced_and_removed_under_load(house):
    nodes = house.cluster("srs")
    with Load(nodes, keys=500) as follower:
        added = [house.node(), house.node(redis=True)]
        first = address(nodes[0])
        cli("--cluster", "add-node", address(added[0]), first)
        # A primary serves nobody for two seconds after its start.
        wait_until(lambda: all(len(lines(node)) == 4 and is_ok(node) for node in [*nodes, added[0]]), 15, "a node more")
        weight = f"{node_id(added[0])}=0.03"
        cli("--cluster", "rebalance", first, "--cluster-use-empty-masters", "--cluster-weight", weight)
        wait_until(lambda: agree([*nodes, added[0]]), 15, "everybody to agree")
        true(150 < slots_of(added[0]) < 175, f"{slots_of(added[0])} slots")
        cli("--cluster", "add-node", address(added[1]), first, "--cluster-slave", "--cluster-master-id", node_id(added[0]))
        everybody = [*nodes, *added]
        wait_until(lambda: knows_replicas(everybody, 1), 15, "a replica")
        wait_until(lambda: b"master_link_status:up" in ask(added[1], "INFO", "replication"), 20, "a replica with its data")
        # Away with both again: its slots go, the replica first.
        cli("--cluster", "rebalance", first, "--cluster-weight", f"{node_id(added[0])}=0")
        wait_until(lambda: agree(everybody) and slots_of(added[0]) == 0, 15, "a node without slots")
        for node in (added[1], added[0]):
            name = node_id(node)
            cli("--cluster", "del-node", first, name)
            wait_until(lambda: all(name not in str(lines(one)) for one in nodes), 10, "a node less")
    follower.check()
    cli("--cluster", "check", address(nodes[2]))


@test
def keys_of_a_single_server_are_imported(house):
    nodes = house.cluster("srs")
    for redis in (True, False):
        source = house.single(redis)
        with source.client() as client:
            client.pipeline([("SET", f"{redis}:{number}", number) for number in range(500)])
            client.call("RPUSH", f"{redis}:list", *range(300))
        cli("--cluster", "import", address(nodes[0]), "--cluster-from", address(source), "--cluster-copy" if redis else
            "--cluster-replace")
        follower = Follower(nodes)
        for number in range(0, 500, 7):
            equal(follower.call(f"{redis}:{number}", "GET", f"{redis}:{number}"), str(number).encode())
        equal(follower.call(f"{redis}:list", "LLEN", f"{redis}:list"), 300)
        equal(ask(source, "DBSIZE"), 501 if redis else 0)


@test
def redis_cli_and_redis_benchmark_find_their_way(house):
    nodes = house.cluster("srs")
    for number in range(20):
        equal(cli("-c", "-p", nodes[0].port, "SET", f"key:{number}", number).strip(), "OK")
        equal(cli("-c", "-p", nodes[2].port, "GET", f"key:{number}").strip(), str(number))
    done = subprocess.run(["redis-benchmark", "--cluster", "-p", str(nodes[0].port), "-n", "20000", "-c", "12", "-r", "5000",
                           "-P", "4", "-t", "set,get,incr,lpush", "-q", "--threads", "2"],
                          capture_output=True, text=True, timeout=60)
    true(done.returncode == 0 and "rror" not in done.stdout + done.stderr, done.stdout[-800:] + done.stderr[-800:])
    equal(sum(f"{word}: " in done.stdout for word in ("SET", "GET", "INCR", "LPUSH")), 4)


@test
def a_cluster_is_made_by_host_names_and_speaks_of_them(house):
    options = ("--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname")
    nodes = [house.node(redis=kind == "r", extra=options) for kind in "srs"]
    cli("--cluster", "create", *(f"localhost:{node.port}" for node in nodes), "--cluster-yes")
    wait_until(lambda: all(is_ok(node) for node in nodes), 20, "a cluster that works")
    wait_until(lambda: all(line[1].endswith(",localhost") for node in nodes for line in lines(node)), 10, "all names")
    answers = [ask(node, "GET", "foo") for node in nodes]
    equal(sum(answer is not None and answer.startswith(b"MOVED 12182 localhost:") for answer in answers), 2)
    more = house.node(extra=options)
    cli("--cluster", "add-node", f"localhost:{more.port}", f"localhost:{nodes[1].port}")
    wait_until(lambda: len(lines(nodes[0])) == 4, 10, "a node more")
    filled(nodes, 100).check()


@test
def slots_move_both_ways_between_ours_and_redis_under_load(house):
    nodes = house.cluster("srsrsr", replicas=1)
    primaries = [node for node in nodes if is_primary(node)]
    ours = next(node for node in primaries if not node.is_redis)
    theirs = next(node for node in primaries if node.is_redis)
    with Load(nodes) as follower:
        for source, target in ((ours, theirs), (theirs, ours)):
            wait_until(lambda: agree(nodes), 15, "everybody to agree")  # the tool does not begin before
            cli("--cluster", "reshard", address(nodes[0]), "--cluster-from", node_id(source), "--cluster-to", node_id(target),
                "--cluster-slots", 150, "--cluster-yes")
    follower.check()
    wait_until(lambda: agree(nodes), 15, "everybody to agree")
    cli("--cluster", "check", address(nodes[0]))


@test
def a_killed_primary_of_ours_is_replaced_by_redis_and_comes_back(house):
    killed_and_back(house.cluster("sssrrr", replicas=1), lambda node: not node.is_redis)


@test
def a_killed_primary_of_redis_is_replaced_by_ours_and_comes_back(house):
    killed_and_back(house.cluster("rrrsss", replicas=1), lambda node: node.is_redis)


@test
def failovers_by_hand_go_both_ways_and_lose_nothing(house):
    nodes = house.cluster("sssrrr", replicas=1)
    wait_until(lambda: knows_replicas(nodes, 3), 10, "everybody to know the replicas")
    replica = next(node for node in nodes if node.is_redis and not is_primary(node))
    primary = named(nodes, primary_of(replica))
    with Load(nodes, keys=300) as follower:
        for successor, old in ((replica, primary), (primary, replica)):
            up = lambda: b"master_link_status:up" in ask(successor, "INFO", "replication")
            wait_until(up, 20, "a replica with its data")
            wait_until(lambda: knows_replicas(nodes, 3), 10, "everybody to know the replicas")
            wait_until(lambda: ask(successor, "CLUSTER", "FAILOVER") == b"OK", 5, "the failover to begin")
            wait_until(lambda: is_primary(successor) and not is_primary(old), 12, "the replica to be a primary")
    follower.check()
    # FORCE asks nobody but the voters, TAKEOVER nobody at all; both find all data there because nothing is written.
    time.sleep(2.2 * NODE_TIMEOUT_MS / 1000)  # nobody votes twice about one primary within twice that time
    for how, successor, old in (("FORCE", replica, primary), ("TAKEOVER", primary, replica)):
        up = lambda: b"master_link_status:up" in ask(successor, "INFO", "replication")
        wait_until(up, 20, "a replica with its data")
        offsets = lambda: ask(old, "WAIT", 1, 2000) == 1
        wait_until(offsets, 10, "a replica with all data")
        wait_until(lambda: ask(successor, "CLUSTER", "FAILOVER", how) == b"OK", 5, "the failover to begin")
        wait_until(lambda: is_primary(successor) and not is_primary(old), 12, f"{how} to be done")
        wait_until(lambda: agree(nodes) and all(is_ok(node) for node in nodes), 15, "everybody to agree")
        follower.check()


@test
def a_replica_moves_to_a_primary_that_has_lost_its_own(house):
    nodes = house.cluster("ssrrss", replicas=1)
    spare = house.node()
    home = next(node for node in nodes if is_primary(node))
    cli("--cluster", "add-node", address(spare), address(nodes[0]), "--cluster-slave", "--cluster-master-id", node_id(home))
    everybody = [*nodes, spare]
    wait_until(lambda: knows_replicas(everybody, 4), 15, "everybody to know the replicas")
    victim = next(node for node in nodes if not is_primary(node) and primary_of(node) != node_id(home))
    orphan = primary_of(victim)
    victim.process.kill()
    victim.process.wait()
    followers = [node for node in everybody if node is not victim and not is_primary(node)]
    wait_until(lambda: any(primary_of(node) == orphan for node in followers), 30, "a replica to move")
    true(any(primary_of(node) == node_id(home) for node in followers), "one stays behind")


@test
def slots_move_while_redis_benchmark_and_a_checking_client_go_on(house):
    nodes = house.cluster("sss")
    load = subprocess.Popen(["redis-benchmark", "--cluster", "-p", str(nodes[0].port), "-n", "1000000000", "-c", "12", "-r", "5000",
                             "-t", "set", "-q"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        with Load(nodes) as follower:
            wait_until(lambda: ask(nodes[0], "DBSIZE") > 100, 15, "load")
            wait_until(lambda: agree(nodes), 15, "everybody to agree")  # the tool does not begin before
            source, target = (node_id(node) for node in nodes[:2])
            cli("--cluster", "reshard", address(nodes[0]), "--cluster-from", source, "--cluster-to", target,
                "--cluster-slots", house.options.slots, "--cluster-yes", bound=900)
        ended = load.poll()
    finally:
        load.terminate()
        text = load.communicate()[0]
    true(ended is None and "rror" not in text, text[-800:])
    follower.check()
    wait_until(lambda: agree(nodes), 15, "everybody to agree")
    cli("--cluster", "check", address(nodes[0]))
    equal(slots_of(nodes[1]), 16384 // 3 + 1 + house.options.slots)


@test
def a_forgotten_node_stays_away_until_it_is_met_again(house):
    nodes = house.cluster("srs")
    more = house.node()
    cli("--cluster", "add-node", address(more), address(nodes[0]))
    wait_until(lambda: all(len(lines(node)) == 4 for node in [*nodes, more]), 10, "a node more")
    name = node_id(more)
    for node in nodes:
        # Another node's gossip may have spread it already.
        true(ask(node, "CLUSTER", "FORGET", name) in (b"OK", b"ERR Unknown node " + name.encode()), "forgotten")
    equal(ask(more, "CLUSTER", "RESET"), b"OK")
    time.sleep(1.5)
    true(all(name not in str(lines(node)) for node in nodes), "it stays away")
    for node in nodes:
        # Gossip does not bring it back for a minute; whoever is told to meet it does.
        equal(ask(node, "CLUSTER", "MEET", "127.0.0.1", more.port), b"OK")
    wait_until(lambda: all(name in str(lines(node)) for node in nodes), 10, "it to be back")
    true(owners(nodes[0]) == owners(nodes[2]), "nothing has moved")


if __name__ == "__main__":
    sys.exit(run(TESTS, __doc__, slots=100))
