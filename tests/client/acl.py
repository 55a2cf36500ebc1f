"""Do users get what their rules allow and nothing else, at once on every core, and do their files keep them?

usage: acl.py [WORD ...] [--shards N] [--slotwise PATH]

Every test is a function whose name is the sentence it proves; WORDs select those whose name holds one of them.
--slotwise may name redis-server 7.2, which passes all of them.
"""

import argparse
import os
import sys
import time
import traceback

import support
from support import ErrorReply, wait_until

TESTS = []
PLAIN_DEFAULT = b"user default on nopass sanitize-payload ~* &* +@all"


def test(function):
    TESTS.append(function)
    return function


class House:
    """Starts servers for tests."""

    def __init__(self, options):
        self.options = options
        self.shards = options.shards

    def server(self, *extra):
        return support.slotwise(self.options.slotwise, shards=self.shards, extra=extra)


def equal(found, expected, what=""):
    if found != expected:
        raise AssertionError(f"{what}: {str(found)[:300]} instead of {str(expected)[:300]}")


def true(condition, what):
    if not condition:
        raise AssertionError(what)


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2]))


def log_of(client, *args):
    return [pairs(entry) for entry in client.must("ACL", "LOG", *args)]


def is_closed(client):
    """Whether the server has ended this connection."""
    try:
        client.call("PING")
    except (ConnectionError, OSError):
        return True
    return False


def connect_as(server, user, password="any"):
    client = server.client()
    equal(client.call("AUTH", user, password), b"OK", f"AUTH {user}")
    return client


def file_with(server, name, text):
    path = os.path.join(server.dir, name)
    with open(path, "w") as file:
        file.write(text)
    return path


@test
def a_change_is_in_force_on_every_core_when_it_is_answered(house):
    with house.server() as server, server.client() as boss:
        boss.must("ACL", "SETUSER", "u", "on", "nopass", "+@all", "~*", "&*")
        clients = [connect_as(server, "u") for _ in range(8)]
        for turn in range(20):
            boss.must("ACL", "SETUSER", "u", "-get" if turn % 2 == 0 else "+get")
            for client in clients:
                reply = client.call("GET", f"key{turn}")
                if turn % 2 == 0:
                    equal(reply, b"NOPERM User u has no permissions to run the 'get' command")
                else:
                    equal(reply, None)
        for client in clients:
            client.close()


@test
def clients_of_a_removed_user_are_closed_and_the_remover_reads_the_answer(house):
    with house.server() as server, server.client() as boss:
        boss.must("ACL", "SETUSER", "u", "on", "nopass", "+@all", "~*")
        clients = [connect_as(server, "u") for _ in range(6)]
        equal(clients[0].call("ACL", "DELUSER", "u", "nobody"), 1)
        for client in clients:
            true(is_closed(client), "a client of a removed user goes on")
        equal(boss.call("PING"), b"PONG")
        equal(boss.call("ACL", "DELUSER", "default"), b"ERR The 'default' user cannot be removed")


@test
def keys_of_other_shards_are_checked_in_pipelines_and_answers_keep_their_order(house):
    with house.server() as server, server.client() as boss:
        boss.must("ACL", "SETUSER", "u", "on", "nopass", "+@all", "%R~r*", "%W~w*", "~a*")
        client = connect_as(server, "u")
        commands, expected = [], []
        for n in range(300):
            commands += [("SET", f"a{n}", n), ("GET", f"a{n}"), ("GET", f"w{n}"), ("LPUSH", f"w{n}", n), ("GET", f"r{n}")]
            no = b"NOPERM No permissions to access a key"
            expected += [b"OK", str(n).encode(), no, 1, None]
        equal(client.pipeline(commands), expected)
        equal(client.call("MGET", "a1", "a2", "b"), no)
        equal(client.call("COPY", "a1", "a2"), 0)
        equal(client.call("COPY", "r1", "w1"), 0)
        equal(client.call("COPY", "w1", "r1"), no)
        equal(client.call("SET", "w1", "x", "GET"), no)
        equal(len(log_of(boss)), 10)
        equal(log_of(boss, 1)[0][b"object"], b"w1")
        equal(log_of(boss, 1)[0][b"reason"], b"key")


@test
def a_queue_is_asked_about_again_when_it_runs(house):
    with house.server() as server, server.client() as boss:
        boss.must("ACL", "SETUSER", "u", "on", "nopass", "+@all", "~*")
        client = connect_as(server, "u")
        for keys in (["k1"], ["k1", "k2", "k3", "k4", "k5"]):
            client.must("MULTI")
            for key in keys:
                equal(client.call("INCR", key), b"QUEUED")
                equal(client.call("EXISTS", key), b"QUEUED")
            boss.must("ACL", "SETUSER", "u", "-incr")
            replies = client.call("EXEC")
            for refused, allowed in zip(replies[::2], replies[1::2]):
                equal(refused, b"NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC"
                               b" call. This command is no longer allowed for the following reason: no permission to"
                               b" execute the command or subcommand")
                equal(allowed, 0)
            entry = log_of(boss, 1)[0]
            equal((entry[b"context"], entry[b"object"], entry[b"reason"]), (b"multi", b"incr", b"command"))
            true(b" cmd=exec user=u " in entry[b"client-info"], entry[b"client-info"])
            boss.must("ACL", "SETUSER", "u", "+incr")
        client.must("MULTI")
        boss.must("ACL", "SETUSER", "u", "-incr")
        equal(client.call("INCR", "k1"), b"NOPERM User u has no permissions to run the 'incr' command")
        equal(client.call("EXEC"), b"EXECABORT Transaction discarded because of previous errors.")


@test
def denials_are_counted_and_logged_once_a_minute(house):
    with house.server() as server, server.client() as boss:
        boss.must("ACL", "SETUSER", "u", "on", ">pw", "+get", "~a")
        stranger = server.client()
        wrong = b"WRONGPASS invalid username-password pair or user is disabled."
        for _ in range(3):
            equal(stranger.call("AUTH", "u", "no"), wrong)
        equal(stranger.call("HELLO", "3", "AUTH", "nobody", "no"), wrong)
        client = connect_as(server, "u", "pw")
        client.call("GET", "b")
        client.call("DEL", "a")
        client.call("DEL", "a")
        entries = log_of(boss)
        shown = [(e[b"count"], e[b"reason"], e[b"object"], e[b"username"], e[b"entry-id"]) for e in entries]
        equal(shown, [
            (2, b"command", b"del", b"u", 3), (1, b"key", b"b", b"u", 2),
            (1, b"auth", b"HELLO", b"nobody", 1), (3, b"auth", b"AUTH", b"u", 0),
        ])
        true(all(0 <= float(e[b"age-seconds"]) < 60 for e in entries), "the age of a new entry")
        true(all(e[b"timestamp-created"] <= e[b"timestamp-last-updated"] for e in entries), "the order of its times")
        info = boss.must("INFO", "stats")
        for field in (b"auth:4", b"cmd:2", b"key:1", b"channel:0"):
            true(b"acl_access_denied_" + field + b"\r\n" in info, field)
        boss.must("CONFIG", "SET", "acllog-max-len", "2")
        client.call("TYPE", "a")
        equal(len(log_of(boss)), 2)
        equal(boss.call("ACL", "LOG", "RESET"), b"OK")
        equal(log_of(boss), [])


@test
def requirepass_is_the_default_users_password(house):
    with house.server() as server:
        with server.client() as client:
            client.must("CONFIG", "SET", "requirepass", "first")
        boss = server.client()
        equal(boss.call("PING"), b"NOAUTH Authentication required.")
        equal(boss.call("AUTH", "first"), b"OK")
        equal(boss.call("CONFIG", "SET", "requirepass", "second"), b"OK")
        equal(boss.call("PING"), b"PONG", "who is in stays in")
        with server.client() as other:
            true(isinstance(other.call("AUTH", "first"), ErrorReply), "the old password")
            equal(other.call("AUTH", "default", "second"), b"OK")
        equal(boss.call("ACL", "SETUSER", "default", ">third"), b"OK")
        with server.client() as other:
            equal(other.call("AUTH", "third"), b"OK")
        waiting = server.client()
        equal(boss.call("CONFIG", "SET", "requirepass", ""), b"OK")
        equal(boss.call("ACL", "LIST"), [PLAIN_DEFAULT])
        equal(waiting.call("PING"), b"PONG", "nobody needs a password any more")
        true(isinstance(waiting.call("AUTH", "x"), ErrorReply), "AUTH without a password to prove")


@test
def an_acl_file_is_loaded_saved_and_loaded_anew_whole_or_not_at_all(house):
    server = house.server("--aclfile", "users.acl")
    path = file_with(server, "users.acl", "user alice on nopass ~a* +@all\n\nuser bob on >pw +get ~b (+set %W~w*)\n")
    with server, server.client() as boss:
        equal([line.split()[1] for line in boss.must("ACL", "LIST")], [b"alice", b"bob", b"default"])
        alice = connect_as(server, "alice")
        boss.must("ACL", "SETUSER", "eve", "on", "nopass", "allcommands", "-debug", "&c", "%R~x")
        before = boss.must("ACL", "LIST")
        equal(boss.call("ACL", "SAVE"), b"OK")
        with open(path, "rb") as file:
            equal(file.read(), b"".join(line + b"\n" for line in before))
        equal(os.listdir(server.dir).count("users.acl"), 1)
        with open(path, "a") as file:
            file.write("user carl on +nosuch\nuser alice off\n")
        reply = boss.call("ACL", "LOAD")
        true(isinstance(reply, ErrorReply) and b"Duplicate user 'alice' found on line" in reply, reply)
        true(b"users.acl:5: Error in applying operation '+nosuch': Unknown command or category name in ACL. " in reply, reply)
        true(reply.endswith(b"no change to the previously active ACL rules was performed"), reply)
        equal(boss.must("ACL", "LIST"), before)
        equal(alice.call("PING"), b"PONG")
        file_with(server, "users.acl", "user alice on nopass ~a* +@all\n")
        equal(boss.call("ACL", "LOAD"), b"OK")
        equal([line.split()[1] for line in boss.must("ACL", "LIST")], [b"alice", b"default"])
        true(is_closed(alice), "a user that is loaded is another one")
        equal(connect_as(server, "alice").call("PING"), b"PONG")


@test
def a_bad_acl_file_or_user_line_stops_the_start(house):
    for extra, text, words in (
        (("--aclfile", "users.acl"), "user alice on\nuser alice on\n", "Duplicate user 'alice' found on line 2"),
        (("--aclfile", "users.acl"), "nonsense\n", "users.acl:1 should start with user keyword"),
        (("--aclfile", "missing.acl"), "", "missing.acl"),
        (("--user", "foo", "--user", "foo"), "", "Duplicate user"),
        (("--user", "foo", "on", "nonsense"), "", "Syntax error"),
    ):
        server = house.server(*extra)
        file_with(server, "users.acl", text)
        try:
            server.start()
        except RuntimeError as problem:
            true(words in str(problem), f"{words} is not in: {problem}")
        else:
            raise AssertionError(f"{extra} {text} did not stop the start")
        finally:
            server.stop()


@test
def users_of_a_configuration_are_rewritten_into_it(house):
    first = house.server()
    path = file_with(first, "start.conf", "user alice on nopass ~a* +@all -flushall\n# mine\n")
    first.command.insert(1, path)
    with first, first.client() as boss:
        boss.must("ACL", "SETUSER", "bob", "on", ">pw", "+get", "(+set ~b)")
        boss.must("ACL", "SETUSER", "default", "-flushdb")
        equal(boss.call("CONFIG", "REWRITE"), b"OK")
        users = boss.must("ACL", "LIST")
        with open(path, "rb") as file:
            text = file.read()
        for line in users:
            true(line + b"\n" in text, f"{line} is not in {text}")
        second = house.server()
        second.command.insert(1, file_with(second, "again.conf", text.decode()))
        second.command.remove("--dir")
        second.command.remove(second.dir)
        with second, second.client() as client:
            equal(client.must("ACL", "LIST"), users)
            equal(client.call("FLUSHDB"), b"NOPERM User default has no permissions to run the 'flushdb' command")


@test
def new_users_may_use_the_channels_that_the_configuration_says(house):
    with house.server() as server, server.client() as boss:
        boss.must("ACL", "SETUSER", "a")
        boss.must("CONFIG", "SET", "acl-pubsub-default", "allchannels")
        boss.must("ACL", "SETUSER", "b")
        boss.must("ACL", "SETUSER", "a", "on")
        shown = {name: pairs(boss.must("ACL", "GETUSER", name))[b"channels"] for name in ("a", "b")}
        equal(shown, {"a": b"", "b": b"&*"})


@test
def clients_are_listed_and_killed_by_user(house):
    with house.server() as server, server.client() as boss:
        boss.must("ACL", "SETUSER", "u", "on", "nopass", "+@all")
        client = connect_as(server, "u")
        true(b" user=u " in client.must("CLIENT", "LIST"), "CLIENT LIST names the user")
        equal(boss.call("CLIENT", "KILL", "USER", "nobody"), b"ERR No such user 'nobody'")
        equal(boss.call("CLIENT", "KILL", "USER", "u"), 1)
        wait_until(lambda: b" user=u " not in boss.must("CLIENT", "LIST"), 5, "the client's end")
        true(is_closed(client), "a killed client goes on")


@test
def a_user_that_is_off_keeps_its_clients_but_gets_no_new_ones(house):
    with house.server() as server, server.client() as boss:
        boss.must("ACL", "SETUSER", "u", "on", "nopass", "+@all", "~*")
        client = connect_as(server, "u")
        boss.must("ACL", "SETUSER", "u", "off")
        equal(client.call("GET", "x"), None)
        with server.client() as other:
            true(isinstance(other.call("AUTH", "u", "x"), ErrorReply), "AUTH as a user that is off")
        boss.must("ACL", "SETUSER", "default", "off")
        with server.client() as other:
            equal(other.call("PING"), b"NOAUTH Authentication required.")
        equal(boss.call("PING"), b"PONG")


@test
def changes_from_many_clients_all_happen(house):
    with house.server() as server:
        clients = [server.client() for _ in range(6)]
        for n, client in enumerate(clients):
            for m in range(20):
                client.send("ACL", "SETUSER", f"u{n}-{m}", "on", "nopass", "+get", f"~{n}:*")
        for client in clients:
            for _ in range(20):
                equal(client.read()[0].value(), b"OK")
        equal(len(clients[0].must("ACL", "USERS")), 121)
        names = [f"u{n}-{m}" for n in range(6) for m in range(20)]
        equal(clients[1].must("ACL", "DELUSER", *names), 120)
        for client in clients:
            equal(client.must("ACL", "LIST"), [PLAIN_DEFAULT])


@test
def subscribers_that_lose_their_channel_are_closed_and_others_are_not(house):
    with house.server() as server, server.client() as boss:
        no = b"NOPERM No permissions to access a channel"
        for name, command, channel in (("a", "SUBSCRIBE", "foo:1"), ("b", "PSUBSCRIBE", "bar:*"), ("c", "SSUBSCRIBE", "foo:2")):
            boss.must("ACL", "SETUSER", name, "on", "nopass", "+@all", "&foo:*", "&bar:*")
            kept, lost = connect_as(server, name), connect_as(server, name)
            equal(lost.call("PUBLISH", "zap", "x"), no)
            equal(lost.call(command, "zap"), no)
            for client in (kept, lost):
                client.send(command, channel if client is lost else "bar:*")
                true(client.read()[0].value()[0] == command.lower().encode(), "the confirmation")
            boss.must("ACL", "SETUSER", name, "&more")
            boss.must("CLIENT", "LIST")
            boss.must("ACL", "SETUSER", name, "resetchannels", "&bar:*", "&more")
            if command == "PSUBSCRIBE":
                boss.must("ACL", "SETUSER", name, "resetchannels", "&foo:*")
            true(is_closed(lost), f"a client goes on listening after {command}")


@test
def a_blocked_client_that_loses_its_key_reads_why(house):
    with house.server() as server, server.client() as boss:
        boss.must("ACL", "SETUSER", "u", "on", "nopass", "+@all", "~*")
        client = connect_as(server, "u")
        for key in ("k1", "k2", "k3", "k4"):
            client.send("BLPOP", key, "0")
            wait_until(lambda: b"blocked_clients:1" in boss.must("INFO", "clients"), 5, "the block")
            boss.must("ACL", "SETUSER", "u", "resetkeys")
            boss.must("LPUSH", key, "x")
            equal(client.read()[0].value(), b"NOPERM No permissions to access a key")
            equal(boss.call("LLEN", key), 1)
            boss.must("ACL", "SETUSER", "u", "~*")
            equal(client.call("LPOP", key), b"x")
        info = boss.must("INFO", "commandstats")
        true(b"cmdstat_blpop:calls=0," in info and b"rejected_calls=4,failed_calls=0" in info, info)


@test
def scripts_run_what_their_caller_may(house):
    with house.server() as server, server.client() as boss:
        boss.must("ACL", "SETUSER", "u", "on", "nopass", "+eval", "+get", "~a*")
        client = connect_as(server, "u")
        for n in range(5):
            equal(client.call("EVAL", "return redis.call('get', KEYS[1])", "1", f"a{n}"), None)
        reply = client.call("EVAL", "return redis.call('incr', 'a')", "0")
        true(b"ACL failure in script: User u has no permissions to run the 'incr' command" in reply, reply)
        reply = client.call("EVAL", "return redis.pcall('get', 'b').err", "0")
        true(b"ACL failure in script: No permissions to access a key" in reply, reply)
        check = "return {redis.acl_check_cmd('get', 'a') and 1 or 0, redis.acl_check_cmd('get', 'b') and 1 or 0}"
        equal(client.call("EVAL", check, "0"), [1, 0])
        shown = [(e[b"context"], e[b"object"]) for e in log_of(boss)]
        equal(shown, [(b"lua", b"b"), (b"lua", b"incr")])
        true(b" cmd=eval user=u " in log_of(boss, 1)[0][b"client-info"], "who called the script")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--slotwise", help="the server under test (target/quick/slotwise)")
    options = parser.parse_args()
    chosen = [one for one in TESTS if not options.words or any(word in one.__name__ for word in options.words)]
    house, passed, failed = House(options), 0, 0
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
    print(f"acl with {options.shards} shards: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
