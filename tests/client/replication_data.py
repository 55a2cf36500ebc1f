"""What replication carries: data sets of every kind by snapshot, and every command's effect by the stream."""

import os
import subprocess
import time

import effects
from replication_kit import (
    LIBRARY, Load, equal, digest, fill_all, fill_many, picture, random_load, same_data, test, true, wait_same, wait_same_offset,
)
from support import ErrorReply, wait_until


# --- snapshots -------------------------------------------------------------------------------------------------------------

def full_sync(bench, diskless, load):
    primary = bench.primary("--repl-diskless-sync", diskless)
    fill_all(primary)
    replica = bench.replica(None, "--repl-diskless-load", load)
    replica.must("SET", "of the replica's own", "x") if load != "on-empty-db" else None
    replica.follow(primary)
    replica.wait_up()
    count = wait_same(primary, replica, encodings=True)
    true(count > 100, f"only {count} keys")
    equal(primary.syncs()[0], 1, "full syncs")
    # The stream goes on where the snapshot ends, in a database that is not the first.
    with primary.client() as client:
        client.must("SELECT", 9)
        client.must("SET", "after", "1")
    wait_same(primary, replica)


@test()
def a_full_sync_by_file_carries_everything(bench):
    full_sync(bench, "no", "disabled")


@test()
def a_full_sync_without_files_carries_everything(bench):
    full_sync(bench, "yes", "disabled")


@test()
def a_full_sync_parsed_from_the_socket_carries_everything(bench):
    full_sync(bench, "yes", "on-empty-db")


@test()
def a_full_sync_into_a_second_data_set_carries_everything(bench):
    full_sync(bench, "yes", "swapdb")


@test()
def a_full_sync_by_file_is_parsed_from_the_socket(bench):
    full_sync(bench, "no", "swapdb")


@test()
def files_of_a_full_sync_stay_or_go_as_configured(bench):
    def files(*nodes):
        return [sorted(name for name in os.listdir(node.server.dir) if name.endswith(".rdb")) for node in nodes]
    for remove, left in (("no", ["dump.rdb"]), ("yes", [])):
        options = ("--repl-diskless-sync", "no", "--rdb-del-sync-files", remove)
        primary, replica = bench.primary(*options), bench.replica(None, *options)
        primary.must("SET", "a", remove)
        replica.follow(primary)
        replica.wait_up()
        equal(replica.must("GET", "a"), remove.encode())
        wait_until(lambda: files(primary, replica) == [left, left], 10, f"{left} in both directories")
        # What is saved on purpose is nobody's to remove: with a save point it stays.
        primary.must("CONFIG", "SET", "save", "3600 1")
        another = bench.replica(primary, *options)
        wait_until(lambda: files(primary, another) == [["dump.rdb"], left], 10, "the file of a server with a save point")


@test()
def an_empty_primary_empties_its_replica(bench):
    primary, replica = bench.primary(), bench.replica()
    fill_all(replica, keys=5)
    replica.follow(primary)
    replica.wait_up()
    wait_same(primary, replica)
    equal(replica.must("DBSIZE"), 0)
    primary.must("SET", "first", "1")
    wait_same(primary, replica)


@test()
def thresholds_of_both_ends_may_differ(bench):
    loose = ("--hash-max-listpack-entries", "0", "--zset-max-listpack-entries", "0", "--set-max-intset-entries", "0",
             "--list-max-listpack-size", "2", "--list-compress-depth", "1")
    primary = bench.primary(*loose)
    fill_all(primary, seed=2)
    replica = bench.replica(primary)
    other = bench.primary()
    wait_same(primary, replica)
    fill_all(other, seed=3)
    replica.follow(other)
    wait_until(lambda: replica.info()["master_port"] == str(other.port) and replica.link_up(), 20, "the other primary")
    wait_same(other, replica)


@test()
def several_replicas_are_synced_together(bench):
    primary = bench.primary("--repl-diskless-sync-delay", "1")
    fill_all(primary, keys=10)
    replicas = [bench.replica() for _ in range(3)]
    for replica in replicas:
        replica.follow(primary)
    for replica in replicas:
        replica.wait_up()
    wait_same(primary, *replicas)
    for replica in replicas:
        same_data(primary, replica)
    equal(primary.info()["connected_slaves"], "3")


def writes_meanwhile(bench, diskless):
    keys = 400_000 if bench.options.full else 60_000
    primary = bench.primary("--repl-diskless-sync", diskless)
    primary.call("CONFIG", "SET", "rdb-key-save-delay", "10")  # hidden in Redis; unknown elsewhere
    fill_many(primary, keys)
    with Load(primary, dbs=(3, 9)) as load:
        replica = bench.replica()
        time.sleep(0.3)
        replica.follow(primary)
        replica.wait_up(90)
        time.sleep(0.5)
        load.stop()
    wait_same_offset(primary, replica)
    equal(digest(replica), digest(primary), "DEBUG DIGEST")
    equal(primary.syncs()[0], 1, "full syncs")


@test()
def writes_during_a_sync_by_file_arrive(bench):
    writes_meanwhile(bench, "no")


@test()
def writes_during_a_sync_without_files_arrive(bench):
    writes_meanwhile(bench, "yes")


@test()
def the_first_write_after_a_sync_goes_to_its_database(bench):
    primary = bench.primary()
    with primary.client() as client:
        client.must("SELECT", 7)
        client.must("SET", "before", "1")
        replica = bench.replica(primary)
        client.must("SET", "after", "1")
        second = bench.replica(primary)  # attaches while database 7 is the stream's
        client.must("SET", "later", "1")
    wait_same(primary, replica, second)
    same_data(primary, second)


@test("both", full=True)
def values_of_more_than_64_mb_are_carried(bench):
    primary = bench.primary()
    big = b"0123456789abcdef" * (70 << 16)
    primary.must("SET", "big:1", big)
    replica = bench.replica(primary)
    primary.must("SET", "big:2", big)
    primary.must("APPEND", "big:1", "end")
    wait_same_offset(primary, replica, seconds=60)
    equal(digest(replica), digest(primary))


@test("both", full=True)
def a_data_set_of_a_gigabyte_is_carried_in_both_forms(bench):
    primary = bench.primary()
    with primary.client(timeout=120) as client:
        client.must("DEBUG", "POPULATE", 950_000, "many", 1000)
    found = digest(primary)
    for diskless in ("yes", "no"):
        primary.config(repl_diskless_sync=diskless)
        replica = bench.replica()
        replica.follow(primary)
        replica.wait_up(120)
        wait_same_offset(primary, replica)
        equal(digest(replica), found, f"DEBUG DIGEST, diskless {diskless}")
        replica.end(9)


@test()
def big_values_and_binary_keys_are_carried(bench):
    primary, replica = bench.pair()
    big = bytes(range(256)) * (6 << 12)  # 6 MB
    with primary.client(timeout=60) as client:
        client.must("SET", "big", big)
        client.must("RPUSH", "list", big[:1_000_000], "", b"\r\n", b"\x00")
        client.must("HSET", b"\xff\xfe\r\n$5\r\n", b"\x00", big[:70_000], "", "")
        client.must("SET", "", "")
        client.must("SET", b"*3\r\n$3\r\nSET\r\n", b"$-1\r\n")
        client.must("APPEND", "big", "!")
    wait_same(primary, replica, encodings=True)


# --- the stream ------------------------------------------------------------------------------------------------------------

@test()
def transactions_scripts_and_functions_arrive_by_their_effects(bench):
    primary, replica = bench.pair()
    with primary.client() as client:
        client.must("FUNCTION", "LOAD", LIBRARY.format(name="mylib"))
        client.must("FCALL", "mylib", 1, "by:function", "1")
        client.transaction([("SET", "a", 1), ("INCR", "a"), ("SELECT", 5), ("RPUSH", "b", 1, 2, 3), ("INCR", "b"), ("LPOP", "b")])
        client.must("SELECT", 0)
        client.must("EVAL", "for i = 1, 10 do redis.call('ZADD', KEYS[1], i, 'm' .. i) end redis.call('SPOP', KEYS[2])", 2, "{s}z", "{s}t")
        client.must("SADD", "{s}t", *range(20))
        client.must("EVAL", "redis.call('SPOP', KEYS[1], 5) return redis.call('TIME')", 1, "{s}t")
        sha = client.must("SCRIPT", "LOAD", "return redis.call('INCR', KEYS[1])")
        client.must("EVALSHA", sha, 1, "by:sha")
        client.call("EVAL", "redis.call('SET', KEYS[1], 'kept') error('later')", 1, "half")
        client.must("MSET", *[word for n in range(50) for word in (f"many:{n}", n)])
        client.must("FUNCTION", "LOAD", LIBRARY.format(name="second"))
        client.must("FUNCTION", "DELETE", "second")
    wait_same(primary, replica)
    equal(replica.must("GET", "half"), b"kept")
    payload = primary.must("FUNCTION", "DUMP")
    primary.must("FUNCTION", "FLUSH")
    wait_same(primary, replica)
    primary.must("FUNCTION", "RESTORE", payload)
    wait_same(primary, replica)


@test()
def random_outcomes_arrive_as_what_came_out(bench):
    primary, replica = bench.pair()
    with primary.client() as client:
        for n in range(20):
            client.must("SADD", f"set:{n}", *range(100))
            client.must("SPOP", f"set:{n}")
            client.must("SPOP", f"set:{n}", 30)
        client.must("SPOP", "set:3", 100)
        for n in range(600):
            client.must("XADD", "stream", "MAXLEN", "~", 200, "*", "n", n)
        client.must("XADD", "stream", "NOMKSTREAM", "MINID", "~", "1-1", "LIMIT", 10, "*", "last", "1")
        client.must("XTRIM", "stream", "MAXLEN", "~", 100)
        client.must("SET", "float", "10.5", "EX", 10000)
        client.must("INCRBYFLOAT", "float", "0.1")
        client.must("HINCRBYFLOAT", "hash", "f", "3.3333333333")
        client.must("GETEX", "float", "EX", 5000)
        client.must("SET", "persisted", "1", "PX", 100000)
        client.must("GETEX", "persisted", "PERSIST")
        client.must("GETSET", "float", "2")
        client.must("SET", "deleted", "1")
        client.must("GETDEL", "deleted")
        client.must("EXPIRE", "hash", 1000, "NX")
        client.must("SORT", "set:4", "STORE", "sorted") if client.must("SCARD", "set:4") else None
        client.must("PFADD", "hll", *range(2000))
        client.must("PFCOUNT", "hll")
        client.must("GEOADD", "geo", "13.361389", "38.115556", "Palermo", "15.087269", "37.502669", "Catania")
        client.must("GEOSEARCHSTORE", "geo2", "geo", "FROMMEMBER", "Palermo", "BYRADIUS", 300, "km")
        client.must("BITFIELD", "bits", "SET", "u8", 0, 255, "INCRBY", "i5", 10, 3)
    wait_same(primary, replica)


@test()
def groups_of_streams_arrive(bench):
    primary, replica = bench.pair()
    with primary.client() as client:
        for n in range(50):
            client.must("XADD", "s", f"{n + 1}-1", "n", n)
        client.must("XGROUP", "CREATE", "s", "g", "0")
        client.must("XGROUP", "CREATE", "fresh", "g", "$", "MKSTREAM")
        client.must("XREADGROUP", "GROUP", "g", "c1", "COUNT", 10, "STREAMS", "s", ">")
        client.must("XREADGROUP", "GROUP", "g", "c2", "COUNT", 5, "NOACK", "STREAMS", "s", ">")
        client.must("XREADGROUP", "GROUP", "g", "c3", "COUNT", 10, "STREAMS", "s", ">")
        client.must("XACK", "s", "g", "1-1", "2-1")
        client.must("XCLAIM", "s", "g", "c2", 0, "3-1", "4-1")
        client.must("XDEL", "s", "5-1", "6-1")
        client.must("XAUTOCLAIM", "s", "g", "c2", 0, "0", "COUNT", 4)
        client.must("XGROUP", "CREATECONSUMER", "s", "g", "idle")
        client.must("XGROUP", "DELCONSUMER", "s", "g", "c3")
        client.must("XGROUP", "SETID", "s", "g", "20-1")
        client.must("XSETID", "s", "100-1")
        client.must("XGROUP", "CREATE", "s", "gone", "0")
        client.must("XGROUP", "DESTROY", "s", "gone")
    wait_same(primary, replica)


@test()
def what_serves_a_blocked_client_is_taken_on_the_replica_too(bench):
    primary, replica = bench.pair()
    waiting = [
        ("BLPOP", "l1", "l2", 0), ("BRPOP", "l3", 0), ("BLMOVE", "l4", "l5", "LEFT", "RIGHT", 0), ("BRPOPLPUSH", "l6", "l7", 0),
        ("BLMPOP", 0, 1, "l8", "LEFT", "COUNT", 2), ("BZPOPMIN", "z1", 0), ("BZPOPMAX", "z2", 0), ("BZMPOP", 0, 1, "z3", "MIN"),
        ("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "x1", ">"),
    ]
    primary.must("XGROUP", "CREATE", "x1", "g", "$", "MKSTREAM")
    clients = []
    for command in waiting:
        client = primary.client()
        client.send(*command)
        clients.append(client)
    wait_until(lambda: primary.info("clients")["blocked_clients"] == str(len(waiting)), 10, "all to wait")
    with primary.client() as client:
        for name in ("l2", "l3", "l4", "l6", "l8"):
            client.must("RPUSH", name, "a", "b", "c")
        client.transaction([("ZADD", "z1", 1, "a", 2, "b"), ("ZADD", "z2", 1, "a", 2, "b")])
        client.must("EVAL", "redis.call('ZADD', KEYS[1], 1, 'a', 2, 'b')", 1, "z3")
        client.must("XADD", "x1", "1-1", "f", "v")
    for client, command in zip(clients, waiting):
        true(not isinstance(client.read()[0].value(), ErrorReply), f"{command[0]} was answered with an error")
        client.close()
    wait_same(primary, replica)
    equal(replica.must("LRANGE", "l2", 0, -1), [b"b", b"c"])


@test()
def whole_databases_move_alike(bench):
    primary, replica = bench.pair()
    with primary.client() as client:
        client.must("MSET", "a", 1, "b", 2, "c", 3, "d", 4)
        client.must("SWAPDB", 0, 3)
        wait_same_offset(primary, replica)
        client.must("SELECT", 3)
        client.must("MOVE", "a", 5)
        client.must("COPY", "b", "b2", "DB", 6)
        client.must("COPY", "b", "b3", "REPLACE")
        client.must("RENAME", "c", "renamed")
        client.must("SELECT", 9)
        client.must("MSET", "x", 1, "y", 2)
        client.must("FLUSHDB", "ASYNC")
        client.must("SET", "z", 1)
        wait_same(primary, replica)
        client.transaction([("SWAPDB", 9, 3), ("SET", "in", "nine"), ("SELECT", 3), ("SET", "in", "three")])
        wait_same(primary, replica)
        client.must("FLUSHALL", "ASYNC")
        client.must("SET", "after", "1")
        wait_same(primary, replica)
        client.must("FLUSHALL", "SYNC")
        client.must("SELECT", 0)
        client.must("SET", "last", "1")
    wait_same(primary, replica)
    equal(replica.must("DBSIZE"), 1)


@test()
def expired_keys_leave_the_replica_by_the_primarys_word(bench):
    primary, replica = bench.pair()
    with primary.client() as client:
        for n in range(100):
            client.must("SET", f"soon:{n}", n, "PX", 300 + n)
            client.must("HSET", f"hash:{n}", "f", n)
            client.must("PEXPIRE", f"hash:{n}", 300 + n)
        client.must("SET", "kept", 1, "EX", 1000)
        wait_same_offset(primary, replica)
        equal(replica.must("PEXPIRETIME", "kept"), primary.must("PEXPIRETIME", "kept"), "PEXPIRETIME")
        wait_until(lambda: client.must("DBSIZE") == 1, 10, "the keys to expire")
    wait_same(primary, replica)
    wait_until(lambda: replica.must("DBSIZE") == 1, 5, "the DELs on the replica")
    equal(replica.info("stats")["expired_keys"], "0", "expired_keys of the replica")


@test()
def evicted_keys_leave_the_replica_too(bench):
    primary = bench.primary()
    fill_many(primary, 20_000, size=200)
    replica = bench.replica(primary)
    used = int(primary.info("memory")["used_memory"])
    primary.config(maxmemory_policy="allkeys-random")
    primary.config(maxmemory=used - 2_000_000)
    with primary.client() as client:
        for n in range(2000):
            client.call("SET", f"more:{n}", "y" * 500)
    true(int(primary.info("stats")["evicted_keys"]) > 1000, "nothing was evicted")
    primary.config(maxmemory=0)
    wait_same_offset(primary, replica)
    equal(replica.must("DBSIZE"), primary.must("DBSIZE"), "DBSIZE")
    equal(digest(replica), digest(primary), "DEBUG DIGEST")


@test()
def a_replica_with_less_memory_keeps_all_the_same(bench):
    primary = bench.primary()
    replica = bench.replica(primary, "--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru")
    fill_many(primary, 20_000, size=400)
    wait_same_offset(primary, replica)
    equal(replica.must("DBSIZE"), 20_000, "keys of the replica")
    equal(digest(replica), digest(primary))


@test()
def messages_reach_the_subscribers_of_the_replica(bench):
    primary, replica = bench.pair()
    with replica.client() as listener:
        listener.must("SUBSCRIBE", "news")
        listener.call("PSUBSCRIBE", "n*")
        primary.must("PUBLISH", "news", "hello")
        equal(listener.read()[0].value(), [b"message", b"news", b"hello"])
        equal(listener.read()[0].value(), [b"pmessage", b"n*", b"news", b"hello"])
        with primary.client() as client:
            client.transaction([("PUBLISH", "news", "in multi"), ("SET", "a", "1")])
        equal(listener.read()[0].value(), [b"message", b"news", b"in multi"])
    with replica.client() as listener:
        listener.must("SSUBSCRIBE", "shard")
        primary.must("SPUBLISH", "shard", "x")
        equal(listener.read()[0].value(), [b"smessage", b"shard", b"x"])


@test()
def clients_of_the_replica_that_watch_or_track_hear_of_the_stream(bench):
    primary, replica = bench.pair()
    primary.must("SET", "k", 1)
    wait_same_offset(primary, replica)
    with replica.client() as client, replica.client(resp=3) as tracking:
        client.must("WATCH", "k")
        tracking.must("CLIENT", "TRACKING", "ON")
        equal(tracking.must("GET", "k"), b"1")
        primary.must("SET", "k", 2)
        equal(tracking.read()[0].value(), [b"invalidate", [b"k"]])
        wait_same_offset(primary, replica)
        client.must("MULTI")
        client.must("GET", "k")
        equal(client.must("EXEC"), None, "EXEC after the stream changed a watched key")


@test()
def an_operator_sees_the_writes_in_monitor_and_keyspace_events_of_the_replica(bench):
    primary, replica = bench.pair()
    replica.config(notify_keyspace_events="KEA")
    with replica.client() as listener:
        listener.must("PSUBSCRIBE", "__keyevent@*")
        primary.must("SET", "k", 1)
        equal(listener.read()[0].value(), [b"pmessage", b"__keyevent@*", b"__keyevent@0__:set", b"k"])
        primary.must("LPUSH", "l", 1)
        equal(listener.read()[0].value()[2:], [b"__keyevent@0__:lpush", b"l"])


@test()
def random_commands_of_every_kind_leave_the_same_data(bench):
    primary, replica = bench.pair()
    for seed in range(7200, 7200 + (10 if bench.options.full else 2)):
        random_load(primary, seed, 3000)
        with primary.client() as client:
            effects.drop_what_expires(client)
        wait_same(primary, replica)


@test()
def a_stock_benchmark_run_leaves_the_same_data(bench):
    primary, replica = bench.pair()
    subprocess.run(["redis-benchmark", "-p", str(primary.port), "-n", "20000", "-r", "5000", "-P", "16", "-q",
                    "-t", "set,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,mset"],
                   capture_output=True, timeout=120, check=True)
    wait_same_offset(primary, replica)
    equal(digest(replica), digest(primary), "DEBUG DIGEST")


@test()
def a_data_set_is_moved_by_presharding(bench):
    """A new node as replica, writes stopped, the new one promoted: nothing is lost."""
    primary = bench.primary()
    fill_all(primary, keys=10)
    with Load(primary) as load:
        replica = bench.replica(primary)
        time.sleep(0.3)
        primary.must("CLIENT", "PAUSE", 20_000, "WRITE")
        wait_same_offset(primary, replica)
        replica.must("REPLICAOF", "NO", "ONE")
        before = picture(primary)
        equal(len(picture(replica)), len(before))
        same_data(primary, replica)
        load.stopped.set()
        primary.must("CLIENT", "UNPAUSE")


