"""The same random commands to the server under test and to redis-server, replies compared byte by byte.

usage: differential.py [--seconds N] [--seed N] [--shards N] [--slotwise PATH] [--extra "--directive value"]

Rounds of a few hundred steps, each on empty databases, in RESP2 or RESP3, with encoding thresholds small or as they
are by default. A step is a pipeline on one of two connections (so WATCH and MULTI meet writes from outside), or one
of the special checks for commands that answer at random. Only one step is under way at a time, hence both servers see
the same order. At the end of a round all keys are compared: type, encoding, time to live, content. A mismatch is
replayed and shortened (prefix, then delta debugging), printed as a history, and the exit status is 1.

What compares by more than bytes is stated in grammar.py; differences between 7.0 and 7.2 in KNOWN_DIFFERENCES.
"""

import argparse
import dataclasses
import random
import sys
import time

import grammar
import grammar_streams
import support
from support import encode

TTL_TOLERANCE = 3000  # milliseconds, or seconds when the unit is seconds: a stalled machine is no mismatch
DBS = (0, 1, 2, 15)
SHRINK_SECONDS_MAX = 30.0
SMALL = [("hash-max-listpack-entries", 8), ("hash-max-listpack-value", 20), ("set-max-intset-entries", 8),
         ("zset-max-listpack-entries", 8), ("zset-max-listpack-value", 20), ("list-max-listpack-size", 6), ("stream-node-max-entries", 4),
         ("stream-node-max-bytes", 300), ("hll-sparse-max-bytes", 200)]
USUAL = [("hash-max-listpack-entries", 128), ("hash-max-listpack-value", 64), ("set-max-intset-entries", 512),
         ("zset-max-listpack-entries", 128), ("zset-max-listpack-value", 64), ("list-max-listpack-size", -2), ("stream-node-max-entries", 100),
         ("stream-node-max-bytes", 4096), ("hll-sparse-max-bytes", 3000)]
# Known to 7.2 only: set on the server under test, and left alone on the reference.
SMALL_7_2 = [("set-max-listpack-entries", 8), ("set-max-listpack-value", 20)]
USUAL_7_2 = [("set-max-listpack-entries", 128), ("set-max-listpack-value", 64)]

# Differences between the reference (7.0) and 7.2, which Slotwise follows. Each: why, and what may then be accepted.
KNOWN_DIFFERENCES = {
    "scores": "7.2 writes a double in its shortest form, 7.0 with 17 digits: a score may differ in text, not in value",
    "set encoding": "7.2 keeps small sets of any members as listpack, where 7.0 says hashtable",
    "list encoding": "7.2 keeps small lists as listpack, where 7.0 says quicklist",
    "hinted encodings": "7.2 lets the number of words of a command, or a source of a STORE, decide before anything is added:"
                        " commands that can show it are left out of strict rounds, and encodings compare loosely in the others",
    "SORT of numbers": "Redis does not clear errno, so a SORT after some other command met a number near zero says that scores"
                       " cannot be converted, whatever they are; results of numbers are thus not stored",
    "LPOS with the least RANK": "7.2 refuses a rank that it could not negate, 7.0 takes it: not sent",
    "XREAD with more keys than ids": "7.2 names the command in question and the sign it knows, 7.0 always XREAD and $",
    "ZRANK and ZREVRANK with four words": "7.2 has WITHSCORE and says syntax error, 7.0 counts arguments",
}
# Commands whose result has an encoding that 7.2 chooses otherwise than 7.0.
HINTED = {"SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"}
# Raw inputs for which 7.2's reply is known to differ from 7.0's: input -> reason. Closing must agree even so.
RAW_DIFFERENCES = {
    b"scan 0 type nosuch\r\n": "with several shards a cursor leads from one to the next",
    b"wait\r\n": "WAIT comes with replication",
    b"config set loglevel loud\r\n": "7.2 lists one more level, nothing",
    b"xread streams a b c\r\n": "see XREAD above",
    b"xreadgroup streams a b c d e\r\n": "see XREAD above",
    b"xreadgroup group g c streams a b c\r\n": "see XREAD above",
    b"xread block 9223372036854775807 streams a 0\r\n": "7.2 says that the time-out is out of range, 7.0 waits",
    b"xadd k 5-18446744073709551615 a b\r\nxadd k 5-* a b\r\n": "7.2 says that the id is too small, 7.0 that the elements are too large",
    b"multi\r\nclient reply off\r\nexec\r\n": "Redis has sent the array's header when it falls silent",
}
ENCODING_TWINS = {(b"hashtable", b"listpack"), (b"quicklist", b"listpack")}
# What may be met beside these in rounds that are not strict (see HINTED).
HINTED_TWINS = {(b"listpack", b"skiplist"), (b"listpack", b"hashtable"), (b"intset", b"listpack"), (b"intset", b"hashtable"),
                (b"hashtable", b"intset")}
# Commands that 7.2 takes with a number of words for which 7.0 has another error: not sent so.
NEWER_WORDS = {("ZRANK", 3), ("ZREVRANK", 3)}


class Mismatch(Exception):
    """The two servers disagree."""


class Pair:
    """The server under test and the reference, with two connections each for steps and one for checks."""

    def __init__(self, tested, reference):
        self.servers = (tested, reference)
        self.clients = None

    def connect(self, resp):
        self.close()
        self.clients = [[server.client(resp=resp, timeout=20.0) for server in self.servers] for _ in range(2)]
        self.admin = [server.client(timeout=20.0) for server in self.servers]
        self.queued = [None, None]  # per connection: how the commands of an open MULTI compare
        self.db = [0, 0]

    def close(self):
        if self.clients:
            for client in [client for pair in self.clients for client in pair] + self.admin:
                client.close()
            self.clients = None

    def prepare(self, small, lfu, strict):
        """Empties both servers and sets the thresholds of a round."""
        self.lfu = lfu
        self.twins = ENCODING_TWINS if strict else ENCODING_TWINS | HINTED_TWINS
        for client in self.admin:
            client.must("FLUSHALL")
            # With this factor every access counts, so that the counters of both servers agree.
            client.must("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu" if lfu else "volatile-lru", "lfu-log-factor", "0")
            for name, value in SMALL if small else USUAL:
                client.must("CONFIG", "SET", name, value)
        self.admin[1].must("CONFIG", "SET", "maxmemory", "8gb")  # see main()
        for name, value in SMALL_7_2 if small else USUAL_7_2:
            for client in self.admin:
                client.call("CONFIG", "SET", name, value)  # a reference of 7.0 does not know them
        if lfu:
            # The reference keeps argument objects of scripts for the next one, with the access time of an earlier round,
            # which is no counter (mended in 7.2). Once they are values they go with them.
            self.admin[1].must("EVAL", "redis.call('MSET', unpack(ARGV)) redis.call('SETEX', 'k', 9, 'v')", "0", *"kv" * 15)
            self.admin[1].must("FLUSHALL")

    def ask(self, *command):
        """The same command on both check connections: two values."""
        for client in self.admin:
            client.send(*command)
        return [client.read()[0].value() for client in self.admin]


# --- comparing ---------------------------------------------------------------------------------------------------------

def same_number(a, b):
    try:
        return a is not None and b is not None and float(a) == float(b)
    except ValueError:
        return False


def same_scores(a, b):
    """Equal trees, where a leaf may also be an equal number in another notation."""
    if a[0] != b[0]:
        return False
    if isinstance(a[1], tuple) and isinstance(b[1], tuple):
        return len(a[1]) == len(b[1]) and all(same_scores(x, y) for x, y in zip(a[1], b[1]))
    return a[1] == b[1] or (a[0] in b"$," and same_number(a[1], b[1]))


def same(how, a, b, twins):
    """Whether two Nodes agree under a comparison of grammar.py. Node a is the tested server's."""
    if a == b:
        return True
    if how in ("sorted", "pairs") and a[0] == b[0] and isinstance(a[1], tuple) and isinstance(b[1], tuple):
        left, right = list(a[1]), list(b[1])
        if how == "pairs":
            left, right = pairs(left), pairs(right)
        return sorted(left, key=repr) == sorted(right, key=repr)
    if how in ("sort", "loose sort"):
        if b[0] == b"-" and b[1].startswith(b"ERR One or more scores"):
            return a[0] == b"*"
        return how == "loose sort" and same("sorted", a, b, twins)
    if how == "ttl" and a[0] == b[0] == b":":
        left, right = int(a[1]), int(b[1])
        return left > 0 and right > 0 and abs(left - right) <= TTL_TOLERANCE
    if how == "idle":
        return a[0] == b[0] == b":" and abs(int(a[1]) - int(b[1])) <= 5
    if how == "score":
        return same_scores(a, b)
    if a[0] == b[0] == b"-" and a[1].startswith(b"ERR Unbalanced '") and b[1].startswith(b"ERR Unbalanced XREAD"):
        return True
    if how == "clock":
        return grammar_streams.same_but_for_clock(a, b)
    if how == "encoding":
        return (b[1], a[1]) in twins
    if how == "refcount":
        # Shared small integers report 2^31-1; which numbers are shared is no promise, nor is their encoding's name here.
        return (a[0] == b[0] == b":") or (b[1], a[1]) in twins
    return False


def pairs(items):
    return list(zip(items[0::2], items[1::2]))


def compare(pair, which, command, replies):
    """Compares one reply of each server to a command, and follows MULTI, EXEC and SELECT on that connection."""
    (a, raw_a), (b, raw_b) = replies
    name = command[0].upper()
    how = how_of(command)
    queue = pair.queued[which]
    if name == "EXEC" and queue is not None:
        agreed = raw_a == raw_b or (
            a[0] == b[0] == b"*" and a[1] is not None and b[1] is not None and len(a[1]) == len(b[1]) == len(queue)
            and all(same(how, x, y, pair.twins) for how, x, y in zip(queue, a[1], b[1])))
    else:
        agreed = raw_a == raw_b or same(how, a, b, pair.twins)
    if not agreed and name == "EXEC" and queue is not None and b[1] and a[0] == b[0] == b"*" and a[1]:
        for number, (how, x, y) in enumerate(zip(queue, a[1], b[1])):
            if x != y and not same(how, x, y, pair.twins):
                raise Mismatch(f"EXEC, reply {number} of {len(queue)}\n  tested:    {clip(repr(x).encode())}\n"
                               f"  reference: {clip(repr(y).encode())}")
    if not agreed:
        raise Mismatch(f"{show(command)}\n  tested:    {clip(raw_a)}\n  reference: {clip(raw_b)}")
    if name == "MULTI" and b == (b"+", b"OK"):
        pair.queued[which] = []
    elif name in ("EXEC", "DISCARD", "RESET"):
        pair.queued[which] = None
    elif queue is not None and b == (b"+", b"QUEUED"):
        queue.append(how)


def how_of(command):
    name = command[0].upper()
    if name == "OBJECT":
        sub = bytes(command[1]).upper() if len(command) > 1 else b""
        return {b"ENCODING": "encoding", b"IDLETIME": "idle", b"REFCOUNT": "refcount"}.get(sub, "exact")
    if name in ("SORT", "SORT_RO") and grammar.loose_sort(command[1:]):
        return "loose sort"
    if name == "XGROUP" and grammar_streams.LENIENT and len(command) > 1 and bytes(command[1]).upper() == b"CREATECONSUMER":
        return "refcount"  # 7.0 does not make a consumer that asks and gets nothing
    return grammar.HOW.get(name, "exact")


def show(command):
    return " ".join(repr(word)[1:] if isinstance(word, bytes) else word for word in command)[:2000]


def clip(raw):
    text = repr(raw)[1:]
    return text if len(text) < 1500 else f"{text[:1000]} ... {text[-300:]} ({len(raw)} bytes)"


# --- steps -------------------------------------------------------------------------------------------------------------

def draw_step(draw, names, weights):
    """One step: ("pipeline", connection, commands) or (special name, database, arguments)."""
    roll = draw.random.random()
    if roll < 0.06:
        special = draw.random.choices([name for name, _ in grammar.SPECIALS], [w for _, w in grammar.SPECIALS])[0]
        kind = {"SPOP": "t", "SRANDMEMBER": "t", "HSCAN": "h", "SSCAN": "t", "ZSCAN": "z",
                "HRANDFIELD": "h", "ZRANDMEMBER": "z"}.get(special)
        key = draw.key(kind)
        count = draw.random.choice([None, 0, 1, 2, 5, 1000, -1, -7])
        return special, draw.random.choice([0, 0, 0, 1]), (key, count, draw.random.randint(1, 30))
    which = 0 if draw.random.random() < 0.7 else 1
    length = 1 if roll < 0.6 else draw.random.randint(2, 30)
    commands = []
    for _ in range(length):
        name, arguments, _, _ = draw.random.choices(names, weights)[0]
        words = arguments(draw)
        if draw.random.random() < 0.01 and words:
            words = list(words[:-1]) if draw.random.random() < 0.5 else [*words, draw.member()]
        if (name, len(words)) in NEWER_WORDS or (name == "COMMAND" and len(words) == 5 and (words[1].decode(), 3) in NEWER_WORDS):
            words = words[:-1]
        if name == "COMMAND" and len(words) == 2:
            words.append(b"x")  # see grammar.command_words
        commands.append((name, *words))
    return "pipeline", which, commands


def run_step(pair, step):
    kind, which, body = step
    if kind == "pipeline":
        data = b"".join(encode(*command) for command in body)
        for client in pair.clients[which]:
            client.send_raw(data)
        for number, command in enumerate(body):
            replies = []
            for side, client in zip(("tested", "reference"), pair.clients[which]):
                try:
                    replies.append(client.read())
                except (OSError, support.ProtocolError) as problem:
                    raise Mismatch(f"{show(command)}\n  {side}: {type(problem).__name__}: {problem}") from None
            compare(pair, which, command, replies)
        return
    pair.ask("SELECT", str(which))
    SPECIAL_CHECKS[kind](pair, *body)


def require(condition, what, a, b):
    if not condition:
        raise Mismatch(f"{what}\n  tested:    {clip(repr(a).encode())}\n  reference: {clip(repr(b).encode())}")


def flat(value):
    return value if isinstance(value, list) else [] if value is None else [value]


def check_spop(pair, key, count, _):
    """The two servers pop different members: same number, all of them members, and then both lose the union."""
    before = pair.ask("SMEMBERS", key)
    command = ("SPOP", key) if count is None else ("SPOP", key, str(count))
    a, b = pair.ask(*command)
    if isinstance(b, bytes) and isinstance(b, support.ErrorReply) or isinstance(a, support.ErrorReply):
        require(type(a) is type(b) and a == b, show(command), a, b)
        return
    require(type(a) is type(b) and len(flat(a)) == len(flat(b)), f"{show(command)} (number of members)", a, b)
    require(len(set(flat(a))) == len(flat(a)) and set(flat(a)) <= set(before[0]), f"{show(command)} (members)", a, before[0])
    both = sorted(set(flat(a)) | set(flat(b)))
    if both:
        pair.ask("SREM", key, *both)


def check_srandmember(pair, key, count, _):
    command = ("SRANDMEMBER", key) if count is None else ("SRANDMEMBER", key, str(count))
    a, b = pair.ask(*command)
    if isinstance(b, support.ErrorReply) or isinstance(a, support.ErrorReply):
        require(type(a) is type(b) and a == b, show(command), a, b)
        return
    require(type(a) is type(b) and len(flat(a)) == len(flat(b)), f"{show(command)} (number of members)", a, b)
    members = pair.ask("SMEMBERS", key)[0]
    require(set(flat(a)) <= set(members), f"{show(command)} (members)", a, members)
    if count is not None and count > 0:
        require(len(set(a)) == len(a), f"{show(command)} (repeated member)", a, b)


def check_random_pairs(name, whole, option):
    """HRANDFIELD and ZRANDMEMBER: as SRANDMEMBER, and with values or scores those of the members drawn."""
    def check(pair, key, count, number):
        command = (name, key) if count is None else (name, key, str(count))
        valued = count is not None and number % 2 == 0
        a, b = pair.ask(*command, option) if valued else pair.ask(*command)
        if isinstance(b, support.ErrorReply) or isinstance(a, support.ErrorReply):
            require(type(a) is type(b) and a == b, show(command), a, b)
            return
        require(type(a) is type(b) and len(flat(a)) == len(flat(b)), f"{show(command)} (number of members)", a, b)
        there = dict(pairs(pair.ask(*[word for word in whole(key)])[0]))
        drawn = pairs(a) if valued else [(member, there.get(member)) for member in flat(a)]
        require(all(there.get(member, False) == value for member, value in drawn), f"{show(command)} (members)", a, there)
        if count is not None and count > 0:
            require(len({member for member, _ in drawn}) == len(drawn), f"{show(command)} (repeated member)", a, b)
    return check


def check_randomkey(pair, *_):
    a, b = pair.ask("RANDOMKEY")
    require((a is None) == (b is None), "RANDOMKEY", a, b)
    if a is not None:
        require(pair.ask("EXISTS", a) == [1, 1], "EXISTS of the tested server's RANDOMKEY", a, b)


def whole_scan(client, command, options):
    """Follows a cursor to its end: the items, or the error."""
    cursor, items = b"0", []
    for _ in range(100_000):
        reply = client.call(*command, cursor, *options)
        if isinstance(reply, support.ErrorReply):
            return reply
        cursor, part = reply
        if int(cursor) >= 2**53:
            raise Mismatch(f"{show(command)}: cursor {cursor!r} is not below 2^53")
        items += part
        if cursor == b"0":
            return items
    raise Mismatch(f"{show(command)}: the cursor did not come back to 0")


def check_scan(name):
    def check(pair, key, count, number):
        command = ("SCAN",) if name == "SCAN" else (name, key)
        options = []
        if pair.lfu and (count is None or count > 0):
            count = 1_000_000  # one call each: every call is a use of the key
        if count is not None:
            options += ["COUNT", str(count)]
        if number % 3 == 0:
            options += ["MATCH", ["*", "m*", "?1", "s*", "[0-9]*"][number % 5]]
        if name == "SCAN" and number % 4 == 0:
            options += ["TYPE", ["string", "hash", "LIST", "zset", "nosuch"][number % 5]]
        a, b = (whole_scan(client, command, options) for client in pair.admin)
        if not isinstance(a, support.ErrorReply) and not isinstance(b, support.ErrorReply):
            # An item may come twice, but none may be missing.
            if name in ("HSCAN", "ZSCAN"):
                a, b = dict(pairs(a)), dict(pairs(b))
                if name == "ZSCAN":
                    a, b = ({member: float(score) for member, score in side.items()} for side in (a, b))
            else:
                a, b = set(a), set(b)
        require(type(a) is type(b) and a == b, f"{name} {show((*command, *options))}, followed to its end", a, b)
    return check


def check_short_expiry(pair, key, _, number):
    """A time to live that ends: both must forget the key. Both are asked by access, since the cycle has its own pace."""
    pair.ask("PEXPIRE", key, str(number))
    time.sleep((number + 10) / 1000)
    require(pair.ask("EXISTS", key) == [0, 0], f"EXISTS {key!r} after PEXPIRE {number}", *pair.ask("EXISTS", key))


SPECIAL_CHECKS = {
    "HRANDFIELD": check_random_pairs("HRANDFIELD", lambda key: ("HGETALL", key), "WITHVALUES"),
    "ZRANDMEMBER": check_random_pairs("ZRANDMEMBER", lambda key: ("ZRANGE", key, "0", "-1", "WITHSCORES"), "WITHSCORES"),
    "SPOP": check_spop, "SRANDMEMBER": check_srandmember, "RANDOMKEY": check_randomkey, "SCAN": check_scan("SCAN"),
    "HSCAN": check_scan("HSCAN"), "SSCAN": check_scan("SSCAN"), "ZSCAN": check_scan("ZSCAN"),
    "SHORT_EXPIRY": check_short_expiry,
}


def compare_stream(pair, key):
    """What XRANGE does not show: counters, groups, consumers, pending entries."""
    command = ("XINFO", "STREAM", key, "FULL", "COUNT", "0")
    for client in pair.admin:
        client.send(*command)
    a, b = (client.read()[0] for client in pair.admin)
    require(grammar_streams.same_but_for_clock(a, b), show(command), a, b)


def compare_databases(pair):
    """All keys of all databases used: type, encoding, time to live, content in the order that is promised."""
    total = 0
    for db in DBS:
        pair.ask("SELECT", str(db))
        a, b = (sorted(flat(keys)) for keys in pair.ask("KEYS", "*"))
        require(a == b, f"KEYS * in database {db}", a, b)
        sizes = pair.ask("DBSIZE")
        limit = time.monotonic() + 3.0
        while sizes != [len(a), len(a)] and time.monotonic() < limit:
            time.sleep(0.05)  # DBSIZE counts a key whose time has come until the cycle finds it
            sizes = pair.ask("DBSIZE")
        require(sizes == [len(a), len(a)], f"DBSIZE of database {db}, where KEYS finds {len(a)}", *sizes)
        total += len(a)
        for key in a:
            kind, other = pair.ask("TYPE", key)
            require(kind == other, f"TYPE {key!r}", kind, other)
            mine, encoding = pair.ask("OBJECT", "ENCODING", key)
            require(mine == encoding or (encoding, mine) in pair.twins, f"OBJECT ENCODING {key!r}", mine, encoding)
            left, right = pair.ask("PTTL", key)
            require(left == right or (left > 0 and right > 0 and abs(left - right) <= TTL_TOLERANCE), f"PTTL {key!r}", left, right)
            read = {b"string": ("GET", key), b"list": ("LRANGE", key, "0", "-1"), b"hash": ("HGETALL", key),
                    b"set": ("SMEMBERS", key), b"zset": ("ZRANGE", key, "0", "-1", "WITHSCORES"),
                    b"stream": ("XRANGE", key, "-", "+")}[kind]
            left, right = pair.ask(*read)
            if kind == b"hash" and encoding == b"hashtable":
                left, right = sorted(pairs(left)), sorted(pairs(right))
            if kind == b"set" and encoding != b"intset":
                left, right = sorted(left), sorted(right)
            if kind == b"zset":
                left, right = ([(member, float(score)) for member, score in pairs(side)] for side in (left, right))
            require(left == right, f"{show(read)} ({encoding.decode()}) in database {db}", left, right)
            if kind == b"stream":
                compare_stream(pair, key)
    return total


@dataclasses.dataclass
class Mode:
    """How a round goes."""

    resp: int
    small: bool  # encoding thresholds
    lfu: bool  # access counters instead of access times
    strict: bool  # encodings must agree but for the names that are new in 7.2

    @classmethod
    def drawn(cls, random):
        return cls(random.choice([2, 3]), random.random() < 0.6, random.random() < 0.3, random.random() < 0.4)

    def table(self, commands):
        """The commands of such a round, and their weights."""
        if self.strict:
            commands = [entry for entry in commands if entry[0] not in HINTED]
        return commands, [entry[3] for entry in commands]


# --- rounds ------------------------------------------------------------------------------------------------------------

def play(pair, mode, steps):
    """Runs steps on emptied servers. Returns the index of the failing step and its Mismatch, or None."""
    pair.connect(mode.resp)
    pair.prepare(mode.small, mode.lfu, mode.strict)
    for index, step in enumerate(steps):
        try:
            run_step(pair, step)
        except (Mismatch, OSError) as problem:
            return index, problem
    try:
        for which in (0, 1):  # an open MULTI holds nothing back, but its writes must not appear
            for client in pair.clients[which]:
                client.call("DISCARD")
        compare_databases(pair)
    except (Mismatch, OSError) as problem:
        return len(steps), problem
    return None


def shrink(pair, mode, steps, seconds):
    """The shortest failing history found in the time given: cut after the failure, single commands, then ddmin."""
    limit = time.monotonic() + seconds
    split = []
    for kind, which, body in steps:
        split += [(kind, which, [command]) for command in body] if kind == "pipeline" else [(kind, which, body)]
    failed = play(pair, mode, split)
    best = split[:failed[0] + 1] if failed else steps
    parts = 2
    while len(best) > 1 and time.monotonic() < limit:
        size = max(1, len(best) // parts)
        for begin in range(0, len(best), size):
            if time.monotonic() > limit:
                break
            candidate = best[:begin] + best[begin + size:]
            failed = play(pair, mode, candidate)
            if failed:
                best = candidate[:failed[0] + 1]
                parts = max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(best), parts * 2)
    return best


def raw_output(server, data):
    """What a server answers to raw bytes followed by PING, and whether it closed the connection."""
    with server.client(timeout=0.3) as client:
        client.send_raw(data + b"PING END\r\n")
        received = b""
        while True:
            try:
                part = client.socket.recv(65536)
            except ConnectionResetError:
                return received, True
            except TimeoutError:
                return received, False
            if not part:
                return received, True
            received += part
            # The marker ends an ordinary answer; a short wait then tells whether more follows.
            client.socket.settimeout(0.03 if b"END" in received else 0.3)


def check_raw_inputs(pair):
    """Protocol errors, inline commands and error texts: number of inputs compared."""
    failures = []
    for data in grammar.RAW_INPUTS:
        for client in pair.admin:
            client.must("FLUSHALL")
        a, b = (raw_output(server, data) for server in pair.servers)
        if a != b and not (data in RAW_DIFFERENCES and a[1] == b[1]) and not raw_twins(data, a, b):
            failures.append(f"raw input {data[:100]!r}\n  tested:    {clip(a[0])} closed={a[1]}\n"
                            f"  reference: {clip(b[0])} closed={b[1]}")
    if failures:
        raise Mismatch("\n".join(failures))
    return len(grammar.RAW_INPUTS)


def raw_twins(data, a, b):
    """Replies that hold a number of the server's own: a size, a client id, a time."""
    if not data.startswith((b"slowlog", b"memory usage", b"client list", b"hello", b"multi\r\nhello")):
        return False
    digits = bytes.maketrans(b"123456789", b"0" * 9)
    return a[1] == b[1] and a[0].translate(digits, b"0123456789") == b[0].translate(digits, b"0123456789")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, help="of the first round; each further round adds one")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--slotwise", help="the server under test (target/quick/slotwise)")
    parser.add_argument("--extra", default="", help="further arguments of the server under test")
    parser.add_argument("--steps", type=int, default=400, help="steps in a round")
    parser.add_argument("--reference", default="redis-server", help="the reference server")
    parser.add_argument("--only", help="names of commands to draw, separated by commas")
    parser.add_argument("--no-raw", action="store_true", help="leave out the raw protocol inputs")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**9)
    table = grammar.COMMANDS
    if options.only:
        wanted = {name.upper() for name in options.only.split(",")}
        table = [entry for entry in table if entry[0] in wanted]
    print(f"differential: first seed {seed}, shards {options.shards}, {options.seconds:.0f} s", flush=True)
    rounds = commands = inputs = 0
    tested = support.slotwise(options.slotwise, shards=options.shards, extra=options.extra.split(), name="tested")
    # With a memory limit and a policy that needs each key's own clock, the reference shares no integers between keys: a
    # shared one has one access time for all of them.
    with tested, support.redis(options.reference, name="reference", extra=["--maxmemory", "8gb", "--maxmemory-policy", "volatile-lru"]) as reference:
        pair = Pair(tested, reference)
        try:
            pair.connect(2)
            version = pair.admin[1].must("INFO", "server").split(b"redis_version:")[1].split(b".")
            grammar_streams.LENIENT = int(version[0]) == 7 and int(version[1]) < 2
            if not options.no_raw:
                inputs = check_raw_inputs(pair)
            limit = time.monotonic() + options.seconds
            while rounds == 0 or time.monotonic() < limit:
                generator = random.Random(seed + rounds)
                mode = Mode.drawn(generator)
                draw = grammar.Draw(generator, many=not mode.strict)
                steps = [draw_step(draw, *mode.table(table)) for _ in range(options.steps)]
                if options.only:
                    steps = [step for step in steps if step[0] == "pipeline"]
                failed = play(pair, mode, steps)
                if failed:
                    report(pair, tested, seed + rounds, mode, steps, failed)
                    return 1
                rounds += 1
                commands += sum(len(body) if kind == "pipeline" else 1 for kind, _, body in steps)
        except (Mismatch, OSError) as problem:
            print(f"MISMATCH\n{problem}")
            if not tested.alive():
                print(f"the server under test ended with status {tested.process.returncode}:\n{tested.log_tail()}")
            return 1
        finally:
            pair.close()
    print(f"differential: ok, {inputs} raw inputs, {rounds} rounds, {commands} commands")
    return 0


def report(pair, tested, seed, mode, steps, failed):
    """Prints the mismatch as found, then the shortened history that leads to it."""
    index, problem = failed
    print(f"MISMATCH in step {index} of seed {seed} ({mode})\n{problem}")
    if not tested.alive():
        print(f"the server under test ended with status {tested.process.returncode}:\n{tested.log_tail()}")
        history = steps[max(0, index - 5):index + 1]
        print("last steps before:")
    else:
        again = play(pair, mode, steps[:index + 1])
        if not again:
            print("(not seen again on replay: it depends on time or chance)")
            history = steps[max(0, index - 5):index + 1]
        else:
            history = shrink(pair, mode, steps[:index + 1], SHRINK_SECONDS_MAX) if tested.alive() else steps
            final = play(pair, mode, history)
            print(f"shortest history found, {len(history)} steps, ending in: {final[1] if final else problem}")
    for kind, which, body in history:
        if kind == "pipeline":
            for command in body:
                print(f"  connection {which}: {show(command)}")
        else:
            print(f"  check {kind} in database {which}: {body}")
    print(f"replay: differential.py --seed {seed} --seconds 1")


if __name__ == "__main__":
    sys.exit(main())
