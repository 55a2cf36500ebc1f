"""What the replication suites stand on: nodes of either kind, data sets compared, a fake replica, a fake primary, a proxy.

A node is "r" (redis-server), "sN" (Slotwise with N shards) or "v" (a peer of another make, such as Valkey: --peer). A test gets a `Bench` that starts nodes and ends them with
the test; which kinds stand at which end is the run's choice (`--ends s4:r`), so that every test is a sentence about both.
What a fake peer says on the wire is written out here by hand: it shares no code with any server.
"""

import os
import random
import re
import signal
import socket
import threading
import time
from pathlib import Path

import effects
import grammar
import persistence
import support
from persistence import content
from recovery import timeless
from support import ErrorReply, Incomplete, encode, parse, wait_until

QUICK = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
DEBUG = ("--enable-debug-command", "yes", "--enable-protected-configs", "yes")
SYNC_SECONDS_MAX = 25
GETACK = encode("REPLCONF", "GETACK", "*")
PING = encode("ping")
LIBRARY = "#!lua name={name}\nredis.register_function('{name}', function(keys, args) return redis.call('SET', keys[1], args[1]) end)"

TESTS = []


def test(*ends, full=False):
    """Registers a test. `ends` names what it is about: "both" (the default), "primary" or "replica" alone, or "chain".

    `full` keeps it for long runs.
    """
    def register(function):
        function.end = ends[0] if ends else "both"
        function.full = full
        TESTS.append(function)
        return function
    return register


def ports_of_environment():
    """SLOTWISE_TEST_PORTS=LOW-HIGH keeps all servers within a range, where several runs share a machine."""
    named = os.environ.get("SLOTWISE_TEST_PORTS")
    if not named:
        return
    low, high = map(int, named.split("-"))
    state = {"next": low + os.getpid() * 7 % (high - low)}
    lock = threading.Lock()

    def free_port():
        with lock:
            for _ in range(high - low):
                port = state["next"]
                state["next"] = low + (port + 1 - low) % (high - low)
                with socket.socket() as probe:
                    try:
                        probe.bind(("127.0.0.1", port))
                    except OSError:
                        continue
                    return port
        raise RuntimeError(f"no free port between {low} and {high}")
    support.free_port = free_port


def equal(found, expected, what=""):
    if found != expected:
        raise AssertionError(f"{what}: {str(found)[:600]} instead of {str(expected)[:600]}")


def true(condition, what):
    if not condition:
        raise AssertionError(what)


def difference(a, b):
    """Where two values differ first, and how."""
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        if len(a) != len(b):
            more = [one for one in (*a, *b) if (one in a) != (one in b)]
            return f"{len(a)} and {len(b)} parts, in one alone: {str(more)[:500]}"
        for one, other in zip(a, b):
            if one != other:
                return difference(one, other)
    return f"{str(a)[:300]} and {str(b)[:300]}"


def starts(found, prefix, what=""):
    if not (isinstance(found, bytes) and found.startswith(prefix)):
        raise AssertionError(f"{what}: {str(found)[:300]} instead of {prefix}...")


def add_peers(parser):
    """The options that say what nodes are made of."""
    parser.add_argument("--slotwise", default=support.default_slotwise())
    parser.add_argument("--redis", default="redis-server")
    parser.add_argument("--peer", default="valkey-server", help="what v stands for")
    parser.add_argument("--peer-options", default="", help="more of its configuration, as on its command line")


def is_foreign(kind):
    """Whether a node of this kind is no Slotwise."""
    return kind in ("r", "v")


# --- nodes ---------------------------------------------------------------------------------------------------------------

class Node:
    """A server that may be ended and started again in its directory, with a client for questions."""

    def __init__(self, server, kind):
        self.server, self.kind = server, kind
        self.asker = None

    @property
    def port(self):
        return self.server.port

    @property
    def pid(self):
        return self.server.pid

    @property
    def is_redis(self):
        return is_foreign(self.kind)

    def start(self):
        self.server.start()
        return self

    def client(self, **options):
        return self.server.client(**options)

    def call(self, *args):
        """Asks over a connection of its own, which is made again when it was closed."""
        for attempt in range(2):
            if self.asker is None:
                self.asker = self.server.client()
            try:
                return self.asker.call(*args)
            except (ConnectionError, OSError):
                self.asker = None
                if attempt:
                    raise

    def must(self, *args):
        value = self.call(*args)
        if isinstance(value, ErrorReply):
            raise AssertionError(f"{' '.join(map(str, args))[:200]}: {value.decode('utf-8', 'replace')}")
        return value

    def info(self, section="replication"):
        """A section of INFO as a dictionary of text."""
        text = self.must("INFO", section).decode("utf-8", "replace")
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def stat(self, name):
        return int(self.info("stats")[name])

    def syncs(self):
        """(full, partial accepted, partial refused) as the primary side counts."""
        stats = self.info("stats")
        return tuple(int(stats[name]) for name in ("sync_full", "sync_partial_ok", "sync_partial_err"))

    def config(self, **values):
        for name, value in values.items():
            self.must("CONFIG", "SET", name.replace("_", "-"), value)

    def log(self):
        return Path(self.server.log_path).read_text(errors="replace")

    def logged(self, text, seconds=10):
        """Waits for a text in the log; Valkey says "primary" where Redis says "master"."""
        texts = {text, text.replace("MASTER", "PRIMARY").replace("master", "primary")} if self.kind == "v" else {text}
        wait_until(lambda: any(one in self.log() for one in texts), seconds, f"{text!r} in the log of {self.kind}")

    def end(self, number=signal.SIGTERM, seconds=20):
        """Ends the process and keeps the directory; `start()` begins again there."""
        self.server.process.send_signal(number)
        status = self.server.process.wait(seconds)
        self.forget()
        return status

    def forget(self):
        if self.asker is not None:
            self.asker.close()
            self.asker = None

    def stop_running(self):
        """SIGSTOP; returns when every thread stands still."""
        self.server.process.send_signal(signal.SIGSTOP)

        def state(task):
            return Path(f"/proc/{self.pid}/task/{task}/stat").read_text().rsplit(")", 1)[1].split()[0]
        wait_until(lambda: all(state(task) == "T" for task in os.listdir(f"/proc/{self.pid}/task")), 5, "the threads to stop")

    def go_on(self):
        self.server.process.send_signal(signal.SIGCONT)

    def alive(self):
        return self.server.alive()

    def follow(self, other):
        """REPLICAOF another node."""
        return self.must("REPLICAOF", "127.0.0.1", other.port)

    def link_up(self):
        found = self.info()
        return found["role"] == "slave" and found.get("master_link_status") == "up"

    def online_at(self, other):
        """Whether the other one, a primary, counts this replica as online."""
        return any(re.fullmatch(r"slave\d+", name) and "state=online" in line for name, line in other.info().items()
                   if f"port={self.port}," in line or "ip=10." in line)

    def wait_up(self, seconds=SYNC_SECONDS_MAX, what="the link to be up"):
        wait_until(self.link_up, seconds, f"{what} ({self.kind}, port {self.port})")


class Bench:
    """Starts the nodes of one test."""

    def __init__(self, options, primary, replica):
        self.options, self.primary_kind, self.replica_kind = options, primary, replica
        self.nodes, self.others = [], []

    def server(self, kind, arguments):
        """A server of a kind, not yet started."""
        if kind == "r":
            return support.redis(self.options.redis, extra=arguments)
        if kind == "v":
            return support.redis(self.options.peer, extra=[*arguments, *self.options.peer_options.split()], name="peer")
        if getattr(self.options, "flows", False):
            arguments = ["--repl-parallel-flows", "yes", *arguments]
        return support.slotwise(self.options.slotwise, shards=int(kind[1:]), extra=arguments)

    def node(self, kind, *extra, quick=True):
        node = Node(self.server(kind, [*DEBUG, *(QUICK if quick else ()), *extra]), kind)
        self.nodes.append(node)
        return node.start()

    def primary(self, *extra, **options):
        return self.node(self.primary_kind, *extra, **options)

    def replica(self, of=None, *extra, **options):
        """A replica; attached and up when `of` is given."""
        node = self.node(self.replica_kind, *extra, **options)
        if of is not None:
            node.follow(of)
            node.wait_up()
            wait_until(lambda: node.online_at(of), 15, f"{of.kind} to see its replica online")
        return node

    def pair(self, *extra):
        primary = self.primary(*extra)
        return primary, self.replica(primary)

    def keep(self, thing):
        """Closes something (a fake, a proxy) with the test."""
        self.others.append(thing)
        return thing

    def close(self):
        for thing in self.others:
            try:
                thing.close()
            except OSError:
                pass
        for node in self.nodes:
            node.forget()
            if node.server.alive():
                node.server.process.kill()
            node.server.stop()

    def logs(self, lines=5):
        lines = int(os.environ.get("SLOTWISE_TEST_LOG", lines))
        return "\n".join(f"--- {node.kind} {node.port}\n{node.server.log_tail(lines)}" for node in self.nodes)


def caught_up(primary, replica):
    """Whether the replica has applied all of the primary's stream."""
    ours, theirs = primary.info(), replica.info()
    if theirs["role"] != "slave" or theirs.get("master_link_status") != "up":
        return False
    return theirs["master_repl_offset"] == ours["master_repl_offset"] == primary.info()["master_repl_offset"]


def wait_same_offset(primary, *replicas, seconds=SYNC_SECONDS_MAX):
    for replica in replicas:
        wait_until(lambda: caught_up(primary, replica), seconds,
                   f"{replica.kind} {replica.port} to reach the offset of {primary.kind} {primary.port}")


# --- contents ------------------------------------------------------------------------------------------------------------

def lenient(value):
    """Without what a stream of commands of 7.0 does not carry: how many entries a group has read, and what reading one's
    own pending entries again does to their times and counts."""
    if isinstance(value, (list, tuple)):
        if len(value) == 2 and value[0] == b"pending" and isinstance(value[1], list):
            return [b"pending", [[word for word in entry if not isinstance(word, int)] for entry in value[1]]]
        kept = [one for one in value if not (isinstance(one, list) and len(one) == 2 and one[0] in (b"entries-read", b"lag"))]
        return [lenient(one) for one in kept]
    if isinstance(value, bytes) and value[:4] == b"HYLL":
        return value[:8] + value[16:]  # without the count that PFCOUNT leaves there, on a replica for itself alone
    return value


def picture(node, strict=False):
    """All keys of all databases with what they hold, their expiry and encoding."""
    found = {}
    with node.client(timeout=60) as client:
        for db in range(16):
            client.must("SELECT", db)
            for key in client.must("KEYS", "*"):
                value = timeless(content(client, key))
                found[db, key] = (value if strict else lenient(value), client.must("OBJECT", "ENCODING", key))
    return found


ENCODING_TWINS = ({b"listpack", b"hashtable"}, {b"listpack", b"quicklist"}, {b"intset", b"hashtable"},
                  {b"intset", b"listpack"}, {b"listpack", b"skiplist"})
STRING_FORMS = {b"raw", b"embstr", b"int"}  # what was appended to is raw until it is loaded


def same_data(a, b, encodings=False, strict=False):
    """Two nodes hold the same: keys, content, expiry; and with `encodings` the same forms, but for those newer than 7.0."""
    left, right = picture(a, strict), picture(b, strict)
    lost, added = sorted(set(left) - set(right)), sorted(set(right) - set(left))
    held = [str((left if name in left else right)[name])[:200] for name in (*lost[:2], *added[:2])]
    true(not lost and not added, f"keys missing on {b.kind} {b.port}: {lost[:5]} ({len(lost)}), there in addition: {added[:5]} ({len(added)});"
         f" they hold {held}")
    for name, (value, form) in left.items():
        if right[name][0] != value:
            raise AssertionError(f"{name} ({value[0].decode()}) on {a.kind} and {b.kind}: {difference(value, right[name][0])}")
        if encodings and form != right[name][1]:
            pair = {form, right[name][1]}
            true(pair <= STRING_FORMS or a.kind != b.kind and pair in ENCODING_TWINS,
                 f"{name}: encoding {form} on {a.kind}, {right[name][1]} on {b.kind}")
    functions = [sorted(library[1] for library in node.must("FUNCTION", "LIST")) for node in (a, b)]
    equal(functions[1], functions[0], "libraries of functions")
    return len(left)


def digest(node):
    return node.must("DEBUG", "DIGEST")


def equal_digest(a, b):
    """The same by DEBUG DIGEST; between the kinds key by key, 7.0 writing scores otherwise than 7.2, and streams of either make
    not telling the same of what groups have read."""
    if a.is_redis == b.is_redis and (a.kind == b.kind or not a.is_redis):
        equal(digest(b), digest(a), f"DEBUG DIGEST of {b.kind} {b.port} and {a.kind} {a.port}")
    else:
        same_data(a, b)


def wait_same(primary, *replicas, **options):
    """Waits for equal offsets, then compares the data."""
    wait_same_offset(primary, *replicas)
    return [same_data(primary, replica, **options) for replica in replicas][0]


def fill_all(node, seed=1, keys=40, dbs=(0, 3, 15), streams=True):
    """Keys of every type and encoding, with expiries, in several databases, and a library."""
    with node.client(timeout=60) as client:
        values = persistence.Values(seed)
        names = persistence.fill(client, values, keys, streams, dbs)
        client.must("SELECT", dbs[-1])
        client.must("SET", b"\x00\xff\r\nbinary", b"\x00\r\n\xff")
        client.must("SET", "", "empty key")
        client.must("SET", "empty value", "")
        client.must("HSET", "hash", "", "")
        client.must("SET", "expires", "x", "PXAT", int(time.time() * 1000) + 10_000_000)
        client.must("PFADD", "hll", *range(100))
        client.must("GEOADD", "geo", "13.361389", "38.115556", "Palermo")
        client.must("SETBIT", "bits", 1000, 1)
        client.must("FUNCTION", "LOAD", "REPLACE", LIBRARY.format(name="lib%d" % seed))
    return names


def fill_many(node, keys, size=100, prefix="many"):
    """Many plain keys, quickly."""
    value = b"x" * size
    support.load_pipelined(("127.0.0.1", node.port), (encode("SET", f"{prefix}:{n:09d}", value) for n in range(keys)), 5)


class Writers:
    """Threads with a client each that write until told to stop; what they write is `write` of a subclass."""

    def __init__(self, node, numbers, *how):
        self.node, self.stopped, self.problems = node, threading.Event(), []
        self.threads = [threading.Thread(target=self.run, args=(number, *how)) for number in numbers]
        for thread in self.threads:
            thread.start()

    def run(self, number, *how):
        try:
            with self.node.client() as client:
                self.write(client, number, random.Random(number), *how)
        except (OSError, ConnectionError) as problem:
            if not self.stopped.is_set():
                self.problems.append(problem)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(30)
        true(not self.problems, f"a writer was stopped by {self.problems}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(30)


class Load(Writers):
    """Counters, lists, transactions, several databases."""

    def __init__(self, node, clients=2, rate=2000, dbs=(0, 9)):
        self.written = 0
        super().__init__(node, range(clients), rate, dbs)

    def write(self, client, number, draw, rate, dbs):
        n = 0
        while not self.stopped.is_set():
            batch = [("SELECT", draw.choice(dbs))]
            for _ in range(20):
                n += 1
                batch.append(draw.choice((
                    ("INCR", f"count:{number}"), ("RPUSH", f"list:{number}:{n // 500}", n), ("SET", f"key:{draw.randrange(3000)}", n),
                    ("ZADD", f"zset:{number}", n % 700, n % 300), ("HINCRBY", f"hash:{number}", n % 100, 1),
                    ("DEL", f"key:{draw.randrange(3000)}"), ("MSET", f"a:{n % 50}", n, f"b:{n % 50}", n),
                    ("SADD", f"set:{number}", n % 999), ("SPOP", f"set:{number}", 3), ("XADD", f"stream:{number}", "MAXLEN", "~", 500, "*", "n", n),
                )))
            if draw.random() < 0.3:
                batch = [("MULTI",), *batch, ("EXEC",)]
            client.pipeline(batch)
            self.written += 20
            time.sleep(20 / rate)


class Words:
    """Random commands of every kind, from the grammar that differential.py compares by."""

    def __init__(self, source):
        self.source, self.draw = source, grammar.Draw(source)
        known = [(name, arguments, weight) for name, arguments, _, weight in grammar.COMMANDS
                 if name.split()[0].upper() not in effects.SKIPPED]
        self.table = [one[:2] for one in known] + effects.MORE
        self.weights = [one[2] for one in known] + effects.MORE_WEIGHTS

    def batch(self):
        """Some commands for one connection, now and then a transaction."""
        made = []
        for name, arguments in self.source.choices(self.table, self.weights, k=self.source.randint(1, 20)):
            words = arguments(self.draw)
            if name == "BITFIELD" and any(isinstance(word, bytes) and word.upper() == b"FAIL" for word in words):
                continue  # Redis may create an empty key then, and tells nobody
            said = [word.upper() if isinstance(word, bytes) else word for word in words]
            if name == "ZRANGESTORE" and b"LIMIT" in said[:-1] and said[said.index(b"LIMIT") + 1].startswith(b"-"):
                continue  # nothing in Redis, and something in Valkey 8.0
            made.append((name, *words))
        if self.source.random() < 0.15:
            made = [("MULTI",), *[one for one in made if one[0] not in ("MULTI", "EXEC", "DISCARD", "WATCH")], ("EXEC",)]
        return made


def random_load(node, seed, commands):
    """Random commands over three connections; returns all of them."""
    words, sent = Words(random.Random(seed)), []
    clients = [node.client() for _ in range(3)]
    while len(sent) < commands:
        batch = words.batch()
        client = words.source.choice(clients)
        client.pipeline(batch)
        sent += batch
    for client in clients:
        client.call("DISCARD")
        client.close()
    return sent


# --- a replica made by hand ----------------------------------------------------------------------------------------------

class Wire:
    """A socket with a buffer: lines, counted bytes, requests."""

    def __init__(self, sock):
        self.socket = sock
        self.buffer = bytearray()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @staticmethod
    def to(port, timeout=15):
        return Wire(socket.create_connection(("127.0.0.1", port), timeout=timeout))

    def send(self, *args):
        self.socket.sendall(encode(*args))

    def raw(self, data):
        self.socket.sendall(data)

    def more(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the other side closed")
        self.buffer += data

    def line(self):
        """A line without its end; bare newlines are lines too."""
        while b"\n" not in self.buffer:
            self.more()
        line, _, _ = self.buffer.partition(b"\n")
        del self.buffer[:len(line) + 1]
        return bytes(line).rstrip(b"\r")

    def exactly(self, count):
        while len(self.buffer) < count:
            self.more()
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def ask(self, *args):
        self.send(*args)
        return self.line()

    def silent(self, seconds):
        """Whether nothing comes for so long."""
        if self.buffer:
            return False
        before = self.socket.gettimeout()
        self.socket.settimeout(seconds)
        try:
            self.more()
            return False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(before)

    def closed(self, seconds=10):
        """Whether the other side closes within so long; what it says before is thrown away."""
        limit = time.monotonic() + seconds
        try:
            while (left := limit - time.monotonic()) > 0:
                self.socket.settimeout(left)
                self.more()
        except (ConnectionError, TimeoutError) as end:
            return isinstance(end, ConnectionError)
        return False

    def close(self):
        self.socket.close()


class FakeReplica(Wire):
    """Speaks the replica's side of the handshake, takes the snapshot and cuts the stream into commands."""

    def __init__(self, node, capa=("psync2",), port=0, timeout=15, auth=None):
        super().__init__(socket.create_connection(("127.0.0.1", node.port), timeout=timeout))
        self.node, self.capa, self.offset, self.replid = node, capa, 0, None
        self.newlines = 0
        self.rdb = None
        if auth:
            equal(self.ask("AUTH", *auth), b"+OK", "AUTH")
        equal(self.ask("PING"), b"+PONG", "PING")
        if port:
            equal(self.ask("REPLCONF", "listening-port", port), b"+OK", "REPLCONF listening-port")
        if capa:
            equal(self.ask("REPLCONF", *[word for one in capa for word in ("capa", one)]), b"+OK", "REPLCONF capa")

    def answer(self):
        """The next line that is no keepalive."""
        while not (line := self.line()):
            self.newlines += 1
        return line

    def psync(self, replid="?", offset=-1):
        self.send("PSYNC", replid, offset)
        return self.answer()

    def sync(self):
        """A full sync; afterwards the stream follows."""
        reply = self.psync()
        starts(reply, b"+FULLRESYNC ", "PSYNC ? -1")
        _, replid, offset = reply.split()
        self.replid, self.offset = replid.decode(), int(offset)
        self.take_snapshot()
        return self

    def take_snapshot(self):
        head = self.answer()
        if head.startswith(b"$EOF:"):
            mark = head[5:]
            equal(len(mark), 40, "the mark's length")
            while mark not in self.buffer:
                self.more()
            at = self.buffer.index(mark)
            self.rdb = self.exactly(at)
            self.exactly(40)
            self.ack()
        else:
            true(re.fullmatch(rb"\$\d+", head), f"{head} instead of the snapshot's length")
            self.rdb = self.exactly(int(head[1:]))
        starts(self.rdb, b"REDIS00", "the snapshot")

    def ack(self, offset=None):
        self.send("REPLCONF", "ACK", self.offset if offset is None else offset)

    def next(self, acks=True):
        """The next command of the stream; its bytes are counted. Acknowledges while it waits."""
        limit = time.monotonic() + (self.socket.gettimeout() or 15)
        before = self.socket.gettimeout()
        while True:
            if self.buffer:
                try:
                    node, end = parse(self.buffer, 0)
                except Incomplete:
                    pass
                else:
                    del self.buffer[:end]
                    self.offset += end
                    return [bytes(word) for word in node.value()]
            self.socket.settimeout(0.25)
            try:
                self.more()
            except TimeoutError:
                if time.monotonic() > limit:
                    raise TimeoutError("no further command in the stream") from None
                if acks:
                    self.ack()
            finally:
                self.socket.settimeout(before)

    def until(self, *marker, acks=True):
        """The commands up to one that is `marker`, without pings; the marker itself is left out."""
        marker = [str(word).encode() if not isinstance(word, bytes) else word for word in marker]
        found = []
        while (one := self.next(acks)) != marker:
            if one[0].lower() not in (b"ping", b"replconf"):
                found.append(one)
        return found

    def info_line(self):
        """How the primary reports this connection in INFO replication, if it does."""
        address, port = self.socket.getsockname()
        for name, line in self.node.info().items():
            if re.fullmatch(r"slave\d+", name):
                yield dict(part.split("=", 1) for part in line.split(","))


# --- a primary made by hand ----------------------------------------------------------------------------------------------

def snapshot(keys=(), db=0, stream_db=0, functions=(), aux=(), checksum=None):
    """An RDB file, version 10, of short strings: {name: value} pairs; the checksum is switched off unless given."""
    def text(data):
        data = data if isinstance(data, bytes) else str(data).encode()
        if len(data) < 64:
            return bytes([len(data)]) + data
        if len(data) < 16384:
            return bytes([0x40 | len(data) >> 8, len(data) & 255]) + data
        return b"\x80" + len(data).to_bytes(4, "big") + data
    body = b"REDIS0010"
    for name, value in (("redis-ver", "7.0.15"), ("repl-stream-db", str(stream_db)), *aux):
        body += b"\xfa" + text(name) + text(value)
    for code in functions:
        body += b"\xf5" + text(code)
    keys = list(keys)
    if keys:
        body += b"\xfe" + bytes([db]) + b"\xfb" + b"\x80" + len(keys).to_bytes(4, "big") + b"\x00"
        body += b"".join(b"\x00" + text(name) + text(value) for name, value in keys)
    return body + b"\xff" + (checksum or bytes(8))


class FakePrimary:
    """Listens, and runs `behave(link)` in a thread for each replica that connects; `links` has them all."""

    def __init__(self, behave):
        self.listener = socket.create_server(("127.0.0.1", support.free_port()))
        self.port = self.listener.getsockname()[1]
        self.behave, self.links, self.problems, self.open = behave, [], [], True
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while self.open:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.settimeout(30)
            link = Link(sock, self, len(self.links))
            self.links.append(link)
            threading.Thread(target=self.serve, args=(link,), daemon=True).start()

    def serve(self, link):
        try:
            self.behave(link)
        except (OSError, ConnectionError):
            pass
        except Exception as problem:  # noqa: BLE001 (a thread has nobody to raise to)
            self.problems.append(problem)
        finally:
            link.done.set()
            if not link.stays:
                link.close()

    def wait_link(self, number, seconds=15):
        """The link of that number, once the replica has made it."""
        wait_until(lambda: len(self.links) > number, seconds, f"connection {number} of the replica")
        return self.links[number]

    def close(self):
        self.open = False
        self.listener.close()
        for link in self.links:
            link.close()


class Link(Wire):
    """One connection of a replica to a fake primary."""

    def __init__(self, sock, owner, number):
        super().__init__(sock)
        self.owner, self.number = owner, number
        self.requests, self.bytes_in, self.acks = [], b"", []
        self.psync, self.done, self.stays = None, threading.Event(), False
        self.inline_sync = False

    def request(self):
        """The next command of the replica, array or inline."""
        while True:
            while not self.buffer:
                self.more()
            if self.buffer[:1] != b"*":
                line = self.line()
                self.bytes_in += line + b"\r\n"
                if line:
                    return line.split()
                self.requests.append([b""])
                continue
            try:
                node, end = parse(self.buffer, 0)
            except Incomplete:
                self.more()
                continue
            self.bytes_in += bytes(self.buffer[:end])
            del self.buffer[:end]
            return [bytes(word) for word in node.value()]

    def handshake(self, answers=()):
        """Answers up to PSYNC, which is left open; `answers` are other replies, by the first word."""
        answers = dict(answers)
        while True:
            words = self.request()
            self.requests.append(words)
            name = words[0].upper()
            if name == b"PSYNC":
                self.psync = words
                return words
            if name == b"SYNC":
                self.inline_sync = True
                return words
            self.raw(answers.get(name, b"+PONG\r\n" if name == b"PING" else b"+OK\r\n"))

    def full(self, replid, offset, rdb, diskless=False):
        self.raw(b"+FULLRESYNC %s %d\r\n" % (replid.encode(), offset))
        self.transfer(rdb, diskless)

    def transfer(self, rdb, diskless=False):
        if diskless:
            mark = b"m" * 40
            self.raw(b"$EOF:" + mark + b"\r\n" + rdb + mark)
        else:
            self.raw(b"$%d\r\n" % len(rdb) + rdb)

    def wait_ack(self, offset, seconds=10):
        """Reads acknowledgements until one is for `offset` or more; returns it."""
        limit = time.monotonic() + seconds
        self.socket.settimeout(seconds)
        while time.monotonic() < limit:
            words = self.request()
            self.requests.append(words)
            if words[:2] == [b"REPLCONF", b"ACK"]:
                self.acks.append(int(words[2]))
                if self.acks[-1] >= offset:
                    return self.acks[-1]
        raise TimeoutError(f"no acknowledgement of {offset}, only {self.acks[-5:]}")


# --- a proxy that cuts -----------------------------------------------------------------------------------------------------

class Proxy:
    """A TCP proxy in front of a node: links can be cut, held back, or refused."""

    def __init__(self, port, listen=None, host="127.0.0.1"):
        self.target = port
        self.listener = socket.create_server((host, listen or support.free_port()))
        self.port = self.listener.getsockname()[1]
        self.pairs, self.open, self.refusing = [], True, False
        self.flowing = threading.Event()
        self.flowing.set()
        self.bytes_down = 0
        self.delay, self.rate = 0.0, 0  # seconds that bytes take, bytes a second
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while self.open:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            if self.refusing:
                sock.close()
                continue
            try:
                other = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                sock.close()
                continue
            for one in (sock, other):
                one.settimeout(None)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pairs.append((sock, other))
            threading.Thread(target=self.pump, args=(sock, other, False), daemon=True).start()
            threading.Thread(target=self.pump, args=(other, sock, True), daemon=True).start()

    def pump(self, source, target, down):
        try:
            while data := source.recv(1 << 16):
                self.flowing.wait()
                if down:
                    self.bytes_down += len(data)
                if self.rate or self.delay:
                    time.sleep(self.delay + (len(data) / self.rate if self.rate else 0))
                target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        """Ends all connections that there are."""
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for one in pair:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                one.close()

    def hold(self):
        self.flowing.clear()

    def release(self):
        self.flowing.set()

    def close(self):
        self.open = False
        self.listener.close()
        self.flowing.set()
        self.cut()

