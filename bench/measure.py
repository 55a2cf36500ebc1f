"""Counters and runs: how the bench learns what a request cost. The workloads are in compare.py.

Server CPU is the first field of /proc/PID/task/*/schedstat, in nanoseconds and summed over all threads, because
/proc/PID/stat counts in ticks of 10 ms and a run at c=1 would be all rounding. The second field is the time spent
runnable but not running: it says how much other work on the machine disturbed the server.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "client"))  # after bench: some names stand in both
import support  # noqa: E402

RUN_SECONDS_MAX = 180.0
BUSY_SHARE_MAX = 0.90


def server_cpu_ns(pid):
    """(CPU nanoseconds, run-queue wait nanoseconds) of all threads of a process."""
    cpu = wait = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            fields = Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()
        except OSError:
            continue  # the thread ended between listing and reading
        cpu += int(fields[0])
        wait += int(fields[1])
    return cpu, wait


def serving_cpu_ns(pid):
    """CPU nanoseconds of the threads that run commands: a Slotwise's shards, of anything else its main thread."""
    shards, main = 0, 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            name = Path(f"/proc/{pid}/task/{task}/comm").read_text()
            cpu = int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
        except OSError:
            continue  # the thread ended between listing and reading
        if name.startswith("shard-"):
            shards += cpu
        if int(task) == pid:
            main = cpu
    return shards or main


def serving_of(server):
    """The same of a server, or of all processes of one that is a cluster."""
    return sum(serving_cpu_ns(pid) for pid in getattr(server, "pids", None) or [server.pid])


def cpu_of(server):
    """The same of a server, or of all processes of one that is a cluster."""
    used = [server_cpu_ns(pid) for pid in getattr(server, "pids", None) or [server.pid]]
    return sum(cpu for cpu, _ in used), sum(wait for _, wait in used)


def rss_bytes(pid):
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS line")


def settled_rss_bytes(pid, seconds_max=15.0):
    """Resident memory once it has stopped moving (background growth and freeing are over), or after the bound."""
    limit = time.monotonic() + seconds_max
    last = rss_bytes(pid)
    still = 0
    while time.monotonic() < limit and still < 4:
        time.sleep(0.25)
        now = rss_bytes(pid)
        still = still + 1 if abs(now - last) < 64 * 1024 else 0
        last = now
    return last


def core_ticks(cpus):
    """(busy, total) ticks of a set of CPUs, from /proc/stat."""
    busy = total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        match = re.match(r"cpu(\d+) (.*)", line)
        if match and int(match.group(1)) in cpus:
            fields = [int(field) for field in match.group(2).split()][:8]
            total += sum(fields)
            busy += sum(fields) - fields[3] - fields[4]
    return busy, total


class Run:
    """The figures of one redis-benchmark run."""

    def __init__(self):
        self.rps = self.p50 = self.p99 = self.p999 = 0.0
        self.cpu_us = self.wait_us = self.serving_us = 0.0
        self.load_busy = 0.0
        self.errors = []


def run_command(arguments, cpus, seconds_max=RUN_SECONDS_MAX):
    """Runs a load generator on the given CPUs: (exit status, output, wall seconds, its CPU seconds)."""

    def before_exec():
        os.sched_setaffinity(0, cpus)
        support.raise_file_limit()

    began = time.monotonic()
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               preexec_fn=before_exec)
    late = threading.Timer(seconds_max, process.kill)
    late.start()
    try:
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
    finally:
        late.cancel()
        process.stdout.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - began
    text = output.decode("utf-8", "replace")
    if process.returncode == -9:
        text += f"\nended by the bench after {seconds_max:.0f} s"
    return process.returncode, text, wall, usage.ru_utime + usage.ru_stime


def find_errors(status, text):
    """What redis-benchmark complained about: error replies, lost connections, a non-zero exit status."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", text)]
    bad = [line for line in lines
           if re.match(r"(Error|ERROR|WARN|-?ERR|Could not|ended by|All clients disconnected|WRONGTYPE)", line)
           or "Server closed" in line or "Protocol error" in line]
    if status != 0:
        bad.append(f"exit status {status}")
    return bad


def benchmark(server, load_cpus, requests, arguments, unix=False):
    """One redis-benchmark run of a single test against a started server."""
    where = ["-s", server.socket_path] if unix else ["-h", "127.0.0.1", "-p", str(server.port)]
    command = ["redis-benchmark", *where, "-n", str(requests), "--precision", "3", *arguments]
    run = Run()
    busy_before, total_before = core_ticks(load_cpus)
    cpu_before, wait_before = cpu_of(server)
    serving_before = serving_of(server)
    status, text, wall, load_cpu = run_command(command, load_cpus)
    if not server.alive():
        raise RuntimeError(f"{server.name} ended during: {' '.join(command)}\n{server.log_tail()}")
    cpu_after, wait_after = cpu_of(server)
    serving_after = serving_of(server)
    busy_after, total_after = core_ticks(load_cpus)
    run.errors = find_errors(status, text)
    run.cpu_us = (cpu_after - cpu_before) / requests / 1000
    run.serving_us = (serving_after - serving_before) / requests / 1000
    run.wait_us = (wait_after - wait_before) / requests / 1000
    # Either the generator itself was at its limit, or something else on its core was: both make a rate worthless.
    core_busy = (busy_after - busy_before) / max(1, total_after - total_before)
    run.load_busy = max(core_busy, load_cpu / wall / len(load_cpus))
    if run.errors:
        return run
    match = re.search(r"throughput summary: ([0-9.]+)", text)
    if not match:
        run.errors = ["no summary in the output of redis-benchmark"]
        return run
    run.rps = float(match.group(1))
    percentiles = [(float(share), float(ms)) for share, ms in
                   re.findall(r"^([0-9.]+)% <= ([0-9.]+) milliseconds", text.split("Cumulative")[0], re.M)]
    summary = re.search(r"avg\s+min\s+p50\s+p95\s+p99\s+max\s+([0-9.\s]+)", text)
    numbers = [float(number) for number in summary.group(1).split()[:6]]
    run.p50, run.p99 = numbers[2], numbers[4]
    # The listing halves the remainder at each step and never holds 99.9 % itself: the first step past it is used.
    run.p999 = next(ms for share, ms in percentiles if share >= 99.9)
    return run


def probe(server, cpus, interval_us, stop_path):
    """Starts bench/prober.py against the server; it runs until `stop_path` exists. Returns the process."""
    prober = Path(__file__).resolve().parent / "prober.py"
    process = subprocess.Popen(
        [sys.executable, str(prober), str(server.port), str(interval_us), stop_path],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )
    if process.stdout.readline().strip() != b"ready":
        raise RuntimeError("the prober did not start")
    return process


def probed(server, cpus, interval_us, work):
    """What bench/prober.py says of the server while `work` runs."""
    path = os.path.join(server.dir, f"stop-{time.monotonic_ns()}")
    process = probe(server, cpus, interval_us, path)
    try:
        work()
    finally:
        Path(path).touch()
        output, _ = process.communicate(timeout=120)
    return json.loads(output)


def subscribe(server, cpus, count, channel):
    """Starts bench/subscribers.py with `count` connections to the server. Returns the process once all have subscribed."""
    program = Path(__file__).resolve().parent / "subscribers.py"
    process = subprocess.Popen(
        [sys.executable, str(program), str(server.port), str(count), channel],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        preexec_fn=lambda: (os.sched_setaffinity(0, cpus), support.raise_file_limit()),
    )
    if process.stdout.readline().strip() != b"ready":
        raise RuntimeError("the subscribers did not start")
    return process
