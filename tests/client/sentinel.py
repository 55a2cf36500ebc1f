"""Do Redis's sentinels watch, fail over and reconfigure Slotwise as they do Redis, and do clients that ask them follow?

Three sentinels (redis-sentinel, or redis-server --sentinel) watch a primary with two replicas. The primary is killed, or
sleeps (DEBUG SLEEP); a replica takes over, the others follow it, the old one comes back as a replica, and nothing that two
replicas had acknowledged is lost.

    tests/client/sentinel.py [WORD ...] [--nodes s4,r,s1] [--slotwise PATH] [--redis PATH]

--nodes says of what kind the primary and its replicas are. The last test needs redis-py and is skipped without it.
"""

import argparse
import os
import shutil
import sys
import time
import traceback

import replication_kit as kit
import support
from replication_kit import equal, same_data, test, true, wait_same_offset
from support import wait_until

FAILOVER_SECONDS_MAX = 45
CONFIGURATION = """port {port}
bind 127.0.0.1
sentinel monitor mine 127.0.0.1 %d 2
sentinel down-after-milliseconds mine 1000
sentinel failover-timeout mine 6000
sentinel parallel-syncs mine 1
"""


class Watched:
    """A primary, two replicas, and three sentinels that know all of them."""

    def __init__(self, options, *extra):
        self.bench = kit.Bench(options, "r", "r")
        self.sentinels = []
        kinds = options.nodes.split(",")
        try:
            self.nodes = [self.bench.node(kind, "--repl-timeout", "5", *extra) for kind in kinds]
            self.primary, self.replicas = self.nodes[0], self.nodes[1:]
            for replica in self.replicas:
                replica.follow(self.primary)
            for replica in self.replicas:
                replica.wait_up()
            for number in range(3):
                server = support.Server(f"sentinel{number}", sentinel_command(options))
                path = os.path.join(server.dir, "sentinel.conf")
                with open(path, "w", encoding="ascii") as file:
                    file.write(CONFIGURATION.replace("{port}", str(server.port)) % self.primary.port)
                server.command = [word.replace("{conf}", path) for word in server.command]
                self.sentinels.append(server)
                server.start()
            wait_until(self.all_known, 30, "the sentinels to know each other and the replicas")
        except BaseException:
            self.close()
            raise

    def ask(self, number, *words):
        with self.sentinels[number].client() as client:
            return client.must("SENTINEL", *words)

    def facts(self, number):
        flat = self.ask(number, "MASTER", "mine")
        return dict(zip(flat[::2], flat[1::2]))

    def all_known(self):
        return all(self.facts(n)[b"num-slaves"] == b"2" and self.facts(n)[b"num-other-sentinels"] == b"2" for n in range(3))

    def address(self):
        """The port that most sentinels name."""
        ports = [int(self.ask(n, "GET-MASTER-ADDR-BY-NAME", "mine")[1]) for n in range(3)]
        return max(set(ports), key=ports.count) if len(set(ports)) == 1 else None

    def wait_failover(self):
        wait_until(lambda: self.address() not in (None, self.primary.port), FAILOVER_SECONDS_MAX, "the sentinels to name another primary")
        port = self.address()
        promoted = next(node for node in self.nodes if node.port == port)
        wait_until(lambda: promoted.info()["role"] == "master", 20, "the promoted one to be a primary")
        return promoted

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print(self.bench.logs(12))
            print("\n".join(server.log_tail(8) for server in self.sentinels))
        self.close()

    def close(self):
        for server in self.sentinels:
            server.stop()
        self.bench.close()


def sentinel_command(options):
    if options.redis == "redis-server" and shutil.which("redis-sentinel"):
        return ["redis-sentinel", "{conf}"]
    return [options.redis, "{conf}", "--sentinel"]


def write_for_sure(node, key, count):
    with node.client() as client:
        for n in range(count):
            client.must("SET", f"{key}:{n}", n)
        equal(client.must("WAIT", 2, 10_000), 2, "both replicas")


def failed_over(watched, promoted):
    """The others follow the promoted one, and hold the same."""
    others = [node for node in watched.nodes if node is not promoted]
    for node in others:
        wait_until(lambda node=node: node.alive() and node.info().get("master_port") == str(promoted.port) and node.link_up(),
                   FAILOVER_SECONDS_MAX, f"{node.kind} {node.port} to follow the promoted one")
    with promoted.client() as client:
        client.must("SET", "by the new primary", 1)
        equal(client.must("WAIT", 2, 10_000), 2)
    wait_same_offset(promoted, *others)
    for node in others:
        same_data(promoted, node)


@test()
def a_killed_primary_is_replaced_and_returns_as_a_replica(options):
    with Watched(options) as watched:
        write_for_sure(watched.primary, "sure", 500)
        old = watched.primary
        old.end(9)
        promoted = watched.wait_failover()
        true(promoted is not old, "another one is promoted")
        equal(promoted.must("GET", "sure:499"), b"499", "an acknowledged write")
        old.start()
        failed_over(watched, promoted)
        equal(old.info()["role"], "slave")


@test()
def a_primary_that_sleeps_is_replaced_and_put_in_its_place(options):
    with Watched(options) as watched:
        write_for_sure(watched.primary, "sure", 200)
        sleeper = watched.primary.client(timeout=60)
        sleeper.send("DEBUG", "SLEEP", 12)
        promoted = watched.wait_failover()
        equal(promoted.must("GET", "sure:199"), b"199")
        sleeper.read()
        sleeper.close()
        failed_over(watched, promoted)


@test()
def an_operator_asks_the_sentinels_for_a_failover(options):
    with Watched(options) as watched:
        write_for_sure(watched.primary, "sure", 100)
        equal(watched.ask(0, "FAILOVER", "mine"), b"OK")
        promoted = watched.wait_failover()
        equal(promoted.must("GET", "sure:99"), b"99")
        failed_over(watched, promoted)
        equal(watched.primary.info()["role"], "slave")


@test()
def the_replica_of_the_better_priority_is_chosen(options):
    with Watched(options) as watched:
        first, second = watched.replicas
        first.config(replica_priority=0)
        write_for_sure(watched.primary, "sure", 50)
        wait_until(lambda: any(dict(zip(one[::2], one[1::2]))[b"slave-priority"] == b"0" for one in watched.ask(0, "REPLICAS", "mine")),
                   30, "the sentinels to see the priority")
        time.sleep(1.5)
        watched.primary.end(9)
        promoted = watched.wait_failover()
        equal(promoted.port, second.port, "the one that may be promoted")
        del first


@test()
def a_client_that_asks_the_sentinels_follows(options):
    try:
        import redis
        from redis.sentinel import Sentinel
    except ImportError:
        return "redis-py is missing"
    with Watched(options) as watched:
        sentinel = Sentinel([("127.0.0.1", server.port) for server in watched.sentinels], socket_timeout=2)
        primary = sentinel.master_for("mine", socket_timeout=2)
        replica = sentinel.slave_for("mine", socket_timeout=2)
        primary.set("a", 1)
        equal(primary.execute_command("WAIT", 2, 5000), 2)
        equal(replica.get("a"), b"1")
        equal(sentinel.discover_master("mine"), ("127.0.0.1", watched.primary.port))
        equal(len(sentinel.discover_slaves("mine")), 2)
        watched.primary.end(9)

        def written():
            try:
                return primary.set("b", 2)
            except (redis.exceptions.RedisError, OSError):
                return False
        wait_until(written, FAILOVER_SECONDS_MAX, "a write by the name of the service")
        equal(primary.get("a"), b"1")
        true(sentinel.discover_master("mine")[1] != watched.primary.port, "another address")
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--nodes", default="s4,r,s1")
    kit.add_peers(parser)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    options.full = False
    kit.ports_of_environment()
    from concurrent.futures import ThreadPoolExecutor
    chosen = [one for one in kit.TESTS if one.__module__ == __name__ and (not options.words or any(word in one.__name__ for word in options.words))]
    results = []

    def run(one):
        began = time.monotonic()
        try:
            skipped = one(options)
            print(f"ok    {one.__name__} ({time.monotonic() - began:.1f} s){f': skipped, {skipped}' if skipped else ''}", flush=True)
            results.append(True)
        except Exception as problem:  # noqa: BLE001 (whatever it is, it is this test's result)
            plain = isinstance(problem, (AssertionError, TimeoutError, RuntimeError))
            print(f"FAIL  {one.__name__}: {problem if plain else traceback.format_exc()}", flush=True)
            results.append(False)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(run, chosen))
    print(f"sentinel {options.nodes}: {results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
