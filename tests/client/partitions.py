"""Does a cluster keep one history when the network between its hosts is cut?

usage: partitions.py [--kinds s,s,s,s] [--rounds N] [--seed N] [--shards N] [--slotwise PATH] [--redis PATH]

Each node is a host: a network namespace with an address of its own, on a bridge. A cut moves hosts to another bridge, so that
packets vanish as they do on a broken cable, or takes an interface down. Clients reach every node through its unix socket,
which no namespace separates, so they can look at both sides. --kinds names three primaries and then the replica
of the first, `s` for ours and `r` for Redis.

Each round cuts off the primary with the replica, writing on it all the while, and heals the cut again:

- the minority stops taking writes soon after cluster-node-timeout, and before the majority may have replaced it;
- the majority goes on with the replica in its place;
- once healed there is one history: the old primary follows the new one, and both have the same data;
- every write that WAIT has acknowledged is there.

It needs the right to make namespaces, and says so and passes where that is not given.
"""

import argparse
import os
import random
import subprocess
import sys
import threading
import time
import traceback

import support
from support import Client, ErrorReply, wait_until

NODE_TIMEOUT_MS = 1500
PORT = 7000
#: A node notices within a tick or two of 100 ms, and a request may be under way.
SLACK = 1.0


class Failure(Exception):
    """A promise that was not kept."""


def true(value, what):
    if not value:
        raise Failure(what)


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, timeout=20, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


class Network:
    """Two bridges, and hosts on either; all of it goes by name with close(), whatever of it is there."""

    def __init__(self):
        self.tag = f"sw{os.getpid() % 100000}"
        self.bridges = [f"{self.tag}b{number}" for number in range(2)]
        self.hosts = []

    def open(self):
        for bridge in self.bridges:
            ip("link", "add", bridge, "type", "bridge")
            ip("link", "set", bridge, "up")

    def add(self):
        number = len(self.hosts)
        name, outer, inner = f"{self.tag}-{number}", f"{self.tag}o{number}", f"{self.tag}i{number}"
        self.hosts.append((name, outer))
        ip("netns", "add", name)
        ip("link", "add", outer, "type", "veth", "peer", "name", inner)
        ip("link", "set", inner, "netns", name)
        ip("link", "set", outer, "master", self.bridges[0], "up")
        ip("-n", name, "addr", "add", f"{self.address(number)}/24", "dev", inner)
        ip("-n", name, "link", "set", inner, "up")
        ip("-n", name, "link", "set", "lo", "up")
        return number

    @staticmethod
    def address(number):
        return f"10.77.7.{number + 1}"

    def side(self, number, bridge):
        """Puts a host on the one or the other bridge."""
        ip("link", "set", self.hosts[number][1], "master", self.bridges[bridge])

    def cable(self, number, state):
        """Takes a host's interface down, or up again."""
        ip("link", "set", self.hosts[number][1], state)

    def close(self):
        for words in ([["netns", "del", name] for name, _ in self.hosts]
                      + [["link", "del", outer] for _, outer in self.hosts]
                      + [["link", "del", bridge] for bridge in self.bridges]):
            subprocess.run(["ip", *words], capture_output=True, timeout=20, check=False)


class Host(support.Server):
    """A server on a host of the network, spoken to through its unix socket."""

    def __init__(self, network, kind, options):
        self.number = network.add()
        self.address = network.address(self.number)
        extra = ["--port", str(PORT), "--bind", "0.0.0.0", "--protected-mode", "no", "--cluster-enabled", "yes",
                 "--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--repl-diskless-sync-delay", "0",
                 "--repl-ping-replica-period", "1", "--repl-timeout", "5", "--cluster-require-full-coverage", "no"]
        like = (support.redis(options.redis, extra=extra) if kind == "r" else
                support.slotwise(options.slotwise, shards=options.shards, extra=extra))
        self.__dict__.update(like.__dict__, number=self.number, address=self.address)
        self.command = ["ip", "netns", "exec", network.hosts[self.number][0], *self.command]

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir,
                                            start_new_session=True)

        def answers():
            try:
                return self.ask("PING") == b"PONG"
            except OSError:
                return False
        wait_until(answers, 30, "the node on its host")
        return self

    def client(self, resp=2, timeout=30.0, unix=True):
        return Client(self.socket_path, timeout=timeout, resp=resp)

    def ask(self, *words):
        with self.client(timeout=10) as client:
            return client.call(*words)

    def info(self, name):
        text = self.ask("INFO", "replication").decode()
        return next((line.split(":", 1)[1] for line in text.splitlines() if line.startswith(name + ":")), None)

    def is_primary(self):
        return self.info("role") == "master"

    def is_ok(self):
        return b"cluster_state:ok" in self.ask("CLUSTER", "INFO")


def form(hosts):
    """Makes a cluster by hand: redis-cli is on none of the hosts."""
    share = 16384 // 3
    for at, host in enumerate(hosts[:3]):
        last = 16383 if at == 2 else (at + 1) * share - 1
        true(host.ask("CLUSTER", "ADDSLOTSRANGE", at * share, last) == b"OK", "the slots")
        host.ask("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
    for host in hosts[1:]:
        true(hosts[0].ask("CLUSTER", "MEET", host.address, PORT) == b"OK", "the meeting")
    for host in hosts:
        wait_until(lambda: host.ask("CLUSTER", "NODES").count(b" connected") == len(hosts), 20, "everybody to know everybody")
    first = hosts[0].ask("CLUSTER", "MYID")
    for host in hosts[3:]:
        wait_until(lambda: host.ask("CLUSTER", "REPLICATE", first) == b"OK", 10, "the replica to know its primary")
    wait_until(lambda: all(host.is_ok() for host in hosts), 20, "a cluster that works")
    settle(hosts[0], hosts[3:], hosts)


def settle(primary, replicas, hosts):
    """Waits until the replicas follow, and everybody knows."""
    for replica in replicas:
        wait_until(lambda: replica.info("master_link_status") == "up"
                   and replica.info("master_host") == primary.address, 30, "a replica's link")
    wait_until(lambda: all(b"fail" not in host.ask("CLUSTER", "NODES") for host in hosts), 30, "nobody to be missed")
    wait_until(lambda: all(host.is_ok() for host in hosts), 20, "a cluster that works")
    names = [replica.ask("CLUSTER", "MYID") for replica in replicas]
    knows = lambda host: all(any(line.startswith(name) and b"slave" in line for line in host.ask("CLUSTER", "NODES").splitlines())
                             for name in names)
    wait_until(lambda: all(map(knows, hosts)), 15, "everybody to know who is a replica")


class Writer:
    """Writes numbers to keys of one slot on one host, and remembers what WAIT has acknowledged."""

    def __init__(self, host, tag, first):
        self.host, self.tag, self.next = host, tag, first
        self.sure = {}
        self.last_ok = self.refused = None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        with self.host.client(timeout=20) as client:
            while not self.stopped.is_set():
                key, value = f"{{{self.tag}}}{self.next % 500}", str(self.next)
                self.next += 1
                answer = client.call("SET", key, value)
                if answer != b"OK":
                    self.refused = self.refused or (time.monotonic(), answer)
                    time.sleep(0.01)
                    continue
                self.last_ok = time.monotonic()
                if client.call("WAIT", "1", "30") >= 1:
                    self.sure[key] = int(value)

    def stop(self):
        self.stopped.set()
        self.thread.join(30)


def tag_of(host):
    """A tag whose slot this node has."""
    for number in range(1000):
        if not isinstance(host.ask("GET", "{%d}" % number), ErrorReply):
            return str(number)
    raise Failure("the node has no slot")


def one_round(network, hosts, old, new, by_cable, first):
    """Cuts `old` off, with clients writing on it; `new` takes over. Gives the next number."""
    timeout, rest = NODE_TIMEOUT_MS / 1000, [host for host in hosts if host is not old]
    tag = tag_of(old)
    writer = Writer(old, tag, first)
    try:
        wait_until(lambda: len(writer.sure) > 20, 20, "acknowledged writes")
        cut = time.monotonic()
        network.cable(old.number, "down") if by_cable else network.side(old.number, 1)
        wait_until(lambda: new.is_primary(), 4 * timeout + 5, "the replica to take over")
        taken_over = time.monotonic()
        wait_until(lambda: writer.refused, timeout + 5, "the minority to refuse writes")
        time.sleep(0.2)
    finally:
        writer.stop()
    true(writer.refused[1].startswith(b"CLUSTERDOWN"), f"{writer.refused[1]!r} is no reason")
    true(writer.last_ok < cut + timeout + SLACK, f"writes were taken {writer.last_ok - cut:.1f} s after the cut")
    true(writer.last_ok < taken_over, "two primaries took writes at the same time")
    true(not old.is_ok() and old.is_primary(), "the minority knows that it is one")
    wait_until(lambda: all(host.is_ok() for host in rest), 10, "the majority to work")
    # On the majority's side a history goes on that the old primary knows nothing of.
    acknowledged = dict(writer.sure)
    read = lambda host, key: int(host.ask("GET", key) or -1)
    lost = [key for key, value in acknowledged.items() if read(new, key) < value]
    true(not lost, f"{len(lost)} of {len(acknowledged)} acknowledged writes are lost: {lost[:5]}")
    number = writer.next + 1_000_000
    for at in range(50):
        key = f"{{{tag}}}{at}"
        true(new.ask("SET", key, number + at) == b"OK", "the majority takes writes")
        acknowledged[key] = number + at
    network.cable(old.number, "up") if by_cable else network.side(old.number, 0)
    wait_until(lambda: not old.is_primary(), 30, "the old primary to follow")
    settle(new, [old], hosts)
    # Redis begins with a copy, so the link is up when all is there; then the streams have to be level.
    wait_until(lambda: old.info("slave_repl_offset") == new.info("master_repl_offset"), 20, "one stream")
    with old.client() as client:
        client.call("READONLY")
        for key, value in acknowledged.items():
            true(int(client.call("GET", key)) >= value, f"{key} is lost on the old primary")
        everything = [client.call("GET", f"{{{tag}}}{at}") for at in range(500)]
    true(everything == [new.ask("GET", f"{{{tag}}}{at}") for at in range(500)], "two histories")
    print(f"      cut {'by cable' if by_cable else 'into two sides'}: refused after {writer.refused[0] - cut:.1f} s, replaced after "
          f"{taken_over - cut:.1f} s, {len(writer.sure)} of {writer.next - first} writes acknowledged", flush=True)
    return number + 100


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default="s,s,s,s")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--slotwise", default=support.default_slotwise())
    parser.add_argument("--redis", default="redis-server")
    options = parser.parse_args()
    chance, network, hosts = random.Random(options.seed), Network(), []
    passed, failed = 0, 0
    try:
        try:
            network.open()
            hosts = [Host(network, kind, options) for kind in options.kinds.split(",")]
        except OSError as problem:
            print(f"skip  no network namespaces here: {problem}")
            return 0
        for host in hosts:
            host.start()
        form(hosts)
        old, new, number = hosts[0], hosts[3], 0
        for at in range(options.rounds):
            number = one_round(network, hosts, old, new, chance.random() < 0.5, number)
            passed += 1
            old, new = new, old
    except Exception as problem:
        failed += 1
        print(f"FAIL  {problem if isinstance(problem, Failure) else traceback.format_exc()}", flush=True)
        for host in hosts:
            print(f"--- {host.address}\n{host.log_tail(15)}", flush=True)
    finally:
        for host in hosts:
            host.stop()
        network.close()
    print(f"partitions of {options.kinds} (seed {options.seed}): {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
