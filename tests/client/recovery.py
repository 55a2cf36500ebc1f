"""Does a start bring back what append-only files hold: ours under any number of shards, and Redis's of all kinds?

    directory  Redis's append-only directory, snapshot or commands as base, key by key; and no question at the next start
    single     a log of Redis before 7.0, with a snapshot in front and without
    truncated  logs cut anywhere: what Redis makes of them, or a refusal with its words
    damaged    what is no log stops the start with file and offset
    questions  two data sets that do not belong together stop the start
    own        kill -9 and a start under other numbers of shards, under all ways of syncing; expired keys; transactions
    tool       slotwise-dump: merge, info, check and --fix

    tests/client/recovery.py [--slotwise PATH] [--redis PATH] [--shards N] [--seed N] [CHECK ...]
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import time

import persistence
from persistence import DEBUG, LOOSE, Failure, Place, Values, content, expect, fill, info
from support import default_slotwise, redis, slotwise, wait_until

LIBRARY = "#!lua name=l\nredis.register_function('f', function() return 7 end)"
DBS = (0, 3, 15)
AOF = ("--appendonly", "yes")


def timeless(value):
    """Without when a stream's consumer was last seen: replaying sees it. A consumer that has claimed nothing is there
    since 7.2 only."""
    if isinstance(value, (list, tuple)):
        value = [one for one in value if not (isinstance(one, list) and one[1:2] == [(b"pel-count", 0)])]
        return [timeless(one) for one in value if not (isinstance(one, tuple) and one and one[0] == b"seen-time")]
    return value


def same(left, right, names, what):
    """Two servers hold the same keys, and no others."""
    persistence.same(left, right, names, what, timeless)


def picture(client):
    """All keys with what they hold."""
    found = {}
    for db in range(16):
        client.must("SELECT", db)
        for key in client.must("KEYS", "*"):
            found[db, key] = timeless(content(client, key)), client.must("DEBUG", "DIGEST-VALUE", key)
    client.must("SELECT", 0)
    return found


def encodings(left, right, names, what):
    """OBJECT ENCODING, but for what 7.2 keeps in forms that 7.0 does not have."""
    for key in persistence.in_both(left, right, names):
        a, b = left.must("OBJECT", "ENCODING", key), right.must("OBJECT", "ENCODING", key)
        newer = {a, b} in ({b"listpack", b"hashtable"}, {b"listpack", b"quicklist"}, {b"intset", b"hashtable"})
        expect(a == b or newer, f"{what}: {key} is {a} there and {b} here")


def make(client, values, keys=60):
    """A data set by everything that leaves something in a log."""
    names = fill(client, values, keys, True, DBS)
    client.must("SELECT", 3)
    client.must("FUNCTION", "LOAD", LIBRARY)
    client.must("MULTI")
    client.must("SET", "in:multi", "1")
    client.must("SELECT", 0)
    client.must("RPUSH", "in:multi", "a", "b")
    client.must("EXEC")
    client.must("EVAL", "for i = 1, 5 do redis.call('ZADD', KEYS[1], i, 'm' .. i) end", 1, "by:script")
    client.must("SADD", "popped", *range(50))
    client.must("SPOP", "popped", 20)
    client.must("SET", "counter", "10", "EX", 100000)
    client.must("INCRBYFLOAT", "counter", "0.5")
    client.must("SET", "gone", "x", "PX", 1)
    client.must("SET", "renamed", "x")
    client.must("RENAME", "renamed", "{other}name")
    client.must("SWAPDB", 3, 4)
    client.must("SWAPDB", 4, 3)
    time.sleep(0.01)
    client.call("GET", "gone")
    more = [(0, k) for k in ("in:multi", "by:script", "popped", "counter", "{other}name")] + [(3, "in:multi")]
    return sorted(set(names) | set(more))


def written_by_redis(options, place, preamble, rewrite, extra=()):
    """A running Redis with a data set in its files, and a client."""
    values = Values(options.seed)
    theirs = begun(redis(options.redis, (*place.args(*AOF, "--aof-use-rdb-preamble", preamble), *extra)))
    b = theirs.client()
    names = make(b, values)
    if rewrite:
        b.must("BGREWRITEAOF")
        wait_until(lambda: info(b, "aof_rewrite_in_progress") == "0", 20, "the rewrite")
        values = Values(options.seed + 1)
        b.must("SELECT", 0)
        for _, key in names[:20]:
            b.must("DEL", key)
        names = sorted(set(names[20:]) | set(fill(b, values, 20, True, (0, 15))))
        b.must("SELECT", 0)
        names = [name for name in names if exists(b, name)]
    # What a log cannot tell (how many entries a group has read, in 7.0) is no part of what it brings back.
    b.must("DEBUG", "LOADAOF")
    return theirs, b, [name for name in names if exists(b, name)]


def exists(client, name):
    client.must("SELECT", name[0])
    return client.must("EXISTS", name[1]) == 1


def copied(source, target):
    shutil.copytree(os.path.join(source.path, "appendonlydir"), os.path.join(target.path, "appendonlydir"))


def refused(options, place, *more, shards=None):
    """What a start says that must not succeed."""
    server = slotwise(options.slotwise, shards or options.shards, place.args(*AOF, *more))
    try:
        server.start()
    except RuntimeError as error:
        expect("exit status 1" in str(error), f"no orderly refusal: {error}")
        return str(error)
    server.stop()
    raise Failure("a start succeeds that must not")


LIVE = []


def begun(server):
    """Starts a server that is stopped at the end, whatever comes."""
    LIVE.append(server)
    return server.start()


def killed(server):
    server.process.kill()
    server.process.wait()
    server.stop()


def check_directory(options):
    for preamble in ("yes", "no"):
        for rewrite in (False, True):
            with Place() as source, Place() as place:
                theirs, b, names = written_by_redis(options, source, preamble, rewrite, LOOSE if rewrite else ())
                try:
                    copied(source, place)
                    what = f"preamble {preamble}, rewrite {rewrite}"
                    for shards in (options.shards, options.shards % 4 + 1):
                        with slotwise(options.slotwise, shards, place.args(*AOF, *(LOOSE if rewrite else ()))) as ours:
                            a = ours.client()
                            same(b, a, names, what)
                            if not os.path.exists(os.path.join(place.path, "seen")):
                                encodings(b, a, names, what)  # later starts read our own base
                                open(os.path.join(place.path, "seen"), "w").close()
                            a.must("SELECT", 0)
                            expect(a.must("FCALL", "f", 0) == 7, f"{what}: the function is lost")
                            expect(info(a, "loading") == "0", "it still loads")
                    # Redis goes on in its files: these are no longer what our set was made from.
                    incremental = [n for n in os.listdir(f"{place.path}/appendonlydir") if n.endswith("incr.aof") and
                                   n.count(".") == 4]
                    with open(f"{place.path}/appendonlydir/{sorted(incremental)[-1]}", "ab") as file:
                        file.write(b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n")
                    text = refused(options, place)
                    expect("two data sets" in text and "appendonly.aof.manifest" in text, text)
                finally:
                    theirs.stop()
    print("  directories of Redis, both kinds of base")


def check_single(options):
    for preamble in ("yes", "no"):
        with Place() as source, Place() as place, Place() as cut:
            theirs, b, names = written_by_redis(options, source, preamble, True)
            try:
                directory = os.path.join(source.path, "appendonlydir")
                files = sorted(os.listdir(directory), key=lambda name: "incr" in name)
                files = [name for name in files if not name.endswith("manifest")]
                whole = b"".join(open(os.path.join(directory, name), "rb").read() for name in files)
                expect(whole.startswith(b"REDIS") == (preamble == "yes"), "the base is of the other kind")
                open(os.path.join(place.path, "appendonly.aof"), "wb").write(b"#TS:1628217470\r\n" * (preamble == "no") + whole)
                with slotwise(options.slotwise, options.shards, place.args(*AOF)) as ours:
                    same(b, ours.client(), names, f"a single log, preamble {preamble}")
                with slotwise(options.slotwise, options.shards + 1, place.args(*AOF)) as ours:
                    same(b, ours.client(), names, "the same at the next start")
                os.utime(os.path.join(place.path, "appendonly.aof"), (1, 1))
                expect("two data sets" in refused(options, place), "a log that has changed is passed over")
                # A script instead of what it did, and a function, which no Redis writes down.
                select = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"
                text = b"redis.call('SET', 'by:log', 'script')"
                script = b"*3\r\n$4\r\nEVAL\r\n$%d\r\n%s\r\n$1\r\n0\r\n" % (len(text), text)
                log = os.path.join(cut.path, "appendonly.aof")
                open(log, "wb").write(whole + select + script)
                with slotwise(options.slotwise, options.shards, cut.args(*AOF)) as ours:
                    expect(ours.client().must("GET", "by:log") == b"script", "a script in a log has not been run")
                shutil.rmtree(os.path.join(cut.path, "appendonlydir"))
                open(log, "wb").write(whole + script.replace(b"$4\r\nEVAL", b"$5\r\nFCALL"))
                text = refused(options, cut)
                expect("has a script at offset" in text and str(len(whole)) in text, text)
            finally:
                theirs.stop()
    print("  single logs")


def check_truncated(options):
    draw = random.Random(options.seed)
    with Place() as source:
        theirs, b, names = written_by_redis(options, source, "yes", True)
        # A unit at the end, so that cuts fall into it.
        b.must("SELECT", 0)
        b.must("MULTI")
        for n in range(30):
            b.must("SET", f"late:{n}", "x" * n)
        b.must("EXEC")
        theirs.stop()
        directory = os.path.join(source.path, "appendonlydir")
        last = sorted(name for name in os.listdir(directory) if "incr" in name)[-1]
        size = os.path.getsize(os.path.join(directory, last))
        cuts = [size - 1, size - 20, size - 400] + [draw.randrange(1, size) for _ in range(options.cuts)]
        for length in cuts:
            with Place() as left, Place() as right:
                for place in (left, right):
                    copied(source, place)
                    os.truncate(os.path.join(place.path, "appendonlydir", last), length)
                if length == cuts[0]:
                    text = refused(options, left, "--aof-load-truncated", "no")
                    expect("Unexpected end of file reading the append only file" in text, text)
                with redis(options.redis, left.args(*AOF)) as theirs:
                    with slotwise(options.slotwise, options.shards, right.args(*AOF)) as ours:
                        a, b = ours.client(), theirs.client()
                        found = []
                        for db in DBS:
                            b.must("SELECT", db)
                            found += [(db, key) for key in b.must("KEYS", "*")]
                        same(b, a, found, f"cut at {length} of {size}")
    print(f"  {len(cuts)} cuts")


def check_damaged(options):
    with Place() as source:
        theirs, b, _ = written_by_redis(options, source, "yes", True)
        theirs.stop()
        directory = os.path.join(source.path, "appendonlydir")
        last = sorted(name for name in os.listdir(directory) if "incr" in name)[-1]
        whole = open(os.path.join(directory, last), "rb").read()
        middle = whole.index(b"\r\n*", len(whole) // 2) + 2
        unknown = b"*2\r\n$7\r\nNOSUCHC\r\n$1\r\nk\r\n"
        for name, content, text in (
            ("zeros at the end", whole + bytes(100), "Bad file format reading the append only file"),
            ("a flipped byte", whole[:middle] + b"+" + whole[middle + 1:], f"at offset {middle}"),
            ("an unknown command", whole + unknown, "Unknown command 'NOSUCHC' reading the append only file"),
            ("a database too many", whole + b"*2\r\n$6\r\nSELECT\r\n$2\r\n16\r\n", "selects database '16'"),
        ):
            with Place() as place:
                copied(source, place)
                open(os.path.join(place.path, "appendonlydir", last), "wb").write(content)
                said = refused(options, place)
                expect(text in said, f"{name}: {said}")
        for name, damage, text in (
            ("an empty manifest", lambda text: b"", "Found an empty AOF manifest"),
            ("a manifest cut short", lambda text: text[:-1], "too long line"),
            ("a file that is not there", lambda text: text.replace(b"incr", b"incs"), "No such file or directory"),
        ):
            with Place() as place:
                copied(source, place)
                path = os.path.join(place.path, "appendonlydir", "appendonly.aof.manifest")
                text_before = open(path, "rb").read()
                open(path, "wb").write(damage(text_before))
                said = refused(options, place)
                expect(text in said, f"{name}: {said}")
        with Place() as place:
            copied(source, place)
            os.remove(os.path.join(place.path, "appendonlydir", "appendonly.aof.manifest"))
            said = refused(options, place)
            expect("no manifest that says which of them" in said, said)
    # Our own: the middle of a log, and the manifest.
    with Place() as place:
        ours = begun(slotwise(options.slotwise, options.shards, place.args(*AOF)))
        a = ours.client()
        for n in range(200):
            a.must("SET", f"key:{n}", "x" * 20)
        killed(ours)
        directory = os.path.join(place.path, "appendonlydir")
        log = max((n for n in os.listdir(directory) if n.endswith("incr.aof")),
                  key=lambda n: os.path.getsize(os.path.join(directory, n)))
        path = os.path.join(directory, log)
        content = open(path, "rb").read()
        middle = content.index(b"\r\n*", len(content) // 2) + 2
        open(path, "wb").write(content[:middle] + b"?" + content[middle + 1:])
        said = refused(options, place)
        expect(log in said and f"offset {middle}" in said and "slotwise-dump check" in said, said)
        open(path, "wb").write(content)
        manifest = os.path.join(directory, "slotwise.manifest")
        text = open(manifest, "rb").read()
        open(manifest, "wb").write(text.replace(b"relaxed", b"always"))
        said = refused(options, place)
        expect("cannot be relied on: line" in said and "checksum" in said, said)
        open(manifest, "wb").write(text)
        with slotwise(options.slotwise, options.shards, place.args(*AOF)) as ours:
            expect(ours.client().must("DBSIZE") == 200, "the files were changed by refusals")
    print("  damaged files stop the start")


def check_questions(options):
    with Place() as place:
        # A snapshot that a user puts where nothing is: taken in, and not asked about again.
        with redis(options.redis, place.args()) as theirs:
            theirs.client().must("MSET", "a", "1", "b", "2")
            theirs.client().must("SAVE")
        for _ in range(2):
            with slotwise(options.slotwise, options.shards, place.args(*AOF)) as ours:
                a = ours.client()
                expect(a.must("GET", "a") == b"1" and a.must("DBSIZE") == 2, "the snapshot is not taken in")
        with slotwise(options.slotwise, options.shards, place.args(*AOF)) as ours:
            a = ours.client()
            a.must("SET", "c", "3")
            a.must("SAVE")  # ours, and newer than the log: no question
        with slotwise(options.slotwise, options.shards, place.args(*AOF)) as ours:
            expect(ours.client().must("DBSIZE") == 3, "a write is lost")
        time.sleep(0.05)
        with Place() as other:
            with redis(options.redis, other.args()) as theirs:
                theirs.client().must("SET", "stranger", "1")
                theirs.client().must("SAVE")
            shutil.copy2(other.file, place.file)
        said = refused(options, place)
        expect("two data sets" in said and "dump.rdb" in said and "slotwise.manifest" in said, said)
        os.rename(place.file, place.file + ".away")
        with slotwise(options.slotwise, options.shards, place.args(*AOF)) as ours:
            expect(ours.client().must("DBSIZE") == 3, "the own files are not gone on with")
        os.rename(place.file + ".away", place.file)
        os.rename(os.path.join(place.path, "appendonlydir"), os.path.join(place.path, "away"))
        with slotwise(options.slotwise, options.shards, place.args(*AOF)) as ours:
            expect(ours.client().must("KEYS", "*") == [b"stranger"], "the other file is not taken in")
        # Without append-only files the snapshot is what counts.
        with slotwise(options.slotwise, options.shards, place.args()) as ours:
            expect(ours.client().must("KEYS", "*") == [b"stranger"], "appendonly no loads something else")
    print("  questions")


def check_own(options):
    counts = [1, 3, 8, options.shards, 2]
    for round_, fsync in enumerate(("everysec", "always", "no")):
        with Place() as place:
            extra = [*AOF, "--appendfsync", fsync, "--aof-load-truncated", "no"]
            if round_ == 1:
                extra += ["--aof-timestamp-enabled", "yes"]
            if round_ == 2:
                extra += ["--rename-command", "DEL", "erase", "--rename-command", "PEXPIREAT", ""]
            names, digest = [], None
            for turn, shards in enumerate([options.shards, *counts]):
                ours = begun(slotwise(options.slotwise, shards, place.args(*extra)))
                a = ours.client()
                if digest is not None:
                    found = a.must("DEBUG", "DIGEST")
                    if found != digest:
                        now = picture(a)
                        other = [name for name in {*now, *before} if now.get(name) != before.get(name)]
                        told = [(name, str(before.get(name))[:300], str(now.get(name))[:300]) for name in other[:3]]
                        raise Failure(f"{fsync}: other data after turn {turn} under {shards} shards: {told}")
                    expect(a.must("FCALL", "f", 0) == 7, "the function is lost")
                    a.must("FUNCTION", "FLUSH")
                values = Values(options.seed + turn)
                if round_ == 2:
                    fill(a, values, 20, True, DBS)
                    a.must("FUNCTION", "LOAD", LIBRARY)
                else:
                    names = make(a, values, 20)
                a.must("SELECT", 0)
                a.must("MSET", *[word for n in range(50) for word in (f"m:{turn}:{n}", n)])
                a.must("SUNIONSTORE", f"union:{turn}", "popped", "s1", "s2")
                if turn == 2:
                    a.must("SELECT", 15)
                    a.must("FLUSHDB")
                before, digest = picture(a), a.must("DEBUG", "DIGEST")
                killed(ours)
    # What has expired since is gone, what expired before the kill does not come back, and nothing loses its expiry.
    with Place() as place:
        ours = begun(slotwise(options.slotwise, options.shards, place.args(*AOF)))
        a = ours.client()
        for n in range(50):
            a.must("SET", f"short:{n}", n, "PX", 150)
            a.must("SET", f"long:{n}", n, "EX", 1000)
        a.must("SET", "kept", "1", "PX", 150)
        a.must("INCRBYFLOAT", "kept", "1")
        killed(ours)
        time.sleep(0.2)
        with slotwise(options.slotwise, options.shards + 1, place.args(*AOF)) as ours:
            a = ours.client()
            expect(a.must("GET", "short:7") is None and a.must("GET", "kept") is None, "a key outlives its time")
            expect(990 <= a.must("TTL", "long:7") <= 1000, "an expiry is lost")
            wait_until(lambda: a.must("DBSIZE") == 50, 5, "the others to go")
    print("  our own files under other numbers of shards")


def tool(options, *words, answer=""):
    path = os.path.join(os.path.dirname(options.slotwise), "slotwise-dump")
    return subprocess.run([path, *words], input=answer, capture_output=True, text=True, timeout=60)


def check_tool(options):
    with Place() as place, Place() as other:
        ours = begun(slotwise(options.slotwise, options.shards, place.args(*AOF)))
        a = ours.client()
        names = make(a, Values(options.seed))
        killed(ours)
        directory = os.path.join(place.path, "appendonlydir")
        before = {n: open(os.path.join(directory, n), "rb").read() for n in os.listdir(directory)}
        done = tool(options, "check", place.path)
        expect(done.returncode == 0 and "as it should be" in done.stdout, str(done))
        done = tool(options, "info", directory)
        expect("written under" in done.stdout and "commands" in done.stdout, str(done))
        for source in (place.path, directory, os.path.join(directory, "slotwise.manifest")):
            done = tool(options, "merge", source, other.file, "--force")
            expect(done.returncode == 0, str(done))
        expect(tool(options, "merge", directory, other.file).returncode == 1, "an existing file is replaced")
        with redis(options.redis, other.args()) as theirs:
            with slotwise(options.slotwise, options.shards, place.args(*AOF)) as ours:
                same(theirs.client(), ours.client(), names, "merged, and loaded by Redis")
                expect(theirs.client().must("FCALL", "f", 0) == 7, "the function is lost on the way")
        done = tool(options, "info", other.file)
        expect("snapshot, version 10" in done.stdout and "db 15" in done.stdout, str(done))
        for name, content in before.items():
            now = open(os.path.join(directory, name), "rb").read()
            expect(name == "slotwise.manifest" or now == content, f"{name} was changed by looking at it")
    # Redis's files.
    with Place() as source, Place() as other:
        theirs, b, names = written_by_redis(options, source, "no", True)
        try:
            done = tool(options, "merge", os.path.join(source.path, "appendonlydir"), other.file)
            expect(done.returncode == 0, str(done))
            with redis(options.redis, other.args()) as again:
                same(b, again.client(), names, "Redis's directory merged")
            expect(tool(options, "check", os.path.join(source.path, "appendonlydir")).returncode == 0, "it is well")
        finally:
            theirs.stop()
    # Damage.
    with Place() as place:
        ours = begun(slotwise(options.slotwise, options.shards, place.args(*AOF)))
        a = ours.client()
        for n in range(300):
            a.must("SET", f"key:{n}", "x" * 20)
        killed(ours)
        directory = os.path.join(place.path, "appendonlydir")
        log = max((n for n in os.listdir(directory) if n.endswith("incr.aof")),
                  key=lambda n: os.path.getsize(os.path.join(directory, n)))
        path = os.path.join(directory, log)
        whole = open(path, "rb").read()
        open(path, "wb").write(whole[:-5])
        done = tool(options, "check", directory)
        expect(done.returncode == 0 and "breaks off" in done.stdout and "A server starts" in done.stdout, str(done))
        middle = whole.index(b"\r\n*", len(whole) * 2 // 3) + 2
        open(path, "wb").write(whole[:middle] + b"?" + whole[middle + 1:])
        done = tool(options, "check", directory)
        expect(done.returncode == 1 and f"offset {middle}" in done.stdout and "does not start" in done.stdout, str(done))
        done = tool(options, "check", directory, "--fix", answer="n\n")
        expect("Nothing was changed" in done.stdout and done.returncode == 1, str(done))
        done = tool(options, "check", directory, "--fix", "--yes")
        expect(done.returncode == 0 and "Kept as it was" in done.stdout, str(done))
        copies = [n for n in os.listdir(directory) if ".before-fix-" in n]
        kept = next(n for n in copies if n.startswith(log))
        expect(open(os.path.join(directory, kept), "rb").read()[middle:middle + 1] == b"?", "the copy is another")
        with slotwise(options.slotwise, options.shards, place.args(*AOF)) as ours:
            size = ours.client().must("DBSIZE")
            expect(size < 300 and (options.shards > 1 or size > 150), f"{size} keys after mending")
    print("  merge, info, check")


CHECKS = {
    "directory": check_directory, "single": check_single, "truncated": check_truncated, "damaged": check_damaged,
    "questions": check_questions, "own": check_own, "tool": check_tool,
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--slotwise", default=default_slotwise())
    parser.add_argument("--redis", default="redis-server")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7200)
    parser.add_argument("--cuts", type=int, default=4)
    parser.add_argument("checks", nargs="*", choices=[*CHECKS, []])
    options = parser.parse_args()
    passed = failed = 0
    for name in options.checks or CHECKS:
        print(f"{name}:")
        try:
            CHECKS[name](options)
            passed += 1
        except (Failure, OSError, RuntimeError, TimeoutError, StopIteration) as error:
            failed += 1
            print(f"  FAILED (seed {options.seed}): {error}")
        while LIVE:
            LIVE.pop().stop()
    print(f"recovery with {options.shards} shards: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
