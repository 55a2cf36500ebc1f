"""Start a server, speak to it, stop it: what every client-side suite and the bench stand on.

Only the standard library is used. The RESP client is our own, because the suites compare exact bytes and no library
hands those over. Invariants: a server is ended by its process id and never by name, it listens on loopback only, its
files live in a temporary directory that goes with it, and every wait has a bound.
"""

import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import weakref
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 60.0
SERVERS = weakref.WeakSet()


def end_all(*_):
    """A suite that is ended from outside takes its servers with it."""
    for server in list(SERVERS):
        if server.alive():
            server.process.kill()
    os._exit(128 + signal.SIGTERM)


if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGTERM, end_all)


def default_slotwise():
    """Path of the server under test: $SLOTWISE, else the quick build, else the release build."""
    named = os.environ.get("SLOTWISE")
    if named:
        return named
    quick = ROOT / "target" / "quick" / "slotwise"
    return str(quick if quick.exists() else ROOT / "target" / "release" / "slotwise")


def scratch_root():
    """The directory under which all temporary directories are made: target/tmp of this checkout."""
    path = ROOT / "target" / "tmp"
    path.mkdir(parents=True, exist_ok=True)
    return path


def free_port():
    """A loopback port that was free a moment ago, below the range the kernel gives to outgoing connections.

    A port from that range can be taken by any client socket between our look and the server's bind.
    """
    lowest_ephemeral = 32768
    try:
        lowest_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        pass
    if lowest_ephemeral < 12000:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]
    for _ in range(1000):
        port = 10000 + int.from_bytes(os.urandom(4), "big") % (lowest_ephemeral - 11000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free loopback port found in 1000 tries")


class Server:
    """One server process. `command` may hold {port}, {socket} and {dir}; use `slotwise()` or `redis()` to make one."""

    def __init__(self, name, command, cpus=None, env=None):
        self.name = name
        self.port = free_port()
        self.dir = tempfile.mkdtemp(prefix=f"{name}-", dir=scratch_root())
        # A socket path is at most 107 bytes, and a checkout may lie deep: so it stands in the system's own place.
        self.socket_dir = tempfile.mkdtemp(prefix="sw-")  # removed by stop()
        self.socket_path = os.path.join(self.socket_dir, "s")
        places = {"port": str(self.port), "socket": self.socket_path, "dir": self.dir}
        self.command = [fill(word, places) for word in command]
        self.cpus = cpus
        self.env = env
        self.log_path = os.path.join(self.dir, "server.log")
        self.process = None
        SERVERS.add(self)

    def start(self):
        """Starts the process and waits until it answers PING; raises RuntimeError with the log's end if it does not."""
        environment = dict(os.environ, **(self.env or {}))

        def before_exec():
            if self.cpus is not None:
                os.sched_setaffinity(0, self.cpus)
            raise_file_limit()

        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir,
                env=environment, preexec_fn=before_exec, start_new_session=True,
            )
        limit = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < limit:
            if self.process.poll() is not None:
                break
            try:
                with Client(("127.0.0.1", self.port), timeout=2.0) as client:
                    if client.call("PING") == b"PONG":
                        return self
            except (OSError, ConnectionError):
                pass
            time.sleep(0.02)
        tail = self.log_tail()
        status = self.process.poll()
        self.stop()
        raise RuntimeError(f"{self.name} did not start (exit status {status}): {' '.join(self.command)}\n{tail}")

    def log_tail(self, lines=30):
        """The last lines the server wrote."""
        try:
            with open(self.log_path, "rb") as log:
                return b"\n".join(log.read().splitlines()[-lines:]).decode("utf-8", "replace")
        except OSError:
            return ""

    def alive(self):
        """Whether the process still runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self):
        return self.process.pid

    def client(self, resp=2, timeout=30.0, unix=False):
        """A new connection to this server."""
        address = self.socket_path if unix else ("127.0.0.1", self.port)
        return Client(address, timeout=timeout, resp=resp)

    def stop(self):
        """Ends the process (SIGTERM, then SIGKILL) and removes its directory. Returns its exit status."""
        status = None
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(STOP_SECONDS_MAX)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait(STOP_SECONDS_MAX)
            status = self.process.returncode
        shutil.rmtree(self.dir, ignore_errors=True)
        shutil.rmtree(self.socket_dir, ignore_errors=True)
        return status

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def fill(word, places):
    """Replaces {port}, {socket} and {dir}; other braces stay as they are."""
    for name, value in places.items():
        word = word.replace("{" + name + "}", value)
    return word


COMMON_ARGUMENTS = [
    "--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--dir", "{dir}", "--unixsocket", "{socket}",
]


def slotwise(path=None, shards=1, extra=(), cpus=None, name="slotwise"):
    """A Slotwise server, not yet started."""
    binary = path or default_slotwise()
    binary = os.path.abspath(binary) if os.sep in binary else binary
    shard_arguments = [] if is_redis(binary) else ["--shards", str(shards)]
    return Server(name, [binary, *COMMON_ARGUMENTS, *shard_arguments, *extra], cpus=cpus)


def redis(path="redis-server", extra=(), cpus=None, name="redis"):
    """A redis-server, not yet started: the reference."""
    return Server(name, [path, *COMMON_ARGUMENTS, *extra], cpus=cpus)


def is_redis(binary):
    """Whether the path names redis-server itself, so that every suite can be proved against the reference."""
    return os.path.basename(binary).startswith("redis-server")


def raise_file_limit():
    """Lifts the soft limit of open files to the hard one: thousands of connections are part of the work."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 65536
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, 65536), hard))


def readable(client, seconds=0.0):
    """Whether something comes for a client within so long."""
    return bool(select.select([client.socket], [], [], seconds)[0])


def wait_until(condition, seconds, what):
    """Polls `condition` until it is true; raises TimeoutError naming `what` after `seconds`."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise TimeoutError(f"after {seconds} s still waiting for {what}")


class ErrorReply(bytes):
    """An error a server sent, without the leading minus."""


class Node(tuple):
    """One parsed reply: (type byte, payload). Aggregates hold a tuple of Nodes; types make `:1` and `$1` differ."""

    __slots__ = ()

    @property
    def kind(self):
        return self[0]

    @property
    def payload(self):
        return self[1]

    def value(self):
        """The reply as plain Python: bytes, int, float, bool, None, list, or dict for a map."""
        kind, payload = self
        if kind in b"*~>":
            return None if payload is None else [child.value() for child in payload]
        if kind in b"%":
            items = [child.value() for child in payload]
            return {freeze(items[i]): items[i + 1] for i in range(0, len(items), 2)}
        if kind in b":(":
            return int(payload)
        if kind in b",":
            return float(payload)
        if kind in b"#":
            return payload == b"t"
        if kind in b"_":
            return None
        if kind in b"-!":
            return ErrorReply(payload)
        if kind in b"=":
            return payload[4:]
        return payload


def freeze(value):
    """Makes a parsed value usable as a dict key."""
    if isinstance(value, list):
        return tuple(freeze(item) for item in value)
    return value


class ProtocolError(Exception):
    """The server sent bytes that are not RESP."""


class Incomplete(Exception):
    """More bytes are needed."""


AGGREGATES = b"*~>%|"


def parse(buffer, start):
    """Parses one reply at `start`: (Node, end). Raises Incomplete or ProtocolError. Attributes are skipped."""
    end_of_line = buffer.find(b"\r\n", start)
    if end_of_line < 0:
        raise Incomplete
    kind = bytes(buffer[start:start + 1])
    line = bytes(buffer[start + 1:end_of_line])
    after = end_of_line + 2
    if kind in (b"+", b"-", b":", b",", b"#", b"(", b"_"):
        return Node((kind, line)), after
    if kind in (b"$", b"=", b"!"):
        size = int(line)
        if size == -1:
            return Node((kind, None)), after
        if len(buffer) < after + size + 2:
            raise Incomplete
        if buffer[after + size:after + size + 2] != b"\r\n":
            raise ProtocolError(f"bulk of {size} bytes does not end in CRLF")
        return Node((kind, bytes(buffer[after:after + size]))), after + size + 2
    if kind and kind in AGGREGATES:
        count = int(line)
        if count == -1:
            return Node((kind, None)), after
        children = []
        for _ in range(count * 2 if kind in b"%|" else count):
            child, after = parse(buffer, after)
            children.append(child)
        if kind == b"|":
            return parse(buffer, after)
        return Node((kind, tuple(children))), after
    raise ProtocolError(f"unknown reply type {kind!r} before {bytes(buffer[start:start + 60])!r}")


def encode(*args):
    """One request as a RESP array of bulks. Text becomes UTF-8, numbers their decimal form."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        if isinstance(arg, str):
            arg = arg.encode()
        elif not isinstance(arg, (bytes, bytearray)):
            arg = str(arg).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
    return b"".join(parts)


class Client:
    """A blocking connection that keeps the exact bytes of each reply."""

    def __init__(self, address, timeout=30.0, resp=2):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.resp = 2
        if resp == 3:
            answer = self.call("HELLO", "3")
            if isinstance(answer, ErrorReply):
                raise ConnectionError(f"HELLO 3 refused: {answer!r}")
            self.resp = 3

    def send_raw(self, data):
        self.socket.sendall(data)

    def send(self, *args):
        self.socket.sendall(encode(*args))

    def read(self):
        """The next reply: (Node, exact bytes). Raises ConnectionError at end of stream, TimeoutError when it is late."""
        while True:
            if self.buffer:
                try:
                    node, end = parse(self.buffer, 0)
                except Incomplete:
                    pass
                else:
                    raw = bytes(self.buffer[:end])
                    del self.buffer[:end]
                    return node, raw
            data = self.socket.recv(1 << 18)
            if not data:
                raise ConnectionError("the server closed the connection")
            self.buffer += data

    def call(self, *args):
        """Sends one command and returns its reply as plain Python; an error comes back as an ErrorReply value."""
        self.send(*args)
        return self.read()[0].value()

    def must(self, *args):
        """Like call, but an error reply raises."""
        value = self.call(*args)
        if isinstance(value, ErrorReply):
            raise RuntimeError(f"{args[0]} failed: {value.decode('utf-8', 'replace')}")
        return value

    def pipeline(self, commands):
        """Sends many commands at once and returns their replies as plain Python."""
        self.socket.sendall(b"".join(encode(*command) for command in commands))
        return [self.read()[0].value() for _ in commands]

    def transaction(self, commands):
        """MULTI, the commands, EXEC, in one write; returns EXEC's reply (None when a watched key changed)."""
        return self.pipeline([("MULTI",), *commands, ("EXEC",)])[-1]

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def load_pipelined(address, requests, reply_bytes, batch=4000):
    """Writes an iterable of encoded requests whose replies all have `reply_bytes` bytes; returns how many were sent.

    Replies are only counted, never parsed, which makes this quick enough to fill a server with millions of keys.
    """
    with Client(address, timeout=120.0) as client:
        sent = 0
        unread = 0
        chunk = []

        def flush():
            nonlocal sent, unread, chunk
            client.send_raw(b"".join(chunk))
            drain(client, unread)  # one batch stays in flight, so that neither side waits for the other
            unread = len(chunk) * reply_bytes
            sent += len(chunk)
            chunk = []

        for request in requests:
            chunk.append(request)
            if len(chunk) == batch:
                flush()
        flush()
        drain(client, unread)
        return sent


def drain(client, count):
    """Reads exactly `count` reply bytes; an error reply in front raises."""
    left = count
    while left > 0:
        data = client.socket.recv(min(left, 1 << 20))
        if not data:
            raise ConnectionError("the server closed the connection while it was loaded")
        if data[:1] == b"-":
            raise RuntimeError(f"error while loading: {data[:200]!r}")
        left -= len(data)
