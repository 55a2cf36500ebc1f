"""Links that break and come back: partial resyncs, chains, promotion, restarts, peers that fall silent."""

import os
import signal
import time

from replication_kit import (
    FakeReplica, Load, Proxy, Wire, digest, equal, equal_digest, fill_all, fill_many, same_data, starts, test, true, wait_same,
    wait_same_offset,
)
from support import wait_until

RECONNECT_SECONDS_MAX = 10


def equal_digests(primary, *replicas):
    wait_same_offset(primary, *replicas)
    for replica in replicas:
        equal_digest(primary, replica)


def log_is_whole(node):
    """Whether the rewrite of the append-only files that follows a full sync is over."""
    found = node.info("persistence")
    return found["aof_rewrite_in_progress"] == found["aof_rewrite_scheduled"] == "0"


# --- partial and full resyncs ----------------------------------------------------------------------------------------------

def links_killed_under_load(bench, kill):
    primary, replica = bench.pair("--repl-backlog-size", "20mb")
    with Load(primary) as load:
        for n in range(3):
            time.sleep(0.3)
            true(kill(primary, replica) in (1, not replica.is_redis and int(replica.kind[1:])), "links killed")
            wait_until(lambda: primary.syncs()[1] > n, RECONNECT_SECONDS_MAX, "the partial resync")
        load.stop()
    equal_digests(primary, replica)
    equal(primary.syncs()[:2], (1, 3), "full and partial syncs")


@test()
def a_link_killed_by_the_primary_resumes_under_load(bench):
    links_killed_under_load(bench, lambda primary, _: primary.must("CLIENT", "KILL", "TYPE", "replica"))


@test()
def a_link_killed_by_the_replica_resumes_under_load(bench):
    links_killed_under_load(bench, lambda _, replica: replica.must("CLIENT", "KILL", "TYPE", "master"))


@test()
def a_link_cut_in_the_middle_of_a_big_value_resumes(bench):
    primary = bench.primary("--repl-backlog-size", "64mb")
    proxy = bench.keep(Proxy(primary.port))
    replica = bench.replica()
    replica.must("REPLICAOF", "127.0.0.1", proxy.port)
    replica.wait_up()
    for n in range(3):
        before = proxy.bytes_down
        primary.must("SET", f"big:{n}", bytes([97 + n]) * 6_000_000)
        wait_until(lambda: proxy.bytes_down - before > 100_000, 10, "a part of the value to pass")
        proxy.cut()
        wait_until(lambda: primary.syncs()[1] > n, RECONNECT_SECONDS_MAX, "the partial resync")
    equal_digests(primary, replica)
    equal(primary.syncs()[0], 1, "full syncs")


@test()
def a_backlog_that_overflowed_makes_the_sync_full(bench):
    primary = bench.primary("--repl-backlog-size", "20kb")
    proxy = bench.keep(Proxy(primary.port))
    replica = bench.replica()
    replica.must("REPLICAOF", "127.0.0.1", proxy.port)
    replica.wait_up()
    proxy.refusing = True
    proxy.cut()
    wait_until(lambda: primary.info()["connected_slaves"] == "0", 10, "the primary to notice")
    fill_many(primary, 20_000)
    proxy.refusing = False
    wait_until(lambda: primary.syncs()[0] == 2, RECONNECT_SECONDS_MAX, "the full sync")
    replica.wait_up()
    equal_digests(primary, replica)
    true(primary.syncs()[2] >= 1, "sync_partial_err counts the refusal")


@test()
def a_backlog_grown_at_run_time_is_enough(bench):
    primary, replica = bench.pair("--repl-backlog-size", "20kb")
    primary.config(repl_backlog_size="10mb")
    equal(primary.info()["repl_backlog_size"], str(10 << 20))
    fill_many(primary, 10_000)
    wait_same_offset(primary, replica)
    replica.stop_running()
    primary.must("CLIENT", "KILL", "TYPE", "replica")
    fill_many(primary, 20_000, prefix="again")
    replica.go_on()
    wait_until(lambda: primary.syncs()[1] == 1, RECONNECT_SECONDS_MAX, "the partial resync")
    equal_digests(primary, replica)


@test()
def a_replica_that_wrote_on_its_own_or_never_knew_is_synced_fully(bench):
    primary, replica = bench.pair()
    replica.must("REPLICAOF", "NO", "ONE")
    replica.must("SET", "own", "1")
    replica.must("SELECT", 2)
    replica.follow(primary)
    replica.wait_up()
    equal(primary.syncs()[0], 2, "full syncs")
    wait_same(primary, replica)


# --- chains ------------------------------------------------------------------------------------------------------------------

def chain(bench, *extra):
    top, middle = bench.primary(*extra), bench.replica()
    middle.follow(top)
    middle.wait_up()
    bottom = bench.primary()
    return top, middle, bottom


def attach(node, to):
    node.follow(to)
    node.wait_up()


@test("chain")
def a_chain_carries_the_same_bytes_to_the_last(bench):
    top, middle, bottom = chain(bench)
    fill_all(top, keys=10)
    with top.client() as client:
        client.must("SELECT", 7)  # the stream's database while the last one attaches
        client.must("SET", "before", "1")
        attach(bottom, middle)
        client.must("SET", "after", "1")
        client.must("INCR", "counter")
        wait_same_offset(top, middle)
        wait_same(middle, bottom)
        same_data(top, bottom)
    equal(len({node.info()["master_replid"] for node in (top, middle, bottom)}), 1, "histories")
    with Load(top, dbs=(0, 4)) as load:
        time.sleep(0.5)
        load.stop()
    wait_same_offset(top, middle)
    wait_same_offset(middle, bottom)
    # Valkey keeps the sign of a zero where Redis does not, when a sorted set begins with a long member: no other difference counts.
    equals = same_data if "v" in (top.kind, middle.kind) else equal_digest
    for node in (middle, bottom):
        equals(top, node)
    # The middle passes on bytes: what its sub-replica is at is what the top counts.
    true(int(bottom.info()["slave_repl_offset"]) > 10_000, "the offset of the last")


@test("chain")
def a_sub_replica_resumes_partially_below_a_middle_that_lost_its_primary_for_a_moment(bench):
    top, middle, bottom = chain(bench)
    attach(bottom, middle)
    top.must("SET", "a", 1)
    wait_same_offset(top, middle)
    full = middle.syncs()[0]
    top.must("CLIENT", "KILL", "TYPE", "replica")
    top.must("SET", "b", 1)
    wait_until(middle.link_up, 10, "the middle")
    wait_same_offset(top, middle)
    wait_same_offset(middle, bottom)
    equal(middle.syncs()[0], full, "full syncs of the middle")
    equal(bottom.must("GET", "b"), b"1")


@test("chain")
def a_full_sync_of_the_middle_reaches_the_last(bench):
    top, middle, bottom = chain(bench)
    attach(bottom, middle)
    other = bench.primary()
    fill_all(other, seed=4, keys=10)
    middle.follow(other)
    wait_until(lambda: middle.link_up() and middle.info()["master_replid"] == other.info()["master_replid"], 20, "the other primary")
    wait_until(lambda: bottom.link_up() and bottom.info()["master_replid"] == other.info()["master_replid"], 20,
               "the last to have the other history")
    wait_same_offset(other, middle)
    wait_same(middle, bottom)
    same_data(other, bottom)


@test("chain")
def a_middle_promoted_keeps_its_sub_replica_and_takes_the_old_top_partially(bench):
    top, middle, bottom = chain(bench)
    attach(bottom, middle)
    fill_all(top, keys=5)
    wait_same_offset(top, middle)
    wait_same_offset(middle, bottom)
    old, full = top.info()["master_replid"], middle.syncs()[0]
    offset = int(middle.info()["master_repl_offset"])
    middle.must("REPLICAOF", "NO", "ONE")
    found = middle.info()
    equal((found["role"], found["master_replid2"], int(found["second_repl_offset"])), ("master", old, offset + 1))
    true(found["master_replid"] != old, "the history has a new name")
    with middle.client() as client:
        client.must("SELECT", 5)
        client.must("SET", "by the new one", "1")
    wait_until(lambda: bottom.link_up() and bottom.info()["master_replid"] == found["master_replid"], 15, "the last to follow")
    equal(middle.syncs()[0], full, "full syncs")
    wait_same(middle, bottom)


@test("chain")
def a_sub_replica_below_a_middle_without_primary_hears_that_it_has_none(bench):
    top, middle, _ = chain(bench)
    top.end(signal.SIGKILL)
    wait_until(lambda: middle.info().get("master_link_status") == "down", 10, "the middle to notice")
    wire = Wire.to(middle.port)
    equal(wire.ask("PSYNC", "?", -1), b"-NOMASTERLINK Can't SYNC while not connected with my master")
    equal(wire.ask("SYNC"), b"-NOMASTERLINK Can't SYNC while not connected with my master")
    wire.close()


# --- promotion ----------------------------------------------------------------------------------------------------------------

def family(bench):
    """A primary with two replicas, one of each kind."""
    a = bench.primary("--repl-ping-replica-period", "3600")  # a ping that only some hear parts the histories
    b, c = bench.replica(a), bench.primary()
    c.follow(a)
    c.wait_up()
    fill_all(a, keys=8)
    wait_same_offset(a, b, c)
    return a, b, c


@test("chain")
def siblings_follow_the_promoted_one_partially(bench):
    a, b, c = family(bench)
    old = a.info()["master_replid"]
    b.must("REPLICAOF", "NO", "ONE")
    with b.client() as client:
        client.must("SELECT", 11)
        client.must("SET", "new", "1")
    c.follow(b)
    c.wait_up()
    equal(b.syncs()[:2], (0, 1), "full and partial syncs of the promoted one")
    wait_same(b, c)
    found = c.info()
    equal((found["master_replid"], found["master_replid2"]), (b.info()["master_replid"], old))


@test("chain")
def an_old_primary_returns_first_and_the_sibling_after_it(bench):
    a, b, c = family(bench)
    b.must("REPLICAOF", "NO", "ONE")
    b.must("SET", "new", "1")
    a.follow(b)
    a.wait_up()
    c.follow(b)
    c.wait_up()
    wait_same(b, a, c)
    same_data(b, c)
    equal(b.syncs()[:2], (0, 2), "full and partial syncs of the promoted one")
    equal((a.syncs()[0], a.info()["role"], a.info()["connected_slaves"]), (2, "slave", "0"))


@test()
def an_old_primary_that_wrote_more_is_synced_fully(bench):
    primary, replica = bench.pair()
    fill_all(primary, keys=3)
    wait_same_offset(primary, replica)
    replica.must("REPLICAOF", "NO", "ONE")
    primary.must("SET", "lost", "1")
    replica.must("SET", "won", "1")
    primary.follow(replica)
    primary.wait_up()
    equal(replica.syncs()[0], 1, "full syncs")
    wait_same(replica, primary)
    equal(primary.must("EXISTS", "lost"), 0)


@test("replica")
def the_second_history_ends_at_its_offset(bench):
    primary, replica = bench.pair()
    fill_all(primary, keys=3)
    wait_same_offset(primary, replica)
    old = primary.info()["master_replid"]
    replica.must("REPLICAOF", "NO", "ONE")
    second = int(replica.info()["second_repl_offset"])
    replica.must("SET", "k", "1")
    new = replica.info()["master_replid"].encode()
    for asked, answer in ((second, b"+CONTINUE " + new), (second - 1, b"+CONTINUE " + new), (second + 1, b"+FULLRESYNC " + new)):
        fake = bench.keep(FakeReplica(replica))
        starts(fake.psync(old, asked), answer, f"PSYNC of the old history, {asked - second} from its end")
        if asked == second:
            equal(fake.next()[0], b"SELECT", "what follows the end of the old history")
        fake.close()
    replica.logged("Setting secondary replication ID to " + old)


# --- restarts -----------------------------------------------------------------------------------------------------------------

@test("chain")
def a_primary_that_saved_at_its_end_goes_on_partially(bench):
    primary = bench.primary("--save", "3600 1000000")
    replica = bench.replica(primary)
    fill_all(primary, keys=8)
    wait_same_offset(primary, replica)
    old = primary.info()["master_replid"]
    equal(primary.end(), 0, "exit status")
    wait_until(lambda: replica.info()["master_link_status"] == "down", 10, "the replica to notice")
    offset = int(replica.info()["slave_repl_offset"])
    primary.start()
    found = primary.info()
    equal((found["master_replid2"], int(found["second_repl_offset"]), int(found["master_repl_offset"]) >= offset),
          (old, offset + 1, True), "history of the restarted primary")
    replica.wait_up()
    equal(primary.syncs()[:2], (0, 1), "full and partial syncs")
    with primary.client() as client:
        client.must("SELECT", 3)
        client.must("SET", "after", "1")
    wait_same(primary, replica)


@test()
def a_replica_that_saved_at_its_end_goes_on_partially(bench):
    primary = bench.primary()
    replica = bench.replica(None, "--save", "3600 1000000", "--replicaof", f"127.0.0.1 {primary.port}")
    replica.wait_up()
    with primary.client() as client:
        client.must("SELECT", 6)
        client.must("SET", "before", "1")
        wait_same_offset(primary, replica)
        equal(replica.end(), 0, "exit status")
        client.must("SET", "meanwhile", "1")
        replica.start()
        replica.wait_up()
        client.must("SET", "after", "1")
    equal(primary.syncs()[:2], (1, 1), "full and partial syncs")
    wait_same(primary, replica)


@test("chain")
def a_replica_that_saved_when_told_goes_on_partially_after_a_crash(bench):
    primary = bench.primary("--repl-backlog-size", "50mb")
    replica = bench.replica(None, "--replicaof", f"127.0.0.1 {primary.port}")
    replica.wait_up()
    for save in ("SAVE", "BGSAVE"):
        with Load(primary, rate=500) as load:
            time.sleep(0.2)
            replica.must(save)
            wait_until(lambda: replica.info("persistence")["rdb_bgsave_in_progress"] == "0", 20, "the end of the save")
            time.sleep(0.1)
            replica.end(signal.SIGKILL)
            replica.start()
            replica.wait_up()
            load.stop()
        equal_digests(primary, replica)
    equal(primary.syncs()[:2], (1, 2), "full and partial syncs")


@test("chain")
def keys_that_expired_while_the_primary_was_down_leave_its_replica(bench):
    primary = bench.primary("--save", "3600 1000000")
    replica = bench.replica(primary)
    with primary.client() as client:
        client.must("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        for n in range(40):
            client.must("SELECT", n % 3)
            client.must("SET", f"short:{n}", n, "PX", 30)
            client.must("SET", f"long:{n}", n)
    wait_same_offset(primary, replica)
    time.sleep(0.05)
    equal(primary.end(), 0, "exit status")
    primary.start()
    equal(primary.info("persistence")["rdb_last_load_keys_expired"], "40")
    replica.wait_up()
    equal(primary.syncs()[:2], (0, 1), "full and partial syncs")
    wait_same_offset(primary, replica)
    with replica.client() as client:
        counts = []
        for db in range(3):
            client.must("SELECT", db)
            counts.append(client.must("DBSIZE"))
    equal(sum(counts), 40, "keys of the replica")


@test("both")
def what_cores_and_threads_pass_to_each_other_is_counted_once(bench):
    """used_memory follows the allocator, however much has gone through the stream and into snapshots."""
    primary, replica = bench.pair("--repl-backlog-size", "2mb")
    nodes = [node for node in (primary, replica) if not node.is_redis]
    with primary.client() as client:
        client.pipeline([("SET", f"key:{n % 1000}", "x" * 2000) for n in range(1000)])
        wait_same_offset(primary, replica)

        def gap(node):
            found = node.info("memory")
            return int(found["used_memory"]) - int(found["allocator_allocated"])
        before = [gap(node) for node in nodes]
        for _ in range(3):
            client.pipeline([("SET", f"key:{n % 1000}", "x" * 2000) for n in range(5000)])
            for node in nodes:
                node.must("BGSAVE")
                wait_until(lambda: node.info("persistence")["rdb_bgsave_in_progress"] == "0", 20, "the save")
        wait_same_offset(primary, replica)
        for node, old in zip(nodes, before):
            true(abs(gap(node) - old) < 4 << 20, f"{node.kind}: off by {gap(node)} bytes, by {old} before 30 MB of changes")
    if not primary.is_redis:
        backlog = int(primary.info("memory")["mem_replication_backlog"])
        true(2 << 20 <= backlog < 3 << 20, f"{backlog} bytes of backlog")
        stats = primary.must("MEMORY", "STATS")
        equal(stats[stats.index(b"replication.backlog") + 1], backlog, "MEMORY STATS")


@test()
def a_replica_killed_and_started_again_is_synced(bench):
    primary = bench.primary()
    replica = bench.replica(None, "--replicaof", f"127.0.0.1 {primary.port}")
    replica.wait_up()
    for n in range(2):
        with Load(primary) as load:
            time.sleep(0.2)
            replica.end(signal.SIGKILL)
            time.sleep(0.2)
            replica.start()
            replica.wait_up()
            load.stop()
        equal_digests(primary, replica)


@test()
def a_restart_with_append_only_files_makes_the_sync_full(bench):
    primary = bench.primary()
    replica = bench.replica(None, "--appendonly", "yes", "--replicaof", f"127.0.0.1 {primary.port}")
    replica.wait_up()
    fill_all(primary, keys=5)
    wait_same_offset(primary, replica)
    wait_until(lambda: log_is_whole(replica), 20, "the rewrite after the sync")
    replica.end()
    replica.start()
    replica.wait_up()
    equal(primary.syncs()[0], 2, "full syncs")
    wait_same(primary, replica)


@test()
def the_log_of_a_replica_holds_what_it_was_sent(bench):
    primary = bench.primary()
    fill_all(primary, keys=5)
    replica = bench.replica(None, "--appendonly", "yes", "--appendfsync", "always")
    replica.must("SET", "own", "1")
    replica.follow(primary)
    replica.wait_up()
    fill_all(primary, seed=5, keys=5, dbs=(1, 2))
    primary.must("MSET", "a", 1, "b", 2)
    wait_same_offset(primary, replica)
    wait_until(lambda: log_is_whole(replica), 20, "the rewrite after the sync")
    before = digest(replica)
    replica.end(signal.SIGKILL)
    replica.start()
    equal(digest(replica), before, "DEBUG DIGEST after a kill and a start")
    equal(replica.must("EXISTS", "own"), 0)


# --- silence -----------------------------------------------------------------------------------------------------------------

@test()
def a_frozen_primary_is_dropped_and_found_again(bench):
    primary = bench.primary()
    replica = bench.replica(None, "--repl-timeout", "2")
    replica.follow(primary)
    replica.wait_up()
    primary.must("SET", "a", 1)
    wait_same_offset(primary, replica)
    primary.stop_running()
    try:
        wait_until(lambda: replica.info()["master_link_status"] == "down", 10, "the replica to drop the link")
    finally:
        primary.go_on()
    replica.wait_up()
    primary.must("SET", "b", 1)
    wait_same(primary, replica)
    equal(primary.syncs()[0], 1, "full syncs")


@test()
def a_frozen_replica_is_closed_and_returns(bench):
    primary, replica = bench.pair("--repl-timeout", "2")
    replica.stop_running()
    try:
        wait_until(lambda: primary.info()["connected_slaves"] == "0", 10, "the primary to close the link")
        primary.must("SET", "meanwhile", 1)
    finally:
        replica.go_on()
    wait_until(lambda: primary.info()["connected_slaves"] == "1", 10, "the replica's return")
    wait_same(primary, replica)
    equal(primary.syncs()[0], 1, "full syncs")
    primary.logged("Disconnecting timedout replica")


@test()
def a_slow_replica_beyond_its_buffer_limit_is_closed_and_synced_again(bench):
    primary = bench.primary("--client-output-buffer-limit", "replica 4mb 0 0", "--repl-backlog-size", "1mb")
    replica = bench.replica(primary)
    replica.stop_running()
    try:
        for n in range(60):
            primary.must("SET", f"k:{n}", b"x" * 1_000_000)
        wait_until(lambda: primary.info()["connected_slaves"] == "0", 10, "the primary to close the link")
        true(int(primary.info("memory")["mem_total_replication_buffers"]) < 20 << 20, "buffers are given back")
    finally:
        replica.go_on()
    wait_until(lambda: primary.syncs()[0] == 2 and replica.link_up(), 30, "the full sync")
    equal_digests(primary, replica)


@test("primary")
def a_replica_may_lag_for_a_while_and_no_longer(bench):
    primary = bench.primary("--client-output-buffer-limit", "replica 0 4mb 3600", "--repl-backlog-size", "1mb",
                            "--repl-ping-replica-period", "3600")
    replica = bench.replica(primary)
    replica.stop_running()
    try:
        for n in range(40):
            primary.must("SET", f"k:{n}", b"x" * 1_000_000)
        # Several looks at the limit: a write each, and the clock between them.
        for _ in range(3):
            time.sleep(0.5)
            primary.must("SET", "later", 1)
        equal(primary.info()["connected_slaves"], "1", "above the limit, for less than an hour")
        primary.must("CONFIG", "SET", "client-output-buffer-limit", "replica 0 4mb 1")
        wait_until(lambda: primary.info()["connected_slaves"] == "0", 15, "the primary to close the link without another write")
    finally:
        replica.go_on()
    wait_until(lambda: primary.syncs()[0] == 2 and replica.link_up(), 30, "the full sync")
    equal_digests(primary, replica)


@test()
def a_primary_that_is_not_there_is_tried_until_it_is(bench):
    primary = bench.primary()
    primary.end()
    replica = bench.replica(None, "--replicaof", f"127.0.0.1 {primary.port}")
    time.sleep(0.5)
    found = replica.info()
    equal((found["master_link_status"], found["master_last_io_seconds_ago"], found["master_link_down_since_seconds"]), ("down", "-1", "-1"))
    primary.start()
    replica.wait_up(10)
    primary.must("SET", "a", 1)
    wait_same(primary, replica)


@test()
def a_replica_whose_directory_is_gone_leaves_the_primary_well(bench):
    """Redis cannot store the snapshot and tries again; one that needs no file may go on."""
    primary = bench.primary()
    primary.must("SET", "a", 1)
    replica = bench.replica()
    away = replica.server.dir + ".away"
    os.rename(replica.server.dir, away)
    try:
        replica.follow(primary)
        time.sleep(1.5)
        equal(primary.must("PING"), b"PONG")
        equal(replica.must("PING"), b"PONG")
    finally:
        os.rename(away, replica.server.dir)
    replica.wait_up()
    wait_same(primary, replica)


@test()
def a_backlog_without_replicas_is_given_back_in_time(bench):
    primary, replica = bench.pair("--repl-backlog-ttl", "1")
    before = primary.info()
    equal(before["repl_backlog_active"], "1")
    replica.must("REPLICAOF", "NO", "ONE")
    wait_until(lambda: primary.info()["repl_backlog_active"] == "0", 10, "the backlog to go")
    after = primary.info()
    true(after["master_replid"] != before["master_replid"], "the history has a new name")
    equal((after["master_replid2"], after["repl_backlog_first_byte_offset"], after["repl_backlog_histlen"]), ("0" * 40, "0", "0"))


@test()
def a_slow_link_catches_up(bench):
    primary = bench.primary("--repl-backlog-size", "40mb")
    proxy = bench.keep(Proxy(primary.port))
    replica = bench.replica()
    replica.must("REPLICAOF", "127.0.0.1", proxy.port)
    replica.wait_up()
    proxy.hold()
    with Load(primary, rate=6000) as load:
        time.sleep(1.0)
        load.stop()
    fill_many(primary, 20_000)
    true(primary.must("PING") == b"PONG", "the primary waits for nobody")
    proxy.release()
    equal_digests(primary, replica)
    equal(primary.syncs()[:2], (1, 0), "full and partial syncs")


@test("both", full=True)
def a_copy_and_a_load_that_outlast_the_timeout_are_kept_alive(bench):
    """By files, since a copy straight to the sockets is in motion all the time; both ends take longer than repl-timeout."""
    keys, each_us = 1500, 2500
    primary = bench.primary("--repl-timeout", "2", "--repl-diskless-sync", "no")
    fill_many(primary, keys)
    primary.config(rdb_key_save_delay=each_us)
    replica = bench.replica(None, "--repl-timeout", "2")
    replica.config(key_load_delay=each_us)
    began = time.monotonic()
    replica.follow(primary)
    replica.wait_up(60)
    spent = time.monotonic() - began
    true(spent > 6, f"the copy took {spent:.1f} s only")
    equal(primary.syncs()[0], 1, "full syncs")
    replica.config(key_load_delay=0)
    primary.must("SET", "after", 1)
    wait_same(primary, replica)
