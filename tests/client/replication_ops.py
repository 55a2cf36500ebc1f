"""WAIT, FAILOVER, guards, passwords, and what operators see: INFO, ROLE, CLIENT LIST, the log, SHUTDOWN."""

import ctypes
import errno
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

from replication_kit import (
    FakeReplica, Load, equal, fill_all, same_data, starts, test, true, wait_same, wait_same_offset,
)
from support import ErrorReply, scratch_root, wait_until

READONLY = b"READONLY You can't write against a read only replica."
MASTERDOWN = b"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
NOREPLICAS = b"NOREPLICAS Not enough good replicas to write."


def error(node, text, *command):
    found = node.call(*command)
    true(isinstance(found, ErrorReply), f"{command}: {found} is no error")
    equal(bytes(found), text.encode() if isinstance(text, str) else text, " ".join(map(str, command)))


class Mounted:
    """A file system that goes with its test."""

    def __init__(self, directory):
        self.directory = directory

    def close(self):
        subprocess.run(["umount", "-l", self.directory], check=False)
        os.rmdir(self.directory)


def sent_at_once(node, fake):
    """Whether the node has TCP_NODELAY on the connection to a replica made by hand."""
    pidfd_getfd = 438  # the same on every architecture; Python has no name for it
    libc = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(node.pid)
    try:
        for name in os.listdir(f"/proc/{node.pid}/fd"):
            taken = libc.syscall(pidfd_getfd, process, int(name), 0)
            if taken < 0:
                if ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
                    raise PermissionError(ctypes.get_errno(), "pidfd_getfd")
                continue
            try:
                theirs = socket.socket(fileno=os.dup(taken))
            except OSError:
                continue
            finally:
                os.close(taken)
            with theirs:
                try:
                    peer = theirs.getpeername()
                except OSError:
                    continue
                if peer == fake.socket.getsockname():
                    return theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    finally:
        os.close(process)
    raise AssertionError(f"{node.kind} has no connection from {fake.socket.getsockname()}")


# --- WAIT ----------------------------------------------------------------------------------------------------------------------

@test()
def wait_counts_the_replicas_that_have_the_write(bench):
    primary, replica = bench.pair()
    with primary.client() as client:
        client.must("SET", "a", 1)
        equal(client.must("WAIT", 0, 0) in (0, 1), True, "WAIT 0 0")
        equal(client.must("WAIT", 1, 5000), 1, "WAIT 1")
        equal(client.must("WAIT", 0, 0), 1, "WAIT 0 0 after it")
        began = time.monotonic()
        equal(client.must("WAIT", 2, 300), 1, "WAIT 2 with one replica")
        true(0.25 < time.monotonic() - began < 5, "the time-out of 300 ms")
        second = bench.replica(primary)
        client.must("SET", "a", 2)
        equal(client.must("WAIT", 2, 5000), 2, "WAIT 2")
        equal(second.must("GET", "a"), b"2", "what WAIT promised")
        equal(replica.must("GET", "a"), b"2", "what WAIT promised")
        equal(client.transaction([("SET", "a", 3), ("WAIT", 2, 0)])[1] in (0, 1, 2), True, "WAIT in MULTI does not wait")
        equal(client.must("WAIT", 2, 0), 2, "without time-out")
        equal(client.must("WAIT", -1, 0), 2, "a negative count")


@test()
def wait_does_not_return_for_a_replica_that_stands_still(bench):
    primary, replica = bench.pair()
    with primary.client() as client, primary.client() as other, primary.client() as third:
        client.must("SET", "a", 1)
        third.must("SET", "b", 1)
        equal([client.must("WAIT", 1, 5000) for client in (client, third)], [1, 1])
        replica.stop_running()
        try:
            client.must("SET", "a", 2)
            equal(client.must("WAIT", 1, 300), 0)
            equal(other.must("WAIT", 1, 300), 1, "a client that has written nothing")
            if bench.primary_kind != "r":  # 7.0 remembers the offset behind every command, 7.2 behind the last change
                equal(third.must("WAIT", 1, 300), 1, "a client that has written nothing since its last WAIT")
            third.must("SET", "b", 2)
            equal([third.must("WAIT", 1, 100) for _ in range(2)], [0, 0], "a client that has written since")
            client.send("WAIT", 1, 0)
            wait_until(lambda: primary.info("clients")["blocked_clients"] == "1", 5, "the client to wait")
        finally:
            replica.go_on()
        equal(client.read()[0].value(), 1, "the WAIT that was blocked")


@test()
def wait_does_not_wait_for_what_others_have_written_since(bench):
    primary, replica = bench.pair()
    with primary.client() as client, primary.client() as other:
        client.must("SET", "a", 1)
        offset = int(primary.info()["master_repl_offset"])
        wait_until(lambda: int(re.search(r"offset=(\d+)", primary.info()["slave0"])[1]) >= offset, 10, "the acknowledgement")
        replica.stop_running()
        try:
            other.must("SET", "b", 1)
            equal(other.must("WAIT", 1, 100), 0, "the replica stands still")
            equal(client.must("WAIT", 1, 100), 1, "a client whose write has been acknowledged before")
            if bench.primary_kind != "r":  # see above
                equal(client.must("WAIT", 1, 100), 1, "and once more")
            client.must("SET", "a", 2)
            equal(client.must("WAIT", 1, 100), 0, "the same client after another write")
        finally:
            replica.go_on()


@test()
def waits_may_be_pipelined_and_many(bench):
    primary, replica = bench.pair()
    with primary.client() as client:
        commands = [word for n in range(30) for word in (("SET", f"k:{n}", n), ("WAIT", 1, 5000))]
        equal(client.pipeline(commands), [b"OK", 1] * 30, "SET and WAIT, thirty times")
    clients = [primary.client() for _ in range(20)]
    for n, client in enumerate(clients):
        client.send_raw(b"".join([b"*3\r\n$3\r\nSET\r\n$1\r\nw\r\n$1\r\n1\r\n", b"*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$4\r\n5000\r\n"]))
    for client in clients:
        equal([client.read()[0].value(), client.read()[0].value()], [b"OK", 1])
        client.close()
    wait_same(primary, replica)


@test()
def wait_refuses_what_it_does_not_understand(bench):
    primary, replica = bench.pair()
    error(primary, "ERR timeout is negative", "WAIT", 1, -1)
    error(primary, "ERR timeout is not an integer or out of range", "WAIT", 1, "x")
    error(primary, "ERR value is not an integer or out of range", "WAIT", "x", 0)
    since = b"" if replica.kind == "v" else b"since Redis 4.0 "
    starts(replica.call("WAIT", 0, 0), b"ERR WAIT cannot be used with replica instances. Please also note that " + since +
           b"if a replica is configured to be writable", "WAIT on a replica")


@test()
def a_promotion_unblocks_nobody_and_a_demotion_those_who_wait(bench):
    primary, replica = bench.pair()
    with primary.client() as client, primary.client() as popper:
        replica.stop_running()
        client.must("SET", "a", 1)
        client.send("WAIT", 1, 0)
        popper.send("BLPOP", "list", 0)
        wait_until(lambda: primary.info("clients")["blocked_clients"] == "2", 5, "both to wait")
        replica.go_on()
        equal(client.read()[0].value(), 1)
        other = bench.primary()
        primary.follow(other)
        starts(bytes(popper.read()[0].value()), b"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
               "the blocked client")


@test()
def waitaof_counts_what_is_on_disk(bench):
    primary, replica = bench.primary(), bench.replica()
    if isinstance(found := primary.call("WAITAOF", 0, 0, 0), ErrorReply) and b"unknown command" in found:
        return "this server has no WAITAOF"
    error(primary, "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.", "WAITAOF", 1, 0, 0)
    error(primary, "ERR value is out of range, value must between 0 and 1", "WAITAOF", 2, 0, 0)
    error(primary, "ERR value is out of range, must be positive", "WAITAOF", 0, -1, 0)
    replica.follow(primary)
    replica.wait_up()
    of_replica = replica.call("WAITAOF", 0, 0, 0)
    if b"unknown command" not in of_replica:
        starts(of_replica, b"ERR WAITAOF cannot be used with replica instances.", "WAITAOF on a replica")
    primary.config(appendonly="yes")
    with primary.client() as client:
        client.must("SET", "a", 1)
        wait_until(lambda: client.must("WAITAOF", 1, 0, 2000) == [1, 0], 10, "the local fsync")
        equal(client.must("WAITAOF", 0, 1, 200), [1, 0], "a replica without append-only files")
        if b"unknown command" not in of_replica:
            replica.config(appendonly="yes")
            wait_until(lambda: replica.info("persistence")["aof_rewrite_in_progress"] == "0", 10, "the rewrite")
            client.must("SET", "a", 2)
            wait_until(lambda: client.must("WAITAOF", 1, 1, 3000) == [1, 1], 10, "both fsyncs")
            equal(client.transaction([("SET", "a", 3), ("WAITAOF", 1, 1, 0)])[0], b"OK", "in MULTI")


# --- FAILOVER --------------------------------------------------------------------------------------------------------------------

def swapped(primary, replica):
    return replica.info()["role"] == "master" and primary.info()["role"] == "slave" and primary.link_up()


@test("chain")
def a_failover_swaps_the_roles_and_loses_nothing(bench):
    primary, replica = bench.pair()
    fill_all(primary, keys=8)
    old = primary.info()["master_replid"]
    stop, counts, problems = threading.Event(), {}, []

    def write(number):
        with primary.client() as client:
            while not stop.is_set():
                reply = client.call("INCR", f"count:{number}")
                if isinstance(reply, ErrorReply):
                    if not reply.startswith((b"READONLY", b"UNBLOCKED")):
                        problems.append(reply)
                    return
                counts[number] = reply

    threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    equal(primary.must("FAILOVER"), b"OK")
    wait_until(lambda: swapped(primary, replica), 15, "the roles to be swapped")
    for thread in threads:
        thread.join(10)
    stop.set()
    equal(problems, [], "errors of writers")
    for number, count in counts.items():
        equal(int(replica.must("GET", f"count:{number}")), count, "an acknowledged write")
    equal(replica.syncs()[:2], (0, 1), "full and partial syncs of the new primary")
    equal(primary.info()["master_failover_state"], "no-failover")
    equal(replica.info()["master_replid2"], old)
    wait_same(replica, primary)
    # And back.
    equal(replica.must("FAILOVER", "TO", "127.0.0.1", primary.port, "TIMEOUT", 10_000), b"OK")
    wait_until(lambda: swapped(replica, primary), 15, "the roles to be swapped back")
    primary.must("SET", "back", "1")
    wait_same(primary, replica)
    equal(primary.syncs()[:2], (1, 1), "full and partial syncs of the first primary")


@test("chain")
def a_failover_names_its_target(bench):
    primary, replica = bench.pair()
    other = bench.primary()
    other.follow(primary)
    wait_until(lambda: other.online_at(primary), 15, "the other replica to be online")
    wait_same_offset(primary, replica, other)
    equal(primary.must("FAILOVER", "TO", "127.0.0.1", other.port), b"OK")
    wait_until(lambda: swapped(primary, other), 15, "the roles to be swapped")
    equal(replica.info()["role"], "slave")
    other.must("SET", "new", "1")
    wait_same(other, primary)
    wait_until(lambda: replica.must("GET", "new") == b"1", 10, "the other replica, now below the old primary")


@test("primary")
def a_failover_refuses_what_cannot_be(bench):
    primary = bench.primary()
    error(primary, "ERR No failover in progress.", "FAILOVER", "ABORT")
    error(primary, "ERR FAILOVER timeout must be greater than 0", "FAILOVER", "TIMEOUT", 0)
    error(primary, "ERR syntax error", "FAILOVER", "NOW")
    error(primary, "ERR FAILOVER requires connected replicas.", "FAILOVER")
    replica = bench.replica(primary)
    error(primary, "ERR FAILOVER with force option requires both a timeout and target HOST and IP.", "FAILOVER", "FORCE")
    error(primary, "ERR FAILOVER with force option requires both a timeout and target HOST and IP.",
          "FAILOVER", "TO", "127.0.0.1", replica.port, "FORCE")
    error(primary, "ERR FAILOVER target HOST and PORT is not a replica.", "FAILOVER", "TO", "127.0.0.1", primary.port)
    error(primary, "ERR value is not an integer or out of range", "FAILOVER", "TO", "127.0.0.1", "x")


@test("replica")
def a_replica_refuses_to_fail_over(bench):
    _, replica = bench.pair()
    error(replica, "ERR FAILOVER is not valid when server is a replica.", "FAILOVER")


@test()
def a_failover_to_one_that_stands_still_ends_with_its_time(bench):
    primary, replica = bench.pair()
    replica.stop_running()
    try:
        with primary.client() as writer:
            primary.must("SET", "before", 1)
            equal(primary.must("FAILOVER", "TO", "127.0.0.1", replica.port, "TIMEOUT", 1000), b"OK")
            equal(primary.info()["master_failover_state"], "waiting-for-sync")
            began = time.monotonic()
            writer.send("SET", "paused", 1)
            error(primary, "ERR FAILOVER already in progress.", "FAILOVER")
            error(primary, "ERR REPLICAOF not allowed while failing over.", "REPLICAOF", "127.0.0.1", 1)
            equal(writer.read()[0].value(), b"OK", "the write that was held back")
            true(0.5 < time.monotonic() - began < 4, "it was held back for the second")
        equal(primary.info()["master_failover_state"], "no-failover")
        equal(primary.must("FAILOVER"), b"OK")
        equal(primary.info()["master_failover_state"], "waiting-for-sync")
        equal(primary.must("FAILOVER", "ABORT"), b"OK")
        equal(primary.info()["master_failover_state"], "no-failover")
        equal(primary.must("SET", "after", 1), b"OK")
    finally:
        replica.go_on()
    wait_same(primary, replica)
    equal(primary.syncs()[0], 1, "full syncs")


@test()
def a_forced_failover_does_not_wait_and_can_be_aborted(bench):
    primary, replica = bench.pair()
    replica.stop_running()
    try:
        primary.must("SET", "before", 1)
        equal(primary.must("FAILOVER", "TO", "127.0.0.1", replica.port, "TIMEOUT", 300, "FORCE"), b"OK")
        wait_until(lambda: primary.info()["master_failover_state"] == "failover-in-progress", 5, "the forced step")
        equal(primary.info()["role"], "slave", "role meanwhile")
        equal(primary.must("FAILOVER", "ABORT"), b"OK")
        equal((primary.info()["master_failover_state"], primary.info()["role"]), ("no-failover", "master"))
        equal(primary.must("SET", "after", 1), b"OK")
    finally:
        replica.go_on()
    wait_until(lambda: replica.link_up() and replica.must("GET", "after") == b"1", 20, "the replica to follow again")
    wait_same(primary, replica)


# --- passwords -------------------------------------------------------------------------------------------------------------------

@test()
def a_replica_gives_the_password(bench):
    primary = bench.primary()
    primary.must("SET", "a", 1)
    primary.config(requirepass="secret word")
    replica = bench.replica()
    with primary.client() as client:
        client.must("AUTH", "secret word")
        replica.must("REPLICAOF", "127.0.0.1", primary.port)
        time.sleep(1.2)
        equal(replica.info()["master_link_status"], "down", "without a password")
        replica.config(masterauth="wrong")
        time.sleep(1.2)
        equal(replica.info()["master_link_status"], "down", "with the wrong one")
        equal(client.must("PING"), b"PONG")
        replica.config(masterauth="secret word")
        replica.wait_up(10)
        equal(replica.must("GET", "a"), b"1")
    replica.logged("Unable to AUTH to MASTER")


@test()
def a_replica_logs_in_as_a_user_that_may_nothing_else(bench):
    primary = bench.primary()
    primary.must("SET", "a", 1)
    primary.must("ACL", "SETUSER", "feed", "on", ">pw", "+psync", "+replconf", "+ping")
    primary.must("ACL", "SETUSER", "blind", "on", ">pw", "+get")
    primary.must("ACL", "SETUSER", "default", "resetkeys", "-@all", "+info", "+ping", "+acl", "+set", "+client", "allkeys")
    replica = bench.replica(None, "--masteruser", "blind", "--masterauth", "pw")
    replica.must("REPLICAOF", "127.0.0.1", primary.port)
    time.sleep(1.2)
    equal(replica.info()["master_link_status"], "down", "as a user without the right")
    replica.config(masteruser="feed")
    replica.wait_up(10)
    primary.must("SET", "b", 2)
    wait_until(lambda: replica.must("GET", "b") == b"2", 10, "the stream")


@test()
def the_acl_of_the_replica_does_not_concern_its_stream(bench):
    primary = bench.primary()
    replica = bench.replica()
    with replica.client() as admin:
        admin.must("ACL", "SETUSER", "admin", "on", ">pw", "allkeys", "allcommands")
        admin.must("AUTH", "admin", "pw")
        admin.must("REPLICAOF", "127.0.0.1", primary.port)
        admin.must("ACL", "SETUSER", "default", "off")
        primary.must("SET", "a", 1)
        wait_until(lambda: admin.call("GET", "a") == b"1", 10, "the write")


@test("replica")
def the_newer_names_of_the_password_are_known_too(bench):
    replica = bench.replica()
    if replica.kind == "r":
        return "Redis has no primaryauth"
    primary = bench.primary()
    primary.config(requirepass="secret")
    with primary.client() as client:
        client.must("AUTH", "secret")
        client.must("ACL", "SETUSER", "feed", "on", ">pw", "+psync", "+replconf", "+ping")
    replica.config(primaryuser="feed", primaryauth="pw")
    equal([replica.must("CONFIG", "GET", name) for name in ("masteruser", "primaryauth")],
          [[b"masteruser", b"feed"], [b"primaryauth", b"pw"]], "either name")
    replica.follow(primary)
    replica.wait_up(10)
    again = bench.replica(None, "--primaryuser", "feed", "--primaryauth", "pw", "--replicaof", f"127.0.0.1 {primary.port}")
    again.wait_up(10)


# --- guards ----------------------------------------------------------------------------------------------------------------------

@test("replica")
def a_replica_is_read_only_unless_told_otherwise(bench):
    primary, replica = bench.pair()
    primary.must("SET", "a", 1)
    wait_same_offset(primary, replica)
    for command in (("SET", "a", 2), ("DEL", "nothing"), ("FLUSHALL",), ("PFADD", "h", 1), ("XADD", "x", "*", "a", "b"), ("FUNCTION", "FLUSH")):
        error(replica, READONLY, *command)
    error(replica, READONLY, "EVAL", "#!lua\nreturn 1", 0)
    starts(replica.call("EVAL", "return redis.call('SET', KEYS[1], 1)", 1, "a"), READONLY, "a write of a script")
    equal(replica.must("EVAL", "#!lua flags=no-writes\nreturn redis.call('GET', KEYS[1])", 1, "a"), b"1")
    with replica.client() as client:
        client.must("MULTI")
        equal(bytes(client.call("SET", "a", 2)), READONLY, "queued")
        starts(bytes(client.call("EXEC")), b"EXECABORT", "EXEC")
        equal(client.must("PUBLISH", "c", "m"), 0, "PUBLISH is no write")
    replica.config(replica_read_only="no")
    equal(replica.must("SET", "own", 1), b"OK")
    equal(replica.info()["slave_read_only"], "0")


@test()
def a_writable_replica_keeps_its_writes_to_itself(bench):
    primary = bench.primary()
    replica = bench.replica(primary, "--replica-read-only", "no")
    bottom = bench.replica(replica)
    primary.must("SET", "expired", "old", "PX", 100)
    wait_same_offset(primary, replica)
    before = replica.info()["master_repl_offset"]
    with replica.client() as client:
        client.must("SET", "own", 1)
        client.must("SET", "short", 1, "PX", 200)
        client.must("LPUSH", "list", 1, 2, 3)
        client.must("SELECT", 4)
        client.must("SET", "short", 1, "PX", 200)
        wait_until(lambda: client.must("DBSIZE") == 0, 5, "the key's end in database 4")
        client.must("SELECT", 0)
        equal(client.must("GET", "short"), None)
        client.must("APPEND", "expired", "new")
        equal(client.must("GET", "expired"), b"new", "a write to a key whose time has come")
    after = int(replica.info()["master_repl_offset"])
    true(after - int(before) < 200, f"{after - int(before)} bytes more in the stream")  # pings, and the primary's DEL
    primary.must("SET", "from above", 1)
    wait_until(lambda: bottom.must("GET", "from above") == b"1", 10, "the stream at the last")
    equal((bottom.must("EXISTS", "own"), bottom.must("EXISTS", "list"), replica.must("EXISTS", "own")), (0, 0, 1))
    # A full sync takes what was written here.
    other = bench.primary()
    replica.follow(other)
    wait_until(lambda: replica.link_up() and replica.info()["master_replid"] == other.info()["master_replid"], 20, "the other primary")
    wait_same(other, replica)


@test("replica")
def stale_data_is_served_or_not(bench):
    primary = bench.primary()
    replica = bench.replica(primary)
    primary.must("SET", "a", 1)
    wait_same_offset(primary, replica)
    primary.end(signal.SIGKILL)
    wait_until(lambda: replica.info()["master_link_status"] == "down", 10, "the replica to notice")
    equal(replica.must("GET", "a"), b"1", "stale data")
    with replica.client() as client:
        client.must("CONFIG", "SET", "replica-serve-stale-data", "no")
        for command in (("GET", "a"), ("PING",), ("EVAL", "return 1", 0), ("KEYS", "*")):
            equal(bytes(client.call(*command)), MASTERDOWN, " ".join(map(str, command)))
        equal(bytes(client.call("SET", "a", 1)), READONLY, "a write is refused for what it is")
        for command in (("INFO",), ("SELECT", 0), ("CONFIG", "GET", "port"), ("COMMAND", "COUNT"), ("ROLE",), ("LASTSAVE",), ("REPLCONF",)):
            true(not isinstance(client.call(*command), ErrorReply), f"{command} is answered")
        client.must("MULTI")
        equal(bytes(client.call("GET", "a")), MASTERDOWN, "queued")
        starts(bytes(client.call("EXEC")), b"EXECABORT", "EXEC")
        client.must("SUBSCRIBE", "c")
    with replica.client() as client:
        client.must("REPLICAOF", "NO", "ONE")
        equal(client.must("GET", "a"), b"1")


@test("replica")
def expired_keys_are_hidden_on_a_replica_but_not_deleted(bench):
    primary, replica = bench.pair()
    with primary.client() as client:
        client.must("SET", "s", "v", "PX", 1200)
        client.must("RPUSH", "l", 1)
        client.must("PEXPIRE", "l", 1200)
        client.must("SET", "kept", "v")
    wait_same_offset(primary, replica)
    primary.stop_running()  # no DELs from there
    try:
        time.sleep(1.4)
        with replica.client() as client:
            asked = [("GET", "s"), ("EXISTS", "s", "l"), ("TTL", "s"), ("PTTL", "l"), ("TYPE", "l"), ("KEYS", "*"), ("DUMP", "s"),
                     ("RANDOMKEY",), ("LLEN", "l"), ("STRLEN", "s"), ("OBJECT", "ENCODING", "s"), ("PEXPIRETIME", "s"), ("TOUCH", "s")]
            expected = [None, 0, -2, -2, b"none", [b"kept"], None, b"kept", 0, 0, None, -2, 0]
            for command, answer in zip(asked, expected):
                equal(client.call(*command), answer, " ".join(command))
            cursor, found = b"0", []
            while True:
                cursor, keys = client.must("SCAN", cursor)
                found += keys
                if cursor == b"0":
                    break
            equal(found, [b"kept"], "SCAN")
            equal(client.must("EVAL", "return redis.call('GET', KEYS[1])", 1, "s"), None, "GET in a script")
            equal(client.must("DBSIZE"), 3, "DBSIZE counts them")
            replica.must("REPLICAOF", "NO", "ONE")
            wait_until(lambda: client.must("DBSIZE") == 1, 5, "expiry after the promotion")
    finally:
        primary.go_on()


@test()
def a_primary_without_enough_good_replicas_takes_no_writes(bench):
    primary = bench.primary("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2")
    error(primary, NOREPLICAS, "SET", "a", 1)
    starts(primary.call("EVAL", "return redis.call('SET', KEYS[1], 1)", 1, "a"), NOREPLICAS, "a write of a script")
    equal(primary.must("GET", "a"), None)
    with primary.client() as client:
        client.must("MULTI")
        equal(bytes(client.call("SET", "a", 1)), NOREPLICAS, "queued")
        starts(bytes(client.call("EXEC")), b"EXECABORT", "EXEC")
    equal(primary.info()["min_slaves_good_slaves"], "0")
    replica = bench.replica(primary)
    wait_until(lambda: primary.call("SET", "a", 1) == b"OK", 10, "the replica to be good")
    equal(primary.info()["min_slaves_good_slaves"], "1")
    replica.stop_running()
    try:
        wait_until(lambda: primary.call("SET", "a", 2) == NOREPLICAS, 10, "the lag")
    finally:
        replica.go_on()
    wait_until(lambda: primary.call("SET", "a", 3) == b"OK", 10, "the end of the lag")
    wait_same(primary, replica)
    equal(replica.call("GET", "a"), b"3")
    replica.config(min_replicas_to_write=3, replica_read_only="no")
    equal(replica.must("SET", "on a replica", 1), b"OK", "the guard is for primaries")


@test("replica")
def a_replica_evicts_nothing_unless_it_is_to_mind_its_own_limit(bench):
    primary, replica = bench.pair()
    replica.config(maxmemory="512kb", maxmemory_policy="allkeys-random")
    with primary.client() as client:
        client.pipeline([("SET", f"key:{n}", b"v" * 10_000) for n in range(300)])
        wait_same(primary, replica)
        equal(replica.info("stats")["evicted_keys"], "0", "evicted while it leaves that to its primary")
        replica.config(replica_ignore_maxmemory="no", maxmemory_policy="allkeys-lru")
        client.pipeline([("SET", f"more:{n}", b"v" * 10_000) for n in range(100)])
        wait_until(lambda: replica.must("DBSIZE") < 300, 20, "its own eviction")
        true(int(replica.info("stats")["evicted_keys"]) > 0, "evicted keys are counted")
        equal([client.must("DBSIZE"), primary.info("stats")["evicted_keys"]], [400, "0"], "the primary's keys")
        # What it did by itself stands in no stream: it still agrees with its primary about where that is.
        wait_same_offset(primary, replica)
        equal(primary.info()["connected_slaves"], "1")


@test("replica")
def a_replica_that_cannot_write_its_log_ends_or_is_told_to_go_on(bench):
    directory = tempfile.mkdtemp(dir=scratch_root())
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", directory], capture_output=True, check=False).returncode:
        os.rmdir(directory)
        return "no right to mount a small file system"
    bench.keep(Mounted(directory))
    primary = bench.primary()
    replica = bench.replica(primary, "--dir", directory, "--appendonly", "yes", "--replica-ignore-disk-write-errors", "yes")
    with primary.client() as client:
        def fill(name):
            client.pipeline([("SET", f"{name}:{n}", b"v" * 10_000) for n in range(400)])
        fill("first")
        wait_same(primary, replica)
        wait_until(lambda: replica.info("persistence")["aof_last_write_status"] == "err", 20, "the disk to be full")
        fill("second")
        wait_same(primary, replica)
        replica.logged("Replica is applying a command even though it is unable to write to disk.")
        replica.config(replica_ignore_disk_write_errors="no")
        fill("third")
        wait_until(lambda: not replica.alive(), 20, "the replica to end")
        true("Replica was unable to write command to disk." in replica.log(), "it says why")


@test("replica")
def replicaof_answers_as_it_should(bench):
    primary, replica = bench.pair()
    equal(replica.must("REPLICAOF", "127.0.0.1", primary.port), b"OK Already connected to specified master")
    error(replica, "ERR Invalid master port", "REPLICAOF", "127.0.0.1", "x")
    error(replica, "ERR Invalid master port", "REPLICAOF", "127.0.0.1", 70000)
    error(replica, "ERR wrong number of arguments for 'replicaof' command", "REPLICAOF", "x")
    equal(replica.must("SLAVEOF", "no", "one"), b"OK")
    equal(replica.must("REPLICAOF", "NO", "ONE"), b"OK", "twice")
    with replica.client() as client:
        for _ in range(5):
            # Whoever has read EXEC's reply finds the new role, whichever core has the key.
            equal(client.transaction([("SET", "a", 1), ("REPLICAOF", "127.0.0.1", primary.port)]), [b"OK", b"OK"], "in MULTI")
            for number in range(8):
                error(replica, "READONLY You can't write against a read only replica.", "SET", f"k{number}", 1)
            equal(client.transaction([("REPLICAOF", "NO", "ONE")]), [b"OK"])
            for number in range(8):
                equal(replica.call("SET", f"k{number}", 1), b"OK")
        equal(client.transaction([("REPLICAOF", "127.0.0.1", primary.port)]), [b"OK"])
    replica.wait_up()
    wait_same(primary, replica)


@test("replica")
def the_configuration_names_the_primary_and_is_rewritten(bench):
    primary = bench.primary()
    with primary.client() as client:
        client.must("CONFIG", "SET", "requirepass", "pw")
    replica = bench.replica(None, "--slaveof", f"127.0.0.1 {primary.port}", "--masterauth", "pw")
    replica.wait_up()
    equal(replica.must("CONFIG", "GET", "replicaof"), [b"replicaof", b"127.0.0.1 %d" % primary.port])
    equal(replica.must("CONFIG", "GET", "slaveof"), [b"slaveof", b"127.0.0.1 %d" % primary.port])
    equal(replica.must("CONFIG", "GET", "masterauth"), [b"masterauth", b"pw"])
    starts(bytes(replica.call("CONFIG", "SET", "replicaof", "127.0.0.1 1")), b"ERR", "CONFIG SET replicaof")
    replica.must("REPLICAOF", "NO", "ONE")
    equal(replica.must("CONFIG", "GET", "replicaof"), [b"replicaof", b""])


# --- what operators see -------------------------------------------------------------------------------------------------------------

PRIMARY_FIELDS = """role connected_slaves slave0 master_failover_state master_replid master_replid2 master_repl_offset
second_repl_offset repl_backlog_active repl_backlog_size repl_backlog_first_byte_offset repl_backlog_histlen""".split()
REPLICA_FIELDS = """role master_host master_port master_link_status master_last_io_seconds_ago master_sync_in_progress
slave_read_repl_offset slave_repl_offset slave_priority slave_read_only replica_announced connected_slaves
master_failover_state master_replid master_replid2 master_repl_offset second_repl_offset repl_backlog_active repl_backlog_size
repl_backlog_first_byte_offset repl_backlog_histlen""".split()
VALKEY_FIELDS = ("replicas_repl_buffer_size", "replicas_repl_buffer_peak", "replicas_waiting_psync")


@test()
def info_tells_both_sides_of_a_link(bench):
    primary, replica = bench.pair()
    primary.must("SET", "a", 1)
    wait_same_offset(primary, replica)
    found = primary.info()
    equal([name for name in found if name not in VALKEY_FIELDS], PRIMARY_FIELDS, "fields of the primary")
    true(re.fullmatch(rf"ip=127\.0\.0\.1,port={replica.port},state=online,offset=\d+,lag=[01](,flows=\d+|,type=replica)?", found["slave0"]),
         found["slave0"])
    equal((found["role"], found["master_replid2"], found["second_repl_offset"], found["repl_backlog_active"]), ("master", "0" * 40, "-1", "1"))
    true(re.fullmatch("[0-9a-f]{40}", found["master_replid"]), found["master_replid"])
    equal(int(found["repl_backlog_first_byte_offset"]) + int(found["repl_backlog_histlen"]), int(found["master_repl_offset"]) + 1,
          "the end of the backlog")
    found = replica.info()
    own = [name for name in found if "_flow" in name or name in VALKEY_FIELDS]
    equal([name for name in found if name not in own], REPLICA_FIELDS, "fields of the replica")
    equal((found["role"], found["master_host"], found["master_port"], found["master_link_status"], found["master_sync_in_progress"],
           found["slave_priority"], found["slave_read_only"], found["replica_announced"]),
          ("slave", "127.0.0.1", str(primary.port), "up", "0", "100", "1", "1"))
    equal(found["slave_repl_offset"], found["master_repl_offset"])
    equal(found["repl_backlog_active"], "1")
    true(0 <= int(found["master_last_io_seconds_ago"]) <= 2, found["master_last_io_seconds_ago"])
    stats = primary.info("stats")
    true(int(stats["total_net_repl_output_bytes"]) > 100, "bytes to replicas")
    true(int(replica.info("stats")["total_net_repl_input_bytes"]) > 100, "bytes from the primary")
    memory = primary.info("memory")
    true(int(memory["mem_replication_backlog"]) > 0 and int(memory["mem_total_replication_buffers"]) > 0, str(memory))
    primary.end(signal.SIGKILL)
    wait_until(lambda: replica.info()["master_link_status"] == "down", 10, "the replica to notice")
    found = replica.info()
    true("master_link_down_since_seconds" in found and int(found["master_link_down_since_seconds"]) >= 0, str(found))
    true(found["master_last_io_seconds_ago"] == "-1", found["master_last_io_seconds_ago"])


@test("primary")
def info_of_a_lone_primary_tells_that_nothing_is_kept(bench):
    primary = bench.primary()
    found = primary.info()
    equal((found["connected_slaves"], found["repl_backlog_active"], found["repl_backlog_size"], found["repl_backlog_first_byte_offset"],
           found["repl_backlog_histlen"], found["second_repl_offset"]), ("0", "0", str(1 << 20), "0", "0", "-1"))
    equal(primary.must("ROLE"), [b"master", 0, []])


@test()
def role_tells_both_sides_of_a_link(bench):
    primary, replica = bench.pair()
    primary.must("SET", "a", 1)
    wait_until(lambda: primary.must("ROLE")[2] == [[b"127.0.0.1", b"%d" % replica.port, b"%d" % primary.must("ROLE")[1]]], 10,
               "ROLE of the primary")
    wait_until(lambda: replica.must("ROLE") == [b"slave", b"127.0.0.1", primary.port, b"connected", primary.must("ROLE")[1]], 10,
               "ROLE of the replica")
    primary.end(signal.SIGKILL)
    wait_until(lambda: replica.must("ROLE")[3] in (b"connect", b"connecting"), 10, "the link's end")
    equal(replica.must("ROLE")[4], -1)


@test()
def clients_of_the_link_are_listed_by_their_type(bench):
    primary, replica = bench.pair()
    line = primary.must("CLIENT", "LIST", "TYPE", "replica").decode()
    equal(line.count("\n"), 1, line)
    true(" flags=S " in line and " cmd=" in line, line)
    equal(primary.must("CLIENT", "LIST", "TYPE", "slave").decode().count("\n"), 1)
    equal(primary.must("CLIENT", "LIST", "TYPE", "master"), b"")
    line = replica.must("CLIENT", "LIST", "TYPE", "master").decode()
    equal(line.count("\n"), max(1, int(replica.info().get("master_link_flows", 0))), line)
    true(" flags=M " in line and f"addr=127.0.0.1:{primary.port}" in line, line)
    equal(replica.must("CLIENT", "KILL", "TYPE", "replica"), 0)
    equal(primary.must("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") >= 0, True)
    equal(primary.info()["connected_slaves"], "1", "CLIENT KILL TYPE normal leaves replicas")


@test()
def announced_addresses_are_told_and_hidden(bench):
    primary = bench.primary()
    replica = bench.replica(primary, "--replica-announce-ip", "10.1.2.3", "--replica-announce-port", "4321", "--replica-priority", "7",
                            "--replica-announced", "no")
    starts(primary.info()["slave0"].encode(), b"ip=10.1.2.3,port=4321,state=online", "INFO")
    equal(primary.must("ROLE")[2][0][:2], [b"10.1.2.3", b"4321"])
    found = replica.info()
    equal((found["slave_priority"], found["replica_announced"]), ("7", "0"))


@test()
def the_log_tells_what_operators_look_for(bench):
    primary, replica = bench.pair()
    primary.must("SET", "a", 1)
    wait_same_offset(primary, replica)
    address = f"127.0.0.1:{replica.port}"
    replica.logged("MASTER <-> REPLICA sync: Finished with success")
    for text in (f"Replica {address} asks for synchronization", f"Synchronization with replica {address} succeeded"):
        primary.logged(text)
    primary.must("CLIENT", "KILL", "TYPE", "replica")
    wait_until(lambda: primary.syncs()[1] == 1, 10, "the partial resync")
    primary.logged(f"Connection with replica {address} lost.")
    primary.logged(f"Partial resynchronization request from {address} accepted. Sending ")
    replica.logged("Connection with master lost.")
    replica.logged("Successful partial resynchronization with master.")
    replica.must("REPLICAOF", "NO", "ONE")
    replica.logged("MASTER MODE enabled (user request from '")
    replica.must("SET", "own", 1)
    replica.follow(primary)
    wait_until(lambda: primary.syncs()[0] == 2, 10, "the full sync")
    primary.logged("Partial resynchronization not accepted: ")
    replica.logged(f"REPLICAOF 127.0.0.1:{primary.port} enabled (user request from '")


@test("primary")
def a_copy_begins_early_when_enough_replicas_wait_for_it(bench):
    primary = bench.primary("--repl-diskless-sync-delay", "3600", "--repl-diskless-sync-max-replicas", "2")
    first, second, third = (bench.replica() for _ in range(3))
    primary.must("SET", "a", 1)
    first.follow(primary)
    wait_until(lambda: "state=wait_bgsave" in primary.info().get("slave0", ""), 10, "the first to wait")
    equal(primary.info("persistence")["rdb_bgsave_in_progress"], "0", "a copy for the first alone")
    second.follow(primary)
    for replica in (first, second):
        replica.wait_up()
        equal(replica.must("GET", "a"), b"1")
    primary.logged("done reading from pipe, 2 replicas still up")
    third.follow(primary)
    wait_until(lambda: any("state=wait_bgsave" in line for line in primary.info().values()), 10, "the third to wait")
    primary.config(repl_diskless_sync_delay=0)
    third.wait_up()


@test("primary")
def segments_are_sent_at_once_or_gathered(bench):
    primary = bench.primary()
    eager = bench.keep(FakeReplica(primary)).sync()
    try:
        equal(sent_at_once(primary, eager), True, "repl-disable-tcp-nodelay no")
    except PermissionError:
        return "no right to look at another process's sockets"
    primary.config(repl_disable_tcp_nodelay="yes")
    equal(sent_at_once(primary, eager), True, "one that came before")
    thrifty = bench.keep(FakeReplica(primary)).sync()
    equal(sent_at_once(primary, thrifty), False, "repl-disable-tcp-nodelay yes")


@test("replica")
def a_sync_shows_its_progress(bench):
    primary, replica = bench.primary("--repl-diskless-sync-delay", "2"), bench.replica()
    primary.must("SET", "a", 1)
    replica.follow(primary)
    wait_until(lambda: primary.info().get("slave0", "").find("state=wait_bgsave") > 0, 5, "the replica to wait for the snapshot")
    equal(replica.info()["master_link_status"], "down")
    replica.wait_up()
    equal(replica.info()["master_sync_in_progress"], "0")


@test()
def a_shutdown_waits_for_a_lagging_replica(bench):
    primary, replica = bench.pair()
    with Load(primary) as load:
        time.sleep(0.2)
        load.stop()
    wait_same_offset(primary, replica)
    replica.stop_running()
    primary.must("SET", "last", "1")
    primary.server.process.send_signal(signal.SIGTERM)
    try:
        time.sleep(1.0)
        true(primary.alive(), "it ended before the replica had everything")
    finally:
        replica.go_on()
    equal(primary.server.process.wait(15), 0, "exit status")
    primary.forget()
    equal(replica.must("GET", "last"), b"1", "the last write")


@test()
def a_shutdown_can_be_aborted_or_hurried(bench):
    primary, replica = bench.pair()
    replica.stop_running()
    try:
        primary.must("SET", "a", "1")
        with primary.client() as client:
            client.send("SHUTDOWN")
            time.sleep(0.3)
            with primary.client() as other:
                equal(other.must("SHUTDOWN", "ABORT"), b"OK")
                starts(bytes(other.call("SHUTDOWN", "ABORT")), b"ERR No shutdown in progress", "a second ABORT")
            starts(bytes(client.read()[0].value()), b"ERR Errors trying to SHUTDOWN. Check logs.", "the SHUTDOWN that was aborted")
        equal(primary.must("SET", "a", "2"), b"OK")
        primary.config(shutdown_timeout=1)
        began = time.monotonic()
        primary.end()
        true(0.5 < time.monotonic() - began < 5, "shutdown-timeout of a second")
    finally:
        replica.go_on()


@test()
def a_shutdown_now_does_not_wait(bench):
    primary, replica = bench.pair()
    replica.stop_running()
    try:
        primary.must("SET", "a", "1")
        with primary.client() as client:
            client.send("SHUTDOWN", "NOW")
            equal(primary.server.process.wait(5), 0, "exit status")
        primary.forget()
    finally:
        replica.go_on()


# --- tools -------------------------------------------------------------------------------------------------------------------------

def tool(*words, seconds=30):
    return subprocess.run(words, capture_output=True, timeout=seconds)


@test("primary")
def redis_cli_takes_a_snapshot_that_redis_loads(bench):
    primary = bench.primary()
    fill_all(primary, keys=10)
    for diskless in ("yes", "no"):
        primary.config(repl_diskless_sync=diskless)
        file = f"{primary.server.dir}/taken-{diskless}.rdb"
        done = tool("redis-cli", "-p", str(primary.port), "--rdb", file)
        equal(done.returncode, 0, done.stderr + done.stdout)
        done = tool("redis-check-rdb", file)
        true(done.returncode == 0 and b"RDB looks OK" in done.stdout, done.stdout[-400:])
        other = bench.node("r", "--dir", primary.server.dir, "--dbfilename", f"taken-{diskless}.rdb")
        same_data(primary, other)
        other.end(signal.SIGKILL)
    wait_until(lambda: primary.info()["connected_slaves"] == "0", 10, "the client's end")


@test("primary")
def redis_cli_takes_the_functions_alone(bench):
    primary = bench.primary()
    fill_all(primary, keys=3)
    file = f"{primary.server.dir}/functions.rdb"
    done = tool("redis-cli", "-p", str(primary.port), "--functions-rdb", file)
    equal(done.returncode, 0, done.stderr + done.stdout)
    other = bench.node("r", "--dir", primary.server.dir, "--dbfilename", "functions.rdb")
    equal(other.must("DBSIZE"), 0)
    equal([library[1] for library in other.must("FUNCTION", "LIST")], [library[1] for library in primary.must("FUNCTION", "LIST")])


@test("primary")
def redis_cli_listens_as_a_replica(bench):
    primary = bench.primary()
    process = subprocess.Popen(["redis-cli", "-p", str(primary.port), "--replica"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: primary.info()["connected_slaves"] == "1", 10, "the client to attach")
        wait_until(lambda: "state=online" in primary.info().get("slave0", ""), 10, "the client to be online")
        with primary.client() as client:
            client.must("SELECT", 3)
            client.must("SET", "listened", "1")
        text = b""
        limit = time.monotonic() + 10
        while b"listened" not in text and time.monotonic() < limit:
            text += process.stdout.readline()
        true(b"listened" in text, text[-300:])
    finally:
        process.kill()
        process.wait()
