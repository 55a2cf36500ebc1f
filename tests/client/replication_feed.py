"""The replica's side byte by byte, fed by a primary made by hand: handshake, acknowledgements, odd streams, bad input."""

import re
import time

from replication_kit import (
    GETACK, PING, FakePrimary, FakeReplica, Wire, encode, equal, snapshot, starts, test, true, wait_same,
)
from runtime import resident_bytes
from support import ErrorReply, wait_until

REPLID = "0123456789abcdef0123456789abcdef01234567"
OTHER = "fedcba9876543210fedcba9876543210fedcba98"


def good(keys=(("new", "1"),), offset=100, stream=b"", diskless=False, stream_db=0, replid=REPLID):
    """Behaves: a full sync, then the link is left to the test."""
    def behave(link):
        link.handshake()
        link.full(replid, offset, snapshot(keys, stream_db=stream_db), diskless)
        if diskless:
            link.wait_ack(offset)
        link.raw(stream)
        link.stays = True
    return behave


def fed(bench, behave=None, *extra, **options):
    """A replica that has had a full sync by a primary made by hand: (primary, replica, link)."""
    replica = bench.replica(None, *extra)
    primary = bench.keep(FakePrimary(behave or good(**options)))
    replica.must("REPLICAOF", "127.0.0.1", primary.port)
    link = primary.wait_link(0)
    true(link.done.wait(15), "the sync did not come to its end")
    replica.wait_up()
    return primary, replica, link


def applied(replica):
    return int(replica.info()["slave_repl_offset"])


# --- handshake ---------------------------------------------------------------------------------------------------------------------

@test("replica")
def the_handshake_is_what_primaries_expect(bench):
    primary, replica, link = fed(bench)
    words = [one for one in link.requests]
    equal(words[0], [b"PING"])
    equal(words[1], [b"REPLCONF", b"listening-port", b"%d" % replica.port])
    equal(words[2][:5], [b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"])
    psync = words[-1]
    true(psync[0] == b"PSYNC" and len(psync) == 3, str(psync))
    true(psync[1:] == [b"?", b"-1"] or (re.fullmatch(rb"[0-9a-f]{40}", psync[1]) and psync[2] == b"1"), str(psync))
    true(link.bytes_in.startswith(b"*1\r\n$4\r\nPING\r\n*3\r\n$8\r\nREPLCONF\r\n$14\r\nlistening-port\r\n"), str(link.bytes_in[:100]))
    equal(replica.must("GET", "new"), b"1")
    found = replica.info()
    equal((found["master_replid"], found["master_repl_offset"], found["master_replid2"]), (REPLID, "100", "0" * 40))
    equal(replica.must("ROLE"), [b"slave", b"127.0.0.1", primary.port, b"connected", 100])


@test("replica")
def passwords_and_addresses_are_told_in_order(bench):
    _, _, link = fed(bench, None, "--masterauth", "pw", "--masteruser", "joe", "--replica-announce-ip", "1.2.3.4", "--replica-announce-port", "77")
    words = [one for one in link.requests if one[0] != b"PING"]
    equal(words[0], [b"AUTH", b"joe", b"pw"])
    equal(words[1], [b"REPLCONF", b"listening-port", b"77"])
    equal(words[2], [b"REPLCONF", b"ip-address", b"1.2.3.4"])
    equal(words[3][:2], [b"REPLCONF", b"capa"])


@test("replica")
def a_primary_that_knows_little_is_followed(bench):
    """Errors to REPLCONF are no reason to give up, nor is -NOAUTH to PING."""
    def behave(link):
        link.handshake({b"PING": b"-NOAUTH Authentication required.\r\n", b"REPLCONF": b"-ERR unknown command\r\n"})
        link.full(REPLID, 5, snapshot([("k", "v")]))
        link.stays = True
    _, replica, _ = fed(bench, behave)
    equal(replica.must("GET", "k"), b"v")


@test("replica")
def an_answer_to_psync_that_is_unknown_falls_back_to_sync(bench):
    def behave(link):
        link.handshake()
        link.raw(b"-ERR unknown command 'PSYNC'\r\n")
        true(link.handshake()[0].upper() == b"SYNC", "SYNC after an error to PSYNC")
        link.transfer(snapshot([("k", "v")]))
        link.raw(encode("SET", "by", "stream"))
        link.stays = True
    _, replica, link = fed(bench, behave)
    true(link.inline_sync, "SYNC was sent")
    equal(replica.must("GET", "k"), b"v")
    wait_until(lambda: replica.must("GET", "by") == b"stream", 5, "the stream")


@test("replica")
def refusals_that_pass_are_tried_again(bench):
    answers = [b"-LOADING Redis is loading the dataset in memory\r\n", b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n"]

    def behave(link):
        if link.number == 0:
            link.request()
            link.raw(b"-LOADING later\r\n")  # to PING
            return
        link.handshake()
        if link.number <= len(answers):
            link.raw(answers[link.number - 1])
            equal(link.closed(10), True, "the link after a refusal")
            return
        link.full(REPLID, 5, snapshot([("k", "v")]))
        link.stays = True
    replica = bench.replica()
    replica.must("SET", "old", 1)
    primary = bench.keep(FakePrimary(behave))
    replica.must("REPLICAOF", "127.0.0.1", primary.port)
    primary.wait_link(2)
    equal(replica.must("GET", "old"), b"1")
    primary.wait_link(3)
    replica.wait_up()
    equal(replica.must("KEYS", "*"), [b"k"])
    equal(primary.problems, [])


# --- transfers ---------------------------------------------------------------------------------------------------------------------

@test("replica")
def both_forms_of_transfer_are_taken(bench):
    keys = [(f"k:{n}", "x" * (n % 300)) for n in range(2000)]
    for diskless in (False, True):
        for load in ("disabled", "swapdb", "on-empty-db"):
            primary, replica, link = fed(bench, None, "--repl-diskless-load", load, keys=keys, diskless=diskless,
                                         stream=encode("SET", "after", "1"))
            wait_until(lambda: replica.must("EXISTS", "after"), 5, "the stream")
            equal(replica.must("DBSIZE"), 2001, f"keys, diskless {diskless}, {load}")
            equal(replica.must("GET", "k:299"), b"x" * 299)
            primary.close()
            replica.end(9)


@test("replica")
def newlines_keep_a_slow_primary_alive(bench):
    """Longer than repl-timeout before the snapshot, and during it bytes that come slowly."""
    def behave(link):
        link.handshake()
        for _ in range(6):
            link.raw(b"\n")
            time.sleep(0.5)
        link.raw(b"+FULLRESYNC %s 7\r\n" % REPLID.encode())
        for _ in range(6):
            link.raw(b"\n")
            time.sleep(0.5)
        data = b"$%d\r\n" % len(rdb) + rdb
        for start in range(0, len(data), len(data) // 6 + 1):
            link.raw(data[start:start + len(data) // 6 + 1])
            time.sleep(0.5)
        link.stays = True
    rdb = snapshot([(f"k:{n}", "v") for n in range(100)])
    replica = bench.replica(None, "--repl-timeout", "2")
    primary = bench.keep(FakePrimary(behave))
    replica.must("REPLICAOF", "127.0.0.1", primary.port)
    replica.wait_up()
    equal((replica.must("DBSIZE"), len(primary.links)), (100, 1), "keys and connections")


@test("replica")
def a_transfer_shows_its_progress(bench):
    def behave(link):
        link.handshake()
        link.raw(b"+FULLRESYNC %s 7\r\n$%d\r\n" % (REPLID.encode(), len(rdb)) + rdb[:len(rdb) // 2])
        link.stays = True
    rdb = snapshot([(f"k:{n}", "v" * 100) for n in range(5000)])
    replica = bench.replica()
    primary = bench.keep(FakePrimary(behave))
    replica.must("REPLICAOF", "127.0.0.1", primary.port)
    primary.wait_link(0).done.wait(10)
    half = len(rdb) // 2
    wait_until(lambda: replica.info().get("master_sync_read_bytes") == str(half), 10, "half of the bytes in INFO")
    found = replica.info()
    equal((found["master_sync_in_progress"], found["master_sync_total_bytes"], found["master_sync_left_bytes"]),
          ("1", str(len(rdb)), str(len(rdb) - half)))
    equal(found["master_sync_perc"], f"{100 * half / len(rdb):.2f}")
    true(int(found["master_sync_last_io_seconds_ago"]) <= 1, str(found))
    equal(replica.must("ROLE")[3], b"sync")
    primary.links[0].raw(rdb[half:])
    replica.wait_up()
    equal(replica.info()["master_sync_in_progress"], "0")
    equal(replica.must("DBSIZE"), 5000)


@test("replica")
def a_primary_that_falls_silent_in_a_transfer_is_dropped(bench):
    def behave(link):
        link.stays = True
        link.handshake()
        if link.number == 0:
            return  # silent after PSYNC
        link.raw(b"+FULLRESYNC %s 7\r\n$%d\r\nREDIS" % (REPLID.encode(), 1000))
        if link.number >= 2:
            link.raw(rdb[5:])
    rdb = snapshot([("k", "v" * 100)])
    rdb += b"\x00" * (1000 - len(rdb))
    rdb = snapshot([("k", "v" * (1000 - len(snapshot([("k", "v" * 100)])) + 100))])
    equal(len(rdb), 1000)
    replica = bench.replica(None, "--repl-timeout", "2")
    replica.must("SET", "old", 1)
    primary = bench.keep(FakePrimary(behave))
    replica.must("REPLICAOF", "127.0.0.1", primary.port)
    primary.wait_link(1)
    equal(replica.must("GET", "old"), b"1", "the old data")
    primary.wait_link(2)
    equal(primary.links[0].closed(2) and primary.links[1].closed(2), True, "the links dropped")
    replica.wait_up()
    equal(replica.must("KEYS", "*"), [b"k"])


# --- the stream ----------------------------------------------------------------------------------------------------------------------

@test("replica")
def acknowledgements_come_each_second_and_when_asked(bench):
    _, replica, link = fed(bench, offset=1000)
    link.wait_ack(1000)
    command = encode("SET", "a", "1")
    link.raw(command)
    equal(link.wait_ack(1000 + len(command), 3), 1000 + len(command))
    now = 1000 + len(command)
    link.raw(PING)
    now += len(PING)
    began = time.monotonic()
    link.raw(GETACK)
    while (words := link.request())[:2] != [b"REPLCONF", b"ACK"] or int(words[2]) < now:
        pass
    equal(int(words[2]), now, "the answer to GETACK leaves out its own bytes")
    true(time.monotonic() - began < 0.9, "GETACK is answered at once")
    now += len(GETACK)
    link.acks.clear()
    equal(link.wait_ack(now, 3), now, "the next one has them")
    began, count = time.monotonic(), 0
    while count < 3:
        words = link.request()
        equal((words[:2], int(words[2])), ([b"REPLCONF", b"ACK"], now))
        count += 1
    true(1.5 < time.monotonic() - began < 10, "one a second")
    equal(applied(replica), now)


@test("replica")
def a_transaction_counts_when_it_ends(bench):
    _, replica, link = fed(bench, offset=1000)
    start = encode("MULTI") + encode("SET", "a", "1") + encode("SELECT", 3) + encode("SET", "b", "2")
    link.raw(start)
    link.wait_ack(1000)
    time.sleep(1.2)
    equal((applied(replica), replica.must("GET", "a")), (1000, None), "in the middle of a transaction")
    equal(int(replica.info()["slave_read_repl_offset"]), 1000 + len(start))
    link.raw(encode("EXEC") + encode("SET", "c", "3"))
    total = len(start) + len(encode("EXEC")) + len(encode("SET", "c", "3"))
    wait_until(lambda: applied(replica) == 1000 + total, 5, "the offset after EXEC")
    equal(replica.must("GET", "a"), b"1")
    replica.must("SELECT", 3)
    equal(replica.must("MGET", "b", "c"), [b"2", b"3"], "the database selected inside stays")
    replica.must("SELECT", 0)


@test("replica")
def a_link_lost_within_a_transaction_resumes_before_it(bench):
    def behave(link):
        link.handshake()
        if link.number == 0:
            link.full(REPLID, 1000, snapshot([("a", "0")]))
        else:
            link.raw(b"+CONTINUE\r\n")
        link.stays = True
    primary, replica, link = fed(bench, behave)
    first = encode("SET", "a", "1")
    link.raw(first + encode("MULTI") + encode("INCR", "a") + encode("INCR", "a"))
    wait_until(lambda: replica.must("GET", "a") == b"1", 5, "what comes before")
    time.sleep(0.2)
    link.socket.shutdown(2)
    link = primary.wait_link(1)
    link.done.wait(5)
    equal(link.psync, [b"PSYNC", REPLID.encode(), b"%d" % (1001 + len(first))], "where it asks to go on")
    link.raw(encode("MULTI") + encode("INCR", "a") + encode("INCR", "a") + encode("EXEC"))
    wait_until(lambda: replica.must("GET", "a") == b"3", 5, "the transaction, once")


@test("replica")
def a_link_lost_within_a_command_resumes_before_it(bench):
    def behave(link):
        link.handshake()
        if link.number == 0:
            link.full(REPLID, 1000, snapshot([("a", "0")], stream_db=0))
        else:
            link.raw(b"+CONTINUE %s\r\n" % (REPLID if link.number == 1 else OTHER).encode())
        link.stays = True
    primary, replica, link = fed(bench, behave)
    whole = encode("SELECT", 4) + encode("INCR", "n")
    link.raw(whole + encode("SET", "n", "x" * 100)[:50])
    replica.must("SELECT", 4)
    wait_until(lambda: replica.must("GET", "n") == b"1", 5, "what comes before")
    link.socket.shutdown(2)
    link = primary.wait_link(1)
    link.done.wait(5)
    equal(link.psync[2], b"%d" % (1001 + len(whole)), "where it asks to go on")
    link.raw(encode("INCR", "n"))
    wait_until(lambda: replica.must("GET", "n") == b"2", 5, "the same database as before")
    # A history that goes on under another name.
    link.socket.shutdown(2)
    link = primary.wait_link(2)
    link.done.wait(5)
    at = 1000 + len(whole) + len(encode("INCR", "n"))
    equal(link.psync[1:], [REPLID.encode(), b"%d" % (at + 1)])
    replica.wait_up()
    found = replica.info()
    equal((found["master_replid"], found["master_replid2"], int(found["second_repl_offset"])), (OTHER, REPLID, at + 1))


@test("replica")
def the_snapshot_names_the_database_of_the_stream(bench):
    _, replica, _ = fed(bench, stream_db=3, stream=encode("SET", "k", "v"))
    replica.must("SELECT", 3)
    wait_until(lambda: replica.must("GET", "k") == b"v", 5, "the write in database 3")


@test("replica")
def streams_of_other_servers_are_understood(bench):
    future = 4_000_000_000_000
    stream = [
        (b"SELECT", b"0"), (b"zadd", b"geo", b"nx", b"ch", b"3479099956230698", b"P"), (b"RPUSH", b"l", b"1", b"2", b"3"),
        (b"lmove", b"l", b"l2", b"left", b"right"), (b"SADD", b"s", b"1", b"2", b"3", b"4"), (b"SREM", b"s", b"1", b"2"), (b"UNLINK", b"none", b"new"),
        (b"MULTI",), (b"SELECT", b"2"), (b"SET", b"in2", b"1"), (b"SELECT", b"0"), (b"SET", b"in0", b"1"), (b"EXEC",),
        (b"MULTI",), (b"EXEC",), (b"MULTI",), (b"PUBLISH", b"c", b"m"), (b"EXEC",), (b"ping",), (b"PING",),
        (b"XADD", b"x", b"MAXLEN", b"=", b"5", b"1-1", b"f", b"v"), (b"XADD", b"x", b"MINID", b"=", b"1-1", b"LIMIT", b"5", b"2-1", b"f", b"v"), (b"XGROUP", b"CREATE", b"x", b"g", b"0"),
        (b"XCLAIM", b"x", b"g", b"c", b"0", b"1-1", b"TIME", b"1700000000000", b"RETRYCOUNT", b"1", b"FORCE", b"JUSTID", b"LASTID", b"1-1"),
        (b"XGROUP", b"SETID", b"x", b"g", b"2-1", b"ENTRIESREAD", b"2"), (b"XGROUP", b"CREATECONSUMER", b"x", b"g", b"idle"),
        (b"SET", b"k", b"v", b"PXAT", b"%d" % future), (b"PEXPIREAT", b"in0", b"%d" % future), (b"SET", b"gone", b"v", b"PXAT", b"1"), (b"DEL", b"gone"),
        (b"SET", b"f", b"10.5", b"KEEPTTL"), (b"SET", b"k2", b"v", b"GET"), (b"SET", b"late", b"v", b"PXAT", b"1000"), (b"HSET", b"h", b"f", b"6.5"),
        (b"MSET", *[b"%c:%d" % (c, n) for n in range(30) for c in b"kv"]), (b"COPY", b"k", b"k", b"DB", b"5", b"REPLACE"), (b"SWAPDB", b"5", b"6"),
        (b"LPOP", b"l", b"1"), (b"FUNCTION", b"LOAD", b"#!lua name=l\nredis.register_function('f', function() return 7 end)"),
        (b"SET", b"\x00\r\n", b""), (b"SET", b"", b"\xff" * 100_000), (b"PFADD", b"hll", b"a", b"b"), (b"PFCOUNT", b"hll"),
        (b"DEL", b"none at all"), (b"SPUBLISH", b"c", b"m"), (b"SELECT", b"9"), (b"SET", b"last", b"1"), (b"SELECT", b"0"),
    ]
    data = b"".join(encode(*one) for one in stream)
    _, replica, link = fed(bench, offset=0)
    for start in range(0, len(data), 7777):  # commands are cut anywhere
        link.raw(data[start:start + 7777])
        time.sleep(0.01)
    wait_until(lambda: applied(replica) == len(data), 10, f"the offset {len(data)}")
    with replica.client() as client:
        equal(client.must("ZCARD", "geo"), 1)
        equal((client.must("LRANGE", "l2", 0, -1), client.must("LRANGE", "l", 0, -1)), ([b"1"], [b"3"]))
        equal(sorted(client.must("SMEMBERS", "s")), [b"3", b"4"])
        equal(client.must("MGET", "new", "in0", "k", "gone", "f", "k2", "late", b"\x00\r\n"), [None, b"1", b"v", None, b"10.5", b"v", None, b""])
        equal((client.must("PEXPIRETIME", "k"), client.must("PEXPIRETIME", "in0")), (future, future))
        equal(client.must("STRLEN", ""), 100_000)
        equal(client.must("XPENDING", "x", "g")[0], 1)
        equal(client.must("XINFO", "GROUPS", "x")[0][7], b"2-1", "last-delivered-id")
        equal(client.must("FCALL_RO", "f", 0) if not isinstance(client.call("FCALL_RO", "f", 0), ErrorReply) else 7, 7)
        equal(client.must("MGET", "k:0", "k:29"), [b"v:0", b"v:29"])
        client.must("SELECT", 2)
        equal(client.must("GET", "in2"), b"1")
        client.must("SELECT", 6)
        equal(client.must("GET", "k"), b"v")
        client.must("SELECT", 9)
        equal(client.must("GET", "last"), b"1")
    equal(replica.info("stats")["unexpected_error_replies"], "0", "commands that failed")


@test("replica")
def keys_expire_by_the_primarys_word_alone(bench):
    _, replica, link = fed(bench, offset=0)
    past = b"%d" % (int(time.time() * 1000) - 1000)
    data = encode("SET", "k", "v") + encode("PEXPIREAT", "k", past) + encode("SET", "m", "v", "PXAT", past)
    link.raw(data)
    wait_until(lambda: applied(replica) == len(data), 5, "the offset")
    equal((replica.must("GET", "k"), replica.must("EXISTS", "m"), replica.must("DBSIZE")), (None, 0, 3), "hidden but there")
    # For the primary they are still there.
    more = encode("APPEND", "k", "w") + encode("PERSIST", "k") + encode("RENAME", "m", "m2") + encode("PERSIST", "m2")
    link.raw(more)
    wait_until(lambda: applied(replica) == len(data + more), 5, "the offset")
    equal((replica.must("GET", "k"), replica.must("GET", "m2")), (b"vw", b"v"), "the stream's view")


@test("replica")
def a_stream_that_fails_is_told_and_gone_on_with(bench):
    _, replica, link = fed(bench, offset=0)
    data = encode("SET", "k", "v") + encode("LPUSH", "k", "1") + encode("NOSUCHCOMMAND", "x") + encode("SET", "after", "1")
    link.raw(data)
    wait_until(lambda: replica.must("GET", "after") == b"1", 5, "what follows")
    true(int(replica.info("stats")["unexpected_error_replies"]) >= 1, "unexpected_error_replies")
    wait_until(lambda: applied(replica) == len(data), 5, "the offset")
    replica.logged("== CRITICAL == This replica is sending an error to its master")


@test("replica")
def a_stream_that_fails_ends_the_replica_where_that_is_configured(bench):
    _, replica, link = fed(bench, None, "--propagation-error-behavior", "panic-on-replicas", offset=0)
    replica.must("CONFIG", "SET", "replica-read-only", "no")
    link.raw(encode("NOSUCHCOMMAND", "x") + encode("SET", "after", "1"))
    wait_until(lambda: replica.must("GET", "after") == b"1", 5, "a writable replica goes on")
    replica.must("CONFIG", "SET", "replica-read-only", "yes")
    link.raw(encode("NOSUCHCOMMAND", "x"))
    wait_until(lambda: not replica.alive(), 10, "the replica's end")


@test("replica")
def requests_of_the_stream_are_not_answered(bench):
    _, replica, link = fed(bench, offset=0)
    link.wait_ack(0)
    link.raw(encode("GET", "new") + encode("PING") + encode("INFO") + encode("SET", "after", "1"))
    wait_until(lambda: replica.must("GET", "after") == b"1", 5, "the write")
    limit = time.monotonic() + 1.5
    while time.monotonic() < limit:
        equal(link.request()[:2], [b"REPLCONF", b"ACK"], "what the replica says")


@test("replica")
def the_stream_is_passed_on_byte_for_byte(bench):
    primary, replica, link = fed(bench, offset=500, stream_db=2)
    sub = bench.keep(FakeReplica(replica).sync())
    equal((sub.replid, sub.offset), (REPLID, 500))
    data = (PING + encode("set", "k", "v") + encode("MULTI") + encode("SELECT", 7) + encode("Set", "x", "1") + encode("EXEC") + GETACK
            + encode("SET", "big", "y" * 200_000) + encode("DEL", "none") + encode("SET", "end", "1"))
    for start in range(0, len(data), 999):
        link.raw(data[start:start + 999])
    equal(sub.exactly(len(data)), data, "the bytes passed on")
    equal(int(replica.info()["master_repl_offset"]), 500 + len(data))
    link.socket.shutdown(2)
    replica.must("REPLICAOF", "NO", "ONE")
    true(sub.closed(5), "a promotion disconnects sub-replicas")
    again = bench.keep(FakeReplica(replica))
    starts(again.psync(REPLID, 501 + len(data)), b"+CONTINUE ", "and they resume")
    with replica.client() as client:
        client.must("SET", "own", "1")
    equal([again.next(), again.next()], [[b"SELECT", b"0"], [b"SET", b"own", b"1"]])
    del primary


# --- bad input -----------------------------------------------------------------------------------------------------------------------

def misfed(bench, wrong, *extra, load="disabled", kept=True, links=1, seconds=20):
    """A replica with data meets a primary that goes wrong `links` times and then behaves."""
    released = []

    def behave(link):
        if link.number < links:
            wrong(link)
        elif not released:
            link.close()  # nothing more, until the test has looked
        else:
            good()(link)
    replica = bench.replica(None, "--repl-diskless-load", load, *extra)
    replica.must("SET", "old", 1)
    primary = bench.keep(FakePrimary(behave))
    replica.must("REPLICAOF", "127.0.0.1", primary.port)
    wait_until(lambda: len(primary.links) > links, seconds, "the replica to try again")
    equal(replica.must("PING"), b"PONG", "the replica answers")
    if kept:
        equal(replica.must("GET", "old"), b"1", "the old data")
    equal(replica.info()["master_link_status"], "down")
    released.append(True)
    replica.wait_up()
    equal(replica.must("KEYS", "*"), [b"new"])
    equal(primary.problems, [], "what went wrong in the primary made by hand")
    return replica


@test("replica")
def garbage_instead_of_answers_is_no_primary(bench):
    for garbage in (b"\x16\x03\x01\x02\x00\x01garbage\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"):
        misfed(bench, lambda link, garbage=garbage: (link.request(), link.raw(garbage)))


@test("replica")
def garbage_instead_of_a_snapshot_leaves_the_data(bench):
    def behave(link):
        link.handshake()
        link.raw(b"+FULLRESYNC %s 5\r\n+no length\r\n" % REPLID.encode())
        link.closed(10)
    misfed(bench, behave)


@test("replica")
def an_odd_answer_to_psync_leaves_the_data(bench):
    for answer in (b"+FULLRESYNC\r\n", b"+FULLRESYNC short 5\r\n"):
        def behave(link, answer=answer):
            link.handshake()
            link.raw(answer)
            link.closed(3)
        misfed(bench, behave, "--repl-timeout", "4")


@test("replica")
def a_snapshot_cut_short_leaves_the_data(bench):
    rdb = snapshot([(f"k:{n}", "v" * 50) for n in range(1000)])

    def behave(link):
        link.handshake()
        link.raw(b"+FULLRESYNC %s 5\r\n$%d\r\n" % (REPLID.encode(), len(rdb)) + rdb[:-500])
    for load in ("disabled", "swapdb"):
        misfed(bench, behave, load=load)


@test("replica")
def a_marked_snapshot_cut_short_leaves_the_data(bench):
    rdb = snapshot([(f"k:{n}", "v" * 50) for n in range(1000)])

    def behave(link):
        link.handshake()
        link.raw(b"+FULLRESYNC %s 5\r\n$EOF:" % REPLID.encode() + b"m" * 40 + b"\r\n" + rdb[:-500])
    for load in ("disabled", "swapdb"):
        misfed(bench, behave, load=load)


def corrupt(how):
    rdb = bytearray(snapshot([(f"k:{n}", "v" * 50) for n in range(1000)]))
    if how == "checksum":
        rdb[-8:] = b"\x01\x02\x03\x04\x05\x06\x07\x08"
    elif how == "magic":
        rdb[:5] = b"RUDIS"
    elif how == "version":
        rdb[5:9] = b"0099"
    elif how == "opcode":
        rdb[rdb.index(b"k:500") - 2] = 0x6b
    elif how == "cut":
        del rdb[-3000:]
    return bytes(rdb)


def corrupted(bench, how, load):
    rdb = corrupt(how)

    def behave(link):
        link.handshake()
        link.full(REPLID, 5, rdb, diskless=load != "disabled")
        link.closed(10)
    # A second data set that turns out wrong is dropped; otherwise loading has begun, and what was there is gone.
    misfed(bench, behave, load=load, kept=load == "swapdb")


@test("replica")
def a_wrong_snapshot_from_the_socket_is_dropped_and_asked_for_again(bench):
    for how in ("magic", "version", "opcode", *(("checksum", "cut") if bench.replica_kind != "r" else ())):
        corrupted(bench, how, "swapdb")  # Redis ends itself over a wrong checksum


@test("replica")
def a_wrong_snapshot_by_file_does_not_end_the_replica(bench):
    if bench.replica_kind == "r":
        return "Redis ends itself over a file that does not load"
    for how in ("checksum", "magic", "version", "opcode", "cut"):
        corrupted(bench, how, "disabled")


@test("replica")
def an_endless_bulk_in_the_stream_does_not_take_all_memory(bench):
    if bench.replica_kind == "r":
        return "Redis asks for as much as the number says, and ends when it does not get it"
    _, replica, link = fed(bench, offset=0)
    before = resident_bytes(replica.pid)
    link.raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$900000000000\r\n" + b"x" * 1_000_000)
    time.sleep(0.5)
    equal(replica.must("PING"), b"PONG")
    true(resident_bytes(replica.pid) < before + 100_000_000, "memory for what has not come")


@test("replica")
def an_endless_request_line_is_refused(bench):
    _, replica, link = fed(bench, offset=0)
    try:
        for _ in range(200):
            link.raw(b"x" * 65536)
        link.closed(5)
    except OSError:
        pass
    wait_until(lambda: len(link.owner.links) > 1, 10, "the link to be closed")
    replica.wait_up()  # it is sent all anew, and says LOADING meanwhile
    equal(replica.must("PING"), b"PONG")
    equal(replica.must("GET", "new"), b"1")


@test("replica")
def inline_and_malformed_data_end_the_link(bench):
    for bad in (b"SET k v\r\n", b"*1\r\n+PING\r\n", b"*abc\r\n", b"*2\r\n$3\r\nGET\r\n$-5\r\n", b"\x01\x02\x03\r\n"):
        primary, replica, link = fed(bench, lambda link: good(offset=0)(link) if link.number == 0 else None)
        link.raw(encode("SET", "a", "1") + bad)
        true(link.closed(5), f"the link after {bad}")
        wait_until(lambda: len(primary.links) > 1, 10, "the replica's return")
        equal((replica.must("GET", "a"), replica.must("GET", "new")), (b"1", b"1"), "the data")
        primary.close()
        replica.end(9)


@test("replica")
def a_primary_that_is_the_replica_itself_harms_nobody(bench):
    replica = bench.replica()
    replica.must("SET", "a", 1)
    replica.must("REPLICAOF", "127.0.0.1", replica.port)
    time.sleep(1.5)
    equal(replica.must("GET", "a"), b"1")
    equal(replica.info()["master_link_status"], "down")
    replica.must("REPLICAOF", "NO", "ONE")
    equal(replica.must("SET", "a", 2), b"OK")


@test()
def two_that_follow_each_other_harm_nobody(bench):
    primary, replica = bench.pair()
    primary.must("SET", "a", 1)
    primary.must("REPLICAOF", "127.0.0.1", replica.port)
    time.sleep(1.5)
    for node in (primary, replica):
        equal(node.must("PING"), b"PONG")
    primary.must("REPLICAOF", "NO", "ONE")
    replica.must("REPLICAOF", "NO", "ONE")
    replica.follow(primary)
    replica.wait_up()
    primary.must("SET", "b", 1)
    wait_same(primary, replica)


@test("replica")
def a_name_that_cannot_be_found_and_a_port_that_refuses_are_tried_again(bench):
    replica = bench.replica()
    replica.must("SET", "a", 1)
    replica.must("REPLICAOF", "no.such.host.invalid", 6379)
    time.sleep(0.5)
    equal(replica.must("GET", "a"), b"1")
    replica.must("REPLICAOF", "127.0.0.1", 1)
    time.sleep(0.5)
    equal((replica.must("GET", "a"), replica.info()["master_link_status"]), (b"1", "down"))
    primary = bench.keep(FakePrimary(good()))
    replica.must("REPLICAOF", "localhost", primary.port)
    replica.wait_up()
    equal(replica.must("GET", "new"), b"1")


@test("replica")
def commands_meanwhile_say_that_it_loads(bench):
    """In the middle of a transfer that is parsed as it comes, the old data is gone and the new not yet there."""
    rdb = snapshot([(f"k:{n}", "v" * 100) for n in range(30_000)])

    def behave(link):
        link.handshake()
        link.raw(b"+FULLRESYNC %s 5\r\n$EOF:" % REPLID.encode() + b"m" * 40 + b"\r\n")
        at = 0
        while at < len(rdb) and not (seen and at > len(rdb) // 2):  # slowly, and the rest when it was looked at
            link.raw(rdb[at:at + 20_000])
            at += 20_000
            time.sleep(0.02)
        link.raw(rdb[at:] + b"m" * 40)
        link.stays = True
    seen = []
    replica = bench.replica(None, "--repl-diskless-load", "on-empty-db")
    replica.call("CONFIG", "SET", "loading-process-events-interval-bytes", "10240")  # hidden in Redis
    primary = bench.keep(FakePrimary(behave))
    replica.must("REPLICAOF", "127.0.0.1", primary.port)
    wait_until(lambda: replica.info("persistence")["loading"] == "1", 10, "loading")
    starts(replica.call("GET", "k:1"), b"LOADING ", "GET while it loads")
    wire = bench.keep(Wire.to(replica.port))
    starts(wire.ask("PSYNC", "?", -1), b"-LOADING ", "PSYNC while it loads")
    seen.append(True)
    replica.wait_up()
    equal(replica.must("DBSIZE"), 30_000)


@test("replica")
def promotion_in_the_middle_of_a_transfer_ends_it(bench):
    rdb = snapshot([(f"k:{n}", "v" * 100) for n in range(30_000)])

    def behave(link):
        link.handshake()
        link.raw(b"+FULLRESYNC %s 5\r\n$%d\r\n" % (REPLID.encode(), len(rdb)) + rdb[:1_000_000])
        link.stays = True
    replica = bench.replica()
    replica.must("SET", "old", 1)
    primary = bench.keep(FakePrimary(behave))
    replica.must("REPLICAOF", "127.0.0.1", primary.port)
    primary.wait_link(0).done.wait(10)
    wait_until(lambda: replica.info()["master_sync_in_progress"] == "1", 10, "the transfer")
    equal(replica.must("REPLICAOF", "NO", "ONE"), b"OK")
    equal(replica.must("GET", "old"), b"1")
    equal(replica.must("SET", "own", 1), b"OK")
    true(primary.links[0].closed(5), "the link")
