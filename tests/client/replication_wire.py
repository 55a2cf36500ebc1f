"""The primary's side byte by byte, as a replica made by hand sees it: PSYNC, REPLCONF, transfers, the stream and its offsets."""

import re
import socket
import threading
import time

from replication_kit import (
    GETACK, PING, FakeReplica, Wire, encode, equal, fill_all, fill_many, starts, test, true, wait_same_offset,
)
from support import ErrorReply, wait_until

# --- the stream -----------------------------------------------------------------------------------------------------------------

FUNCTION = "#!lua name=l\nredis.register_function('f', function(keys, args) redis.call('SET', keys[1], args[1]) return 1 end)"
MS = r"\d{13}"

# (what a client sends, what stands in the stream): requests and commands as text, words parted by blanks; a word in <> is a
# pattern; "|" parts forms of which either is right (7.0 and 7.2 differ). All keys share a slot, so that each command is one
# shard's; that several shards leave the same data behind is for the other tests.
STREAM = [
    (["SET {t}a 1"], "SET {t}a 1"),
    (["set {t}a 2"], "set {t}a 2"),
    (["SET {t}a 1 EX 100"], f"SET {{t}}a 1 PXAT <{MS}>"),
    (["SET {t}a 1 PX 100000 XX"], f"SET {{t}}a 1 PXAT <{MS}>"),
    (["SET {t}a 1 EXAT 4000000000"], "SET {t}a 1 PXAT 4000000000000"),
    (["SET {t}a 1 PXAT 4000000000123"], "SET {t}a 1 PXAT 4000000000123"),
    (["SET {t}soon 1 pxat 4000000000123 nx"], "SET {t}soon 1 pxat 4000000000123 nx | SET {t}soon 1 PXAT 4000000000123"),
    (["SET {t}a 5 KEEPTTL"], "SET {t}a 5 KEEPTTL"),
    (["SET {t}a 2 NX"], ""),
    (["SET {t}new 2 NX"], "SET {t}new 2 NX"),
    (["SET {t}a 2 GET"], "SET {t}a 2 | SET {t}a 2 GET"),
    (["SETEX {t}a 100 1"], f"SET {{t}}a 1 PXAT <{MS}>"),
    (["PSETEX {t}a 100000 1"], f"SET {{t}}a 1 PXAT <{MS}>"),
    (["SETNX {t}a 1", "SETNX {t}b 1"], "SETNX {t}b 1"),
    (["MSET {t}a 1 {t}b 2", "MSETNX {t}c 1 {t}d 2", "APPEND {t}a x", "SETRANGE {t}a 3 y", "SETBIT {t}bits 9 1", "GETSET {t}a 3"],
     "MSET {t}a 1 {t}b 2; MSETNX {t}c 1 {t}d 2; APPEND {t}a x; SETRANGE {t}a 3 y; SETBIT {t}bits 9 1; SET {t}a 3"),
    (["GET {t}a", "EXISTS {t}a", "STRLEN {t}a", "KEYS *", "TTL {t}a", "DEL {t}nothing", "LPOP {t}nothing", "PERSIST {t}a"], ""),
    (["INCR {t}a", "INCRBY {t}a 5", "DECR {t}a", "INCRBYFLOAT {t}a 0.5"], "INCR {t}a; INCRBY {t}a 5; DECR {t}a; SET {t}a 8.5 KEEPTTL"),
    (["INCR {t}a"], ""),  # it is no integer any more: an error leaves nothing
    (["GETDEL {t}a"], "DEL {t}a"),
    (["SET {t}a 1", "EXPIRE {t}a 100", "PEXPIRE {t}a 50000 GT", "EXPIREAT {t}a 4000000000 NX", "PERSIST {t}a"],
     f"SET {{t}}a 1; PEXPIREAT {{t}}a <{MS}>; PERSIST {{t}}a"),
    (["EXPIRE {t}a 100 NX"], f"PEXPIREAT {{t}}a <{MS}> NX | PEXPIREAT {{t}}a <{MS}>"),
    (["EXPIRE {t}a -1"], "DEL {t}a"),
    (["SET {t}a 1", "GETEX {t}a EX 100", "GETEX {t}a", "GETEX {t}a PERSIST", "GETEX {t}a PERSIST", "GETEX {t}a PXAT 1"],
     f"SET {{t}}a 1; PEXPIREAT {{t}}a <{MS}>; PERSIST {{t}}a; DEL {{t}}a"),
    (["HSET {t}h f 1", "HINCRBY {t}h f 5", "HINCRBYFLOAT {t}h f 0.5", "HSETNX {t}h f 1", "HDEL {t}h none", "HDEL {t}h f"],
     "HSET {t}h f 1; HINCRBY {t}h f 5; HSET {t}h f 6.5; HDEL {t}h f"),
    (["RPUSH {t}l a b c d e f", "LMPOP 1 {t}l LEFT COUNT 2", "LMPOP 1 {t}l RIGHT", "LREM {t}l 1 none", "LPUSHX {t}none 1"],
     "RPUSH {t}l a b c d e f; LPOP {t}l 2; RPOP {t}l 1"),
    (["BLPOP {t}l 0", "BRPOP {t}l 0", "BLMOVE {t}l {t}l2 LEFT RIGHT 0", "BRPOPLPUSH {t}l2 {t}l3 0"],
     "LPOP {t}l; RPOP {t}l; LMOVE {t}l {t}l2 LEFT RIGHT; RPOPLPUSH {t}l2 {t}l3"),
    (["BLMPOP 0 1 {t}l3 LEFT COUNT 5"], "LPOP {t}l3 1"),
    (["ZADD {t}z 1 a 2 b 3 c 4 d 5 e 6 f", "ZADD {t}z 1 a", "ZINCRBY {t}z 1 a", "BZPOPMIN {t}z 0", "BZPOPMAX {t}z 0", "ZMPOP 1 {t}z MIN COUNT 2"],
     "ZADD {t}z 1 a 2 b 3 c 4 d 5 e 6 f; ZINCRBY {t}z 1 a; ZPOPMIN {t}z; ZPOPMAX {t}z; ZPOPMIN {t}z 2"),
    (["BZMPOP 0 1 {t}z MAX"], "ZPOPMAX {t}z 1"),
    (["GEOADD {t}g NX CH 13.361389 38.115556 P"], "ZADD {t}g nx ch <[0-9.e+]+> P | zadd {t}g NX CH <[0-9.e+]+> P | zadd {t}g nx ch <[0-9.e+]+> P"
     " | GEOADD {t}g NX CH 13.361389 38.115556 P"),  # as exact: the same hash comes of it
    (["SADD {t}s 1", "SPOP {t}s"], "SADD {t}s 1; SREM {t}s 1"),
    (["SADD {t}s 1 2 3", "SPOP {t}s 3"], "SADD {t}s 1 2 3; DEL {t}s | SADD {t}s 1 2 3; UNLINK {t}s"),
    (["SADD {t}s 1 2 3 4", "SPOP {t}s 2"],
     "SADD {t}s 1 2 3 4; MULTI; SREM {t}s <[1-4]>; SREM {t}s <[1-4]>; EXEC | SADD {t}s 1 2 3 4; SREM {t}s <[1-4]> <[1-4]>"),
    (["SMOVE {t}s {t}s2 none", "SADD {t}s x", "SMOVE {t}s {t}s2 x", "SINTERSTORE {t}s3 {t}none", "SUNIONSTORE {t}s3 {t}s2"],
     "SADD {t}s x; SMOVE {t}s {t}s2 x; SUNIONSTORE {t}s3 {t}s2"),
    (["PFADD {t}p 1", "PFADD {t}p 1", "PFCOUNT {t}p", "PFCOUNT {t}p"], "PFADD {t}p 1; PFCOUNT {t}p | PFADD {t}p 1"),
    (["XADD {t}x * f v"], "XADD {t}x <\\d+-\\d+> f v"),
    (["DEL {t}x", "XADD {t}x 5-* f v", "XADD {t}x MAXLEN ~ 1000 6-1 f v"],
     "DEL {t}x; XADD {t}x 5-0 f v; XADD {t}x MAXLEN = 2 6-1 f v"),
    (["XADD {t}x MINID ~ 1 LIMIT 5 7-1 f v"], "XADD {t}x MINID = 5-0 LIMIT 5 7-1 f v | XADD {t}x MINID = 5-0 7-1 f v"),
    (["XTRIM {t}x MAXLEN ~ 100", "XTRIM {t}x MAXLEN 2"], "XTRIM {t}x MAXLEN 2 | XTRIM {t}x MAXLEN = 2"),
    (["XGROUP CREATE {t}x g 0", "XREADGROUP GROUP g c COUNT 1 STREAMS {t}x >", "XACK {t}x g 6-1", "XACK {t}x g 6-1"],
     f"XGROUP CREATE {{t}}x g 0; XGROUP CREATECONSUMER {{t}}x g c; "
     f"XCLAIM {{t}}x g c 0 6-1 TIME <{MS}> RETRYCOUNT 1 FORCE JUSTID LASTID 6-1; XACK {{t}}x g 6-1"
     f" | XGROUP CREATE {{t}}x g 0; XCLAIM {{t}}x g c 0 6-1 TIME <{MS}> RETRYCOUNT 1 FORCE JUSTID LASTID 6-1; XACK {{t}}x g 6-1"
     f" | XGROUP CREATE {{t}}x g 0; MULTI; XGROUP CREATECONSUMER {{t}}x g c; XCLAIM {{t}}x g c 0 6-1 TIME <{MS}> RETRYCOUNT 1 FORCE JUSTID"
     f" LASTID 6-1; XGROUP SETID {{t}}x g 6-1 ENTRIESREAD 2; EXEC; XACK {{t}}x g 6-1"
     f" | XGROUP CREATE {{t}}x g 0; MULTI; XGROUP CREATECONSUMER {{t}}x g c; XCLAIM {{t}}x g c 0 6-1 TIME <{MS}> RETRYCOUNT 1 FORCE JUSTID"
     f" LASTID 6-1; EXEC; XACK {{t}}x g 6-1"
     f" | XGROUP CREATE {{t}}x g 0; MULTI; XCLAIM {{t}}x g c 0 6-1 TIME <{MS}> RETRYCOUNT 1 FORCE JUSTID"
     f" LASTID 6-1; XGROUP SETID {{t}}x g 6-1 ENTRIESREAD <[0-9]+>; EXEC; XACK {{t}}x g 6-1"),
    (["XDEL {t}x 1-1", "XDEL {t}x 6-1", "XSETID {t}x 10-1"], "XDEL {t}x 6-1; XSETID {t}x 10-1"),
    (["RENAME {t}x {t}y", "RENAMENX {t}y {t}g", "COPY {t}y {t}y2", "COPY {t}y {t}y2", "UNLINK {t}y {t}y2 {t}none"],
     "RENAME {t}x {t}y; COPY {t}y {t}y2; UNLINK {t}y {t}y2 {t}none"),
    (["RPUSH {t}l 3 1 2", "SORT {t}l STORE {t}sorted", "SORT {t}l"], "RPUSH {t}l 3 1 2; SORT {t}l STORE {t}sorted"),
    (["MULTI", "SET {t}a 1", "INCR {t}a", "GET {t}a", "EXEC"], "MULTI; SET {t}a 1; INCR {t}a; EXEC"),
    (["MULTI", "GET {t}a", "SET {t}a 1", "EXEC"], "SET {t}a 1 | MULTI; SET {t}a 1; EXEC"),
    (["MULTI", "GET {t}a", "EXEC"], ""),
    (["MULTI", "LPUSH {t}a 1", "SET {t}b 1", "SET {t}c 1", "EXEC"], "MULTI; SET {t}b 1; SET {t}c 1; EXEC"),
    (["MULTI", "SET {t}b 1", "DISCARD"], ""),
    (["EVAL redis.call('SET',KEYS[1],1)redis.call('incr',KEYS[1]) 1 {t}a"], "MULTI; SET {t}a 1; incr {t}a; EXEC"),
    (["EVAL redis.call('SET',KEYS[1],1) 1 {t}a", "EVAL return(1) 0", "SCRIPT LOAD return(1)"], "SET {t}a 1"),
    (["EVAL redis.set_repl(redis.REPL_NONE)redis.call('SET',KEYS[1],1) 1 {t}a"], ""),
    (["EVAL redis.set_repl(redis.REPL_AOF)redis.call('SET',KEYS[1],1) 1 {t}a"], ""),
    (["EVAL redis.set_repl(redis.REPL_REPLICA)redis.call('SET',KEYS[1],1) 1 {t}a"], "SET {t}a 1"),
    ([("FUNCTION", "LOAD", FUNCTION), "FCALL f 1 {t}a 7", "FUNCTION DELETE l"], [b"FUNCTION LOAD " + FUNCTION.encode(), "SET {t}a 7", "FUNCTION DELETE l"]),
    (["PUBLISH channel text", "SPUBLISH shard text"], "PUBLISH channel text; SPUBLISH shard text"),
    (["MULTI", "PUBLISH c t", "SET {t}a 1", "EXEC"], "MULTI; PUBLISH c t; SET {t}a 1; EXEC"),
    (["SELECT 3", "SET {t}a 1", "SET {t}b 1", "SELECT 0", "SET {t}a 1"], "SELECT 3; SET {t}a 1; SET {t}b 1; SELECT 0; SET {t}a 1"),
    (["SELECT 4", "GET {t}a", "SELECT 0", "SET {t}a 1"], "SET {t}a 1"),
    (["MULTI", "SELECT 5", "SET {t}a 1", "INCR {t}a", "SELECT 0", "INCR {t}a", "EXEC"],
     "SELECT 5; MULTI; SET {t}a 1; INCR {t}a; SELECT 0; INCR {t}a; EXEC | MULTI; SELECT 5; SET {t}a 1; INCR {t}a; SELECT 0; INCR {t}a; EXEC"),
    (["MOVE {t}a 9", "COPY {t}b {t}b DB 9 REPLACE", "SWAPDB 9 10"], "MOVE {t}a 9; COPY {t}b {t}b DB 9 REPLACE; SWAPDB 9 10"),
    (["FLUSHDB", "FLUSHDB ASYNC", "FLUSHALL SYNC"], "FLUSHDB; FLUSHDB ASYNC; FLUSHALL SYNC"),
    (["CONFIG SET maxmemory-samples 7", "CLIENT SETNAME x", "DEBUG SLEEP 0", "WAIT 0 0", "OBJECT HELP", "SCRIPT FLUSH"], ""),
]


def words_of(request):
    return request if isinstance(request, tuple) else request.split(" ")


def fits(found, expected):
    """Whether commands fit a line of the table."""
    if len(found) != len(expected):
        return False
    for have, wanted in zip(found, expected):
        if isinstance(wanted, bytes):
            if b" ".join(have) != wanted:
                return False
            continue
        wanted = wanted.split(" ")
        if len(have) != len(wanted):
            return False
        for word, pattern in zip(have, wanted):
            text = word.decode("latin-1")
            if not (re.fullmatch(pattern[1:-1], text) if pattern.startswith("<") else text == pattern):
                return False
    return True


def forms(expected):
    if isinstance(expected, list):
        return [expected]
    return [[line for line in form.strip().split("; ") if line] for form in expected.split(" | ")]


@test("primary")
def the_stream_says_what_redis_says(bench):
    primary = bench.primary()
    fake = bench.keep(FakeReplica(primary).sync())
    wrong = []
    with primary.client() as client:
        client.must("SET", "first", "1")
        equal(fake.next(), [b"SELECT", b"0"], "the first command after a sync")
        equal(fake.until("SET", "first", "1"), [])
        for number, (requests, expected) in enumerate(STREAM):
            for request in requests:
                client.call(*words_of(request))
            client.must("SET", "{t}marker", number)
            found = fake.until("SET", "{t}marker", number)
            if not any(fits(found, form) for form in forms(expected)):
                wrong.append(f"{requests}:\n    {[b' '.join(one) for one in found]}\n    instead of {expected}")
    true(not wrong, f"{len(wrong)} of {len(STREAM)}\n  " + "\n  ".join(wrong))
    wait_until(lambda: str(fake.offset) <= primary.info()["master_repl_offset"], 5, "the offset")


@test("primary")
def what_serves_the_blocked_follows_what_woke_them(bench):
    primary = bench.primary()
    fake = bench.keep(FakeReplica(primary).sync())
    table = [
        (["BLPOP {t}l 0"], ["RPUSH {t}l a b"], "RPUSH {t}l a b; LPOP {t}l | MULTI; RPUSH {t}l a b; LPOP {t}l; EXEC"),
        (["BLMOVE {t}m {t}n LEFT RIGHT 0"], ["RPUSH {t}m a"], "RPUSH {t}m a; LMOVE {t}m {t}n <left|LEFT> <right|RIGHT>"),
        (["BZPOPMIN {t}z 0"], ["ZADD {t}z 1 a"], "ZADD {t}z 1 a; ZPOPMIN {t}z"),
        (["BRPOP {t}k 0"], ["MULTI", "RPUSH {t}k a", "RPUSH {t}k b", "EXEC"], "MULTI; RPUSH {t}k a; RPUSH {t}k b; EXEC; RPOP {t}k"),
        (["BLPOP {t}q 0", "BLPOP {t}q 0"], ["RPUSH {t}q a b c"], "RPUSH {t}q a b c; LPOP {t}q; LPOP {t}q | RPUSH {t}q a b c; MULTI; LPOP {t}q; LPOP {t}q; EXEC"),
    ]
    with primary.client() as client:
        for number, (blocked, requests, expected) in enumerate(table):
            waiters = []
            for request in blocked:
                waiter = primary.client()
                waiter.send(*words_of(request))
                waiters.append(waiter)
            wait_until(lambda: primary.info("clients")["blocked_clients"] == str(len(waiters)), 5, "the client to wait")
            for request in requests:
                client.must(*words_of(request))
            for waiter in waiters:
                waiter.read()
                waiter.close()
            client.must("SET", "{t}marker", number)
            found = [one for one in fake.until("SET", "{t}marker", number) if one[0] != b"SELECT"]
            true(any(fits(found, form) for form in forms(expected)), f"{found} instead of {expected}")


@test("primary")
def expired_and_evicted_keys_leave_by_bare_dels(bench):
    primary = bench.primary()
    fake = bench.keep(FakeReplica(primary).sync())
    with primary.client() as client:
        client.must("SET", "{t}a", 1, "PX", 50)
        client.must("SET", "{t}b", 1, "PX", 50)
        time.sleep(0.1)
        client.must("GET", "{t}a")
        wait_until(lambda: client.must("DBSIZE") == 0, 5, "the keys' end")
        client.must("SET", "end", 1)
        found = [b" ".join(one) for one in fake.until("SET", "end", 1) if one[0] not in (b"SET", b"SELECT")]
        equal(sorted(found), [b"DEL {t}a", b"DEL {t}b"])
        client.must("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        client.must("SET", "{t}a", 1, "PX", 20)
        time.sleep(0.05)
        client.must("LPUSH", "{t}a", 1)  # of another type, were it still there
        client.must("SET", "end", 2)
        found = [one for one in fake.until("SET", "end", 2) if one[0] not in (b"SET",)]
        equal(found, [[b"MULTI"], [b"DEL", b"{t}a"], [b"LPUSH", b"{t}a", b"1"], [b"EXEC"]], "an expiry met by a write")
        client.must("CONFIG", "SET", "maxmemory-policy", "allkeys-random", "lazyfree-lazy-eviction", "yes")
        for n in range(50):
            client.must("SET", f"fill:{n}", "x" * 100)
        client.must("CONFIG", "SET", "maxmemory", 1)
        wait_until(lambda: isinstance(client.call("SET", "x", 1), ErrorReply), 5, "memory's end")
        client.must("CONFIG", "SET", "maxmemory", 0)
        client.must("SET", "end", 3)
        found = [one for one in fake.until("SET", "end", 3) if one[0] not in (b"SET",)]
        true(len(found) >= 50 and {one[0] for one in found} == {b"UNLINK"} and {len(one) for one in found} == {2}, str(found[:5]))


@test("primary")
def what_a_command_removes_is_unlinked_where_that_is_configured(bench):
    primary = bench.primary()
    fake = bench.keep(FakeReplica(primary).sync())
    with primary.client() as client:
        payload = client.must("SADD", "{t}s", 1, 2) and client.must("DUMP", "{t}s")
        for number, (word, server_del, expire) in enumerate(((b"DEL", "no", "no"), (b"UNLINK", "yes", "yes"))):
            client.must("CONFIG", "SET", "lazyfree-lazy-server-del", server_del, "lazyfree-lazy-expire", expire)
            client.must("SADD", "{t}s", 1, 2)
            client.must("SPOP", "{t}s", 5)
            client.must("SET", "{t}r", 1)
            client.must("RESTORE", "{t}r", 1, payload, "REPLACE", "ABSTTL")
            client.must("SET", "{t}e", 1)
            client.must("EXPIRE", "{t}e", -1)
            client.must("SET", "{t}g", 1)
            client.must("GETEX", "{t}g", "PXAT", 1)
            client.must("SET", "{t}d", 1)
            client.must("GETDEL", "{t}d")
            client.must("SET", "end", number)
            found = [one for one in fake.until("SET", "end", number) if one[0] in (b"DEL", b"UNLINK")]
            equal(found, [[word, b"{t}s"], [word, b"{t}r"], [word, b"{t}e"], [word, b"{t}g"], [b"DEL", b"{t}d"]])


@test("primary")
def keys_that_scan_meets_expired_leave_one_by_one(bench):
    primary = bench.primary()
    fake = bench.keep(FakeReplica(primary).sync())
    with primary.client() as client:
        client.must("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        for n in range(20):
            client.must("SET", f"k:{n}", n, "PX", 20)
        time.sleep(0.05)
        client.must("SCAN", 0, "COUNT", 1000)
        client.must("SET", "end", 1)
        found = [b" ".join(one) for one in fake.until("SET", "end", 1) if one[0] not in (b"SET", b"SELECT")]
        equal(sorted(found), sorted(b"DEL k:%d" % n for n in range(20)))


@test("primary")
def a_pause_of_clients_holds_back_the_question_for_acknowledgements(bench):
    primary = bench.primary("--repl-ping-replica-period", "3600")
    fake = bench.keep(FakeReplica(primary).sync())
    with primary.client() as client, primary.client() as other:
        client.must("SET", "a", 1)
        fake.until("SET", "a", 1, acks=False)
        other.must("CLIENT", "PAUSE", 60000, "WRITE")
        client.send("WAIT", 1, 20000)
        true(fake.silent(0.5), "something came during the pause")
        other.must("CLIENT", "UNPAUSE")
        equal(fake.next(acks=False)[:2], [b"REPLCONF", b"GETACK"])
        fake.ack(fake.offset)
        equal(client.read()[0].value(), 1)


@test("primary")
def a_transaction_over_all_shards_is_one_block(bench):
    primary = bench.primary()
    fake = bench.keep(FakeReplica(primary).sync())
    with primary.client() as client:
        for n in range(20):
            client.transaction([("SET", f"k:{m}", n) for m in range(10)])
            client.must("MSET", *[word for m in range(10) for word in (f"m:{m}", n)])
            client.must("EVAL", "for i = 1, #KEYS do redis.call('SET', KEYS[i], ARGV[1]) end", 10, *[f"s:{m}" for m in range(10)], n)
            client.must("SET", "single", n)
        client.must("SET", "end", 1)
    blocks, block, alone = [], None, []
    for one in fake.until("SET", "end", 1):
        name = one[0].upper()
        if name == b"MULTI":
            true(block is None, "MULTI within MULTI")
            block = []
        elif name == b"EXEC":
            blocks.append(block)
            block = None
        elif block is not None:
            block.append(one)
        else:
            alone.append(one)
    true(block is None, "a MULTI without EXEC")
    keys = [sorted({word for one in found for word in one[1::2] if b":" in word}) for found in blocks]
    names = {prefix: sorted(b"%c:%d" % (prefix, m) for m in range(10)) for prefix in b"kms"}
    for prefix in b"ks":
        equal(sum(found == names[prefix] for found in keys), 20, f"whole blocks of {chr(prefix)}")
    msets = sum(found == names[ord("m")] for found in keys) + sum(one[0] == b"MSET" and len(one) == 21 for one in alone)
    equal(msets, 20, "whole MSETs")
    equal([one for one in alone if one[0] not in (b"SELECT", b"MSET") and one[1] != b"single"], [], "commands outside of blocks")


@test("primary")
def offsets_count_every_byte(bench):
    primary = bench.primary()
    fake = bench.keep(FakeReplica(primary, port=6000).sync())
    with primary.client() as client:
        for n in range(200):
            client.must("SET", f"k:{n}", "x" * n)
            if n % 50 == 0:
                client.must("SELECT", n // 50)
        client.transaction([("INCR", "a"), ("SELECT", 7), ("INCR", "a")])
        client.must("SET", "end", 1)
    fake.until("SET", "end", 1)
    # Pings go on, so the two are compared when they stand still for a moment.
    def agree():
        fake.socket.settimeout(0.05)
        try:
            fake.next(acks=False)
        except TimeoutError:
            pass
        return int(primary.info()["master_repl_offset"]) == fake.offset
    wait_until(agree, 10, "the primary's offset to be the bytes seen")
    fake.socket.settimeout(15)
    fake.ack()
    wait_until(lambda: any(line["port"] == "6000" and int(line["offset"]) == fake.offset for line in fake.info_line()), 5, "the ack in INFO")
    while True:
        before = fake.offset
        if fake.next(acks=True) == [b"ping"]:
            equal(fake.offset - before, len(PING), "bytes of a ping")
            break
    # What was missed is had again from the middle of it.
    again = bench.keep(FakeReplica(primary))
    starts(again.psync(fake.replid, fake.offset + 1 - len(PING)), b"+CONTINUE " + fake.replid.encode(), "PSYNC before the last ping")
    equal(again.exactly(len(PING)), PING)


@test("primary")
def wait_asks_for_an_acknowledgement_in_the_stream(bench):
    primary = bench.primary("--repl-ping-replica-period", "3600")
    fake = bench.keep(FakeReplica(primary).sync())
    with primary.client() as client:
        client.must("SET", "a", 1)
        fake.until("SET", "a", 1, acks=False)
        had = fake.offset
        client.send("WAIT", 1, 5000)
        equal(fake.next(acks=False), [b"REPLCONF", b"GETACK", b"*"])
        equal(fake.offset - had, len(GETACK), "bytes of GETACK")
        equal(len(GETACK), 37)
        equal(int(primary.info()["master_repl_offset"]), fake.offset)
        fake.ack(had - 1)
        time.sleep(0.1)
        fake.ack(had)  # without GETACK's own bytes, as replicas answer
        equal(client.read()[0].value(), 1)
        equal(client.must("WAIT", 1, 0), 1, "no GETACK is needed")
        client.must("SET", "b", 1)
        fake.until("SET", "b", 1, acks=False)
        client.send("WAIT", 1, 300)
        equal(fake.next(acks=False)[:2], [b"REPLCONF", b"GETACK"])
        fake.ack(fake.offset - len(GETACK) - 1)
        equal(client.read()[0].value(), 0, "an acknowledgement one byte short")


# --- PSYNC and SYNC ------------------------------------------------------------------------------------------------------------------

@test("primary")
def psync_knows_what_it_can_continue(bench):
    primary = bench.primary("--repl-ping-replica-period", "3600")
    fake = bench.keep(FakeReplica(primary).sync())
    primary.must("SET", "a", 1)
    fake.until("SET", "a", 1)
    replid, end = fake.replid, fake.offset
    first = int(primary.info()["repl_backlog_first_byte_offset"])
    wanted = encode("SELECT", 0) + encode("SET", "a", 1)
    equal(end - first + 1, len(wanted), "the backlog")
    cases = [
        (replid, end + 1, b"+CONTINUE " + replid.encode(), b""), (replid.upper(), end + 1, b"+CONTINUE " + replid.encode(), b""),
        (replid, first, b"+CONTINUE " + replid.encode(), wanted), (replid, end, b"+CONTINUE " + replid.encode(), b"\n"),
        (replid, end + 2, b"+FULLRESYNC " + replid.encode(), None), (replid, first - 1, b"+FULLRESYNC ", None),
        (replid, -5, b"+FULLRESYNC ", None), ("?", -1, b"+FULLRESYNC ", None), ("0" * 40, end + 1, b"+FULLRESYNC ", None),
        ("x", 1, b"+FULLRESYNC ", None), (replid[:39], end + 1, b"+FULLRESYNC ", None),
    ]
    before = primary.syncs()
    for asked, offset, answer, follows in cases:
        one = bench.keep(FakeReplica(primary))
        line = one.psync(asked, offset)
        starts(line, answer, f"PSYNC {asked} {offset} (backlog {first} to {end})")
        if follows is not None:
            equal(line, answer)
            equal(one.exactly(len(follows)), follows, f"what follows PSYNC at {offset}")
        one.close()
    full, partial, refused = (now - then for now, then in zip(primary.syncs(), before))
    equal((full, partial, refused), (7, 4, 6), "sync_full, sync_partial_ok, sync_partial_err")
    plain = bench.keep(FakeReplica(primary, capa=()))
    equal(plain.psync(replid, end + 1), b"+CONTINUE", "without capa psync2")


@test("primary")
def psync_refuses_what_is_no_request_for_it(bench):
    primary = bench.primary()
    wire = bench.keep(Wire.to(primary.port))
    equal(wire.ask("PSYNC", "?", "x"), b"-ERR value is not an integer or out of range")
    equal(wire.ask("PSYNC", "?"), b"-ERR wrong number of arguments for 'psync' command")
    equal(wire.ask("PSYNC", "?", -1, "FAILOVER"), b"-ERR PSYNC FAILOVER can't be sent to a master.")
    equal(wire.ask("MULTI"), b"+OK")
    starts(wire.ask("PSYNC", "?", -1), b"-ERR Command not allowed inside a transaction", "in MULTI")
    equal(wire.ask("DISCARD"), b"+OK")
    wire.raw(b"PING\r\n" * 3 + encode("PSYNC", "?", -1))
    # Replies that wait to be sent and a sync cannot share the connection.
    equal([wire.line() for _ in range(3)], [b"+PONG"] * 3)
    line = wire.line()
    true(line.startswith((b"-ERR SYNC and PSYNC are invalid with pending output", b"+FULLRESYNC")), line)
    equal(primary.must("PING"), b"PONG")


@test("primary")
def a_client_that_is_a_replica_may_do_nothing_else(bench):
    primary = bench.primary()
    fake = bench.keep(FakeReplica(primary).sync())
    fake.send("PSYNC", "?", -1)  # ignored
    fake.send("REPLCONF", "NOSUCH", "x")
    primary.must("SET", "a", 1)
    time.sleep(0.1)
    other = bench.keep(FakeReplica(primary).sync())
    other.send("GET", "a")
    wait_until(lambda: other.closed(5), 6, "the link to be closed")
    equal(primary.must("GET", "a"), b"1")


@test("primary")
def a_replica_hears_newlines_while_it_waits(bench):
    primary = bench.primary("--repl-diskless-sync-delay", "3")
    primary.must("SET", "a", 1)
    fake = bench.keep(FakeReplica(primary, capa=("eof", "psync2"), port=6001))
    starts(fake.psync(), b"+FULLRESYNC", "PSYNC")
    true(fake.newlines >= 2, f"{fake.newlines} newlines in three seconds")
    line = next(iter(fake.info_line()))
    true(line["state"] in ("wait_bgsave", "send_bulk", "online"), line)
    fake.take_snapshot()
    wait_until(lambda: next(iter(fake.info_line()))["state"] == "online" or fake.ack(), 5, "the state online")


@test("primary")
def a_transfer_by_mark_waits_for_an_acknowledgement(bench):
    primary = bench.primary("--repl-diskless-sync", "yes", "--repl-ping-replica-period", "3600")
    fill_all(primary, keys=5)
    fake = bench.keep(FakeReplica(primary, capa=("eof", "psync2"), port=6002))
    starts(fake.psync(), b"+FULLRESYNC", "PSYNC")
    head = fake.answer()
    starts(head, b"$EOF:", "the transfer's head")
    mark = head[5:]
    while mark not in fake.buffer:
        fake.more()
    fake.exactly(fake.buffer.index(mark) + 40)
    primary.must("SET", "after", 1)
    true(fake.silent(0.5), "nothing before the acknowledgement")
    fake.ack(0)
    wait_until(lambda: next(iter(fake.info_line()))["state"] == "online" or fake.ack(0) or time.sleep(0.1), 5, "the state online")
    fake.until("SET", "after", 1)


@test("primary")
def a_transfer_by_length_is_followed_by_the_stream(bench):
    primary = bench.primary("--repl-diskless-sync", "yes")
    fill_all(primary, keys=5)
    fake = bench.keep(FakeReplica(primary, capa=("psync2",)).sync())  # without capa eof
    primary.must("SET", "after", 1)
    fake.until("SET", "after", 1, acks=False)
    for name in (b"repl-stream-db", b"repl-id", b"repl-offset", fake.replid.encode()):
        true(name in fake.rdb, f"{name} in the snapshot")


@test("primary")
def the_snapshot_tells_the_database_of_the_stream(bench):
    primary = bench.primary()
    first = bench.keep(FakeReplica(primary).sync())
    with primary.client() as client:
        client.must("SELECT", 5)
        client.must("SET", "a", 1)
        first.until("SET", "a", 1)
        second = bench.keep(FakeReplica(primary).sync())
        client.must("SET", "b", 1)
    # The second one's arrival makes the stream name the database again, and both see the same bytes.
    equal(first.next(), [b"SELECT", b"5"])
    equal(second.next(), [b"SELECT", b"5"])
    equal(first.next(), second.next())
    equal((first.offset, first.replid), (second.offset, second.replid))


@test("primary")
def an_old_client_syncs_by_sync_and_acknowledges_nothing(bench):
    primary = bench.primary("--repl-timeout", "2")
    fill_many(primary, 100)
    wire = bench.keep(Wire.to(primary.port))
    wire.raw(b"SYNC\r\n")
    while not (head := wire.line()):
        pass
    true(re.fullmatch(rb"\$\d+", head), f"{head} instead of the length")
    starts(wire.exactly(int(head[1:])), b"REDIS00")
    primary.must("SET", "a", 1)
    equal(wire.exactly(len(encode("SELECT", 0))), encode("SELECT", 0))
    time.sleep(3.5)  # beyond repl-timeout: it was never asked to acknowledge
    primary.must("SET", "b", 1)
    limit = time.monotonic() + 5
    while encode("SET", "b", 1) not in wire.buffer and time.monotonic() < limit:
        wire.more()
    true(encode("SET", "b", 1) in wire.buffer, "the stream goes on")
    equal(primary.info()["connected_slaves"], "1")


@test("primary")
def a_snapshot_alone_and_a_filtered_one(bench):
    primary = bench.primary("--rdbcompression", "no")
    fill_all(primary, keys=3)
    primary.must("SET", "some key", "x" * 30)
    alone = bench.keep(FakeReplica(primary, capa=("eof", "psync2")))
    equal(alone.ask("REPLCONF", "rdb-only", 1), b"+OK")
    alone.sync()
    true(b"some key" in alone.rdb and alone.closed(10), "the link ends with the snapshot")
    for words, keys, functions in (("functions", False, True), ("", False, False)):
        one = bench.keep(FakeReplica(primary, capa=("eof", "psync2")))
        equal(one.ask("REPLCONF", "rdb-filter-only", words), b"+OK")
        one.sync()
        equal((b"some key" in one.rdb, b"register_function" in one.rdb), (keys, functions), f"filter {words!r}")
        one.close()
    one = bench.keep(FakeReplica(primary, capa=("psync2",)))
    equal(one.ask("REPLCONF", "rdb-filter-only", "functions"), b"+OK")
    starts(one.psync(), b"-ERR Filtered replica requires EOF capability", "without eof")


@test("primary")
def replconf_takes_and_refuses_options(bench):
    primary = bench.primary()
    wire = bench.keep(Wire.to(primary.port))
    for words, answer in (
        ((), b"+OK"), (("listening-port", 5), b"+OK"), (("capa", "eof", "capa", "dual-channel", "capa", "x"), b"+OK"),
        (("ip-address", "1.2.3.4"), b"+OK"), (("listening-port",), b"-ERR syntax error"), (("foo", "bar"), b"-ERR Unrecognized REPLCONF option: foo"),
        (("listening-port", "x"), b"-ERR value is not an integer or out of range"),
        (("ip-address", "1" * 300), b"-ERR REPLCONF ip-address provided by replica instance is too long: 300 bytes"),
        (("rdb-filter-only", "xx"), b"-ERR Unsupported rdb-filter-only option: xx"),
        (("rdb-filter-only", '"x'), b"-ERR Missing rdb-filter-only values"),
        (("rdb-only", 0), b"+OK"), (("LISTENING-PORT", 7), b"+OK"),
    ):
        equal(wire.ask("REPLCONF", *words), answer, f"REPLCONF {words}")
    wire.send("REPLCONF", "ACK", 5)
    wire.send("REPLCONF", "GETACK", "*")
    equal(wire.ask("PING"), b"+PONG", "an acknowledgement of one who is no replica is not answered")


@test("primary")
def a_loading_server_syncs_nobody(bench):
    primary = bench.primary()
    fill_many(primary, 40_000)
    primary.must("CONFIG", "SET", "save", "3600 1000000")
    primary.must("SAVE")
    primary.end(9)
    primary.server.command += ["--key-load-delay", "50"] if primary.is_redis else []
    starter = threading.Thread(target=primary.start)
    starter.start()
    try:
        answers = set()
        limit = time.monotonic() + 15
        while time.monotonic() < limit and not any(a.startswith(b"+FULLRESYNC") for a in answers):
            try:
                wire = Wire.to(primary.port, timeout=5)
                wire.send("PSYNC", "?", -1)
                answers.add(wire.line())
                wire.close()
            except (OSError, ConnectionError):
                pass
        others = [a for a in answers if not a.startswith((b"-LOADING ", b"+FULLRESYNC ")) and a]
        equal(others, [], "answers other than -LOADING and a sync")
    finally:
        starter.join(30)


@test("primary")
def a_replica_that_vanishes_in_the_middle_of_its_snapshot_disturbs_nobody(bench):
    primary = bench.primary("--repl-diskless-sync-delay", "1")
    fill_many(primary, 100_000)
    fakes = [FakeReplica(primary, capa=("eof", "psync2")) for _ in range(4)]
    for fake in fakes:
        fake.send("PSYNC", "?", -1)
    for fake in fakes[:3]:
        starts(fake.answer(), b"+FULLRESYNC")
        fake.answer()
        fake.exactly(1000)
        fake.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        fake.close()
    last = bench.keep(fakes[3])
    starts(last.answer(), b"+FULLRESYNC")
    last.take_snapshot()
    primary.must("SET", "after", 1)
    last.until("SET", "after", 1)
    wait_until(lambda: primary.info()["connected_slaves"] == "1", 10, "the others to be forgotten")


@test("primary")
def a_replica_that_reads_nothing_of_its_snapshot_is_given_up(bench):
    primary = bench.primary("--repl-timeout", "3", "--repl-diskless-sync", "yes")
    fill_many(primary, 200_000, size=200)
    fake = FakeReplica(primary, capa=("eof", "psync2"))
    fake.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    starts(fake.psync(), b"+FULLRESYNC")
    try:
        wait_until(lambda: primary.info()["connected_slaves"] == "0", 20, "the primary to give it up")
    finally:
        fake.close()
    equal(primary.must("PING"), b"PONG")
    replica = bench.replica(primary)
    wait_same_offset(primary, replica)


@test("primary")
def a_link_to_a_replica_says_nothing_when_there_is_nothing(bench):
    primary = bench.primary("--repl-ping-replica-period", "3600")
    fake = bench.keep(FakeReplica(primary).sync())
    true(fake.silent(1.5), f"{bytes(fake.buffer)} in the stream of a quiet primary")
    with primary.client() as client:
        client.must("SET", "k", 1)
        fake.until("SET", "k", 1)
        client.must("GET", "k")
        client.must("INFO")
        true(fake.silent(0.5), f"{bytes(fake.buffer)} after reads")
