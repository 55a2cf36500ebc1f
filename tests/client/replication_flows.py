"""Parallel flows between two Slotwise nodes: the same data, the same bytes, whole transactions, and one stream where there is
anything else at the other end."""

import socket
import time

from replication_kit import (
    FakeReplica, Proxy, Writers, equal, equal_digest, is_foreign, starts, test, true, wait_same_offset,
)
from support import encode, wait_until

FLOWS = ("--repl-parallel-flows", "yes", "--repl-backlog-size", "64mb")
ACCOUNTS, IN_ALL = 40, 40_000


NONE = "there are no flows between these"


def shards_of_kind(kind):
    return 1 if is_foreign(kind) else int(kind[1:])


def shards_of(node):
    return shards_of_kind(node.kind)


def are_possible(bench):
    return min(shards_of_kind(bench.primary_kind), shards_of_kind(bench.replica_kind)) > 1


def flows_between(primary, replica):
    """How many flows are to be expected."""
    flows = min(shards_of(primary), shards_of(replica))
    return flows if flows > 1 else 0


def flows_of(replica):
    return int(replica.info().get("master_link_flows", 0))


def carried(replica):
    return int(replica.info().get("master_link_flow_bytes", 0))


class Bank(Writers):
    """Long runs of plain commands, several databases, MSET, and transfers whose sum never changes."""

    def __init__(self, node, clients=2, seed=1, transfers=True):
        self.transfers = transfers
        if transfers:
            with node.client() as client:
                client.must("MSET", *[word for n in range(ACCOUNTS) for word in (f"account:{n}", IN_ALL // ACCOUNTS)])
        super().__init__(node, [seed * 100 + n for n in range(clients)])

    def write(self, client, number, draw):
        n = 0
        while not self.stopped.is_set():
            batch = [("SELECT", draw.choice((0, 0, 0, 5)))]
            for _ in range(400):
                n += 1
                key = draw.randrange(2000)
                batch.append(draw.choice((
                    ("SET", f"key:{key}", n), ("INCR", f"count:{number}:{key}"), ("APPEND", f"log:{number}:{key}:{n // 9000}", "x"),
                    ("HINCRBY", f"hash:{key % 50}", n % 20, 1), ("SADD", f"set:{number}:{key % 30}", n % 999),
                )))
            batch += [("SPOP", f"set:{number}:3", 2), ("MSET", *[word for m in range(6) for word in (f"m:{number}:{m}", n)])]
            if draw.random() < 0.05:
                batch.append(("SET", f"big:{number}", "b" * draw.choice((20_000, 600_000))))
            if self.transfers:
                batch.append(("SELECT", 0))
                for _ in range(draw.choice((0, 1, 3))):
                    one, other = draw.sample(range(ACCOUNTS), 2)
                    batch += [("MULTI",), ("DECRBY", f"account:{one}", 7), ("INCRBY", f"account:{other}", 7), ("EXEC",)]
            client.pipeline(batch)


def total(node):
    return sum(map(int, node.must("MGET", *[f"account:{n}" for n in range(ACCOUNTS)])))


def stream_bytes(node, replid, start, count):
    """Bytes of a node's backlog."""
    wire = FakeReplica(node)
    starts(wire.psync(replid, start), b"+CONTINUE", f"PSYNC {replid} {start} of {node.kind}")
    found = wire.exactly(count)
    wire.close()
    return found


def pair(bench, *extra):
    primary = bench.primary(*said_to(bench.primary_kind), *extra)
    replica = bench.replica(primary, *said_to(bench.replica_kind))
    expected = flows_between(primary, replica)
    wait_until(lambda: flows_of(replica) == expected, 5, f"{expected} flows")
    return primary, replica


def said_to(kind):
    """The directives for a node: Redis does not know of flows."""
    return FLOWS[2:] if is_foreign(kind) else FLOWS


@test("both")
def flows_carry_the_stream_and_leave_the_same_data_and_the_same_bytes(bench):
    primary, replica = pair(bench)
    expected = flows_between(primary, replica)
    if expected:
        wait_until(lambda: f",flows={expected}" in primary.info().get("slave0", ""), 5, "the primary to show its flows")
    start = int(primary.info()["master_repl_offset"]) + 1
    with Bank(primary, clients=2 if expected else 1) as bank:
        time.sleep(0.8 if expected else 0.05)
        true(primary.must("WAIT", 1, 5000) == 1, "WAIT under load")
        bank.stop()
    wait_same_offset(primary, replica)
    equal(total(replica), IN_ALL, "the sum of the accounts")
    equal_digest(primary, replica)
    true((carried(replica) > 100_000) == (expected > 0), f"{carried(replica)} bytes over flows")
    replid, end = replica.info()["master_replid"], int(replica.info()["master_repl_offset"])
    if not (primary.is_redis or replica.is_redis):
        count = min(end - start + 1, 8 << 20)
        same = stream_bytes(primary, replid, start, count) == stream_bytes(replica, replid, start, count)
        true(same, "the replica's backlog is not its primary's")


@test("both")
def flows_that_are_cut_go_on_where_they_stopped_and_lose_nothing(bench):
    if not are_possible(bench):
        return NONE
    primary = bench.primary(*said_to(bench.primary_kind))
    proxy = bench.keep(Proxy(primary.port))
    replica = bench.replica(None, *said_to(bench.replica_kind))
    with Bank(primary) as bank:
        replica.must("REPLICAOF", "127.0.0.1", proxy.port)
        replica.wait_up()
        for turn in range(6):
            time.sleep(0.25)
            if turn % 3 == 0:
                proxy.cut()
            elif turn % 3 == 1:
                primary.must("CLIENT", "KILL", "TYPE", "replica")
            else:
                replica.must("CLIENT", "KILL", "TYPE", "master")
            time.sleep(0.1)
            replica.wait_up()
        bank.stop()
    wait_same_offset(primary, replica)
    full, partial, _ = primary.syncs()
    true(full == 1 and partial >= 4, f"{full} full and {partial} partial syncs")
    equal(total(replica), IN_ALL, "the sum of the accounts")
    equal_digest(primary, replica)
    return None


@test("both")
def a_replica_with_flows_promoted_under_load_has_whole_transactions_and_feeds_its_old_primary(bench):
    if not are_possible(bench):
        return NONE
    primary, replica = pair(bench)
    with Bank(primary) as bank:
        time.sleep(0.7)
        replica.must("REPLICAOF", "NO", "ONE")
        equal(total(replica), IN_ALL, "the sum of the accounts on the promoted replica")
        offset = int(replica.info()["second_repl_offset"]) - 1
        # What its primary had written up to there is what it has, byte for byte: another replica goes on from there.
        bank.stop()
    true(int(primary.info()["master_repl_offset"]) >= offset, "the promoted replica is ahead of its primary")
    other = bench.replica(replica, *said_to(bench.replica_kind))
    with Bank(replica, seed=2, transfers=False):
        time.sleep(0.4)
    primary.follow(replica)
    primary.wait_up()
    wait_same_offset(replica, other, primary)
    equal(total(primary), IN_ALL, "the sum of the accounts on the old primary")
    equal_digest(replica, other)
    equal_digest(replica, primary)
    return None


@test("replica")
def sub_replicas_snapshots_and_restarts_of_a_replica_with_flows_stand_at_one_offset(bench):
    if shards_of_kind(bench.replica_kind) < 2:
        return NONE
    primary = bench.node("s4", *FLOWS)
    replica = bench.node(bench.replica_kind, *said_to(bench.replica_kind), "--save", "3600 1000000", "--replicaof", f"127.0.0.1 {primary.port}")
    replica.wait_up()
    with Bank(primary) as bank:
        time.sleep(0.3)
        below = bench.node(bench.replica_kind, *said_to(bench.replica_kind))
        below.follow(replica)
        below.wait_up()
        equal(flows_of(below), 0, "flows to a replica's replica")
        replica.must("SAVE")
        time.sleep(0.3)
        for number in (9, 15):
            replica.end(number)
            time.sleep(0.2)
            replica.start()
            replica.wait_up()
            below.wait_up()
            time.sleep(0.2)
        bank.stop()
    wait_same_offset(primary, replica, below)
    equal(primary.syncs()[0], 1, "full syncs of the primary")
    for one in (replica, below):
        equal(total(one), IN_ALL, "the sum of the accounts")
        equal_digest(primary, one)
    return None


@test("both")
def where_one_side_wants_no_flows_there_is_one_stream(bench):
    if not are_possible(bench):
        return NONE
    for ours, theirs in (("no", "yes"), ("yes", "no")):
        primary = bench.primary("--repl-parallel-flows", ours)
        replica = bench.replica(primary, "--repl-parallel-flows", theirs)
        with Bank(primary):
            time.sleep(0.3)
        wait_same_offset(primary, replica)
        equal((flows_of(replica), carried(replica)), (0, 0), "flows")
        equal_digest(primary, replica)
    return None


@test("both")
def flows_that_cannot_be_made_or_break_leave_the_main_connection(bench):
    if not are_possible(bench):
        return NONE
    primary = bench.primary(*said_to(bench.primary_kind))
    replica = bench.replica(None, *said_to(bench.replica_kind))
    proxy = bench.keep(Proxy(primary.port))
    replica.must("REPLICAOF", "127.0.0.1", proxy.port)
    replica.wait_up()
    wait_until(lambda: f",flows={flows_between(primary, replica)}" in primary.info().get("slave0", ""), 5, "flows")
    with Bank(primary) as bank:
        time.sleep(0.3)
        # One flow alone breaks: the last connection that was made. Where the primary hears of it first and ends the whole
        # link before the replica has looked, that was no broken flow to the replica: once more.
        began = time.monotonic()
        while "is lost" not in replica.log() and time.monotonic() < began + 10:
            try:
                for one in proxy.pairs[-1]:
                    one.shutdown(socket.SHUT_RDWR)
            except (OSError, IndexError):
                pass  # the proxy was quicker
            time.sleep(0.3)
        replica.logged("is lost")
        wait_until(lambda: replica.link_up() and flows_of(replica) == 0, 10, "one stream after a flow was lost")
        time.sleep(0.2)
        # Flows are refused: the proxy takes one connection more.
        proxy.cut()
        wait_until(lambda: len(proxy.pairs) >= 1, 10, "the main connection")
        proxy.refusing = True
        replica.wait_up()
        time.sleep(0.4)
        bank.stop()
    wait_same_offset(primary, replica)
    equal_digest(primary, replica)
    equal(primary.syncs()[0], 1, "full syncs")
    return None


@test("replica")
def what_is_no_flow_of_anybody_is_closed(bench):
    node = bench.node("s4", *FLOWS)
    for asked in (("PSYNC", "flow-of:" + "a" * 40, 0), ("PSYNC", "flow-of:", -5), ("PSYNC", "flow-of:x", 1 << 40)):
        wire = FakeReplica(node)
        wire.raw(encode(*asked))
        true(wire.closed(5), str(asked))
    wire = FakeReplica(node, capa=("psync2", "eof", "flows:3"))
    words = wire.psync().split()
    equal((words[0], words[3:5]), (b"+FULLRESYNC", [b"FLOWS", b"3"]), str(words))
    wire.take_snapshot()
    flow = FakeReplica(node)
    flow.send("PSYNC", b"flow-of:" + words[5], 2)
    equal(flow.line(), b"+OK", "a flow")
    again = FakeReplica(node)
    again.send("PSYNC", b"flow-of:" + words[5], 2)
    true(again.closed(5), "the same flow twice")
    node.must("SET", "key", "value")
    head = wire.exactly(9)
    true(head[0] == 0 and head[5:9] != b"\0\0\0\0", f"a frame on the main connection, not {head}")
    flow.close()
    true(wire.closed(5), "the main connection goes on without its flow")
