"""Do unmodified cluster clients work with a cluster, while slots move and a replica takes over?

usage: cluster_clients.py [WORD ...] [--shards N] [--slotwise PATH]

redis-py, ioredis, node-redis and valkey-glide each write and read a key in every slot, send pipelines and transactions, subscribe to a
sharded channel, and go on writing while slots are moved under them and a manual failover changes a primary. WORDs name the
libraries (redis-py, ioredis, redis, glide); one that is not installed is skipped with a line. tools/test.sh installs all but
valkey-glide, whose part in Rust is a large download.
"""

import argparse
import binascii
import importlib.util
import os
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import support
from cluster import House, address, ask, cli, equal, is_ok, is_primary, true
from cluster_node import add_replica, primaries
from support import wait_until

NODE_HOME = support.ROOT / "target" / "node"
SCRIPT = support.ROOT / "tests" / "client" / "node" / "cluster.js"
SLOTS = 16384
MOVED = 60


def key_slot(key):
    """The slot of a key without a tag."""
    return binascii.crc_hqx(key.encode(), 0) % SLOTS


def a_key_for_each_slot():
    keys, number = {}, 0
    while len(keys) < SLOTS:
        keys.setdefault(key_slot(f"k{number}"), f"k{number}")
        number += 1
    return [keys[slot] for slot in range(SLOTS)]


def move_about(nodes, replica):
    """Slots of the first node go to the second and back; then the replica takes the first one's place."""
    first, second = (ask(node, "CLUSTER", "MYID").decode() for node in nodes[:2])
    for source, target in ((first, second), (second, first)):
        cli("--cluster", "reshard", address(nodes[0]), "--cluster-from", source, "--cluster-to", target,
            "--cluster-slots", MOVED, "--cluster-yes")
    wait_until(lambda: ask(replica, "CLUSTER", "FAILOVER") == b"OK", 5, "the failover to begin")
    wait_until(lambda: is_primary(replica), 10, "the replica to be a primary")
    time.sleep(0.5)


def with_script(library):
    def run(nodes, replica, keys):
        path = Path(nodes[0].dir) / "keys"
        path.write_text("\n".join(keys))
        ports = [str(node.port) for node in nodes]
        with subprocess.Popen(["node", str(SCRIPT), library, str(path), *ports], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=dict(os.environ, NODE_MODULES_HOME=str(NODE_HOME))) as process:
            guard = threading.Timer(60, process.kill)
            guard.start()
            try:
                if process.stdout.readline().strip() == "moving":
                    move_about(nodes, replica)
                out, err = process.communicate("over\n")
            finally:
                guard.cancel()
                process.kill()
        true(process.returncode == 0, f"exit status {process.returncode}\n{err[-1500:]}")
        return out.strip()
    return run


def with_redis_py(nodes, replica, keys):
    import redis
    from redis.backoff import ConstantBackoff
    from redis.cluster import ClusterNode, RedisCluster
    from redis.retry import Retry

    start = [ClusterNode("127.0.0.1", node.port) for node in nodes]
    client = RedisCluster(startup_nodes=start, decode_responses=True, cluster_error_retry_attempts=20,
                          retry=Retry(ConstantBackoff(0.05), 5), socket_timeout=10)
    pipe = client.pipeline()
    for key in keys:
        pipe.set(key, f"v:{key}")
    true(all(pipe.execute()), "every key is set")
    for key in keys:
        pipe.get(key)
    equal(pipe.execute(), [f"v:{key}" for key in keys])
    equal(client.mget_nonatomic(keys[:200]), [f"v:{key}" for key in keys[:200]])
    pubsub = client.pubsub()
    pubsub.ssubscribe("{tag}news")
    wait_until(lambda: pubsub.get_sharded_message(timeout=0.1), 5, "the confirmation")
    equal(client.execute_command("SPUBLISH", "{tag}news", "hello"), 1)
    message = wait_until(lambda: pubsub.get_sharded_message(timeout=0.1), 5, "the message")
    equal((message["type"], message["data"]), ("smessage", "hello"))
    pubsub.close()

    written, over, problems, counts = {}, threading.Event(), [], [0, 0]

    def write():
        try:
            while not over.is_set():
                key, value = keys[counts[0] * 37 % SLOTS], str(counts[0])
                counts[0] += 1
                try:
                    client.set(key, value)
                    written[key] = value
                    equal(client.get(key), value)
                except (redis.exceptions.ClusterDownError, redis.exceptions.ConnectionError,
                        redis.exceptions.TimeoutError, redis.exceptions.TryAgainError):
                    counts[1] += 1
                    written.pop(key, None)  # whether it was written is not known
        except Exception as problem:  # the thread that waits for it tells
            problems.append(problem)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        move_about(nodes, replica)
    finally:
        over.set()
        writer.join()
    true(not problems, f"{problems}")
    lost = [key for key, value in written.items() if client.get(key) != value]
    true(not lost, f"{len(lost)} of {len(written)} keys are lost or old: {lost[:5]}")
    client.close()
    return f"redis-py: {counts[0]} writes, {counts[1]} errors that pass"


def with_glide(nodes, replica, keys):
    """valkey-glide: a core in Rust under bindings for Python."""
    import asyncio

    return asyncio.run(glide(nodes, replica, keys, asyncio))


async def glide(nodes, replica, keys, asyncio):
    from glide import (
        ClosingError, ClusterBatch, ConnectionError, GlideClusterClient, GlideClusterClientConfiguration, NodeAddress,
        RequestError, TimeoutError,
    )

    def configuration(**options):
        start = [NodeAddress("127.0.0.1", node.port) for node in nodes]
        return GlideClusterClientConfiguration(start, request_timeout=10_000, **options)

    client = await GlideClusterClient.create(configuration())
    for first in range(0, SLOTS, 1024):
        some = keys[first:first + 1024]
        equal(await client.mset({key: f"v:{key}" for key in some}), "OK")
        equal(await client.mget(some), [f"v:{key}".encode() for key in some])
    batch = ClusterBatch(is_atomic=True)
    batch.set("{tag}one", "1")
    batch.incr("{tag}one")
    batch.get("{tag}one")
    equal(await client.exec(batch, raise_on_error=True), ["OK", 2, b"2"])
    batch = ClusterBatch(is_atomic=False)
    for key in keys[:500]:
        batch.get(key)
    equal(await client.exec(batch, raise_on_error=True), [f"v:{key}".encode() for key in keys[:500]])

    kinds = GlideClusterClientConfiguration.PubSubChannelModes
    wanted = GlideClusterClientConfiguration.PubSubSubscriptions(
        channels_and_patterns={kinds.Sharded: {"{tag}news"}}, callback=None, context=None)
    listener = await GlideClusterClient.create(configuration(pubsub_subscriptions=wanted))
    limit, message = time.monotonic() + 10, None
    while message is None and time.monotonic() < limit:
        await client.publish("hello", "{tag}news", sharded=True)
        await asyncio.sleep(0.05)
        message = listener.try_get_pubsub_message()
    equal(message and message.message, b"hello")
    await listener.close()

    written, over, counts = {}, asyncio.Event(), [0, 0]

    async def write():
        while not over.is_set():
            key, value = keys[counts[0] * 37 % SLOTS], str(counts[0])
            counts[0] += 1
            try:
                await client.set(key, value)
                written[key] = value
                equal(await client.get(key), value.encode())
            except (ClosingError, ConnectionError, RequestError, TimeoutError) as problem:
                true(any(word in str(problem) for word in PASSING), f"{problem!r}")
                counts[1] += 1
                written.pop(key, None)  # whether it was written is not known

    writer = asyncio.create_task(write())
    await asyncio.to_thread(move_about, nodes, replica)
    over.set()
    await writer
    lost = [key for key, value in written.items() if await client.get(key) != value.encode()]
    true(not lost, f"{len(lost)} of {len(written)} keys are lost or old: {lost[:5]}")
    await client.close()
    return f"valkey-glide: {counts[0]} writes, {counts[1]} errors that pass"


# What the library gives up with while a slot or a primary changes.
PASSING = ("imed out", "onnection", "TRYAGAIN", "TryAgain", "ClusterDown", "CLUSTERDOWN", "MOVED", "Moved", "ASK", "Ask")


def is_installed(library):
    if library == "glide":
        return importlib.util.find_spec("glide") is not None
    if library == "redis-py":
        try:
            import redis.cluster  # noqa: F401
            return True
        except ImportError:
            return False
    return (NODE_HOME / "node_modules" / library).exists()


LIBRARIES = {"redis-py": with_redis_py, "ioredis": with_script("ioredis"), "redis": with_script("redis"),
             "glide": with_glide}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD", choices=[[], *LIBRARIES])
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--slotwise", help="the server under test (target/quick/slotwise)")
    parser.set_defaults(redis="redis-server")
    options = parser.parse_args()
    keys = a_key_for_each_slot()
    passed = failed = 0
    house = House(options)
    try:
        nodes = primaries(house, 3)
        replica = add_replica(house, nodes, nodes[0])
        for library in options.words or LIBRARIES:
            if not is_installed(library):
                print(f"skip  {library} is not installed", flush=True)
                continue
            start = time.monotonic()
            try:
                said = LIBRARIES[library](nodes, replica, keys)
                passed += 1
                print(f"ok    {said} ({time.monotonic() - start:.1f} s)", flush=True)
            except Exception as problem:
                failed += 1
                detail = str(problem) if isinstance(problem, AssertionError) else traceback.format_exc()
                print(f"FAIL  {library}: {detail}", flush=True)
            # The next one begins with the same roles.
            nodes[0], replica = replica, nodes[0]
            wait_until(lambda: not is_primary(replica) and all(map(is_ok, nodes)), 15, "everybody to know who is who")
            wait_until(lambda: b"master_link_status:up" in ask(replica, "INFO", "replication"), 15, "the link")
    finally:
        house.close()
    print(f"{Path(sys.argv[0]).stem} with {options.shards} shards: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
