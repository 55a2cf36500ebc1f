"""Do messages reach all their subscribers, once, in order and counted, whatever cores publishers and subscribers are on?

usage: pubsub.py [WORD ...] [--shards N] [--slotwise PATH] [--full]

The tests have the form of runtime.py. Events of the keyspace are compared with those of a redis-server.
"""

import argparse
import random
import socket
import sys
import threading
import time
import traceback

import support
from support import Client, ErrorReply, encode, wait_until
from runtime import House, empty, equal, true

TESTS = []
MEGABYTE = 1 << 20


def test(function):
    TESTS.append(function)
    return function


def read(client):
    """The next message or reply."""
    return client.read()[0].value()


def subscribe(client, *words):
    """Sends a (P|S)SUBSCRIBE or its opposite and takes the confirmations."""
    client.send(*words)
    return [read(client) for _ in words[1:]]


def silent(client, seconds=0.1):
    """Nothing comes for this client."""
    client.socket.settimeout(seconds)
    try:
        true(False, f"{read(client)} came")
    except (socket.timeout, TimeoutError):
        client.socket.settimeout(30)


def cores(house):
    return max(house.shards, 2)


# --- messages ---------------------------------------------------------------------------------------------------------

@test
def a_message_reaches_every_subscriber_once_and_all_are_counted(house):
    server = house.common()
    subscribers = [server.client(resp=2 + n % 2) for n in range(40)]
    for n, client in enumerate(subscribers):
        equal(subscribe(client, "SUBSCRIBE", "c", f"c{n}"), [[b"subscribe", b"c", 1], [b"subscribe", b"c%d" % n, 2]])
        if n % 4 == 0:
            equal(subscribe(client, "PSUBSCRIBE", "c*"), [[b"psubscribe", b"c*", 3]])
    with server.client() as publisher:
        equal(publisher.call("PUBLISH", "c", "hello"), 50)
        equal(publisher.call("PUBLISH", "c7", "you"), 11)
        equal(publisher.call("PUBLISH", "nobody", "m"), 0)
        equal(publisher.call("PUBSUB", "NUMSUB", "c", "c3", "x"), [b"c", 40, b"c3", 1, b"x", 0])
        equal(publisher.call("PUBSUB", "NUMPAT"), 1)
        equal(len(publisher.call("PUBSUB", "CHANNELS")), 41)
        for n, client in enumerate(subscribers):
            got = [read(client) for _ in range(2 + (n % 4 == 0) + (n == 7) - 1)]
            equal(got[0], [b"message", b"c", b"hello"])
            if n % 4 == 0:
                equal(got[1], [b"pmessage", b"c*", b"c", b"hello"])
            if n == 7:
                equal(got[1], [b"message", b"c7", b"you"])
        for client in subscribers:
            client.close()
        wait_until(lambda: publisher.call("PUBSUB", "CHANNELS") == [], 5, "the subscriptions to end")
        equal(publisher.call("PUBLISH", "c", "hello"), 0)


@test
def shard_channels_are_a_world_of_their_own(house):
    server = house.common()
    with server.client() as one, server.client(resp=3) as two, server.client() as publisher:
        equal(subscribe(one, "SSUBSCRIBE", "s"), [[b"ssubscribe", b"s", 1]])
        equal(subscribe(one, "SUBSCRIBE", "s"), [[b"subscribe", b"s", 1]])
        equal(subscribe(two, "SSUBSCRIBE", "s", "t"), [[b"ssubscribe", b"s", 1], [b"ssubscribe", b"t", 2]])
        equal(publisher.call("SPUBLISH", "s", "m"), 2)
        equal(publisher.call("PUBLISH", "s", "n"), 1)
        equal([read(one), read(one)], [[b"smessage", b"s", b"m"], [b"message", b"s", b"n"]])
        equal(read(two), [b"smessage", b"s", b"m"])
        equal(publisher.call("PUBSUB", "SHARDNUMSUB", "s", "t"), [b"s", 2, b"t", 1])
        equal(sorted(publisher.call("PUBSUB", "SHARDCHANNELS")), [b"s", b"t"])
        equal(publisher.call("PUBSUB", "SHARDCHANNELS", "t*"), [b"t"])
        two.send("SUNSUBSCRIBE")
        equal(sorted([read(two)[1], read(two)[1]]), [b"s", b"t"])
        equal(publisher.call("SPUBLISH", "t", "m"), 0)


@test
def every_subscriber_sees_the_same_order_and_each_publishers_own(house):
    server = house.common()
    publishers, each = 6, 400 if not house.full else 5000
    subscribers = [server.client(resp=2 + n % 2) for n in range(9)]
    for n, client in enumerate(subscribers):
        subscribe(client, *(("PSUBSCRIBE", "ord*") if n % 3 == 2 else ("SUBSCRIBE", "order1", "order2")))
    counts = []

    def publish(number):
        with server.client() as client:
            if number % 2:
                data = b"".join(encode("PUBLISH", f"order{1 + n % 2}", f"{number}:{n}") for n in range(each))
                sender = threading.Thread(target=client.send_raw, args=(data,))
                sender.start()
                counts.append(sum(client.read()[0].value() for _ in range(each)))
                sender.join()
            else:
                counts.append(sum(client.call("PUBLISH", f"order{1 + n % 2}", f"{number}:{n}") for n in range(each)))

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(publishers)]
    [thread.start() for thread in threads]
    seen = [[read(client)[-2:] for _ in range(publishers * each)] for client in subscribers]
    [thread.join() for thread in threads]
    equal(sum(counts), publishers * each * len(subscribers), "receivers")
    for other in seen[1:]:
        true(other == seen[0], "two subscribers saw different orders")
    last = {}
    for _, payload in seen[0]:
        number, n = payload.split(b":")
        equal(int(n), last.get(number, -1) + 1, "the next message of a publisher")
        last[number] = int(n)
    for client in subscribers:
        client.close()


@test
def receivers_are_counted_exactly_while_subscribers_come_and_go(house):
    server = house.common()
    stop, received, published = threading.Event(), [], []

    def churn(seed):
        generator, count = random.Random(seed), 0
        with server.client(resp=2 + seed % 2) as client:
            while not stop.is_set():
                kind = generator.choice(["", "P"])
                client.send(kind + "SUBSCRIBE", "churn")
                ended = False
                while True:
                    what = read(client)
                    if what[0].endswith(b"message"):
                        count += 1
                    elif what[0].endswith(b"unsubscribe"):
                        break
                    if not ended and (what[0].endswith(b"message") or generator.random() < 0.5):
                        client.send(kind + "UNSUBSCRIBE", "churn")
                        ended = True
                    elif not ended:
                        client.send("PING") if client.resp == 3 else None
                        client.send(kind + "UNSUBSCRIBE", "churn")
                        ended = True
                        if client.resp == 3:
                            while (answer := client.read()[0]).kind != b"+":
                                count += answer.value()[0].endswith(b"message")
        received.append(count)

    def publish():
        with server.client() as client:
            total = 0
            while not stop.is_set():
                total += client.call("PUBLISH", "churn", "m")
        published.append(total)

    threads = [threading.Thread(target=churn, args=(seed,)) for seed in range(6)]
    threads += [threading.Thread(target=publish) for _ in range(3)]
    [thread.start() for thread in threads]
    time.sleep(8 if house.full else 2)
    stop.set()
    [thread.join() for thread in threads]
    true(sum(published) > 100, f"only {sum(published)} messages were received")
    equal(sum(received), sum(published), "messages read against receivers counted")


@test
def thousands_of_subscribers_get_a_message_and_leave(house):
    server = house.common()
    support.raise_file_limit()
    count = 10_000 if house.full else 2_000
    subscribers = [server.client() for _ in range(count)]
    for client in subscribers:
        client.send("SUBSCRIBE", "crowd")
    for client in subscribers:
        equal(read(client), [b"subscribe", b"crowd", 1])
    with server.client() as publisher:
        for n in range(3):
            equal(publisher.call("PUBLISH", "crowd", f"m{n}"), count)
        for client in subscribers:
            equal([read(client)[2] for _ in range(3)], [b"m0", b"m1", b"m2"])
        for client in subscribers:
            client.close()
        wait_until(lambda: publisher.call("PUBSUB", "NUMSUB", "crowd") == [b"crowd", 0], 10, "them to leave")


@test
def a_client_subscribes_to_thousands_of_channels_at_once(house):
    server = house.common()
    names = [f"many:{n}" for n in range(5000)]
    with server.client() as client, server.client() as publisher:
        client.send("SUBSCRIBE", *names)
        equal([read(client)[2] for _ in names], list(range(1, 5001)))
        for n in range(0, 5000, 500):
            equal(publisher.call("PUBLISH", names[n], n), 1)
            equal(read(client), [b"message", names[n].encode(), b"%d" % n])
        client.send("UNSUBSCRIBE")
        equal([read(client)[2] for _ in names], list(range(4999, -1, -1)))
        equal(client.call("PING"), b"PONG")


# --- the subscribed client --------------------------------------------------------------------------------------------

@test
def a_resp2_client_with_subscriptions_may_send_few_commands(house):
    server = house.common()
    with server.client() as client:
        subscribe(client, "SUBSCRIBE", "c")
        for words in (["GET", "k"], ["PUBLISH", "c", "m"], ["MULTI"], ["CLIENT", "LIST"], ["HELLO", "3"], ["PUBSUB", "NUMPAT"]):
            name = "client|list" if words[0] == "CLIENT" else "pubsub|numpat" if words[0] == "PUBSUB" else words[0].lower()
            equal(client.call(*words), ErrorReply(
                b"ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in "
                b"this context" % name.encode()))
        equal(client.call("PING"), [b"pong", b""])
        equal(client.call("PING", "x"), [b"pong", b"x"])
        equal(client.call("UNSUBSCRIBE", "none"), [b"unsubscribe", b"none", 1])
        equal(client.call("PUNSUBSCRIBE"), [b"punsubscribe", None, 1])
        equal(client.call("UNSUBSCRIBE"), [b"unsubscribe", b"c", 0])
        equal(client.call("GET", "k"), None)
        subscribe(client, "PSUBSCRIBE", "c*")
        equal(client.call("RESET"), b"RESET")
        equal(client.call("PUBLISH", "c", "m"), 0)
    with server.client() as client:
        subscribe(client, "SUBSCRIBE", "c")
        equal(client.call("QUIT"), b"OK")


@test
def a_resp3_client_with_subscriptions_does_everything_and_hears_itself_after_the_reply(house):
    server = house.common()
    with server.client(resp=3) as client:
        equal(subscribe(client, "SUBSCRIBE", "c"), [[b"subscribe", b"c", 1]])
        equal(client.call("SET", "k", "v"), b"OK")
        client.send("PUBLISH", "c", "m")
        equal([read(client), read(client)], [1, [b"message", b"c", b"m"]])
        client.send_raw(encode("PUBLISH", "c", "a") + encode("GET", "k") + encode("PUBLISH", "c", "b"))
        got = [client.read()[0] for _ in range(5)]
        equal([one.value() for one in got if one.kind != b">"], [1, b"v", 1])
        equal([one.value()[2] for one in got if one.kind == b">"], [b"a", b"b"])
        client.send_raw(encode("MULTI") + encode("PUBLISH", "c", "x") + encode("SUBSCRIBE", "d")
                        + encode("PUBLISH", "d", "y") + encode("UNSUBSCRIBE", "c") + encode("EXEC"))
        equal([read(client) for _ in range(5)], [b"OK"] + [b"QUEUED"] * 4)
        equal(read(client), [1, [b"subscribe", b"d", 2], 1, [b"unsubscribe", b"c", 1]])
        equal([read(client), read(client)], [[b"message", b"c", b"x"], [b"message", b"d", b"y"]])
        equal(client.call("PING"), b"PONG")


@test
def client_reply_off_does_not_hold_messages_back(house):
    server = house.common()
    with server.client(resp=3) as client, server.client() as publisher:
        client.send_raw(encode("CLIENT", "REPLY", "OFF") + encode("SUBSCRIBE", "c") + encode("GET", "k"))
        equal(read(client), [b"subscribe", b"c", 1])
        equal(publisher.call("PUBLISH", "c", "m"), 1)
        equal(read(client), [b"message", b"c", b"m"])
        client.send("CLIENT", "REPLY", "ON")
        equal(read(client), b"OK")


@test
def lists_filters_and_counts_know_subscribers(house):
    server = house.common()
    with server.client() as client, server.client(resp=3) as other, server.client() as admin:
        number = client.call("CLIENT", "ID")
        subscribe(client, "SUBSCRIBE", "a", "b")
        subscribe(client, "PSUBSCRIBE", "p*")
        subscribe(other, "SSUBSCRIBE", "s")
        lines = admin.call("CLIENT", "LIST", "TYPE", "PUBSUB").decode().splitlines()
        equal(len(lines), 2)
        line = next(line for line in lines if f"id={number} " in line)
        true(" sub=2 psub=1 ssub=0 " in line and " flags=P " in line, line)
        true(any(" sub=0 psub=0 ssub=1 " in line for line in lines), lines)
        equal(len(admin.call("CLIENT", "LIST", "TYPE", "NORMAL").splitlines()), 1)
        info = dict(line.split(":") for line in admin.call("INFO").decode().splitlines() if ":" in line)
        equal([info[name] for name in ("pubsub_channels", "pubsub_patterns", "pubsubshard_channels", "pubsub_clients")],
              ["2", "1", "1", "2"])
        equal(admin.call("CLIENT", "KILL", "TYPE", "PUBSUB"), 2)
        wait_until(lambda: admin.call("PUBLISH", "a", "m") == 0, 5, "the subscription to end")


@test
def a_subscriber_that_does_not_read_is_closed_at_its_limit(house):
    with house.server("--client-output-buffer-limit", "pubsub 4mb 0 0") as server, server.client() as publisher:
        slow, quick = server.client(), server.client()
        subscribe(slow, "SUBSCRIBE", "flood")
        got = []

        def follow():
            with quick:
                subscribe(quick, "SUBSCRIBE", "flood")
                ready.set()
                while (what := read(quick))[2] != b"end":
                    got.append(len(what[2]))

        ready = threading.Event()
        thread = threading.Thread(target=follow)
        thread.start()
        ready.wait()
        for n in range(400):
            if publisher.call("PUBLISH", "flood", b"x" * 100_000) == 1:
                break
        true(n < 399, "the slow subscriber was not closed")
        equal(publisher.call("PUBLISH", "flood", "end"), 1)
        thread.join()
        equal(got, [100_000] * (n + 1))
        slow.close()


@test
def a_soft_limit_closes_a_subscriber_after_its_time(house):
    with house.server("--client-output-buffer-limit", "pubsub 0 1mb 1") as server, server.client() as publisher:
        with server.client() as slow:
            subscribe(slow, "SUBSCRIBE", "flood")
            for _ in range(80):
                publisher.call("PUBLISH", "flood", b"x" * 100_000)
            equal(publisher.call("PUBLISH", "flood", "m"), 1)
            wait_until(lambda: publisher.call("PUBLISH", "flood", "m") == 0, 5, "the subscriber to be closed")


# --- events of the keyspace -------------------------------------------------------------------------------------------

EVENTS = """
SET a 1 | SET a 2 | SET a 3 EX 100 | SET a 4 KEEPTTL | SET a 5 XX | SET a 6 NX | SET a 7 GET | GETSET a 8 | GETEX a PERSIST
GETEX a EX 100 | GETEX a | GETDEL a | GETDEL a | SETEX a 10 v | PSETEX a 10000 v | SETNX a v | SETNX b v | APPEND b x
SETRANGE b 3 yy | SETRANGE nob 0 "" | INCR n | DECR n | INCRBY n 5 | DECRBY n 2 | INCRBYFLOAT n 1.5 | MSET a 1 b 2 c 3
MSETNX a 1 d 2 | MSETNX d 1 e 2 | GET nokey | MGET a nokey b | EXISTS nokey | STRLEN nokey | TTL nokey | TYPE nokey
TOUCH nokey | OBJECT ENCODING nokey | GETRANGE nokey 0 1 | LLEN nokey | SCARD nokey | HGET nokey f | ZCARD nokey
EXPIRE a 100 | EXPIRE a 100 NX | PEXPIRE a 100000 | EXPIREAT a 9999999999 | PERSIST a | PERSIST a | EXPIRE b -1
EXPIRE nokey 100 | DEL a b nokey c | UNLINK d e | SET a 1 | RENAME a b | RENAMENX b c | RENAME c c | SET b 1 | RENAME c b
COPY b c | COPY b c REPLACE | COPY b d DB 1 | MOVE b 1 | MOVE nokey 1 | DEL b c n
LPUSH l a b c | RPUSH l d | LPUSHX l e | RPUSHX nol e | LPOP l | RPOP l 2 | LSET l 0 z | LINSERT l BEFORE z y
LINSERT l BEFORE nope y | LREM l 1 y | LREM l 1 y | LTRIM l 0 0 | LTRIM l 5 9 | RPUSH l a b c | LMOVE l m LEFT RIGHT
RPOPLPUSH l m | LMOVE l l LEFT RIGHT | LMPOP 2 no l LEFT COUNT 5 | LPOP m 5 | RPOPLPUSH l m | LPOP l
SADD s a b c | SADD s a | SREM s a | SREM s nope | SMOVE s t b | SMOVE s t b | SPOP t | SADD s d e f g | SPOP s 2 | SPOP s 100
SADD s a b c | SADD t b c d | SINTERSTORE u s t | SUNIONSTORE u s t | SDIFFSTORE u s s | SDIFFSTORE u s s | SMOVE s s a
SINTERSTORE s no1 no2 | DEL t
HSET h f 1 g 2 | HSET h f 1 | HSETNX h f 2 | HSETNX h i 2 | HMSET h j 1 | HINCRBY h f 1 | HINCRBYFLOAT h f 1.5 | HDEL h f g
HDEL h nope | HDEL h i j | HGETALL h
ZADD z 1 a 2 b | ZADD z 1 a | ZADD z XX CH 5 a | ZADD z NX 7 a | ZADD z INCR 1 a | ZINCRBY z 1 a | ZINCRBY z 1 new
ZREM z a | ZREM z nope | ZPOPMIN z | ZPOPMAX z | ZADD z 1 a 2 b 3 c 4 d 5 e | ZREMRANGEBYRANK z 0 0 | ZREMRANGEBYSCORE z 2 2
ZREMRANGEBYLEX z [c [c | ZRANGESTORE y z 0 -1 | ZUNIONSTORE x 2 z y | ZINTERSTORE x 2 z nokey | ZDIFFSTORE x 1 z
ZINTERSTORE x 2 no1 no2 | ZMPOP 1 z MIN COUNT 10 | ZRANGESTORE y nokey 0 -1 | ZADD z 1 a | ZREM z a | DEL y x z
SET k v PX 20 | SLEEP | GET k | SET k v PX 20 | SLEEP | SET k w | SET k v PX 20 | SLEEP | DEL k | LPUSH k a | PEXPIRE k 20 | SLEEP
LPUSH k b | PEXPIRE k 20 | SLEEP | EXISTS k | SET k v EXAT 1 | SET k v | GETEX k EXAT 1 | SELECT 3 | SET k v | SELECT 0
MULTI | SET k 1 | INCR k | PUBLISH __keyspace@0__:m x | DEL k | EXEC | MSET a 1 b 2 c 3 d 4 e 5 f 6 | DEL f e d c b a | FLUSHALL
SET a 1 | SET b 2 | MSET b 1 a 2 x 3 y 4 | RENAME a b | RENAME x y | SWAPDB 0 1 | SWAPDB 0 1 | FLUSHDB
"""


def events_of(server, classes, commands):
    """What a subscriber to all events hears of the commands."""
    with server.client() as client, server.client() as listener:
        client.call("CONFIG", "SET", "notify-keyspace-events", classes)
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        subscribe(listener, "PSUBSCRIBE", "__key*")
        for words in commands:
            if words == ["SLEEP"]:
                time.sleep(0.03)
            else:
                client.call("PUBLISH", "__key", " ".join(words))
                client.call(*[word.strip('"') for word in words])
        client.call("PUBLISH", "__key", "end")
        heard = []
        while (what := read(listener)[2:]) != [b"__key", b"end"]:
            heard.append(what)
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", "1")
        return heard


@test
def events_of_the_keyspace_are_those_of_redis(house):
    commands = [line.split() for line in EVENTS.replace("\n", " | ").split(" | ") if line.split()]
    arguments = ["--enable-debug-command", "yes"]
    with support.redis(house.options.redis, extra=arguments) as redis, house.server(*arguments) as server:
        for classes in ("KEAmn", "KA", "E$lg", "Kxm", "Ehn", "An", ""):
            for one in (redis, server):
                with one.client() as client:
                    empty(client)
            expected = events_of(redis, classes, commands)
            found = events_of(server, classes, commands)
            for n, (one, other) in enumerate(zip(expected, found)):
                if one != other:
                    before = next(what for what in reversed(expected[:n + 1]) if what[0] == b"__key")
                    equal(found[n - 2:n + 8], expected[n - 2:n + 8], f"{classes}: events of {before[1]}")
            equal(len(found), len(expected), f"events of {classes}")


@test
def keys_expired_and_evicted_between_requests_are_told_of(house):
    with house.server("--notify-keyspace-events", "Exe") as server, server.client() as client, server.client() as listener:
        subscribe(listener, "PSUBSCRIBE", "__keyevent@0__:*")
        client.pipeline([("SET", f"k:{n}", "v", "PX", 30) for n in range(200)])
        got = [read(listener) for _ in range(200)]
        equal({what[2] for what in got}, {b"__keyevent@0__:expired"})
        equal({what[3] for what in got}, {b"k:%d" % n for n in range(200)})
        client.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        for n in range(200):
            client.call("SET", f"e:{n}", "v" * 1000)
        client.call("CONFIG", "SET", "maxmemory", "1mb")
        equal(read(listener)[2], b"__keyevent@0__:evicted")


# --- caches of clients ------------------------------------------------------------------------------------------------

def pushes(client, count):
    """The next so many messages, which are pushes."""
    got = []
    for _ in range(count):
        node = client.read()[0]
        true(node.kind == b">", f"{node} is no push")
        got.append(node.value())
    return got


@test
def a_client_hears_once_of_each_key_that_it_has_read_and_others_change(house):
    server = house.common()
    keys = [f"t:{n}" for n in range(30)]
    with server.client(resp=3) as client, server.client() as writer:
        client.call("CLIENT", "TRACKING", "ON")
        for key in keys:
            client.call("GET", key)
        equal(client.call("MGET", *keys[:5]), [None] * 5)
        for key in keys:
            writer.call("SET", key, 1)
            writer.call("SET", key, 2)
        equal(pushes(client, 30), [[b"invalidate", [key.encode()]] for key in keys])
        equal(client.call("PING"), b"PONG")
        client.call("GET", keys[0])
        client.send("SET", keys[0], 3)
        equal([read(client), read(client)], [b"OK", [b"invalidate", [keys[0].encode()]]])
        client.call("MGET", *keys)
        writer.call("MSET", *(word for key in keys for word in (key, 3)))
        equal(sorted(push[1][0] for push in pushes(client, 30)), sorted(key.encode() for key in keys))
        client.call("GET", keys[3])
        writer.call("FLUSHALL")
        equal(pushes(client, 1), [[b"invalidate", None]])
        client.call("SET", "gone", 1, "PX", 30)
        client.call("GET", "gone")
        equal(pushes(client, 1), [[b"invalidate", [b"gone"]]])
        client.call("CLIENT", "TRACKING", "OFF")
        client.call("GET", keys[0])
        writer.call("SET", keys[0], 4)
        equal(client.call("PING"), b"PONG")


@test
def a_client_that_listens_to_prefixes_hears_of_all_their_keys_but_its_own(house):
    server = house.common()
    with server.client(resp=3) as client, server.client(resp=3) as own, server.client() as writer:
        equal(client.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "a", "PREFIX", "b"), b"OK")
        equal(own.call("CLIENT", "TRACKING", "ON", "BCAST", "NOLOOP"), b"OK")
        writer.call("SET", "a1", 1)
        equal((pushes(client, 1), pushes(own, 1)), ([[b"invalidate", [b"a1"]]],) * 2)
        writer.call("SET", "c1", 1)
        equal(pushes(own, 1), [[b"invalidate", [b"c1"]]])
        own.call("SET", "b1", 1)
        equal(pushes(client, 1), [[b"invalidate", [b"b1"]]])
        writer.call("FLUSHALL")
        equal((pushes(client, 1), pushes(own, 1)), ([[b"invalidate", None]],) * 2)
        info = writer.call("INFO").decode()
        true("tracking_clients:2\r" in info and "tracking_total_prefixes:3\r" in info, info)
        equal(own.call("PING"), b"PONG")


@test
def a_resp2_client_has_another_one_told_and_learns_when_it_has_gone(house):
    server = house.common()
    with server.client() as client, server.client(resp=3) as third, server.client() as writer:
        told = server.client()
        number = told.call("CLIENT", "ID")
        subscribe(told, "SUBSCRIBE", "__redis__:invalidate")
        equal(client.call("CLIENT", "TRACKING", "ON", "REDIRECT", number), b"OK")
        equal(third.call("CLIENT", "TRACKING", "ON", "REDIRECT", number), b"OK")
        equal(client.call("CLIENT", "GETREDIR"), number)
        client.call("GET", "k")
        writer.call("SET", "k", 1)
        equal(read(told), [b"message", b"__redis__:invalidate", [b"k"]])
        writer.call("FLUSHALL")
        equal([read(told), read(told)], [[b"message", b"__redis__:invalidate", None]] * 2)
        third.call("GET", "k")
        told.close()
        wait_until(lambda: b"id=%d " % number not in writer.call("CLIENT", "LIST"), 5, "the other one to go")
        writer.call("SET", "k", 2)
        equal(pushes(third, 1), [[b"tracking-redir-broken", number]])
        true(b" flags=tR " in third.call("CLIENT", "INFO"), "the flags say so")
        true(b" redir=%d " % number in third.call("CLIENT", "INFO"), "and the number")
        equal(client.call("CLIENT", "TRACKING", "ON", "REDIRECT", number),
              ErrorReply(b"ERR The client ID you want redirect to does not exist"))


@test
def opt_in_and_opt_out_concern_the_next_command_or_transaction(house):
    server = house.common()
    with server.client(resp=3) as client, server.client() as writer:
        client.call("CLIENT", "TRACKING", "ON", "OPTIN")
        client.call("GET", "a")
        client.call("CLIENT", "CACHING", "YES")
        client.call("GET", "b")
        client.call("GET", "c")
        client.call("CLIENT", "CACHING", "YES")
        for words in (["MULTI"], ["GET", "d"], ["GET", "e"], ["EXEC"]):
            client.call(*words)
        for key in "abcde":
            writer.call("SET", key, 1)
        equal([push[1] for push in pushes(client, 3)], [[b"b"], [b"d"], [b"e"]])
        client.call("CLIENT", "TRACKING", "OFF")
        client.call("CLIENT", "TRACKING", "ON", "OPTOUT")
        client.call("CLIENT", "CACHING", "NO")
        client.call("GET", "a")
        client.call("GET", "b")
        for key in "ab":
            writer.call("SET", key, 2)
        equal(pushes(client, 1), [[b"invalidate", [b"b"]]])
        equal(client.call("PING"), b"PONG")


@test
def keys_beyond_the_limit_are_forgotten_and_told_of(house):
    server = house.common()
    with server.client(resp=3) as client, server.client() as writer:
        client.call("CLIENT", "TRACKING", "ON")
        for n in range(400):
            client.call("GET", f"many:{n}")
        writer.call("CONFIG", "SET", "tracking-table-max-keys", "100")
        got = pushes(client, 300)
        equal(len({push[1][0] for push in got}), 300)
        wait_until(lambda: b"tracking_total_keys:100\r" in writer.call("INFO"), 5, "a hundred keys to be left")
        writer.call("CONFIG", "SET", "tracking-table-max-keys", "1000000")


# --- all of them ------------------------------------------------------------------------------------------------------

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--slotwise", help="the server under test (target/quick/slotwise)")
    parser.add_argument("--redis", default="redis-server", help="the reference")
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    chosen = [one for one in TESTS if not options.words or any(word in one.__name__ for word in options.words)]
    house, passed, failed = House(options), 0, 0
    try:
        for one in chosen:
            start = time.monotonic()
            try:
                one(house)
                passed += 1
                print(f"ok    {one.__name__} ({time.monotonic() - start:.1f} s)", flush=True)
            except Exception as problem:
                failed += 1
                detail = str(problem) if isinstance(problem, AssertionError) else traceback.format_exc()
                print(f"FAIL  {one.__name__}: {detail}", flush=True)
                if house.shared is not None and not house.shared.alive():
                    print(house.shared.log_tail(60), flush=True)
    finally:
        house.close()
    print(f"pubsub with {options.shards} shards: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
