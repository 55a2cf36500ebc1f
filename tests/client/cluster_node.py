"""Does a node of a cluster stay alive under load, fail when a shard of it hangs, and count what each slot costs?

usage: cluster_node.py [WORD ...] [--shards N] [--jobs N] [--slotwise PATH] [--redis PATH] [--connections N] [--seconds N]

Every test is a function whose name is the sentence it proves; WORDs select those whose name holds one of them.
--connections and --seconds are the load under which the control core has to stay alive: 500 for 6 s unless told otherwise.
"""

import subprocess
import sys
import threading
import time
from pathlib import Path

import support
from cluster import NODE_TIMEOUT_MS, House, address, ask, cli, equal, is_ok, is_primary, lines, run, true
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
    # A turn of a shard takes all that its connections have sent; thousands of them on a busy machine take their time.
    bound = 1.0 if house.options.connections <= 1000 else 5.0
    true(max(slowest.values()) < bound, f"answers took up to {slowest}")
    print(f"      {ran / seconds:.0f} commands a second; slowest answers in ms: "
          + ", ".join(f"{name} {bound * 1000:.0f}" for name, bound in slowest.items()))
    true(all("fail" not in flags(node, me) for node in rest), "nobody has been lost")
    true("possibly failing" not in "".join(text_of(node) for node in nodes), "and nobody thought so")


@test
def slot_stats_tell_keys_time_and_bytes_of_each_slot(house):
    first, second, third = primaries(house, 3)
    stats = lambda node, *words: ask(node, "CLUSTER", "SLOT-STATS", *words)
    of = lambda node, slot: stats(node, "SLOTSRANGE", slot, slot)
    slot, request = 5061, support.encode("SET", "bar", "xyz")
    equal(of(first, slot), [[slot, [b"key-count", 0]]])
    equal(stats(first, "ORDERBY", "cpu-usec"), ErrorReply(b"ERR Unrecognized sort metric for ORDERBY."))
    true(len(stats(first, "SLOTSRANGE", 0, 16383)) == 5461, "only slots of this node are told")
    equal(ask(first, "CONFIG", "SET", "cluster-slot-stats-enabled", "yes"), b"OK")
    with first.client() as client:
        for _ in range(100):
            client.call("SET", "bar", "xyz")
        equal(client.call("GET", "bar"), b"xyz")
        client.call("MULTI")
        client.call("LPUSH", "{bar}list", "1", "2", "3")
        equal(client.call("EXEC"), [3])
        equal(client.call("EVAL", "return redis.call('get', KEYS[1])", "1", "bar"), b"xyz")
    [[found, facts]] = of(first, slot)
    facts = dict(zip(facts[::2], facts[1::2]))
    equal((found, facts[b"key-count"]), (slot, 2))
    written = len(request) * 100 + len(support.encode("GET", "bar")) + len(support.encode("LPUSH", "{bar}list", "1", "2", "3"))
    written += len(support.encode("EVAL", "return redis.call('get', KEYS[1])", "1", "bar"))
    equal(facts[b"network-bytes-in"], written)
    equal(facts[b"network-bytes-out"], 100 * len("+OK\r\n") + 2 * len("$3\r\nxyz\r\n") + len(":3\r\n"))
    true(0 < facts[b"cpu-usec"] < 1_000_000, f"{facts}")
    for metric in ("key-count", "cpu-usec", "network-bytes-in", "network-bytes-out"):
        [[best, _]] = stats(first, "ORDERBY", metric, "LIMIT", 1)
        equal(best, slot)
    equal([one[0] for one in stats(first, "ORDERBY", "key-count", "LIMIT", 3, "ASC")], [0, 1, 2])
    with first.client(resp=3) as client:
        equal(client.call("CLUSTER", "SLOT-STATS", "SLOTSRANGE", slot, slot)[0][1][b"key-count"], 2)
    equal(ask(first, "CONFIG", "RESETSTAT"), b"OK")
    equal(of(first, slot)[0][1][2:], [b"cpu-usec", 0, b"network-bytes-in", 0, b"network-bytes-out", 0])
    # A slot that goes and comes back begins at zero.
    ask(first, "GET", "{bar}none")
    true(of(first, slot)[0][1][3 + 2] > 0, "counted again")
    ask(first, "DEL", "bar", "{bar}list")
    for source, target in ((first, second), (second, first)):
        ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", ask(source, "CLUSTER", "MYID"))  # so that it takes a new epoch
        for node in (target, source, third):
            equal(ask(node, "CLUSTER", "SETSLOT", slot, "NODE", ask(target, "CLUSTER", "MYID")), b"OK")
    equal(of(first, slot)[0][1][2:], [b"cpu-usec", 0, b"network-bytes-in", 0, b"network-bytes-out", 0])
    plain = support.slotwise(house.options.slotwise, shards=1)
    house.nodes.append(plain)
    plain.start()
    equal(of(plain, 0), ErrorReply(b"ERR This instance has cluster support disabled"))


@test
def what_cluster_shards_and_slots_say_is_never_old(house):
    nodes = primaries(house, 3)
    replica = add_replica(house, nodes, nodes[0])
    with nodes[0].client() as client:
        tag = next(tag for tag in map(str, range(1000)) if client.call("SET", "{%s}" % tag, "x") == b"OK")
        for number in range(30):
            client.call("SET", "{%s}" % tag, "y" * number)
            told = offsets(client.call("CLUSTER", "SHARDS"))[nodes[0].port]
            held = int(info_field(client, "master_repl_offset"))
            pinged = 14 * 2  # a PING to replicas may come between
            true(held - pinged <= told <= held, f"SHARDS says {told}, INFO {held}")
    ports = lambda node: {entry[1] for run in ask(node, "CLUSTER", "SLOTS") for entry in run[2:]}
    wait_until(lambda: all(replica.port in ports(node) for node in nodes), 10, "the replica in SLOTS")
    replica.process.kill()
    replica.process.wait()
    # As soon as a node says that the replica has failed, SLOTS and SHARDS of that node say so too.
    me = next(line[0] for line in lines(nodes[1]) if "slave" in line[2]).encode()
    wait_until(lambda: "fail" in flags(nodes[1], me).replace("fail?", ""), 10, "the failure")
    true(replica.port not in ports(nodes[1]), "SLOTS does not name it")
    health = {port: what for port, what in healths(ask(nodes[1], "CLUSTER", "SHARDS")).items()}
    equal(health[replica.port], b"fail")


def each_node(shards):
    for shard in shards:
        shard = dict(zip(shard[::2], shard[1::2]))
        for node in shard[b"nodes"]:
            yield dict(zip(node[::2], node[1::2]))


def offsets(shards):
    return {node[b"port"]: node[b"replication-offset"] for node in each_node(shards)}


def healths(shards):
    return {node[b"port"]: node[b"health"] for node in each_node(shards)}


def info_field(client, name):
    return next(line.split(":", 1)[1] for line in client.call("INFO").decode().splitlines() if line.startswith(name + ":"))


def fail_over(node):
    """Makes a replica a primary by hand. Beside other tests one attempt may run into its bound of five seconds."""
    for _ in range(3):
        equal(ask(node, "CLUSTER", "FAILOVER"), b"OK")
        try:
            return wait_until(lambda: is_primary(node), 6, "the replica to be a primary")
        except TimeoutError as error:
            late = error
    raise late


@test
def a_manual_failover_under_load_sends_writers_away_and_loses_nothing(house):
    nodes = primaries(house, 3)
    old, new = nodes[0], add_replica(house, nodes, nodes[0])
    tags = [tag for tag in map(str, range(400)) if not isinstance(ask(old, "GET", "{%s}" % tag), ErrorReply)]
    # A user with few permissions goes another way through the gates.
    for node in (old, new):
        ask(node, "ACL", "SETUSER", "some", "on", "nopass", "~*", "+@read", "+@write", "+@connection")
    for turn in range(2):  # nobody votes about a primary twice within two time-outs
        wrote, others, over = {}, set(), threading.Event()

        def write(number):
            with old.client(timeout=15) as client:
                if number % 2:
                    client.call("AUTH", "some", "any")
                at = 0
                while not over.is_set():
                    key, value = "{%s}%d" % (tags[at % len(tags)], number), f"{turn}:{at}"
                    answer = client.call("SET", key, value)
                    at += 1
                    if answer == b"OK":
                        wrote[key] = value.encode()
                    elif answer.startswith(b"MOVED"):
                        if f":{new.port}".encode() in answer:
                            return
                    else:
                        others.add(answer)
        writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for one in writers:
            one.start()
        try:
            time.sleep(0.2)
            fail_over(new)
            wait_until(lambda: not any(one.is_alive() for one in writers), 10, "the writers to be sent away")
        finally:
            over.set()
            for one in writers:
                one.join()
        equal(others, set())
        lost = [key for key, value in wrote.items() if ask(new, "GET", key) != value]
        true(not lost, f"{len(lost)} of {len(wrote)} writes are lost: {lost[:5]}")
        old, new = new, old
        wait_until(lambda: b"master_link_status:up" in ask(new, "INFO", "replication"), 15, "the link")
        me = ask(new, "CLUSTER", "MYID")
        wait_until(lambda: "slave" in flags(old, me), 10, "the new primary to know its replica")


def field(node, name):
    with node.client() as client:
        return info_field(client, name)


def text_of(server):
    return Path(server.log_path).read_text(errors="replace")


class Waits:
    """A client that asks all shards again and again, and notes the longest that it has waited."""

    def __init__(self, server):
        self.server, self.longest, self.stop = server, 0.0, threading.Event()
        self.thread = threading.Thread(target=self.ask)

    def ask(self):
        with self.server.client(timeout=60) as client:
            while not self.stop.is_set():
                begun = time.monotonic()
                client.pipeline([("GET", f"small:{number}") for number in range(16)])
                self.longest = max(self.longest, time.monotonic() - begun)
                time.sleep(0.0005)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def fill_large(server, elements):
    """Large keys of each type; their names."""
    def words(form, first, last):
        return [word for number in range(first, last) for word in form(number)]
    forms = {
        "hash": ("HSET", lambda number: (f"field:{number}", f"value:{number}")),
        "set": ("SADD", lambda number: (f"member:{number}",)),
        "zset": ("ZADD", lambda number: (number % 1000, f"member:{number}")),
        "list": ("RPUSH", lambda number: (f"element:{number}",)),
    }
    with server.client(timeout=60) as client:
        for name, (command, form) in forms.items():
            for first in range(0, elements, 1000):
                client.must(command, name, *words(form, first, first + 1000))
        client.pipeline([("XADD", "stream", "*", "field", number) for number in range(elements // 10)])
        client.must("SET", "string", bytes(number % 251 for number in range(1000)) * (elements // 20))
    return [*forms, "stream", "string"]


@test
def large_keys_move_and_nobody_waits_for_them(house):
    source, target = house.single(False, DEBUG), house.single(False, DEBUG)
    names = fill_large(source, 100_000)
    digests = {name: ask(source, "DEBUG", "DIGEST-VALUE", name) for name in names}

    def moves_beside_others(here, there, name):
        """Moves a key; whether nobody has waited for most of it."""
        begun = time.monotonic()
        with Waits(here) as at_source, Waits(there) as at_target:
            equal(ask(here, "MIGRATE", "127.0.0.1", there.port, name, 0, 30000), b"OK")
            took = time.monotonic() - begun
        longest = max(at_source.longest, at_target.longest)
        waits.append(f"{name} took {took:.3f} s, and a client waited {longest:.3f} s")
        return longest < max(0.15, took / 4)

    for name in names:
        waits = []
        # On a busy machine a client waits for its own processor too: to and fro until it did not.
        for _ in range(10):
            if moves_beside_others(source, target, name):
                break
            equal(ask(target, "MIGRATE", "127.0.0.1", source.port, name, 0, 30000), b"OK")
        true(ask(target, "EXISTS", name) == 1, waits)
    equal({name: ask(target, "DEBUG", "DIGEST-VALUE", name) for name in names}, digests)
    equal((ask(source, "DBSIZE"), ask(target, "DBSIZE")), (0, len(names)))
    # All at once, and back from a real node.
    redis = house.single(True, DEBUG)
    for here, there in ((target, redis), (redis, target)):
        equal(ask(here, "MIGRATE", "127.0.0.1", there.port, "", 0, 30000, "KEYS", *names), b"OK")
    equal({name: ask(target, "DEBUG", "DIGEST-VALUE", name) for name in names}, digests)


@test
def a_large_key_that_changes_while_it_moves_arrives_as_it_is_in_the_end(house):
    source, target = house.single(False, DEBUG), house.single(False, DEBUG)
    fill_large(source, 100_000)
    with source.client(timeout=60) as mover, source.client(timeout=60) as writer:
        mover.send("MIGRATE", "127.0.0.1", target.port, "hash", 0, 30000)
        count = 0
        while writer.call("EXISTS", "hash") == 1:
            # It may be gone by now, and then this makes a new one.
            if writer.transaction([("EXISTS", "hash"), ("HSET", "hash", "changed", count)])[0] == 0:
                break
            count += 1
        equal(mover.read()[0].value(), b"OK")
    if count > 0:
        equal(ask(target, "HGET", "hash", "changed"), str(count - 1).encode())
    equal(ask(target, "HLEN", "hash"), 100_000 + (count > 0))
    # Gone, or bound to go, before it has moved.
    with source.client(timeout=60) as mover, source.client(timeout=60) as writer:
        mover.send("MIGRATE", "127.0.0.1", target.port, "set", 0, 30000)
        writer.call("DEL", "set")
        true(mover.read()[0].value() in (b"OK", b"NOKEY"), "moved or gone")
    with source.client(timeout=60) as client:
        client.must("PEXPIRE", "zset", 60_000)
        equal(client.transaction([("MIGRATE", "127.0.0.1", target.port, "zset", 0, 30000)]), [b"OK"])
    true(50_000 < ask(target, "PTTL", "zset") <= 60_000, "the time that it had left")
    equal(ask(target, "ZCARD", "zset"), 100_000)
    # Nobody waits for the answer any more, and it goes on to its end.
    with source.client(timeout=60) as mover:
        mover.send("MIGRATE", "127.0.0.1", target.port, "list", 0, 30000)
    wait_until(lambda: ask(source, "EXISTS", "list") == 0, 30, "the list to be gone")
    equal(ask(target, "LLEN", "list"), 100_000)


if __name__ == "__main__":
    sys.exit(run(TESTS, __doc__, alone=[the_control_core_stays_alive_under_load], connections=500, seconds=6.0))
