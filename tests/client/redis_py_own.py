"""Does the server pass redis-py's own tests, with one shard and with four?

The tests are not part of this repository. REDIS_PY_SRC names a checkout of redis/redis-py (or an unpacked source
distribution, which has them too) at version 5; the interpreter must have pytest, pytest-timeout, pytest-asyncio and
packaging. Without REDIS_PY_SRC nothing runs, and that is said. The suite runs against a server by itself, and what of it is
for clusters too against one of three primaries with a replica each (--cluster: only that, --alone: only the server). Tests of
Sentinel, TLS and modules are left out.

    REDIS_PY_SRC=~/redis-py python3 tests/client/redis_py_own.py [--shards 1,4] [--slotwise PATH] [FILE ...]
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from cluster import House, lines
from support import default_slotwise, scratch_root, slotwise, wait_until

FILES = """
    test_commands.py test_pubsub.py test_scripting.py test_pipeline.py test_lock.py test_connection.py
    test_connection_pool.py test_monitor.py test_function.py test_encoding.py test_cache.py test_multiprocessing.py
    test_helpers.py test_retry.py test_credentials.py test_command_parser.py test_hash.py test_utils.py test_parsers
""".split()

LEFT_OUT = "not onlycluster and not redismod and not ssl and not replica"
CLUSTER_FILES = FILES + ["test_cluster.py"]
LEFT_OUT_OF_CLUSTER = "not onlynoncluster and not redismod and not ssl"

# Tests that fail, each with its reason.
KNOWN = {
    "test_client_setinfo": "it connects to port 6379 as well",
    "test_retry_connect_on_timeout_error": "it connects to port 6379",
    "test_create_single_connection_client_from_url": "it connects to port 6379",
    "test_psync": "it connects to port 6380",
    "test_tfunction_load_delete": "it asks for a module",
    "test_tfunction_list": "it asks for a module",
    "test_tfcall": "it asks for a module",
    "test_module": "it asks for a module",
    "test_module_loadex": "it asks for a module",
    "test_cluster_retry_object": "it expects the nodes at ports 16379 and 16380",
    "test_address_remap": "it expects the nodes at ports one after the other",
}


def failures(text):
    """Names of tests in pytest's summary that did not pass."""
    return re.findall(r"^(?:FAILED|ERROR) (\S+)", text, re.M)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="files of the suite's directory tests")
    parser.add_argument("--slotwise", default=default_slotwise(), help="path of the server under test")
    parser.add_argument("--shards", default="1,4", help="shard counts, comma-separated")
    parser.add_argument("--cluster", action="store_true", help="only against a cluster")
    parser.add_argument("--alone", action="store_true", help="only against a server by itself")
    options = parser.parse_args()
    named = os.environ.get("REDIS_PY_SRC", "")
    if not named:
        print("redis-py: skipped, REDIS_PY_SRC does not name a checkout of redis/redis-py")
        return 0
    source = Path(named).resolve()
    if not (source / "tests" / "test_commands.py").exists():
        sys.exit(f"redis-py: {source} has no tests/test_commands.py")
    bad = 0
    extra = ("--enable-debug-command", "yes", "--enable-protected-configs", "yes")
    for count in map(int, options.shards.split(",")):
        if not options.cluster:
            with slotwise(options.slotwise, shards=count, extra=extra) as server:
                files = options.files or FILES
                bad += suite(source, f"{count} shards", files, LEFT_OUT, f"redis://127.0.0.1:{server.port}/9")
        if not options.alone:
            house = House(argparse.Namespace(slotwise=options.slotwise, shards=count))
            try:
                nodes = house.cluster("ssssss", replicas=1, extra=extra)
                wait_until(lambda: all(knows_all(node) for node in nodes), 20, "all to know each other")
                files = options.files or CLUSTER_FILES
                url = f"redis://127.0.0.1:{nodes[0].port}/0"
                bad += suite(source, f"a cluster, {count} shards", files, LEFT_OUT_OF_CLUSTER, url)
            finally:
                house.close()
    return 1 if bad else 0


def knows_all(node):
    """Whether a node names five others that it reaches, three being replicas in step."""
    said = lines(node)
    return len(said) == 6 and sum("slave" in line[2] for line in said) == 3 and all(line[7] == "connected" for line in said)


def suite(source, title, files, left_out, url):
    """Runs the suite against a server; how many failures are not known."""
    with tempfile.TemporaryDirectory(dir=scratch_root()) as cache:
        command = [sys.executable, "-m", "pytest", "-q", "--timeout", "60", "-o", "filterwarnings=ignore", "-m", left_out,
                   "-o", f"cache_dir={cache}", "--redis-url", url, *(f"tests/{name}" for name in files)]
        run = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=900, check=False)
    failed = failures(run.stdout)
    reasons = {name: next((why for known, why in KNOWN.items() if known in name), "") for name in failed}
    unknown = [name for name in failed if not reasons[name]]
    said = run.stdout.strip().splitlines()
    print(f"redis-py's suite, {title}: {said[-1] if said else run.stderr[-400:]}; {len(unknown)} not known", flush=True)
    for name in failed:
        print(f"    {name}{': ' if reasons[name] else ''}{reasons[name]}")
    return len(unknown) + (0 if re.search(r"\d+ passed", run.stdout) else 1)


if __name__ == "__main__":
    sys.exit(main())
