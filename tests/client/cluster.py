"""Does a cluster form, send clients where keys are, move slots under load, survive kills and restarts, and mix with Redis?

usage: cluster.py [WORD ...] [--shards N] [--slotwise PATH] [--redis PATH]

Every test is a function whose name is the sentence it proves; WORDs select those whose name holds one of them. Clusters
are made by an unmodified redis-cli. Keys are written by a client that follows redirections and remembers what it wrote.
"""

import argparse
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import support
from support import Client, ErrorReply, wait_until

TESTS = []
NODE_TIMEOUT_MS = 2000


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

    def node(self, redis=False, extra=()):
        arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS),
                     "--repl-diskless-sync-delay", "0", *extra]
        while True:
            if redis:
                server = support.redis(self.options.redis, extra=arguments)
            else:
                server = support.slotwise(self.options.slotwise, shards=self.options.shards, extra=arguments)
            if server.port < 22000:
                break
            server.stop()  # the bus's port would be one that the system gives to outgoing connections
        self.nodes.append(server)
        return server.start()

    def cluster(self, kinds, replicas=0):
        """A cluster of nodes; `kinds` has an `s` for each of ours and an `r` for each of Redis's."""
        nodes = [self.node(redis=kind == "r") for kind in kinds]
        cli("--cluster", "create", *map(address, nodes), "--cluster-replicas", replicas, "--cluster-yes")
        wait_until(lambda: all(is_ok(node) for node in nodes), 20, "a cluster that works")
        return nodes

    def close(self):
        for node in self.nodes:
            node.stop()
        self.nodes = []


def address(node):
    return f"127.0.0.1:{node.port}"


def cli(*words, bound=90):
    done = subprocess.run(["redis-cli", *map(str, words)], capture_output=True, text=True, timeout=bound)
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


def move_under_load(nodes):
    follower, stop, problems = Follower(nodes), threading.Event(), []

    def write():
        number = 0
        try:
            while not stop.is_set():
                follower.write(f"key:{number % 2000}", str(number))
                number += 1
        except Exception as problem:  # the thread that waits for it tells
            problems.append(problem)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        first, second = (ask(node, "CLUSTER", "MYID").decode() for node in nodes[:2])
        for source, target in ((first, second), (second, first)):
            cli("--cluster", "reshard", address(nodes[0]), "--cluster-from", source, "--cluster-to", target,
                "--cluster-slots", 100, "--cluster-yes")
    finally:
        stop.set()
        writer.join()
    true(not problems, f"{problems}")
    follower.check()
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--slotwise", help="the server under test (target/quick/slotwise)")
    parser.add_argument("--redis", default="redis-server")
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
