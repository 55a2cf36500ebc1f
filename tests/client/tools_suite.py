"""Do redis-cli and redis-benchmark work against the server as they do against Redis?

usage: tools_suite.py [--shards N] [--slotwise PATH] [--full]      --full: the whole benchmark list at its usual length
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest

import support

SERVER = None
FULL = False
BENCHMARK_TESTS = 20


def run(arguments, data=None, seconds=120, interrupt_after=None):
    """Runs a tool: (exit status, standard output, standard error). `interrupt_after` sends what Ctrl-C would."""
    if interrupt_after:
        arguments = ["stdbuf", "-oL", *arguments]  # a tool ended by a signal does not flush what it has written
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = process.communicate(data, timeout=interrupt_after or seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT if interrupt_after else signal.SIGKILL)
        out, err = process.communicate(timeout=10)
        if not interrupt_after:
            raise AssertionError(f"{arguments} did not end in {seconds} s") from None
    return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def cli(*arguments, **more):
    return run(["redis-cli", "-p", str(SERVER.port), *arguments], **more)


class Cli(unittest.TestCase):
    """redis-cli, mode by mode."""

    @classmethod
    def setUpClass(cls):
        with SERVER.client() as client:
            client.must("FLUSHALL")
            client.pipeline([("SET", f"string:{n}", "v" * n) for n in range(300)])
            client.must("RPUSH", "list:big", *range(500))
            client.must("HSET", "hash:big", *(word for n in range(400) for word in (f"f{n}", n)))
            client.must("SADD", "set:big", *(f"m{n}" for n in range(600)))
            client.must("ZADD", "zset:big", *(word for n in range(700) for word in (n, f"m{n}")))

    def succeeds(self, *arguments, **more):
        status, out, err = cli(*arguments, **more)
        self.assertEqual(status, 0, f"{arguments}: {out[-500:]} {err[-500:]}")
        return out

    def test_commands(self):
        self.assertEqual(self.succeeds("ping"), "PONG\n")
        self.assertEqual(self.succeeds("-3", "hget", "hash:big", "f7"), "7\n")
        self.assertEqual(self.succeeds("-u", f"redis://127.0.0.1:{SERVER.port}/0", "llen", "list:big"), "500\n")
        self.assertEqual(self.succeeds("-n", "1", "dbsize"), "0\n")
        status, out, _ = cli("-e", "lpush", "string:1", "x")
        self.assertEqual((status, "WRONGTYPE" in out + _), (1, True))

    def test_unix_socket(self):
        status, out, _ = run(["redis-cli", "-s", SERVER.socket_path, "ping"])
        self.assertEqual((status, out), (0, "PONG\n"))

    def test_raw_and_csv(self):
        self.assertEqual(self.succeeds("--raw", "lrange", "list:big", "0", "2"), "0\n1\n2\n")
        self.assertEqual(self.succeeds("--csv", "lrange", "list:big", "0", "2"), '"0","1","2"\n')
        self.assertIn('1) "0"', self.succeeds("--no-raw", "lrange", "list:big", "0", "2"))
        self.assertEqual(self.succeeds("--json", "-2", "lrange", "list:big", "0", "1"), '["0","1"]\n')

    def test_standard_input(self):
        out = self.succeeds(data=b"set from:stdin 1\nincr from:stdin\nget from:stdin\n")
        self.assertEqual(out, "OK\n2\n2\n")
        self.succeeds("del", "from:stdin")
        self.assertEqual(self.succeeds("-x", "set", "from:x", data=b"body"), "OK\n")
        self.succeeds("del", "from:x")

    def test_bigkeys(self):
        out = self.succeeds("--bigkeys")
        for line in ("Biggest   list found '\"list:big\"' has 500 items", "Biggest   hash found '\"hash:big\"' has 400 fields",
                     "Biggest    set found '\"set:big\"' has 600 members", "Biggest   zset found '\"zset:big\"' has 700 members",
                     "Biggest string found '\"string:299\"' has 299 bytes", "Sampled 304 keys"):
            self.assertIn(line, out)

    def test_memkeys(self):
        out = self.succeeds("--memkeys")
        self.assertIn("Sampled 304 keys", out)
        self.assertRegex(out, r"Biggest\s+zset found '\"zset:big\"' has \d+ bytes")

    def test_hotkeys(self):
        status, out, err = cli("--hotkeys")
        self.assertIn("maxmemory policy", out + err)  # refused while no LFU policy is set, as by Redis
        with SERVER.client() as client:
            client.must("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
            client.must("SET", "hot", "x")
            client.pipeline([("GET", "hot")] * 3000)
            out = self.succeeds("--hotkeys")
            client.must("CONFIG", "SET", "maxmemory-policy", "noeviction")
            client.must("DEL", "hot")
        self.assertRegex(out, r'hot key found with counter: \d+\s+keyname: "?hot"?')

    def test_scan(self):
        self.assertEqual(len(set(self.succeeds("--scan").split())), 304)
        self.assertEqual(len(set(self.succeeds("--scan", "--pattern", "*:big").split())), 4)
        self.assertEqual(len(set(self.succeeds("--scan", "--pattern", "string:1?").split())), 10)

    def test_stat(self):
        _, out, _ = cli("--stat", "-i", "0.3", interrupt_after=2)
        rows = [line.split() for line in out.splitlines() if re.match(r"\d+ ", line)]
        self.assertGreaterEqual(len(rows), 3, out)
        self.assertEqual(rows[0][0], "304")

    def test_latency(self):
        _, out, _ = cli("--latency", "--csv", "-i", "1", interrupt_after=3)
        self.assertRegex(out, r"^\d+,\d+,\d+\.\d+,\d+")
        _, out, _ = cli("--latency-history", "--no-raw", "-i", "1", interrupt_after=3)
        self.assertRegex(out, r"min: \d+, max: \d+, avg: \d+\.\d+ \(\d+ samples\)")
        _, out, _ = cli("--latency-dist", "-i", "1", interrupt_after=3)
        self.assertNotIn("rror", out)

    def test_monitor(self):
        process = subprocess.Popen(["redis-cli", "-p", str(SERVER.port), "monitor"], stdout=subprocess.PIPE)
        try:
            self.assertEqual(process.stdout.readline(), b"OK\n")
            with SERVER.client() as client:
                client.call("GET", "seen:by:monitor")
            self.assertRegex(process.stdout.readline().decode(), r'^\d+\.\d{6} \[0 127\.0\.0\.1:\d+\] "GET" "seen:by:monitor"')
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def test_repeat(self):
        self.assertEqual(self.succeeds("-r", "3", "-i", "0.01", "ping"), "PONG\n" * 3)


class Pipe(unittest.TestCase):
    """Mass insertion."""

    def test_a_million_commands_through_pipe(self):
        count = 1_000_000
        with tempfile.TemporaryFile(dir=support.scratch_root()) as file:
            for begin in range(0, count, 10_000):
                file.write(b"".join(b"*3\r\n$3\r\nSET\r\n$11\r\npipe:%06d\r\n$6\r\n%06d\r\n" % (n, n)
                                    for n in range(begin, begin + 10_000)))
            file.flush()
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            done = subprocess.run(["redis-cli", "-p", str(SERVER.port), "--pipe"], stdin=file, capture_output=True, timeout=120)
        out = done.stdout.decode()
        self.assertEqual(done.returncode, 0, out + done.stderr.decode())
        self.assertIn(f"errors: 0, replies: {count}", out)
        with SERVER.client() as client:
            self.assertEqual(client.call("GET", "pipe:777777"), b"777777")
            self.assertEqual(len(client.call("KEYS", "pipe:9999*")), 100)
            client.must("FLUSHALL")

    def test_pipe_counts_errors(self):
        status, out, _ = cli("--pipe", data=b"SET pipe:s x\r\nLPUSH pipe:s y\r\nINCR pipe:n\r\n")
        self.assertEqual(status, 1)
        self.assertIn("errors: 1, replies: 3", out)


class Benchmark(unittest.TestCase):
    """redis-benchmark's whole list in the variants that must show no error."""

    def whole_list(self, *arguments, unix=False, count=2_000):
        where = ["-s", SERVER.socket_path] if unix else ["-p", str(SERVER.port)]
        count = 100_000 if FULL else count
        status, out, err = run(["redis-benchmark", *where, "-n", str(count), "--csv", *arguments], seconds=240)
        names = re.findall(r'"([A-Z][^"]*)","[0-9.]+",', out)
        self.assertEqual(status, 0, (out + err)[-1000:])
        self.assertNotRegex(out + err, r"(?i)\berror\b|WARN|-ERR|Could not")
        self.assertEqual(len(names), BENCHMARK_TESTS, names)

    def test_as_it_is(self):
        self.whole_list()

    def test_pipelined_random_threads(self):
        self.whole_list("-P", "16", "-r", "100000", "--threads", "2", count=20_000)

    def test_big_values(self):
        self.whole_list("-d", "10240", count=1_000)

    def test_resp3(self):
        self.whole_list("-3")

    def test_unix_socket(self):
        self.whole_list(unix=True)

    def test_reconnecting(self):
        status, out, err = run(["redis-benchmark", "-p", str(SERVER.port), "-n", "2000", "-k", "0", "-t", "set,get", "--csv"])
        self.assertEqual((status, out.count('"GET"')), (0, 1), out + err)


def main():
    global SERVER, FULL
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--slotwise")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", help="run tests whose name holds this")
    options = parser.parse_args()
    FULL = options.full
    suite = unittest.TestSuite(
        test for case in (Cli, Pipe, Benchmark) for test in unittest.defaultTestLoader.loadTestsFromTestCase(case)
        if not options.only or options.only in test.id())
    with support.slotwise(options.slotwise, shards=options.shards) as server:
        SERVER = server
        result = unittest.TextTestRunner(verbosity=1).run(suite)
    bad = len(result.failures) + len(result.errors)
    print(f"tools: {result.testsRun - bad} passed, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
