"""Does every command that COMMAND LIST names work over a socket, with one shard and with four?

Each line below is a request. It goes to Slotwise and, where redis-server has the command, to it as well; the kinds of
both replies must agree (an error or not, and which type). Afterwards INFO commandstats of Slotwise must count a run of
each command of COMMAND LIST: whoever adds a command adds a line. What the replies say is compared elsewhere, by the
differential test above all.

    tests/client/every_command.py [--slotwise PATH] [--redis PATH] [--shards 1,4]
"""

import argparse
import shlex
import sys

from support import default_slotwise, redis, slotwise

LINES = r"""
SET s hello
GET s
APPEND s world
STRLEN s
GETRANGE s 0 3
SUBSTR s 0 3
SETRANGE s 1 abc
GETSET s other
GETEX s EX 100
GETDEL s
SETEX s 100 v
PSETEX s 100000 v
SETNX s2 v
MSET a 1 b 2 c 3 d 4
MSETNX e 5 f 6
MGET a b c d e
INCR a
INCRBY a 5
DECR a
DECRBY a 2
INCRBYFLOAT a 1.5
LCS a b
SETBIT bits 7 1
GETBIT bits 7
BITCOUNT bits
BITPOS bits 1
BITOP AND bits2 bits bits
BITFIELD bits SET u8 0 200
BITFIELD_RO bits GET u8 0
PFADD hll a b c
PFCOUNT hll
PFMERGE hll2 hll
PFDEBUG ENCODING hll
PFSELFTEST
DEL a b
UNLINK c
EXISTS d e f
TYPE d
TOUCH d e
COPY d copied
DUMP d
RENAME copied renamed
RENAMENX renamed renamed2
MOVE renamed2 3
KEYS *
SCAN 0
RANDOMKEY
DBSIZE
EXPIRE d 100
EXPIREAT d 99999999999
PEXPIRE d 100000
PEXPIREAT d 9999999999999
TTL d
PTTL d
EXPIRETIME d
PEXPIRETIME d
PERSIST d
OBJECT HELP
OBJECT ENCODING d
OBJECT REFCOUNT d
OBJECT IDLETIME d
OBJECT FREQ d
RPUSH l a b c d e
LPUSH l z
RPUSHX l f
LPUSHX l y
LLEN l
LRANGE l 0 -1
LINDEX l 1
LSET l 1 q
LINSERT l BEFORE q p
LPOS l q
LREM l 1 q
LTRIM l 0 5
LPOP l
RPOP l
LMPOP 1 l LEFT
LMOVE l l LEFT RIGHT
RPOPLPUSH l l2
BLPOP l 1
BRPOP l 1
BLMPOP 1 1 l LEFT
BLMOVE l2 l2 LEFT RIGHT 1
BRPOPLPUSH l2 l2 1
HSET h f v g 1
HSETNX h i 1
HGET h f
HMSET h j 1 k 2
HMGET h f g
HGETALL h
HKEYS h
HVALS h
HLEN h
HSTRLEN h f
HEXISTS h f
HINCRBY h g 2
HINCRBYFLOAT h g 1.5
HRANDFIELD h
HSCAN h 0
HDEL h f
SADD t a b c 1
SADD t2 b c d
SCARD t
SISMEMBER t a
SMISMEMBER t a z
SMEMBERS t
SRANDMEMBER t
SSCAN t 0
SINTER t t2
SINTERCARD 2 t t2
SINTERSTORE t3 t t2
SUNION t t2
SUNIONSTORE t3 t t2
SDIFF t t2
SDIFFSTORE t3 t t2
SMOVE t t2 a
SPOP t2
SREM t b
ZADD z 1 a 2 b 3 c 4 d
ZADD z2 1 a 5 e
ZCARD z
ZSCORE z a
ZMSCORE z a q
ZINCRBY z 1 a
ZRANK z a
ZREVRANK z a
ZCOUNT z 0 10
ZLEXCOUNT z - +
ZRANGE z 0 -1
ZRANGESTORE z3 z 0 -1
ZREVRANGE z 0 -1
ZRANGEBYSCORE z 0 10
ZREVRANGEBYSCORE z 10 0
ZRANGEBYLEX z - +
ZREVRANGEBYLEX z + -
ZRANDMEMBER z
ZSCAN z 0
ZINTER 2 z z2
ZINTERCARD 2 z z2
ZINTERSTORE z4 2 z z2
ZUNION 2 z z2
ZUNIONSTORE z4 2 z z2
ZDIFF 2 z z2
ZDIFFSTORE z5 2 z z2
ZPOPMIN z4
ZPOPMAX z4
ZMPOP 1 z4 MIN
ZREM z3 a
ZREMRANGEBYRANK z3 0 0
ZREMRANGEBYSCORE z3 3 3
ZREMRANGEBYLEX z3 - +
BZPOPMIN z 1
BZPOPMAX z 1
BZMPOP 1 1 z MIN
GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
GEODIST geo Palermo Catania
GEOHASH geo Palermo
GEOPOS geo Palermo
GEORADIUS geo 15 37 200 km
GEORADIUS_RO geo 15 37 200 km
GEORADIUSBYMEMBER geo Palermo 200 km
GEORADIUSBYMEMBER_RO geo Palermo 200 km
GEOSEARCH geo FROMMEMBER Palermo BYRADIUS 200 km
GEOSEARCHSTORE geo2 geo FROMMEMBER Palermo BYRADIUS 200 km
XADD x 1-1 f v
XADD x 2-1 f v
XLEN x
XRANGE x - +
XREVRANGE x + -
XREAD STREAMS x 0
XGROUP HELP
XGROUP CREATE x g 0
XGROUP CREATECONSUMER x g c
XREADGROUP GROUP g c COUNT 1 STREAMS x >
XPENDING x g
XCLAIM x g c2 0 1-1
XAUTOCLAIM x g c3 0 0
XINFO HELP
XINFO STREAM x
XINFO GROUPS x
XINFO CONSUMERS x g
XACK x g 1-1
XGROUP SETID x g 0
XGROUP DELCONSUMER x g c
XGROUP DESTROY x g
XSETID x 3-1
XDEL x 1-1
XTRIM x MAXLEN 0
SORT t ALPHA
SORT_RO t ALPHA
RESTORE restored 0 "\x00\x01v\x0b\x00\x9a\xd3\x1b\xbc\xc2\xb5\xa3\x0b"
RESTORE-ASKING restored 0 "bad"
MULTI
DISCARD
WATCH d
UNWATCH
MULTI
PING
EXEC
PING
ECHO x
SELECT 1
SELECT 0
SWAPDB 1 2
HELLO
AUTH default x
TIME
WAIT 0 10
WAITAOF 0 0 10
COMMAND
COMMAND COUNT
COMMAND DOCS get
COMMAND GETKEYS GET a
COMMAND GETKEYSANDFLAGS GET a
COMMAND HELP
COMMAND INFO get
COMMAND LIST
CONFIG HELP
CONFIG GET maxmemory
CONFIG SET maxmemory 0
CONFIG REWRITE
CLIENT HELP
CLIENT ID
CLIENT INFO
CLIENT LIST
CLIENT GETNAME
CLIENT SETNAME n
CLIENT SETINFO LIB-NAME l
CLIENT KILL ID 1234567
CLIENT NO-EVICT off
CLIENT NO-TOUCH off
CLIENT PAUSE 0
CLIENT UNPAUSE
CLIENT REPLY ON
CLIENT UNBLOCK 1234567
CLIENT TRACKING OFF
CLIENT TRACKINGINFO
CLIENT GETREDIR
CLIENT CACHING YES
INFO
DEBUG HELP
LATENCY HELP
LATENCY DOCTOR
LATENCY GRAPH command
LATENCY HISTOGRAM get
LATENCY HISTORY command
LATENCY LATEST
LATENCY RESET
MEMORY HELP
MEMORY DOCTOR
MEMORY MALLOC-STATS
MEMORY PURGE
MEMORY STATS
MEMORY USAGE d
SLOWLOG HELP
SLOWLOG GET
SLOWLOG LEN
SLOWLOG RESET
LASTSAVE
LOLWUT
ROLE
ACL HELP
ACL CAT
ACL SETUSER someone on nopass +@all ~*
ACL GETUSER someone
ACL DRYRUN someone GET a
ACL LIST
ACL USERS
ACL WHOAMI
ACL GENPASS
ACL LOG
ACL SAVE
ACL LOAD
ACL DELUSER someone
EVAL "return redis.call('GET', KEYS[1])" 1 d
EVAL_RO "return redis.call('GET', KEYS[1])" 1 d
SCRIPT HELP
SCRIPT LOAD "return 1"
SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db
EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
EVALSHA_RO e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
SCRIPT DEBUG NO
SCRIPT KILL
SCRIPT FLUSH
FUNCTION HELP
FUNCTION LOAD "#!lua name=lib\nredis.register_function{function_name='f', callback=function() return 1 end, flags={'no-writes'}}"
FUNCTION LIST
FUNCTION STATS
FUNCTION DUMP
FUNCTION RESTORE bad
FCALL f 0
FCALL_RO f 0
FUNCTION KILL
FUNCTION DELETE lib
FUNCTION FLUSH
MODULE HELP
MODULE LIST
MODULE LOAD /nosuch
MODULE LOADEX /nosuch
MODULE UNLOAD nosuch
PUBLISH c m
SPUBLISH c m
PUBSUB HELP
PUBSUB CHANNELS
PUBSUB NUMPAT
PUBSUB NUMSUB
PUBSUB SHARDCHANNELS
PUBSUB SHARDNUMSUB
SUBSCRIBE c
UNSUBSCRIBE c
PSUBSCRIBE p*
PUNSUBSCRIBE p*
SSUBSCRIBE c
SUNSUBSCRIBE c
SAVE
BGSAVE
BGREWRITEAOF
REPLICAOF NO ONE
SLAVEOF NO ONE
FAILOVER ABORT
REPLCONF capa eof
MIGRATE 127.0.0.1 1 nosuch 0 1
ASKING
READONLY
READWRITE
CLUSTER HELP
CLUSTER ADDSLOTS 1
CLUSTER ADDSLOTSRANGE 1 2
CLUSTER BUMPEPOCH
CLUSTER COUNT-FAILURE-REPORTS n
CLUSTER COUNTKEYSINSLOT 1
CLUSTER DELSLOTS 1
CLUSTER DELSLOTSRANGE 1 2
CLUSTER FAILOVER
CLUSTER FLUSHSLOTS
CLUSTER FORGET n
CLUSTER GETKEYSINSLOT 1 1
CLUSTER INFO
CLUSTER KEYSLOT k
CLUSTER LINKS
CLUSTER MEET 127.0.0.1 1
CLUSTER MYID
CLUSTER MYSHARDID
CLUSTER NODES
CLUSTER REPLICAS n
CLUSTER REPLICATE n
CLUSTER RESET
CLUSTER SAVECONFIG
CLUSTER SET-CONFIG-EPOCH 1
CLUSTER SETSLOT 1 STABLE
CLUSTER SHARDS
CLUSTER SLAVES n
CLUSTER SLOT-STATS SLOTSRANGE 0 1
CLUSTER SLOTS
FLUSHDB
FLUSHALL
RESET
CONFIG RESETSTAT
""".strip().splitlines()

# These end their connection or take it over, so each has one of its own.
ALONE = ["MONITOR", "QUIT", "PSYNC ? -1", "SYNC"]
# Ends the server, which then counts nothing any more.
LAST = "SHUTDOWN NOSAVE"

# Replies that are of another kind here, with the reason.
OTHER_KIND = {
    "DEBUG": "the reference is started without enable-debug-command",
    "RESTORE": "a payload is of one version and its checksum",
    "CONFIG REWRITE": "no configuration file: both refuse",
    "REPLCONF": "nothing is answered",
    "WAITAOF": "it is of 7.2",
    "CLIENT SETINFO": "it is of 7.2",
    "CLIENT NO-TOUCH": "it is of 7.2",
}


def words_of(line):
    return [word.encode().decode("unicode_escape").encode("latin-1") for word in shlex.split(line)]


def known(client):
    """Names of COMMAND LIST and of all subcommands."""
    names = set()
    for entry in client.must("COMMAND"):
        subcommands = [sub[0].decode() for sub in entry[9]]
        names.update(subcommands or [entry[0].decode()])
        if entry[0] in (b"command",):
            names.add("command")
    return names


def name_of(words, names):
    first = words[0].decode().lower()
    if len(words) > 1:
        full = f"{first}|{words[1].decode().lower()}"
        if full in names:
            return full
    return first


def kind(reply):
    """What sort of reply it is; an error, a status and the like by their first byte. Nulls are one sort."""
    type_byte, payload = reply
    return b"_" if payload is None else type_byte


def begins_with(client):
    """The first byte of what a replica is sent, blank lines left out: they say only that the server is there."""
    client.socket.settimeout(15)
    while not (got := client.socket.recv(1).strip()):
        pass
    return got


def runs(server, reference, count):
    """Sends everything; returns complaints."""
    found = []
    with server.client() as ours, reference.client() as theirs:
        names, reference_names = known(ours), known(theirs)
        ran = set()

        def compare(mine, other, line):
            words = words_of(line)
            name = name_of(words, names)
            if name not in names:
                return
            if name != "config|resetstat":  # it forgets what it has counted; it is asked for at the end
                mine.send(*words)
                reply = mine.read()[0]
                ran.add(name)
            else:
                ran.add(name)
                return
            if name_of(words, reference_names) not in reference_names:
                return
            other.send(*words)
            expected = other.read()[0]
            excused = any(line.upper().startswith(start) for start in OTHER_KIND)
            if kind(reply) != kind(expected) and not excused:
                found.append(f"{line}: {reply!r} instead of {expected!r}"[:400])

        for line in LINES:
            compare(ours, theirs, line)
        for line in ALONE:
            with server.client() as mine, reference.client() as other:
                if line.split()[0] not in ("PSYNC", "SYNC"):
                    compare(mine, other, line)
                    continue
                ran.add(line.split()[0].lower())
                for one in (mine, other):
                    one.send(*line.split())
                if (one := begins_with(mine)) != (two := begins_with(other)):
                    found.append(f"{line}: begins with {one!r} instead of {two!r}")
        stats = ours.must("INFO", "commandstats").decode()
        counted = {line.split(":")[0].removeprefix("cmdstat_")
                   for line in stats.splitlines() if line.startswith("cmdstat_") and ":calls=0," not in line}
        ours.must("CONFIG", "RESETSTAT")
        if "config|resetstat:calls=1" not in ours.must("INFO", "commandstats").decode():
            found.append("CONFIG RESETSTAT is not counted")
        ends = {"shutdown", "config|resetstat"}
        found += [f"{name} has no line here" for name in sorted(names - ran - ends)]
        found += [f"{name} was not counted as run" for name in sorted((names & ran) - counted - ends)]
        ours.send(*LAST.split())
        try:
            found.append(f"{LAST} was answered: {ours.read()[0]!r}")
        except (ConnectionError, OSError):
            pass
        server.process.wait(10)
    print(f"{count} shards: {len(ran) + 1} commands and subcommands ran, {len(found)} complaints")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slotwise", default=default_slotwise(), help="path of the server under test")
    parser.add_argument("--redis", default="redis-server", help="path of the reference")
    parser.add_argument("--shards", default="1,4", help="shard counts, comma-separated")
    options = parser.parse_args()
    complaints = []
    for count in map(int, options.shards.split(",")):
        extra = ("--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0")
        with slotwise(options.slotwise, shards=count, extra=extra) as server, redis(options.redis) as reference:
            complaints += runs(server, reference, count)
    for line in complaints:
        print(line)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
