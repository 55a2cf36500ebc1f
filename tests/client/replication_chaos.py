"""Do a primary, two replicas and a sub-replica agree whenever it is quiet, whatever happened before?

Slotwise and Redis are mixed as the seed says. Clients write random commands of every kind and steps whose acknowledgement
they remember (SET and WAIT). Meanwhile links are cut in proxies or by CLIENT KILL, held back, nodes are stopped for a
moment, killed and started again, moved to another parent, or take over. At each quiet point all data sets and all offsets
are equal, and what WAIT has acknowledged is there, also after the promotion of a replica that had acknowledged it.

    tests/client/replication_chaos.py [--seed N] [--seconds N] [--kinds r,s1,s4,v] [--netns] [--slotwise PATH] [--redis PATH]
    [--peer PATH, which v in --kinds stands for]

--netns puts each node into a network namespace of its own, with delay, loss and little bandwidth drawn by the seed; it
needs the right to make them, and says so where it is not given.
"""

import argparse
import os
import random
import re
import subprocess
import sys
import threading
import time

import effects
import replication_kit as kit
import support
from replication_kit import Load, Proxy, Words, same_data
from support import Client, ErrorReply, wait_until

QUIET_SECONDS_MAX = 60


class Failure(Exception):
    """A promise that was not kept."""


class Place:
    """A node with the proxy by which its replicas reach it, and its parent."""

    def __init__(self, node, name, proxy):
        self.node, self.name, self.proxy, self.parent = node, name, proxy, None

    def __str__(self):
        return f"{self.name}({self.node.kind})"


class Acknowledged:
    """A client that increments numbers and remembers which WAIT said that how many replicas have."""

    def __init__(self, chaos, number):
        self.chaos, self.key, self.sent, self.sure = chaos, f"sure:{number}", 0, 0
        self.sure_of_all = 0  # the last number that every direct replica had acknowledged
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped.is_set():
            place, epoch = self.chaos.primary, self.chaos.epoch
            try:
                with Client(self.chaos.address(place), timeout=10) as client:
                    while not self.stopped.is_set() and self.chaos.epoch == epoch:
                        self.chaos.gate.wait()
                        self.sent += 1
                        number = self.sent
                        if client.call("SET", self.key, number) != b"OK":
                            break
                        count = client.call("WAIT", 2, 300)
                        with self.lock:
                            if isinstance(count, int) and self.chaos.epoch == epoch:
                                if count >= 1:
                                    self.sure = number
                                if count >= 2:
                                    self.sure_of_all = number
            except (OSError, ConnectionError):
                time.sleep(0.05)


class Chaos:
    def __init__(self, options):
        self.options, self.random = options, random.Random(options.seed)
        self.bench = kit.Bench(options, "r", "r")
        self.kinds = options.kinds.split(",")
        self.epoch = 0
        self.gate = threading.Event()  # writers pass while it is set
        self.gate.set()
        self.sentence, self.actions, self.commands = "", 0, 0
        self.log = []
        self.places = []
        kinds = [self.random.choice(self.kinds) for _ in range(4)]
        if len(set(self.kinds)) > 1 and len(set(kinds)) == 1:
            kinds[self.random.randrange(4)] = next(kind for kind in self.kinds if kind != kinds[0])
        extra = ("--repl-backlog-size", self.random.choice(("64kb", "1mb", "8mb")), "--repl-timeout", "5",
                 "--repl-diskless-sync", self.random.choice(("yes", "no")), "--hz", "50")
        for name, kind in zip("ABCD", kinds):
            load = self.random.choice(("disabled", "swapdb", "on-empty-db"))
            more = ("--save", "3600 1000000") if self.random.random() < 0.5 else ()
            if not kit.is_foreign(kind):
                more = (*more, "--repl-parallel-flows", self.random.choice(("yes", "yes", "no")))
            node = self.bench.node(kind, *extra, "--repl-diskless-load", load, *more)
            self.places.append(Place(node, name, Proxy(node.port)))
        self.primary = self.places[0]
        self.attach(self.places[1], self.primary)
        self.attach(self.places[2], self.primary)
        self.attach(self.places[3], self.places[1])

    def say(self, text):
        self.sentence = text
        self.log.append(text)
        if self.options.verbose:
            print(f"  {text}", flush=True)

    def address(self, place):
        return ("127.0.0.1", place.node.port)

    def attach(self, place, parent):
        place.parent = parent
        answer = place.node.call("REPLICAOF", "127.0.0.1", parent.proxy.port)
        if isinstance(answer, ErrorReply):
            # It loads, or its parent has failed to start: asked again until it takes it.
            wait_until(lambda: not isinstance(place.node.call("REPLICAOF", "127.0.0.1", parent.proxy.port), ErrorReply),
                       20, f"{place} to take REPLICAOF ({answer})")

    def children(self, of):
        return [place for place in self.places if place.parent is of]

    # --- what happens ------------------------------------------------------------------------------------------------------

    def act(self):
        self.actions += 1
        kind = self.random.choices(
            ("cut", "kill link", "hold", "stop", "kill node", "move", "promote", "failover", "rest"), (5, 3, 2, 2, 2, 2, 1.5, 0.7, 1))[0]
        others = [place for place in self.places if place is not self.primary]
        if kind == "cut":
            place = self.random.choice(self.places)
            self.say(f"cut the links to {place}")
            place.proxy.cut()
        elif kind == "kill link":
            place, role = self.random.choice(self.places), self.random.choice(("master", "replica"))
            self.say(f"CLIENT KILL TYPE {role} at {place}")
            place.node.call("CLIENT", "KILL", "TYPE", role)
        elif kind == "hold":
            place, seconds = self.random.choice(self.places), self.random.choice((0.2, 0.5, 1.0))
            self.say(f"hold what {place} sends for {seconds} s")
            place.proxy.hold()
            time.sleep(seconds)
            place.proxy.release()
        elif kind == "stop":
            place, seconds = self.random.choice(others), self.random.choice((0.2, 1.0, 2.0))
            self.say(f"SIGSTOP {place} for {seconds} s")
            place.node.stop_running()
            time.sleep(seconds)
            place.node.go_on()
        elif kind == "kill node":
            place = self.random.choice(others)
            number = self.random.choice((9, 9, 15))
            self.say(f"signal {number} to {place}, and a new start")
            place.node.end(number, 30)
            time.sleep(self.random.choice((0, 0.5)))
            place.node.start()
            self.attach(place, place.parent)
        elif kind == "move":
            place = self.random.choice(others)
            below = self.below(place)
            parent = self.random.choice([one for one in self.places if one not in below])
            self.say(f"move {place} below {parent}")
            self.attach(place, parent)
        elif kind == "promote":
            self.promote()
        elif kind == "failover":
            self.failover()
        time.sleep(self.random.choice((0.05, 0.2, 0.5)))

    def below(self, place):
        found = [place]
        for child in self.children(place):
            found += self.below(child)
        return found

    def promote(self):
        """The primary is killed; the direct replica with the most of its stream takes over."""
        direct = self.children(self.primary)
        if len(direct) != 2:
            return  # WAIT speaks of direct replicas, and two of them make one safe to lose
        # A replica that was killed has what it acknowledged again when it is synced again.
        wait_until(lambda: all(place.node.link_up() for place in direct), QUIET_SECONDS_MAX, "both direct replicas to be up")
        best = max(direct, key=lambda place: int(place.node.info()["slave_repl_offset"]))
        old = self.primary
        self.gate.clear()
        self.say(f"kill {old} and promote {best}")
        sure = {writer.key: writer.sure for writer in self.writers}
        old.node.end(9)
        best = max(direct, key=lambda place: int(place.node.info()["slave_repl_offset"]))
        best.node.must("REPLICAOF", "NO", "ONE")
        best.parent = None
        self.epoch += 1
        self.primary = best
        for writer in self.writers:
            found = int(best.node.must("GET", writer.key) or 0)
            with writer.lock:
                if found < max(sure[writer.key], 0):
                    raise Failure(f"{writer.key}: WAIT acknowledged {sure[writer.key]}, the promoted {best} has {found}")
                writer.sure = writer.sure_of_all = 0
        old.node.start()
        self.attach(old, best)
        for place in direct:
            if place is not best:
                self.attach(place, best)
        self.gate.set()

    def failover(self):
        direct = [place for place in self.children(self.primary) if place.node.online_at(self.primary.node)]
        if not direct:
            return
        target, old = self.random.choice(direct), self.primary
        self.say(f"FAILOVER from {old} to {target}")
        answer = old.node.call("FAILOVER", "TO", "127.0.0.1", target.node.port, "TIMEOUT", 3000)
        if isinstance(answer, ErrorReply):
            return  # it went offline meanwhile
        wait_until(lambda: old.node.info()["master_failover_state"] == "no-failover", 30, "the failover's end")
        if target.node.info()["role"] == "master":
            self.epoch += 1
            self.primary, target.parent = target, None
            self.attach(old, target)
            for place in self.children(old):
                if place is not target:
                    self.attach(place, target)

    # --- quiet ----------------------------------------------------------------------------------------------------------------

    def quiet(self):
        self.say("quiet")
        self.gate.clear()
        self.loader.pause()
        for place in self.places:
            place.proxy.release()
        with self.primary.node.client() as client:
            effects.drop_what_expires(client)
        for place in self.ordered():
            try:
                wait_until(lambda place=place: kit.caught_up(self.primary.node, place.node), QUIET_SECONDS_MAX, "equal offsets")
            except TimeoutError:
                told = "\n".join(f"{one}: {one.node.info()}" for one in (self.primary, place.parent, place))
                raise Failure(f"{place} does not reach the offset of {self.primary}:\n{told}") from None
        for place in self.places:
            if place is not self.primary:
                same_data(self.primary.node, place.node)
        for writer in self.writers:
            found = int(self.primary.node.must("GET", writer.key) or 0)
            if found < writer.sure:
                raise Failure(f"{writer.key}: WAIT acknowledged {writer.sure}, there is {found}")
        self.loader.go_on()
        self.gate.set()

    def ordered(self):
        """Replicas, parents first."""
        return [place for place in self.below(self.primary) if place is not self.primary]

    def run(self):
        began = time.monotonic()
        self.loader = Loader(self)
        self.writers = [Acknowledged(self, number) for number in range(2)]
        points = 0
        try:
            while time.monotonic() - began < self.options.seconds:
                for _ in range(self.random.randint(2, 6)):
                    self.act()
                if self.loader.problems:
                    raise Failure(str(self.loader.problems[0]))
                self.quiet()
                points += 1
        finally:
            self.gate.set()
            self.loader.stop()
            for writer in self.writers:
                writer.stopped.set()
            for writer in self.writers:
                writer.thread.join(15)
        return points

    def close(self):
        for place in self.places:
            place.proxy.close()
        self.bench.close()


class Loader:
    """Random commands to whoever is the primary."""

    def __init__(self, chaos):
        self.chaos, self.words = chaos, Words(random.Random(chaos.options.seed + 1))
        self.flow, self.stopped, self.idle = threading.Event(), threading.Event(), threading.Event()
        self.flow.set()
        self.problems = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped.is_set():
            epoch = self.chaos.epoch
            try:
                with Client(self.chaos.address(self.chaos.primary), timeout=30) as client:
                    while not self.stopped.is_set() and self.chaos.epoch == epoch:
                        if not self.flow.is_set():
                            for word in ("DISCARD", "UNWATCH"):
                                client.call(word)
                            self.idle.set()
                            self.flow.wait()
                        batch = [one for one in self.words.batch() if not (one[0] in ("FLUSHALL", "FLUSHDB", "SWAPDB"))]
                        client.pipeline(batch)
                        self.chaos.commands += len(batch)
                        time.sleep(0.005)
            except (OSError, ConnectionError):
                time.sleep(0.05)
                if not self.flow.is_set():
                    self.idle.set()
                    self.flow.wait()
            except support.ProtocolError as problem:
                self.problems.append(problem)
                return

    def pause(self):
        self.idle.clear()
        self.flow.clear()
        if not self.idle.wait(60):
            raise Failure("the loader does not come to rest")

    def go_on(self):
        self.flow.set()

    def stop(self):
        self.stopped.set()
        self.flow.set()
        self.thread.join(30)


# --- a network of its own ------------------------------------------------------------------------------------------------------

class Netns:
    """A namespace in which a node runs behind a link with delay, loss and little bandwidth; removed by close().

    Where the kernel has no netem, a token bucket and a filter that takes packets away at random do the last two (`narrow`), and
    the delay is left to a proxy; where it has not even these, all but the namespace is.
    """

    def __init__(self, number, delay_ms, loss_percent, rate):
        self.name, self.number = f"swrepl{os.getpid()}-{number}", number
        self.outer, self.inner = f"10.213.{number}.1", f"10.213.{number}.2"
        link, peer = f"swr{os.getpid() % 100000}o{number}", f"swr{os.getpid() % 100000}i{number}"
        self.sh("ip", "netns", "add", self.name)
        try:
            self.sh("ip", "link", "add", link, "type", "veth", "peer", "name", peer)
            self.sh("ip", "link", "set", peer, "netns", self.name)
            self.sh("ip", "addr", "add", f"{self.outer}/24", "dev", link)
            self.sh("ip", "link", "set", link, "up")
            for words in (("addr", "add", f"{self.inner}/24", "dev", peer), ("link", "set", peer, "up"), ("link", "set", "lo", "up"),
                          ("route", "add", "default", "via", self.outer)):
                self.sh("ip", "-n", self.name, *words)
        except RuntimeError:
            self.close()
            raise
        self.link, self.peer = link, peer
        words = ["delay", f"{delay_ms}ms", "loss", f"{loss_percent}%", "rate", rate]
        try:
            self.sh("tc", "qdisc", "add", "dev", link, "root", "netem", *words)
            self.sh("ip", "netns", "exec", self.name, "tc", "qdisc", "add", "dev", peer, "root", "netem", *words)
            self.shaped = self.narrow = True
        except (RuntimeError, OSError):
            self.shaped, self.narrow = False, self.narrowed(loss_percent, rate)

    def narrowed(self, loss_percent, rate):
        """Loses and narrows without netem: what the filter picks goes down another link, at whose end nobody takes it."""
        pit, bottom = self.link.replace("o", "p"), self.link.replace("o", "b")
        # Classic BPF: a random number of 32 bits, below the share a match (which is lost), else none.
        program = f"4,32 0 0 {2**32 - 4096 + 56},53 1 0 {int(loss_percent / 100 * 2**32)},6 0 0 {2**32 - 1},6 0 0 0"
        try:
            self.sh("ip", "link", "add", pit, "type", "veth", "peer", "name", bottom)
            self.sh("ip", "link", "set", bottom, "netns", self.name)
            self.sh("ip", "link", "set", pit, "up")
            self.sh("ip", "-n", self.name, "link", "set", bottom, "up")
            for (tc, device), hole in zip(self.ends(), (pit, bottom)):
                self.sh(*tc, "qdisc", "add", "dev", device, "root", "tbf", "rate", rate, "burst", "64kb", "latency", "400ms")
                self.sh(*tc, "qdisc", "add", "dev", device, "ingress")
                self.sh(*tc, "filter", "add", "dev", device, "ingress", "protocol", "ip", "bpf", "bytecode", program,
                        "action", "mirred", "egress", "redirect", "dev", hole)
        except (RuntimeError, OSError):
            return False
        return True

    def lost(self):
        """How many packets the filter has taken away, of both directions."""
        told = [self.sh(*tc, "-s", "filter", "show", "dev", device, "ingress") for tc, device in self.ends()]
        return sum(int(count) for text in told for count in re.findall(r"Sent \d+ bytes (\d+) pkt", text))

    def mend(self):
        """Loses and delays nothing from here on: questions about thousands of keys want a good link."""
        for tc, device in self.ends():
            for discipline in ("root", "ingress"):
                subprocess.run([*tc, "qdisc", "del", "dev", device, discipline], capture_output=True, timeout=20, check=False)

    def ends(self):
        """How to speak of the link's ends to tc: this one and the one within."""
        return (("tc",), self.link), (("ip", "netns", "exec", self.name, "tc"), self.peer)

    def cut(self, seconds):
        """Nothing passes for so long, and neither end is told."""
        self.sh("ip", "link", "set", self.link, "down")
        time.sleep(seconds)
        self.sh("ip", "link", "set", self.link, "up")

    @staticmethod
    def sh(*words):
        done = subprocess.run(words, capture_output=True, timeout=20, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def close(self):
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, timeout=20, check=False)


def over_a_bad_network(options):
    """A primary here, a replica behind delay, loss and little bandwidth: it catches up, and resumes after it lost the link."""
    source = random.Random(options.seed)
    shape = (source.choice((5, 40, 150)), source.choice((0, 0.5, 3)), source.choice(("2mbit", "20mbit", "100mbit")))
    print(f"delay {shape[0]} ms, loss {shape[1]} %, {shape[2]}")
    kinds = options.kinds.split(",")
    pairs = [(above, below) for above in kinds for below in kinds]
    # Two of another make would show nothing, unless that is what is asked for.
    kinds = source.choice([pair for pair in pairs if not all(map(kit.is_foreign, pair))] or pairs)
    net = None
    try:
        net = Netns(source.randrange(1, 250), *shape)
    except (RuntimeError, OSError) as problem:
        print(f"no network namespace here ({problem})")
    if net is None or not net.narrow:
        print("no delay and loss in this kernel: a proxy delays instead")
    elif not net.shaped:
        print("no netem in this kernel: a filter loses, a bucket narrows, a proxy delays")
    bench = kit.Bench(options, "r", "r")
    try:
        open_to_all = ("--bind", "0.0.0.0", "--protected-mode", "no", "--repl-backlog-size", "20mb", "--repl-timeout", "10")
        primary = bench.node(kinds[0], *open_to_all)
        kit.fill_all(primary, seed=options.seed, keys=20)
        kit.fill_many(primary, 5000)
        kind = kinds[1]
        if net is None:
            replica = bench.node(kind, *open_to_all)
            proxy = bench.keep(Proxy(primary.port))
            proxy.delay, proxy.rate = shape[0] / 1000, int(shape[2][:-4]) * 125_000
            address = ("127.0.0.1", proxy.port)
        else:
            arguments = [*kit.DEBUG, *kit.QUICK, *open_to_all]
            server = bench.server(kind, arguments)
            server.command = ["ip", "netns", "exec", net.name, *server.command]
            replica = NodeElsewhere(server, kind, net.inner)
            bench.nodes.append(replica)
            replica.start()
            address = (net.outer, primary.port)
            if not net.shaped:
                proxy = bench.keep(Proxy(primary.port, host=net.outer))
                proxy.delay, proxy.rate = shape[0] / 1000, 0 if net.narrow else int(shape[2][:-4]) * 125_000
                address = (net.outer, proxy.port)
        print(f"{primary.kind} feeds {replica.kind}")
        replica.must("REPLICAOF", *address)
        with Load(primary, clients=1, rate=500) as load:
            wait_until(replica.link_up, 120, "the first sync")
            for _ in range(3):
                time.sleep(source.choice((1, 3)))
                if net is None or source.random() < 0.4:
                    primary.must("CLIENT", "KILL", "TYPE", "replica")
                else:
                    net.cut(source.choice((0.5, 3, 14)))  # the last one is longer than repl-timeout
            load.stop()
        kit.wait_same_offset(primary, replica, seconds=120)
        lost = ""
        if net is not None:
            lost = f", {net.lost()} packets lost" if net.narrow and not net.shaped else ""
            net.mend()
        kit.equal_digest(primary, replica)
        full, partial, _ = primary.syncs()
        print(f"{full} full and {partial} partial syncs{lost}")
    finally:
        bench.close()
        if net is not None:
            net.close()


class NodeElsewhere(kit.Node):
    """A node in another namespace, asked at its address there."""

    def __init__(self, server, kind, address):
        super().__init__(server, kind)
        server.client = lambda resp=2, timeout=60.0, unix=False: Client((address, server.port), timeout=timeout, resp=resp)

    def start(self):
        self.server.process = subprocess.Popen(self.server.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                               stderr=open(self.server.log_path, "ab"), cwd=self.server.dir, start_new_session=True)

        def answers():
            try:
                with self.server.client() as client:
                    return client.call("PING") == b"PONG"
            except OSError:
                return False
        wait_until(answers, 30, "the node in its namespace")
        return self


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kit.add_peers(parser)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kinds", default="r,s1,s4", help="what nodes are drawn from; v is --peer, which may not read what r writes or the other way round")
    parser.add_argument("--rounds", type=int, default=1, help="fresh nodes, seeds counted up")
    parser.add_argument("--netns", action="store_true")
    parser.add_argument("--flows", action="store_true", help="every Slotwise node with repl-parallel-flows yes")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    options.full = False
    kit.ports_of_environment()
    passed, wrong = 0, (Failure, AssertionError, TimeoutError, RuntimeError, OSError, subprocess.TimeoutExpired)
    for _ in range(options.rounds):
        print(f"seed {options.seed}", flush=True)
        chaos = None
        try:
            if options.netns:
                over_a_bad_network(options)
                passed += 1
            else:
                chaos = Chaos(options)
                print("  " + ", ".join(f"{place}" for place in chaos.places), flush=True)
                points = chaos.run()
                passed += points
                print(f"  {chaos.actions} blows, {chaos.commands} commands, {points} quiet points", flush=True)
        except wrong as problem:
            after = f" after: {'; '.join(chaos.log[-8:])}" if chaos else ""
            print(f"FAILED (seed {options.seed}){after}\n{type(problem).__name__}: {problem}")
            if chaos:
                print(chaos.bench.logs(15))
            print(f"replication-chaos: {passed} passed, 1 failed")
            return 1
        finally:
            if chaos:
                chaos.close()
        options.seed += 1
    print(f"replication-chaos: {passed} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
