"""Does redis-py work against the server as it does against Redis? Basic suites of the most used client library.

usage: redis_py_suite.py [--shards N] [--slotwise PATH]      (the interpreter must have redis-py: tools/test.sh sees to it)
"""

import argparse
import sys
import threading
import unittest

import redis

import support

SERVER = None
TIMEOUT = 20


def connect(**arguments):
    arguments.setdefault("decode_responses", True)
    return redis.Redis(host="127.0.0.1", port=SERVER.port, socket_timeout=TIMEOUT, **arguments)


class Suite(unittest.TestCase):
    """Each test starts with empty databases and a RESP2 connection; Resp3 runs the same with RESP3."""

    protocol = 2

    def setUp(self):
        self.r = connect(protocol=self.protocol)
        self.r.flushall()
        self.addCleanup(self.r.close)

    def test_strings(self):
        r = self.r
        self.assertTrue(r.set("a", "1"))
        self.assertEqual(r.get("a"), "1")
        self.assertIsNone(r.get("missing"))
        self.assertIsNone(r.set("a", "2", nx=True))
        self.assertEqual(r.set("a", "3", get=True), "1")
        self.assertEqual(r.incr("a", 4), 7)
        self.assertEqual(r.decr("a"), 6)
        self.assertEqual(r.incrbyfloat("a", 0.5), 6.5)
        self.assertEqual(r.append("t", "hello"), 5)
        self.assertEqual(r.setrange("t", 5, " world"), 11)
        self.assertEqual(r.getrange("t", 0, 4), "hello")
        self.assertEqual(r.strlen("t"), 11)
        self.assertTrue(r.mset({"x": "1", "y": "2", "z": "3"}))
        self.assertEqual(r.mget("x", "missing", "z"), ["1", None, "3"])
        self.assertFalse(r.msetnx({"x": "9", "new": "9"}))
        self.assertEqual(r.getdel("x"), "1")
        self.assertEqual(r.getset("y", "5"), "2")
        self.assertTrue(r.setex("e", 100, "v"))
        self.assertEqual(r.getex("e", persist=True), "v")
        self.assertEqual(r.ttl("e"), -1)
        r.mset({"lcs1": "ohmytext", "lcs2": "mynewtext"})
        self.assertEqual(r.lcs("lcs1", "lcs2"), "mytext")

    def test_binary_values(self):
        raw = connect(decode_responses=False, protocol=self.protocol)
        self.addCleanup(raw.close)
        value = bytes(range(256)) * 400
        raw.set(b"\x00\xff", value)
        self.assertEqual(raw.get(b"\x00\xff"), value)

    def test_keys_and_expiry(self):
        r = self.r
        r.set("a", "1")
        self.assertTrue(r.expire("a", 100))
        self.assertTrue(95 <= r.ttl("a") <= 100)
        self.assertTrue(95000 <= r.pttl("a") <= 100000)
        self.assertTrue(r.persist("a"))
        self.assertFalse(r.expire("missing", 1))
        self.assertTrue(r.pexpireat("a", 4102444800000))
        self.assertEqual(r.expiretime("a"), 4102444800)
        self.assertTrue(r.rename("a", "b"))
        self.assertRaises(redis.ResponseError, r.rename, "missing", "c")
        self.assertTrue(r.copy("b", "c"))
        self.assertEqual(r.exists("b", "c", "missing"), 2)
        self.assertEqual(r.type("b"), "string")
        self.assertEqual(sorted(r.keys("*")), ["b", "c"])
        self.assertEqual(r.dbsize(), 2)
        self.assertIn(r.randomkey(), ("b", "c"))
        self.assertEqual(r.touch("b", "c"), 2)
        self.assertEqual(r.unlink("b"), 1)
        self.assertEqual(r.object("encoding", "c"), "int")
        self.assertTrue(r.move("c", 1))
        self.assertEqual(r.dbsize(), 0)

    def test_hashes(self):
        r = self.r
        self.assertEqual(r.hset("h", mapping={"a": "1", "b": "2"}), 2)
        self.assertEqual(r.hgetall("h"), {"a": "1", "b": "2"})
        self.assertEqual(r.hget("h", "a"), "1")
        self.assertEqual(r.hmget("h", "a", "missing"), ["1", None])
        self.assertEqual(r.hincrby("h", "a", 5), 6)
        self.assertEqual(r.hincrbyfloat("h", "a", 0.25), 6.25)
        self.assertTrue(r.hexists("h", "a"))
        self.assertEqual(r.hsetnx("h", "a", "x"), 0)
        self.assertEqual(sorted(r.hkeys("h")), ["a", "b"])
        self.assertEqual(sorted(r.hvals("h")), ["2", "6.25"])
        self.assertEqual(r.hstrlen("h", "b"), 1)
        self.assertEqual(r.hdel("h", "a", "missing"), 1)
        self.assertEqual(r.hlen("h"), 1)
        r.hset("big", mapping={f"f{n}": n for n in range(1000)})
        self.assertEqual(len(dict(r.hscan_iter("big", count=100))), 1000)

    def test_lists(self):
        r = self.r
        self.assertEqual(r.rpush("l", "a", "b", "c"), 3)
        self.assertEqual(r.lpush("l", "z"), 4)
        self.assertEqual(r.lrange("l", 0, -1), ["z", "a", "b", "c"])
        self.assertEqual(r.linsert("l", "BEFORE", "b", "x"), 5)
        self.assertTrue(r.lset("l", 0, "first"))
        self.assertEqual(r.lindex("l", -1), "c")
        self.assertEqual(r.lrem("l", 0, "x"), 1)
        self.assertEqual(r.lpop("l"), "first")
        self.assertEqual(r.rpop("l", 2), ["c", "b"])
        self.assertEqual(r.llen("l"), 1)
        self.assertEqual(r.lpushx("missing", "x"), 0)
        self.assertTrue(r.ltrim("l", 1, 0))
        self.assertEqual(r.exists("l"), 0)

    def test_sets(self):
        r = self.r
        self.assertEqual(r.sadd("a", "1", "2", "3"), 3)
        r.sadd("b", "2", "3", "4")
        self.assertEqual(r.smembers("a"), {"1", "2", "3"})
        self.assertEqual(set(r.sinter("a", "b")), {"2", "3"})
        self.assertEqual(set(r.sunion("a", "b")), {"1", "2", "3", "4"})
        self.assertEqual(set(r.sdiff("a", "b")), {"1"})
        self.assertEqual(r.sinterstore("c", "a", "b"), 2)
        self.assertTrue(r.sismember("c", "2"))
        self.assertEqual(r.smismember("c", ["1", "2"]), [0, 1])
        self.assertIn(r.srandmember("c"), ("2", "3"))
        self.assertIn(r.spop("c"), ("2", "3"))
        self.assertEqual(r.scard("c"), 1)
        self.assertEqual(r.srem("a", "1", "missing"), 1)
        r.sadd("big", *range(2000))
        self.assertEqual(len(set(r.sscan_iter("big"))), 2000)

    def test_sorted_sets(self):
        r = self.r
        self.assertEqual(r.zadd("z", {"a": 1, "b": 2.5, "c": 3}), 3)
        self.assertEqual(r.zscore("z", "b"), 2.5)
        self.assertEqual(r.zmscore("z", ["a", "missing"]), [1.0, None])
        self.assertEqual(r.zincrby("z", 2, "a"), 3.0)
        self.assertEqual(r.zrange("z", 0, -1), ["b", "a", "c"])
        scored = r.zrange("z", 0, -1, withscores=True)
        self.assertEqual([(m, float(s)) for m, s in scored], [("b", 2.5), ("a", 3.0), ("c", 3.0)])
        self.assertEqual(r.zrange("z", "(2.5", "+inf", byscore=True), ["a", "c"])
        self.assertEqual(r.zrank("z", "a"), 1)
        self.assertEqual(r.zrevrank("z", "b"), 2)
        self.assertEqual(r.zcount("z", "-inf", 3), 3)
        self.assertEqual(r.zadd("z", {"a": 1}, gt=True, ch=True), 0)
        self.assertEqual(float(r.zadd("z", {"a": 1}, incr=True)), 4.0)
        popped = r.zpopmin("z")  # flat over RESP3, a list of pairs over RESP2
        member, score = popped if self.protocol == 3 else popped[0]
        self.assertEqual((member, float(score)), ("b", 2.5))
        self.assertEqual(r.zcard("z"), 2)
        self.assertEqual(r.zrem("z", "a"), 1)
        r.zadd("big", {f"m{n}": n for n in range(1000)})
        self.assertEqual(len(dict(r.zscan_iter("big"))), 1000)

    def test_scan_iter(self):
        r = self.r
        r.mset({f"key:{n}": n for n in range(3000)})
        r.hset("other", "a", "1")
        self.assertEqual(len(set(r.scan_iter(count=50))), 3001)
        self.assertEqual(len(set(r.scan_iter(match="key:1*"))), 1111)
        self.assertEqual(list(r.scan_iter(_type="hash")), ["other"])

    def test_pipelines(self):
        pipe = self.r.pipeline(transaction=False)
        for n in range(2000):
            pipe.set(f"p:{n}", n)
            pipe.get(f"p:{n}")
        replies = pipe.execute()
        self.assertEqual(replies[1::2], [str(n) for n in range(2000)])
        pipe.set("s", "x")
        pipe.lpush("s", "y")
        pipe.get("s")
        replies = pipe.execute(raise_on_error=False)
        self.assertIsInstance(replies[1], redis.ResponseError)
        self.assertEqual(replies[2], "x")

    def test_transactions(self):
        with self.r.pipeline() as pipe:
            pipe.set("a", 1).incr("b", 5).mget("a", "b")
            self.assertEqual(pipe.execute(), [True, 5, ["1", "5"]])
        with self.r.pipeline() as pipe:
            pipe.watch("a")
            self.r.set("a", "changed")
            pipe.multi()
            pipe.set("a", "lost")
            self.assertRaises(redis.WatchError, pipe.execute)
        self.assertEqual(self.r.get("a"), "changed")

        def move(pipe):
            held = int(pipe.get("b"))
            pipe.multi()
            pipe.set("b", held - 1)
            pipe.set("c", held + 1)

        self.assertEqual(self.r.transaction(move, "b", "c"), [True, True])

    def test_errors(self):
        self.r.set("s", "x")
        with self.assertRaisesRegex(redis.ResponseError, "wrong kind of value"):
            self.r.lpush("s", "y")
        with self.assertRaisesRegex(redis.ResponseError, "not an integer or out of range"):
            self.r.incr("s")
        with self.assertRaisesRegex(redis.ResponseError, "unknown command"):
            self.r.execute_command("NOSUCH")
        self.assertEqual(self.r.get("s"), "x")

    def test_databases(self):
        other = connect(db=3, protocol=self.protocol)
        self.addCleanup(other.close)
        other.set("k", "three")
        self.assertIsNone(self.r.get("k"))
        self.assertTrue(self.r.swapdb(0, 3))
        self.assertEqual(self.r.get("k"), "three")
        other.flushdb()
        self.assertEqual(self.r.get("k"), "three")

    def test_connection_and_server(self):
        r = self.r
        self.assertTrue(r.ping())
        self.assertEqual(r.echo("x"), "x")
        self.assertTrue(r.client_setname("suite"))
        self.assertEqual(r.client_getname(), "suite")
        self.assertEqual(r.client_info()["name"], "suite")
        self.assertIn(str(r.client_id()), [client["id"] for client in r.client_list()])
        info = r.info()
        self.assertIn("redis_version", info)
        self.assertIn("maxmemory", r.config_get("maxmem*"))
        self.assertTrue(r.config_set("maxmemory-samples", 7))
        self.assertEqual(r.config_get("maxmemory-samples"), {"maxmemory-samples": "7"})
        self.assertGreater(r.command_count(), 100)
        self.assertIn("get", {name.lower() for name in r.command()})
        self.assertEqual(len(r.time()), 2)
        r.set("k", "v" * 100)
        self.assertGreater(r.memory_usage("k"), 100)
        self.assertIsInstance(r.slowlog_get(), list)

    def test_connection_pool_with_threads(self):
        pool = redis.BlockingConnectionPool(host="127.0.0.1", port=SERVER.port, max_connections=12, timeout=TIMEOUT,
                                            protocol=self.protocol, decode_responses=True)
        shared = redis.Redis(connection_pool=pool)
        problems = []

        def work(number):
            try:
                for n in range(200):
                    shared.incr("total")
                    shared.set(f"t:{number}:{n}", n)
                    if shared.get(f"t:{number}:{n}") != str(n):
                        problems.append((number, n))
            except redis.RedisError as problem:
                problems.append(problem)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        pool.disconnect()
        self.assertEqual(problems, [])
        self.assertEqual(self.r.get("total"), "4800")

    def test_unix_socket(self):
        r = redis.Redis(unix_socket_path=SERVER.socket_path, decode_responses=True, protocol=self.protocol)
        self.addCleanup(r.close)
        self.assertTrue(r.set("unix", "1"))
        self.assertEqual(r.get("unix"), "1")
        self.assertEqual(self.r.get("unix"), "1")


class SuiteResp3(Suite):
    """The same over RESP3, and what only RESP3 shows."""

    protocol = 3

    def test_native_types(self):
        r = self.r
        r.hset("h", "a", "1")
        self.assertEqual(r.execute_command("HGETALL", "h"), {"a": "1"})
        r.zadd("z", {"m": 1.5})
        self.assertEqual(r.execute_command("ZSCORE", "z", "m"), 1.5)


def main():
    global SERVER
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--slotwise")
    options = parser.parse_args()
    loader = unittest.defaultTestLoader
    suite = unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in (Suite, SuiteResp3))
    with support.slotwise(options.slotwise, shards=options.shards) as server:
        SERVER = server
        result = unittest.TextTestRunner(verbosity=1).run(suite)
    bad = len(result.failures) + len(result.errors)
    print(f"redis-py {redis.__version__}: {result.testsRun - bad} passed, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
