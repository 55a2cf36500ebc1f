"""Does a cluster form, send clients where keys are, move slots under load, survive kills and restarts, and mix with Redis?

usage: cluster.py [WORD ...] [--shards N] [--jobs N] [--slotwise PATH] [--redis PATH] [--cli PATH]

Every test is a function whose name is the sentence it proves; WORDs select those whose name holds one of them. Clusters
are made by an unmodified redis-cli. Keys are written by a client that follows redirections and remembers what it wrote.
"""

import argparse
import re
import socket
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import support
from support import Client, ErrorReply, readable, wait_until

TESTS = []
NODE_TIMEOUT_MS = 2000
PLACES = threading.Lock()
TAKEN = set()  # ports of nodes: several tests run at a time
CLI = ["redis-cli"]


def test(function):
    TESTS.append(function)
    return function


def true(value, what):
    if not value:
        raise AssertionError(what)


def equal(found, expected):
    if found != expected:
        raise AssertionError(f"{found!r} instead of {expected!r}")


class House:
    """Makes nodes and clusters; all of them end with it."""

    def __init__(self, options):
        self.options = options
        self.nodes = []

    def node(self, redis=False, extra=(), kind=None):
        kind = kind or ("r" if redis else "s")
        arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS),
                     "--repl-diskless-sync-delay", "0", *extra]
        while True:
            if kind in "rv":
                server = support.redis(self.options.redis if kind == "r" else self.options.valkey, extra=arguments)
            else:
                server = support.slotwise(self.options.slotwise, shards=self.options.shards, extra=arguments)
            if server.port < 22000 and is_free(server.port + 10000):
                with PLACES:
                    if server.port not in TAKEN:
                        TAKEN.update((server.port, server.port + 10000, server.port - 10000))
                        break
            server.stop()  # the bus's port is taken, or one that the system gives to outgoing connections
        server.kind, server.is_redis = kind, kind == "r"
        self.nodes.append(server)
        return server.start()

    def single(self, redis, extra=()):
        """A server that is no node of a cluster."""
        make = support.redis if redis else support.slotwise
        options = {} if redis else {"shards": self.options.shards}
        server = make(self.options.redis if redis else self.options.slotwise, extra=extra, **options)
        self.nodes.append(server)
        return server.start()

    def cluster(self, kinds, replicas=0, extra=()):
        """A cluster of nodes; `kinds` has an `s` for each of ours, an `r` for each of Redis's and a `v` for each of Valkey's."""
        nodes = [self.node(extra=extra, kind=kind) for kind in kinds]
        cli("--cluster", "create", *map(address, nodes), "--cluster-replicas", replicas, "--cluster-yes")
        wait_until(lambda: all(is_ok(node) for node in nodes), 20, "a cluster that works")
        return nodes

    def close(self):
        for node in self.nodes:
            node.stop()
        self.nodes = []


def is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def address(node):
    return f"127.0.0.1:{node.port}"


def cli(*words, bound=90):
    done = subprocess.run([*CLI, *map(str, words)], capture_output=True, text=True, timeout=bound)
    end = (done.stdout + done.stderr)[-600:]
    true(done.returncode == 0, f"redis-cli {' '.join(map(str, words))}:\n{end}")
    return done.stdout


def ask(node, *words):
    with node.client(timeout=10) as client:
        return client.call(*words)


def is_ok(node):
    try:
        return b"cluster_state:ok" in ask(node, "CLUSTER", "INFO")
    except (OSError, ConnectionError):
        return False


def lines(node):
    return [line.split() for line in ask(node, "CLUSTER", "NODES").decode().splitlines()]


def is_primary(node):
    return any("myself" in line[2] and "master" in line[2] for line in lines(node))


def node_id(node):
    return ask(node, "CLUSTER", "MYID").decode()


def owners(node):
    """Slot ranges by node as this one sees them."""
    return sorted((line[0], sorted(item for item in line[8:] if not item.startswith("["))) for line in lines(node) if line[8:])


def agree(nodes):
    """Whether all see the same owners, and no slot is under way."""
    seen = [owners(node) for node in nodes]
    return all(one == seen[0] for one in seen) and not any("[" in " ".join(line) for node in nodes for line in lines(node))


def knows_replicas(nodes, count):
    """Whether everybody knows so many replicas."""
    return all(sum("slave" in line[2] and "fail" not in line[2] for line in lines(node)) == count for node in nodes)


def filled(nodes, keys=400):
    follower = Follower(nodes)
    for number in range(keys):
        follower.write(f"key:{number}", str(number))
    return follower


def has_data(node):
    return is_primary(node) or b"master_link_status:up" in ask(node, "INFO", "replication")


def ready(nodes, replicas):
    wait_until(lambda: knows_replicas(nodes, replicas), 15, "everybody to know the replicas")
    for node in nodes:
        wait_until(lambda: has_data(node), 20, "replicas with their data")


def up_to_date(primary):
    """Waits until a replica has acknowledged everything that was written so far."""
    written = int(re.search(rb"master_repl_offset:(\d+)", ask(primary, "INFO", "replication"))[1])

    def acknowledged():
        return [int(offset) for offset in re.findall(rb"slave\d+:.*offset=(\d+)", ask(primary, "INFO", "replication"))]

    wait_until(lambda: max(acknowledged(), default=-1) >= written, 10, "a replica with all data")


def killed_and_back(nodes, is_victim):
    """One of three primaries of this kind is killed, replaced by its replica, and follows that when it comes back."""
    ready(nodes, 3)
    victim = next(node for node in nodes if is_primary(node) and is_victim(node))
    follower = filled(nodes)
    for primary in [node for node in nodes if is_primary(node)]:
        up_to_date(primary)
    victim.process.kill()
    victim.process.wait()
    rest = [node for node in nodes if node is not victim]
    follower.ports = [node.port for node in rest]
    wait_until(lambda: sum(is_primary(node) for node in rest) == 3 and all(is_ok(node) for node in rest), 30, "a successor")
    follower.check()
    for number in range(400, 500):
        follower.write(f"key:{number}", "after")
    victim.start()
    wait_until(lambda: not is_primary(victim), 20, "the old primary to follow")
    wait_until(lambda: has_data(victim), 20, "the old primary's data")
    wait_until(lambda: agree(nodes) and all(is_ok(node) for node in nodes), 15, "everybody to agree")
    follower.check()


def primary_of(node):
    """The name of this replica's primary."""
    return next(line[3] for line in lines(node) if "myself" in line[2])


def named(nodes, name):
    """The node of that name."""
    return next(node for node in nodes if node_id(node) == name)


class Follower:
    """Follows redirections and remembers what it wrote."""

    def __init__(self, nodes):
        self.ports = [node.port for node in nodes]
        self.port = self.ports[0]
        self.connections = {}
        self.owners = {}
        self.wrote = {}

    def connection(self, port):
        if port not in self.connections:
            self.connections[port] = Client(("127.0.0.1", port), timeout=5)
        return self.connections[port]

    def drop(self, port):
        connection = self.connections.pop(port, None)
        if connection:
            connection.close()

    def call(self, key, *words, seconds=15):
        limit, asking, at = time.monotonic() + seconds, False, None
        tries = 0
        while time.monotonic() < limit:
            port = at or self.owners.get(key, self.port)
            try:
                connection = self.connection(port)
                if asking:
                    connection.call("ASKING")
                answer = connection.call(*words)
            except (OSError, ConnectionError):
                self.drop(port)
                self.owners.pop(key, None)
                tries += 1
                self.port, at, asking = self.ports[tries % len(self.ports)], None, False
                time.sleep(0.02)
                continue
            at, asking = None, False
            if not isinstance(answer, ErrorReply):
                return answer
            word, *rest = answer.decode().split()
            if word == "MOVED":
                self.owners[key] = int(rest[1].rsplit(":", 1)[1])
            elif word == "ASK":
                at, asking = int(rest[1].rsplit(":", 1)[1]), True
            elif word in ("TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN"):
                self.owners.pop(key, None)
                tries += 1
                self.port = self.ports[tries % len(self.ports)]
                time.sleep(0.02)
            else:
                raise AssertionError(f"{words}: {answer!r}")
        raise AssertionError(f"{words}: not served within {seconds} s")

    def write(self, key, value):
        equal(self.call(key, "SET", key, value), b"OK")
        self.wrote[key] = value

    def check(self):
        lost = [key for key, value in self.wrote.items() if self.call(key, "GET", key) != value.encode()]
        true(not lost, f"{len(lost)} of {len(self.wrote)} keys are lost or old: {lost[:5]}")


@test
def a_cluster_forms_and_sends_clients_where_keys_are(house):
    nodes = house.cluster("sss")
    answers = {ask(node, "SET", "foo", "1") for node in nodes}
    moved = {answer for answer in answers if answer.startswith(b"MOVED 12182 127.0.0.1:")}
    true(b"OK" in answers and len(moved) == 1, f"{answers}")
    owner = next(node for node in nodes if ask(node, "GET", "foo") == b"1")
    equal(ask(owner, "MGET", "foo", "bar"), ErrorReply(b"CROSSSLOT Keys in request don't hash to the same slot"))
    equal(ask(owner, "SELECT", "1"), ErrorReply(b"ERR SELECT is not allowed in cluster mode"))
    other = next(node for node in nodes if node is not owner)
    with other.client() as client:
        client.call("MULTI")
        true(client.call("GET", "foo").startswith(b"MOVED"), "a queued command is sent away")
        true(client.call("EXEC").startswith(b"EXECABORT"), "and its transaction is over")
        true(client.call("EVAL", "return redis.call('get', KEYS[1])", "1", "foo").startswith(b"MOVED"), "scripts too")
    follower = Follower(nodes)
    for number in range(300):
        follower.write(f"key:{number}", str(number))
    follower.check()


@test
def slots_move_under_load_and_nothing_is_lost(house):
    nodes = house.cluster("sss")
    move_under_load(nodes)


class Load:
    """A client that writes without pause, beside what a test does. Leaving it waits for the end and tells of errors."""

    def __init__(self, nodes, keys=2000):
        self.follower, self.keys = Follower(nodes), keys
        self.stop, self.problems = threading.Event(), []
        self.thread = threading.Thread(target=self.write)

    def write(self):
        number = 0
        try:
            while not self.stop.is_set():
                self.follower.write(f"key:{number % self.keys}", str(number))
                number += 1
        except Exception as problem:  # the thread that waits for it tells
            self.problems.append(problem)

    def __enter__(self):
        self.thread.start()
        return self.follower

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        true(not self.problems, f"{self.problems}")


def move_under_load(nodes, slots=100):
    with Load(nodes) as follower:
        first, second = (node_id(node) for node in nodes[:2])
        for source, target in ((first, second), (second, first)):
            wait_until(lambda: agree(nodes), 15, "everybody to agree")  # the tool does not begin before
            cli("--cluster", "reshard", address(nodes[0]), "--cluster-from", source, "--cluster-to", target,
                "--cluster-slots", slots, "--cluster-yes")
    follower.check()
    wait_until(lambda: agree(nodes), 15, "everybody to agree")
    cli("--cluster", "check", address(nodes[0]))


@test
def a_replica_takes_over_when_its_primary_is_killed(house):
    nodes = house.cluster("ssssss", replicas=1)
    follower = Follower(nodes)
    for number in range(200):
        follower.write(f"key:{number}", str(number))
    time.sleep(1.0)  # replication is not waited for by SET
    victim = next(node for node in nodes if is_primary(node))
    rest = [node for node in nodes if node is not victim]
    victim.process.kill()
    victim.process.wait()
    wait_until(lambda: sum(is_primary(node) for node in rest) == 3, 20, "a replica in its place")
    wait_until(lambda: all(is_ok(node) for node in rest), 20, "a cluster that works")
    follower.ports = [node.port for node in rest]
    follower.check()


@test
def a_manual_failover_loses_nothing(house):
    nodes = house.cluster("ssssss", replicas=1)
    follower = Follower(nodes)
    for number in range(200):
        follower.write(f"key:{number}", str(number))
    replica = next(node for node in nodes if not is_primary(node))
    known = lambda node: sum("slave" in line[2] for line in lines(node)) == 3
    wait_until(lambda: all(map(known, nodes)), 10, "everybody to know who is a replica")
    wait_until(lambda: ask(replica, "CLUSTER", "FAILOVER") == b"OK", 5, "the failover to begin")
    wait_until(lambda: is_primary(replica), 10, "the replica to be a primary")
    follower.check()


@test
def a_node_remembers_its_cluster_over_a_restart(house):
    nodes = house.cluster("sss")
    node = nodes[0]
    before = ask(node, "CLUSTER", "MYID")
    node.process.kill()
    node.process.wait()
    node.start()
    equal(ask(node, "CLUSTER", "MYID"), before)
    wait_until(lambda: all(is_ok(node) for node in nodes), 20, "a cluster that works")


@test
def messages_reach_subscribers_of_other_nodes(house):
    nodes = house.cluster("sss")
    with nodes[1].client() as subscriber:
        subscriber.call("SUBSCRIBE", "news")
        wait_until(lambda: ask(nodes[0], "PUBLISH", "news", "hello") is not None, 5, "the message to leave")
        equal(subscriber.read()[0].value(), [b"message", b"news", b"hello"])


@test
def ours_and_redis_are_one_cluster(house):
    nodes = house.cluster("srs")
    follower = Follower(nodes)
    for number in range(300):
        follower.write(f"key:{number}", str(number))
    follower.check()
    move_under_load(nodes)


def owner_of(nodes, key):
    return next(node for node in nodes if not isinstance(ask(node, "EXISTS", key), ErrorReply))


def blocks(node, count):
    return f"blocked_clients:{count}\r\n".encode() in ask(node, "INFO", "clients")


@test
def who_waits_for_a_slot_is_sent_away_when_it_goes(house):
    nodes = house.cluster("sss")
    source = owner_of(nodes, "foo")
    target = next(node for node in nodes if node is not source)
    with source.client(timeout=10) as blocked, source.client(timeout=10) as subscriber, source.client(timeout=10) as stays:
        blocked.send("BLPOP", "foo", "0")
        equal(subscriber.call("SSUBSCRIBE", "foo"), [b"ssubscribe", b"foo", 1])
        equal(stays.call("SUBSCRIBE", "foo"), [b"subscribe", b"foo", 1])
        wait_until(lambda: blocks(source, 1), 5, "a client that waits")
        equal(ask(target, "CLUSTER", "SETSLOT", 12182, "IMPORTING", node_id(source)), b"OK")
        equal(ask(source, "CLUSTER", "SETSLOT", 12182, "MIGRATING", node_id(target)), b"OK")
        for node in (target, source):
            equal(ask(node, "CLUSTER", "SETSLOT", 12182, "NODE", node_id(target)), b"OK")
        equal(blocked.read()[0].value(), ErrorReply(f"MOVED 12182 127.0.0.1:{target.port}".encode()))
        equal(subscriber.read()[0].value(), [b"sunsubscribe", b"foo", 0])
        equal(subscriber.call("PING"), b"PONG")
        equal(ask(source, "PUBLISH", "foo", "still here"), 1)
        equal(stays.read()[0].value(), [b"message", b"foo", b"still here"])
        wait_until(lambda: blocks(source, 0), 5, "nobody to wait")


@test
def replicas_serve_reads_to_who_asks_for_them(house):
    nodes = house.cluster("ssssss", replicas=1)
    primary = next(node for node in nodes if is_primary(node) and not isinstance(ask(node, "EXISTS", "foo"), ErrorReply))
    equal(ask(primary, "SET", "foo", "1"), b"OK")
    wait_until(lambda: knows_replicas(nodes, 3), 10, "everybody to know the replicas")
    replica = next(node for node in nodes if not is_primary(node) and primary_of(node) == node_id(primary))
    moved = ErrorReply(f"MOVED 12182 127.0.0.1:{primary.port}".encode())
    with replica.client(timeout=10) as client:
        equal(client.call("GET", "foo"), moved)
        equal(client.call("READONLY"), b"OK")
        wait_until(lambda: client.call("GET", "foo") == b"1", 10, "the key")
        equal(client.call("SET", "foo", "2"), moved)
        equal(client.transaction([("GET", "foo"), ("STRLEN", "foo")]), [b"1", 1])
        equal(client.pipeline([("MULTI",), ("GET", "foo"), ("SET", "foo", "2")])[2], moved)
        true(client.call("EXEC").startswith(b"EXECABORT"), "the transaction is over")
        equal(client.call("EVAL_RO", "return redis.call('get', KEYS[1])", 1, "foo"), b"1")
        equal(client.call("READWRITE"), b"OK")
        equal(client.call("GET", "foo"), moved)
        equal(client.call("SSUBSCRIBE", "foo"), [b"ssubscribe", b"foo", 1])

        def arrives():
            """What is published while the primary's link to its replica is not there yet is lost, as in Redis."""
            equal(ask(primary, "SPUBLISH", "foo", "hello"), 0)
            return readable(client, 0.2)
        wait_until(arrives, 10, "a message")
        equal(client.read()[0].value(), [b"smessage", b"foo", b"hello"])


@test
def a_cluster_that_is_down_serves_what_it_is_told_to(house):
    nodes = house.cluster("sss")
    node = owner_of(nodes, "foo")
    equal(ask(node, "SET", "foo", "1"), b"OK")
    lost = next(slot for slot in range(16384) if ask(node, "CLUSTER", "COUNTKEYSINSLOT", slot) == 0 and slot != 12182)
    equal(ask(node, "CLUSTER", "DELSLOTS", lost), b"OK")
    down = ErrorReply(b"CLUSTERDOWN The cluster is down")
    with node.client(timeout=10) as client:
        wait_until(lambda: client.call("GET", "foo") == down, 5, "the cluster to be down")
        equal(client.call("SPUBLISH", "foo", "x"), 0)
        equal(client.call("CONFIG", "SET", "cluster-allow-pubsubshard-when-down", "no"), b"OK")
        equal(client.call("SPUBLISH", "foo", "x"), down)
        equal(client.call("CONFIG", "SET", "cluster-allow-reads-when-down", "yes"), b"OK")
        equal(client.call("GET", "foo"), b"1")
        equal(client.call("SET", "foo", "2"), ErrorReply(b"CLUSTERDOWN The cluster is down and only accepts read commands"))
        equal(client.call("CONFIG", "SET", "cluster-require-full-coverage", "no"), b"OK")
        wait_until(lambda: client.call("SET", "foo", "2") == b"OK", 10, "the cluster to be up")


@test
def a_node_that_moves_to_another_port_is_found_there(house):
    nodes = house.cluster("srs")
    node, old = nodes[0], nodes[0].port
    with PLACES:
        new = next(port for port in range(old + 1, 22000) if is_free(port) and is_free(port + 10000) and port not in TAKEN)
        TAKEN.add(new)
    equal(ask(node, "CONFIG", "SET", "port", new), b"OK")
    node.port = new
    where = f"127.0.0.1:{new}@{new + 10000}"
    for other in nodes:
        wait_until(lambda: any(line[1].startswith(where) and line[7] == "connected" for line in lines(other)), 15, where)
    nodes[1].process.kill()
    nodes[1].process.wait()
    nodes[1].start()  # its links to the others are all new
    wait_until(lambda: all(is_ok(one) for one in nodes), 20, "a cluster that works")


@test
def a_name_that_would_break_the_file_of_nodes_is_refused(house):
    node = house.node()
    for name in ("two words", "a,b", "a=b", '"'):
        true(b"invalid character" in ask(node, "CONFIG", "SET", "cluster-announce-human-nodename", name), name)
    equal(ask(node, "CONFIG", "SET", "cluster-announce-human-nodename", "east-1"), b"OK")


def run(tests, description, alone=(), **numbers):
    """The main program of a file of such tests. `alone` are those that run by themselves at the end; `numbers` are further
    options, numbers or words, with their defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=1, help="so many tests at a time")
    parser.add_argument("--slotwise", help="the server under test (target/quick/slotwise)")
    parser.add_argument("--redis", default="redis-server")
    parser.add_argument("--cli", default="redis-cli")
    for name, default in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    options = parser.parse_args()
    CLI[:] = [options.cli]
    chosen = [one for one in tests if not options.words or any(word in one.__name__ for word in options.words)]
    with ThreadPoolExecutor(options.jobs) as jobs:
        passed = sum(jobs.map(lambda one: attempt(one, options), [one for one in chosen if one not in alone]))
    passed += sum(attempt(one, options) for one in chosen if one in alone)
    failed = len(chosen) - passed
    print(f"{Path(sys.argv[0]).stem} with {options.shards} shards: {passed} passed, {failed} failed")
    return 1 if failed else 0


def attempt(one, options):
    """Runs one test; whether it passed."""
    start, house = time.monotonic(), House(options)
    try:
        one(house)
        print(f"ok    {one.__name__} ({time.monotonic() - start:.1f} s)", flush=True)
        return True
    except Exception as problem:
        detail = str(problem) if isinstance(problem, AssertionError) else traceback.format_exc()
        print(f"FAIL  {one.__name__}: {detail}", flush=True)
        for node in house.nodes:
            print(f"      {node.name} at {node.port}:\n{node.log_tail(12)}", flush=True)
        return False
    finally:
        house.close()


if __name__ == "__main__":
    sys.exit(run(TESTS, __doc__))
