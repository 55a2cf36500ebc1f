"""Is what several clients see together what one server, working one command at a time, could have shown them?

usage: history.py [check ...] [--seconds N] [--seed N] [--clients N] [--shards N] [--slotwise PATH]

Checks (all by default):
  torn     MSET, MSETNX, DEL, MULTI/EXEC and scripts write keys of many slots; MGET, EXISTS and MULTI/EXEC read them: never
           half
  bank     transfers under WATCH or by INCRBY in MULTI: every total read is the same, and each EXEC happened once
  session  data, then signal, in one pipeline: a reader who has seen the signal sees the data
  rename   RENAME and RENAMENX between slots: a value is in exactly one place at any time
  swapdb   SWAPDB, FLUSHDB and FLUSHALL against MSET, scripts, MGET, DBSIZE and KEYS: never half
  serial   a strict-serializable order exists for recorded transactions (graph of reads, versions, sessions, real time)

Every client is a process of its own, since the interpreter's lock would serialize the very races that are looked for.
A violation prints the offending history and the exit status is 1. The seed fixes each client's choices, not the
interleaving: a failing seed makes the same violation likely again, not certain.
"""

import argparse
import collections
import multiprocessing
import random
import sys
import time
import traceback

import support
from support import ErrorReply

CLIENT_GRACE_SECONDS = 60.0


class Violation(Exception):
    """What a client saw that no order of the commands explains."""


class Run:
    """What a client process needs to know."""

    def __init__(self, address, seconds, seed, clients, options):
        self.address = address
        self.seconds = seconds
        self.seed = seed
        self.clients = clients
        self.options = options

    def connect(self):
        return support.Client(self.address, timeout=30.0)


def client_process(run, role, number, deadline, pipe):
    """Runs one role until the deadline and sends back ("ok", result) or ("violation"/"broken", text)."""
    generator = random.Random(run.seed * 1000 + number)
    try:
        with run.connect() as client:
            result = role(run, client, generator, number, deadline)
        pipe.send(("ok", result))
    except Violation as problem:
        pipe.send(("violation", str(problem)))
    except Exception:  # the parent reports it: a child must not die silently
        pipe.send(("broken", traceback.format_exc()))
    finally:
        pipe.close()


def together(run, roles):
    """Runs each role in a process of its own, all at the same time. Returns their results; raises the first Violation."""
    context = multiprocessing.get_context("fork")
    deadline = time.monotonic() + run.seconds
    started = []
    for number, role in enumerate(roles):
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=client_process, args=(run, role, number, deadline, theirs), daemon=True)
        process.start()
        theirs.close()
        started.append((process, mine))
    results, problems = [], []
    for process, pipe in started:
        left = max(1.0, deadline + CLIENT_GRACE_SECONDS - time.monotonic())
        try:
            kind, result = pipe.recv() if pipe.poll(left) else ("broken", f"no answer {CLIENT_GRACE_SECONDS:.0f} s after the end")
        except EOFError:
            kind, result = "broken", "the client process ended without a result"
        if kind == "ok":
            results.append(result)
        else:
            problems.append((kind, result))
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()
    if problems:
        problems.sort(key=lambda problem: problem[0] != "violation")
        raise Violation("\n".join(f"[{kind}] {text}" for kind, text in problems[:3]))
    return results


def ok(value):
    """Refuses error replies, which no check here provokes on its own."""
    if isinstance(value, ErrorReply):
        raise Violation(f"unexpected error reply: {value!r}")
    if isinstance(value, list):
        for item in value:
            ok(item)
    return value


def keys_over_slots(prefix, count):
    """Keys whose slots differ with near certainty, so that they lie on different shards."""
    return [f"{prefix}:{number}" for number in range(count)]


# --- torn --------------------------------------------------------------------------------------------------------------

TORN_KEYS = keys_over_slots("torn", 6)


# Writes all keys, those of even places before it reads, and gives what it has read: nobody else comes between.
SET_ALL = """
for place, key in ipairs(KEYS) do if place % 2 == 0 then redis.call('SET', key, ARGV[1]) end end
for place, key in ipairs(KEYS) do if place % 2 == 1 then redis.call('SET', key, ARGV[1]) end end
return redis.call('MGET', unpack(KEYS))
"""


def set_all(keys, value):
    return "EVAL", SET_ALL, len(keys), *keys, value


def must_be_own(replies, value, keys):
    for reply in replies:
        if reply != [value.encode()] * len(keys):
            raise Violation(f"a script that wrote {value} read {reply}")


def torn_writer(run, client, generator, number, deadline):
    count = 0
    while time.monotonic() < deadline:
        count += 1
        value = f"{number}.{count}"
        order = generator.sample(TORN_KEYS, len(TORN_KEYS))
        roll = generator.random()
        if roll < 0.4:
            ok(client.call("MSET", *(word for key in order for word in (key, value))))
        elif roll < 0.6:
            ok(client.transaction([("SET", key, value) for key in order]))
        elif roll < 0.8:
            must_be_own(ok(client.pipeline([set_all(order, value)] * generator.choice([1, 1, 6]))), value, order)
        elif roll < 0.87:
            removed = ok(client.call(generator.choice(["DEL", "UNLINK"]), *order))
            if removed not in (0, len(order)):
                raise Violation(f"DEL removed {removed} of {len(order)} keys that are only written together")
        elif roll < 0.93:
            ok(client.call("MSETNX", *(word for key in order for word in (key, value))))
        else:
            # Replies of a pipeline of whole-set writes must all be fine, too.
            ok(client.pipeline([("MSET", *(word for key in order for word in (key, f"{value}.{n}"))) for n in range(8)]))
    return count


def torn_reader(run, client, generator, number, deadline):
    count = 0
    while time.monotonic() < deadline:
        count += 1
        order = generator.sample(TORN_KEYS, generator.randint(2, len(TORN_KEYS)))
        roll = generator.random()
        if roll < 0.5:
            how, values = "MGET", ok(client.call("MGET", *order))
        elif roll < 0.8:
            how, values = "MULTI GET.. EXEC", ok(client.transaction([("GET", key) for key in order]))
        elif roll < 0.9:
            how, found = "EXISTS", ok(client.call("EXISTS", *order))
            values = ["present"] * found + [None] * (len(order) - found)
        else:
            how = "MULTI MGET MGET EXEC"
            first, second = ok(client.transaction([("MGET", *order), ("MGET", *order)]))
            values = first + second
        if len(set(values)) > 1:
            raise Violation(f"torn read by {how}: {list(zip(order, values))}")
    return count


def check_torn(run):
    writers = max(2, run.clients // 2)
    counts = together(run, [torn_writer] * writers + [torn_reader] * max(2, run.clients - writers))
    return f"{sum(counts[:writers])} writes, {sum(counts[writers:])} reads"


# --- bank --------------------------------------------------------------------------------------------------------------

ACCOUNTS = keys_over_slots("account", 12)
OPENING = 1000


def bank_teller(run, client, generator, number, deadline):
    done = lost = 0
    while time.monotonic() < deadline:
        source, target = generator.sample(ACCOUNTS, 2)
        amount = generator.randint(1, 20)
        if generator.random() < 0.3:
            moves = [("DECRBY", source, amount), ("INCRBY", target, amount), ("INCR", f"done:{number}")]
            if ok(client.transaction(moves)) is None:
                raise Violation("EXEC without WATCH answered null")
            done += 1
            continue
        ok(client.call("WATCH", source, target))
        if generator.random() < 0.5:
            left, right = ok(client.call("MGET", source, target))
        else:
            left, right = ok(client.call("GET", source)), ok(client.call("GET", target))
        writes = [("SET", source, int(left) - amount), ("SET", target, int(right) + amount), ("INCR", f"done:{number}")]
        if ok(client.transaction(writes)) is None:
            lost += 1
        else:
            done += 1
    return done, lost


def bank_auditor(run, client, generator, number, deadline):
    count = 0
    expected = OPENING * len(ACCOUNTS)
    while time.monotonic() < deadline:
        count += 1
        order = generator.sample(ACCOUNTS, len(ACCOUNTS))
        if generator.random() < 0.5:
            how, values = "MGET", ok(client.call("MGET", *order))
        else:
            how, values = "MULTI GET.. EXEC", ok(client.transaction([("GET", key) for key in order]))
        if sum(int(value) for value in values) != expected:
            raise Violation(f"total by {how} is {sum(int(v) for v in values)} instead of {expected}: {list(zip(order, values))}")
    return count


def check_bank(run):
    with run.connect() as client:
        ok(client.call("MSET", *(word for key in ACCOUNTS for word in (key, OPENING))))
        tellers = max(2, run.clients - 2)
        results = together(run, [bank_teller] * tellers + [bank_auditor] * 2)
        for number, (done, _) in enumerate(results[:tellers]):
            counted = int(ok(client.call("GET", f"done:{number}")) or 0)
            if counted != done:
                raise Violation(f"teller {number} had {done} transfers confirmed, the server counted {counted}")
        total = sum(int(value) for value in ok(client.call("MGET", *ACCOUNTS)))
        if total != OPENING * len(ACCOUNTS):
            raise Violation(f"the final total is {total}")
    return (f"{sum(r[0] for r in results[:tellers])} transfers, {sum(r[1] for r in results[:tellers])} given up,"
            f" {sum(results[tellers:])} audits")


# --- session -----------------------------------------------------------------------------------------------------------

SIGNALS = ("set", "push", "exec", "mset")


def session_writer(kind):
    """Writes data, then a signal by `kind`, many times in one pipeline; each writer has slots of its own."""
    def role(run, client, generator, number, deadline):
        count = 0
        while time.monotonic() < deadline:
            commands = []
            for _ in range(generator.choice([1, 1, 3, 10])):
                count += 1
                spot = generator.randrange(8)
                name = f"{kind}:{number}:{spot}"
                filler = [("SET", f"filler:{number}:{n}", "x" * 20) for n in range(generator.choice([0, 0, 2, 20]))]
                commands += filler
                commands.append(("HSET", f"data:{name}", "n", count) if spot % 2 else ("SET", f"data:{name}", count))
                if kind == "set":
                    commands.append(("SET", f"signal:{name}", count))
                elif kind == "push":
                    commands.append(("LPUSH", f"signal:{name}", count))
                    commands.append(("LTRIM", f"signal:{name}", 0, 3))
                elif kind == "exec":
                    commands += [("MULTI",), ("SET", f"signal:{name}", count), ("SET", f"other:{name}", count), ("EXEC",)]
                else:
                    commands.append(("MSET", f"signal:{name}", count, f"other:{name}", count))
            ok(client.pipeline(commands))
        return count
    return role


def session_reader(kind, writers):
    def role(run, client, generator, number, deadline):
        count = 0
        with run.connect() as second:
            while time.monotonic() < deadline:
                count += 1
                spot = generator.randrange(8)
                name = f"{kind}:{generator.choice(writers)}:{spot}"
                ask = ("LINDEX", f"signal:{name}", 0) if kind == "push" else ("GET", f"signal:{name}")
                signal = int(ok(client.call(*ask)) or 0)
                other = client if generator.random() < 0.5 else second
                read = ("HGET", f"data:{name}", "n") if spot % 2 else ("GET", f"data:{name}")
                data = int(ok(other.call(*read)) or 0)
                if data < signal:
                    raise Violation(f"signal by {kind} before its data: {' '.join(map(str, ask))} was {signal}, then"
                                    f" {' '.join(read)} was {data}")
        return count
    return role


def check_session(run):
    kinds = run.options.signals.split(",")
    roles = []
    each = max(1, run.clients // (2 * len(kinds)))
    for kind in kinds:
        writers = [len(roles) + n for n in range(each)]
        roles += [session_writer(kind)] * each
        roles += [session_reader(kind, writers)] * each
    counts = together(run, roles)
    return f"{sum(counts)} signals and reads, signals by {', '.join(kinds)}"


# --- rename ------------------------------------------------------------------------------------------------------------

RENAME_PLACES = 3
RENAME_TOKENS = 4


def places(token):
    return [f"place:{token}:{n}" for n in range(RENAME_PLACES)]


def rename_mover(run, client, generator, number, deadline):
    moved = 0
    while time.monotonic() < deadline:
        source, target = generator.sample(places(generator.randrange(RENAME_TOKENS)), 2)
        reply = client.call(generator.choice(["RENAME", "RENAMENX"]), source, target)
        if isinstance(reply, ErrorReply):
            if reply != b"ERR no such key":
                raise Violation(f"RENAME {source} {target}: {reply!r}")
        else:
            moved += 1
    return moved


def rename_watcher(run, client, generator, number, deadline):
    count = 0
    while time.monotonic() < deadline:
        count += 1
        token = generator.randrange(RENAME_TOKENS)
        spots = generator.sample(places(token), RENAME_PLACES)
        roll = generator.random()
        if token % 2 == 0 and roll < 0.4:
            how, values = "MGET", [value for value in ok(client.call("MGET", *spots)) if value is not None]
        elif roll < 0.7:
            how, values = "EXISTS", [b"token"] * ok(client.call("EXISTS", *spots))
        else:
            how = "MULTI TYPE.. EXEC"
            values = [b"token" for kind in ok(client.transaction([("TYPE", spot) for spot in spots])) if kind != b"none"]
        if values != [b"token"]:
            raise Violation(f"{how} {' '.join(spots)} found {values} instead of one token")
    return count


def check_rename(run):
    with run.connect() as client:
        for token in range(RENAME_TOKENS):
            if token % 2:
                ok(client.call("SADD", places(token)[0], *(f"member:{n}" for n in range(300))))
            else:
                ok(client.call("SET", places(token)[0], "token"))
        movers = max(2, run.clients // 2)
        counts = together(run, [rename_mover] * movers + [rename_watcher] * max(2, run.clients - movers))
        for token in range(1, RENAME_TOKENS, 2):
            sizes = ok([client.call("SCARD", place) for place in places(token)])
            if sorted(sizes) != [0] * (RENAME_PLACES - 1) + [300]:
                raise Violation(f"a set of 300 members ended as {sizes}")
    return f"{sum(counts[:movers])} renames, {sum(counts[movers:])} looks"


# --- swapdb ------------------------------------------------------------------------------------------------------------

SWAP_KEYS = keys_over_slots("swap", 6)


def swap_writer(run, client, generator, number, deadline):
    count = 0
    while time.monotonic() < deadline:
        count += 1
        ok(client.call("SELECT", generator.randrange(2)))
        value = f"{number}.{count}"
        order = generator.sample(SWAP_KEYS, len(SWAP_KEYS))
        if generator.random() < 0.7:
            ok(client.call("MSET", *(word for key in order for word in (key, value))))
        else:
            must_be_own(ok(client.pipeline([set_all(order, value)] * generator.choice([1, 6]))), value, order)
    return count


def swap_swapper(run, client, generator, number, deadline):
    count = 0
    while time.monotonic() < deadline:
        count += 1
        roll = generator.random()
        if roll < 0.8:
            ok(client.call("SWAPDB", 0, 1))
        elif roll < 0.9:
            ok(client.call("SELECT", generator.randrange(2)))
            ok(client.call("FLUSHDB", *generator.choice([[], ["ASYNC"], ["SYNC"]])))
        else:
            ok(client.call("FLUSHALL", *generator.choice([[], ["ASYNC"], ["SYNC"]])))
        time.sleep(generator.random() * 0.002)
    return count


def swap_reader(run, client, generator, number, deadline):
    count = 0
    whole = len(SWAP_KEYS)
    while time.monotonic() < deadline:
        count += 1
        ok(client.call("SELECT", generator.randrange(2)))
        order = generator.sample(SWAP_KEYS, whole)
        roll = generator.random()
        if roll < 0.4:
            how, values = "MGET", ok(client.call("MGET", *order))
        elif roll < 0.6:
            how, values = "MULTI GET.. EXEC", ok(client.transaction([("GET", key) for key in order]))
        elif roll < 0.7:
            replies = ok(client.transaction([("SELECT", 0), ("MGET", *order), ("SELECT", 1), ("MGET", *order)]))
            for values in (replies[1], replies[3]):
                if len(set(values)) > 1:
                    raise Violation(f"torn read by MULTI SELECT MGET SELECT MGET EXEC: {replies}")
            continue
        elif roll < 0.8:
            size, values = ok(client.transaction([("DBSIZE",), ("MGET", *order)]))
            how = "MULTI DBSIZE MGET EXEC"
            if size != sum(value is not None for value in values):
                raise Violation(f"{how}: size {size} beside {values}")
        elif roll < 0.9:
            size = ok(client.call("DBSIZE"))
            how, values = "DBSIZE", [b"x"] * size + [None] * (whole - size)
        else:
            found = ok(client.call("KEYS", "swap:*"))
            how, values = "KEYS", [b"x"] * len(found) + [None] * (whole - len(found))
        if len(set(values)) > 1 or len(values) != whole:
            raise Violation(f"torn read by {how}: {values}")
    return count


def check_swapdb(run):
    with run.connect() as client:
        ok(client.call("FLUSHALL"))
        third = max(1, run.clients // 3)
        roles = [swap_writer] * third + [swap_swapper] * max(1, third // 2) + [swap_reader] * max(2, run.clients - 2 * third)
        counts = together(run, roles)
        ok(client.call("FLUSHALL"))
    return f"{sum(counts)} commands"


# --- serial ------------------------------------------------------------------------------------------------------------

SERIAL_KEYS = keys_over_slots("serial", 8)


# Reads all keys, then writes the first so many.
GET_AND_SET = """
local found = redis.call('MGET', unpack(KEYS))
for place = 1, tonumber(ARGV[2]) do redis.call('SET', KEYS[place], ARGV[1]) end
return found
"""


class Transaction:
    """One recorded unit: what it read and wrote, when it was asked and answered, and whose it was."""

    __slots__ = ("session", "number", "begin", "end", "reads", "writes", "spans", "how")

    def __init__(self, session, number, begin, end, reads, writes, spans, how):
        self.session, self.number, self.begin, self.end = session, number, begin, end
        self.reads, self.writes, self.spans, self.how = reads, writes, spans, how

    def __repr__(self):
        return (f"client {self.session} #{self.number} {self.how} [{self.begin / 1e6:.3f} .. {self.end / 1e6:.3f} ms]"
                f" reads {self.reads} writes {self.writes}")


def serial_client(run, client, generator, number, deadline):
    """Random units, one to four in a pipeline. Every write reads what it replaces, so versions can be put in order."""
    history = []
    count = 0
    while time.monotonic() < deadline:
        units, commands = [], []
        for _ in range(generator.choice([1, 1, 1, 2, 4])):
            count += 1
            keys = generator.sample(SERIAL_KEYS, generator.randint(1, 4))
            value = b"%d.%d" % (number, count)
            roll = generator.random()
            if roll < 0.2:
                units.append(("MGET", keys, [], 1))
                commands.append(("MGET", *keys))
            elif roll < 0.35:
                units.append(("MULTI GET EXEC", keys, [], len(keys) + 2))
                commands += [("MULTI",), *(("GET", key) for key in keys), ("EXEC",)]
            elif roll < 0.5:
                units.append(("GET", keys[:1], [], 1))
                commands.append(("GET", keys[0]))
            elif roll < 0.6:
                written = keys[:generator.randint(1, len(keys))]
                units.append(("EVAL", keys, written, 1))
                commands.append(("EVAL", GET_AND_SET, len(keys), *keys, value, len(written)))
            elif roll < 0.7:
                units.append(("GETSET", keys[:1], keys[:1], 1))
                commands.append(generator.choice([("GETSET", keys[0], value), ("SET", keys[0], value, "GET")]))
            else:
                written = keys[:generator.randint(1, len(keys))]
                units.append(("MULTI MGET MSET EXEC", keys, written, 4))
                commands += [("MULTI",), ("MGET", *keys), ("MSET", *(w for key in written for w in (key, value))), ("EXEC",)]
        begin = time.monotonic_ns()
        replies = ok(client.pipeline(commands))
        end = time.monotonic_ns()
        first = count - len(units) + 1
        at = 0
        for offset, (how, keys, written, length) in enumerate(units):
            reply = replies[at + length - 1]
            at += length
            values = {"GET": lambda r: [r], "GETSET": lambda r: [r], "MULTI MGET MSET EXEC": lambda r: r[0]}.get(
                how, lambda r: r)(reply)
            value = b"%d.%d" % (number, first + offset)
            spans = len(keys) > 1 or how.startswith(("MULTI", "EVAL"))
            history.append((number, first + offset, begin, end, dict(zip(keys, values)), {key: value for key in written},
                            spans, how))
    return history


def serial_graph(history):
    """Edges of the order that any explanation must keep: {node: [(node, why)]}, transactions first, barriers after."""
    edges = collections.defaultdict(list)
    writer = {}
    for index, unit in enumerate(history):
        for key, value in unit.writes.items():
            if (key, value) in writer:
                raise Violation(f"{value!r} was written twice to {key}")
            writer[key, value] = index
    following = {}
    for index, unit in enumerate(history):
        for key in unit.writes:
            before = unit.reads[key]
            if (key, before) in following:
                raise Violation(f"lost update of {key}: both replaced {before!r}\n  {history[following[key, before]]!r}\n  {unit!r}")
            following[key, before] = index
    for index, unit in enumerate(history):
        for key, value in unit.reads.items():
            if value is not None:
                source = writer.get((key, value))
                if source is None:
                    raise Violation(f"{value!r} was read from {key} but never written there: {unit!r}")
                edges[source].append((index, f"wrote {key}={value.decode()}, which was read"))
            later = following.get((key, value))
            if later is not None and later != index:
                edges[index].append((later, f"read {key}={value and value.decode()}, which was then replaced"))
    sessions = collections.defaultdict(list)
    for index, unit in enumerate(history):
        sessions[unit.session].append(index)
    for indexes in sessions.values():
        add_session_edges(edges, history, indexes)
    add_time_edges(edges, history)
    return edges


def add_session_edges(edges, history, indexes):
    """A connection's own order. Runs of single-key commands may pass each other (they are one group); others may not."""
    indexes.sort(key=lambda index: history[index].number)
    previous, group = [], []
    for index in indexes:
        if history[index].spans:
            for earlier in group or previous:
                edges[earlier].append((index, "came earlier on the same connection"))
            previous, group = [index], []
        else:
            for earlier in previous:
                edges[earlier].append((index, "came earlier on the same connection"))
            group.append(index)


def add_time_edges(edges, history):
    """Whoever ended before another began comes first. A chain of barriers carries that in linear space."""
    events = sorted([(unit.begin, 1, index) for index, unit in enumerate(history)]
                    + [(unit.end, 0, index) for index, unit in enumerate(history)])
    barrier = len(history)
    last = None
    for _, is_begin, index in events:
        if is_begin:
            if last is not None:
                edges[last].append((index, "ended before it began"))
        else:
            edges[index].append((barrier, "ended before it began"))
            if last is not None:
                edges[last].append((barrier, "ended before it began"))
            last = barrier
            barrier += 1


def find_cycle(edges, count):
    """A short cycle through some transaction, as [(node, why)], or None. Tarjan's components, then a search inside one."""
    index_of, low, on_stack, stack = {}, {}, set(), []
    next_index = 0
    for root in range(count):
        if root in index_of:
            continue
        work = [(root, iter(edges.get(root, ())))]
        index_of[root] = low[root] = next_index
        next_index += 1
        stack.append(root)
        on_stack.add(root)
        while work:
            node, targets = work[-1]
            for target, _ in targets:
                if target not in index_of:
                    index_of[target] = low[target] = next_index
                    next_index += 1
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(edges.get(target, ()))))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index_of[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index_of[node]:
                    component = set()
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        component.add(member)
                        if member == node:
                            break
                    if len(component) > 1:
                        return shortest_cycle(edges, component, count)
    return None


def shortest_cycle(edges, component, count):
    best = None
    for start in sorted(member for member in component if member < count)[:200]:
        came = {start: None}
        queue = collections.deque([start])
        found = None
        while queue and found is None:
            node = queue.popleft()
            for target, why in edges.get(node, ()):
                if target == start:
                    found = (node, why)
                    break
                if target in component and target not in came:
                    came[target] = (node, why)
                    queue.append(target)
        if found is None:
            continue
        path, step = [], found
        while step is not None:
            path.append(step)
            step = came[step[0]]
        path.reverse()
        if best is None or len(path) < len(best):
            best = path
    return best


def check_history(history):
    """Raises Violation if no strict-serializable order of the transactions exists."""
    cycle = find_cycle(serial_graph(history), len(history))
    if cycle:
        lines = [f"  {history[node]!r}\n    {why} by the next" for node, why in cycle if node < len(history)]
        raise Violation("no serial order exists; this circle would have to be broken:\n" + "\n".join(lines))


def check_serial(run):
    with run.connect() as client:
        ok(client.call("DEL", *SERIAL_KEYS))
    histories = together(run, [serial_client] * run.clients)
    history = [Transaction(*record) for records in histories for record in records]
    check_history(history)
    return f"{len(history)} transactions in a serial order"


def self_check():
    """The checker itself must see planted violations and pass a sound history: an oracle that never objects is none."""
    def unit(session, number, begin, end, reads, writes):
        return Transaction(session, number, begin, end, reads, writes, True, "planted")

    first = unit(0, 1, 0, 10, {"a": None, "b": None}, {"a": b"1", "b": b"1"})
    sound = [first, unit(1, 1, 20, 30, {"a": b"1", "b": b"1"}, {})]
    check_history(sound)
    planted = {
        "torn read": [first, unit(1, 1, 5, 9, {"a": b"1", "b": None}, {})],
        "stale read": [first, unit(1, 1, 20, 30, {"a": None}, {})],
        "lost update": [first, unit(1, 1, 5, 9, {"a": None}, {"a": b"2"})],
        "write skew": [unit(0, 1, 0, 10, {"a": None, "b": None}, {"a": b"1"}), unit(1, 1, 0, 10, {"a": None, "b": None}, {"b": b"2"})],
        "invented value": [unit(0, 1, 0, 10, {"a": b"9"}, {})],
    }
    for name, history in planted.items():
        try:
            check_history(history)
        except Violation:
            continue
        raise AssertionError(f"the checker did not see a planted {name}")


CHECKS = {"torn": check_torn, "bank": check_bank, "session": check_session, "rename": check_rename,
          "swapdb": check_swapdb, "serial": check_serial}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="*", metavar="check", help=" ".join(CHECKS))
    parser.add_argument("--seconds", type=float, default=5.0, help="for each check")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--slotwise", help="the server under test (target/quick/slotwise)")
    parser.add_argument("--extra", default="", help="further arguments of the server under test")
    parser.add_argument("--signals", default=",".join(SIGNALS), help="kinds of signal in the session check")
    options = parser.parse_args()
    unknown = [name for name in options.checks if name not in CHECKS]
    if unknown:
        parser.error(f"unknown check {unknown[0]}; there are: {' '.join(CHECKS)}")
    self_check()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**9)
    print(f"history: seed {seed}, {options.clients} clients, shards {options.shards}", flush=True)
    failed = 0
    with support.slotwise(options.slotwise, shards=options.shards, extra=options.extra.split()) as server:
        for name in options.checks or CHECKS:
            run = Run(("127.0.0.1", server.port), options.seconds, seed, options.clients, options)
            try:
                print(f"{name:<8} ok: {CHECKS[name](run)}", flush=True)
            except (Violation, OSError) as problem:
                failed += 1
                print(f"{name:<8} VIOLATION: {problem}", flush=True)
                if not server.alive():
                    print(f"the server ended with status {server.process.returncode}:\n{server.log_tail()}")
                    break
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
