"""The scripts that differential.py sends, with random keys and arguments.

Each is deterministic: nothing depends on the order of a hash table, on the clock or on chance. Both servers are asked
for the same bytes; errors name the script by its digest and the line, which must agree too.
"""

import hashlib

SCRIPTS = [
    "return redis.call('GET', KEYS[1])",
    "return redis.pcall('INCRBY', KEYS[1], ARGV[1])",
    "return redis.call('SET', KEYS[1], ARGV[1])",
    "return {redis.call('EXISTS', KEYS[1]), redis.call('TYPE', KEYS[1]), redis.pcall('STRLEN', KEYS[1])}",
    "local ok, e = pcall(redis.call, 'LPUSH', KEYS[1], ARGV[1]) return {tostring(ok), e}",
    "return redis.pcall('LRANGE', KEYS[1], 0, -1)",
    "return redis.pcall('MGET', KEYS[1], KEYS[2], ARGV[1])",
    "redis.pcall('APPEND', KEYS[1], ARGV[1]) return redis.pcall('GETRANGE', KEYS[1], 0, 5)",
    "redis.setresp(3) return redis.pcall('ZSCORE', KEYS[1], ARGV[1])",
    "redis.setresp(3) local r = redis.pcall('HGET', KEYS[1], ARGV[1]) return {r == nil, type(r)}",
    "return redis.call('COPY', KEYS[1], KEYS[2])",
    "return redis.call('RENAMENX', KEYS[1], KEYS[2])",
    "return redis.call('DEL', KEYS[1], KEYS[2])",
    "return {KEYS[1], KEYS[2], ARGV[1], #KEYS, #ARGV, nil, 'unseen'}",
    "return ARGV[1] .. nil",
    "return nosuchglobal",
    "x = ARGV[1]",
    "error(ARGV[1])",
    "error({err = 'MY ' .. ARGV[1]})",
    "return redis.error_reply(ARGV[1])",
    "return redis.status_reply('fine')",
    "return redis.sha1hex(ARGV[1])",
    "return redis.call('NOSUCH', KEYS[1])",
    "return redis.call('GET')",
    "return redis.call('SUBSCRIBE', 'c')",
    "return redis.call(ARGV[1], KEYS[1])",
    "return {tonumber(ARGV[1]), tostring(tonumber(ARGV[1]))}",
    "return {3.99, -3.99, 1e300, true, false, {ok = 'x'}, {err = 'E x'}, {double = 1.5}, {map = {a = 1}}, {set = {a = true}}}",
    "return {cjson.encode({1, ARGV[1], {a = true}}), cjson.decode('[1,2.5,\"x\",null,{}]')}",
    "return {pcall(cjson.decode, ARGV[1])}",
    "return {cmsgpack.unpack(cmsgpack.pack(ARGV[1], {1, 2, {3}}, -1, 1.5, false))}",
    "return {pcall(cmsgpack.unpack, ARGV[1])}",
    "return {struct.unpack('>I2<i4bBc0', struct.pack('>I2<i4bBc0', 1, -2, -3, 3, 'abc'))}",
    "return {pcall(struct.unpack, 'i4s', ARGV[1])}",
    "return {bit.band(0xff, #ARGV[1]), bit.bxor(5, 3), bit.tohex(#ARGV[1]), bit.rshift(-1, 4)}",
    "return string.format('%s %5.2f %d %q', 'a', 1.234, 42, ARGV[1])",
    "local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return t",
    "math.randomseed(42) return {math.random(1000), math.random(1000), math.random(5, 9)}",
    "return #redis.pcall('SORT', KEYS[1], 'ALPHA')",
    "redis.call('SELECT', 1) return redis.call('EXISTS', KEYS[1])",
    "return ]",
    "#!lua flags=no-writes\nreturn redis.call('SET', KEYS[1], 'x')",
    "#!lua flags=no-writes\nreturn redis.call('EXISTS', KEYS[1])",
    "#!lua flags=nosuch\nreturn 1",
]
LIBRARY = (b"#!lua name=lib\nredis.register_function('put', function(keys, args) return redis.call('SET', keys[1], args[1]) end)\n"
           b"redis.register_function{function_name='look', callback=function(keys, args) return redis.call('EXISTS', keys[1]) "
           b"end, flags={'no-writes'}, description='looks'}\n"
           b"redis.register_function('bad', function(keys, args) return redis.call('NOSUCH') end)")


def arguments(d):
    count = d.random.choice([b"2", b"2", b"2", b"2", b"2", b"2", b"1", b"0", b"3", b"9", b"-1", b"x"])
    return [count, d.key(), d.key(), d.random.choice([d.number(), d.member(), b"[1", b"get", b"MY text"])]


def script(d):
    return d.random.choice(SCRIPTS).encode()


def digest(d):
    name = hashlib.sha1(script(d)).hexdigest()
    return d.random.choice([name, name, name, name.upper(), "0" * 40, "short"]).encode()


COMMANDS = [
    ("EVAL", lambda d: [script(d), *arguments(d)], "exact", 3),
    ("EVAL_RO", lambda d: [script(d), *arguments(d)], "exact", 0.5),
    ("EVALSHA", lambda d: [digest(d), *arguments(d)], "exact", 1),
    ("EVALSHA_RO", lambda d: [digest(d), *arguments(d)], "exact", 0.3),
    ("SCRIPT", lambda d: [d.case("EXISTS"), digest(d), digest(d)], "exact", 0.3),
    ("SCRIPT", lambda d: [d.case("LOAD"), script(d)], "exact", 0.3),
    ("SCRIPT", lambda d: [d.case("FLUSH"), *([d.random.choice([b"SYNC", b"async", b"now"])] if d.chance(0.7) else [])], "exact", 0.05),
    ("FUNCTION", lambda d: [b"LOAD", *([b"REPLACE"] if d.chance(0.8) else []), LIBRARY], "exact", 0.2),
    ("FUNCTION", lambda d: [d.random.choice([b"DELETE"]), d.random.choice([b"lib", b"nosuch"])], "exact", 0.03),
    ("FUNCTION", lambda d: [b"STATS"], "exact", 0.1),
    ("FCALL", lambda d: [d.random.choice([b"put", b"look", b"LOOK", b"bad", b"nosuch"]), *arguments(d)], "exact", 1),
    ("FCALL_RO", lambda d: [d.random.choice([b"put", b"look", b"bad", b"nosuch"]), *arguments(d)], "exact", 0.4),
]
