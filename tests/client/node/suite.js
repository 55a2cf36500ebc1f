// Does ioredis work against the server as it does against Redis? One suite of a client in another language.
//
// usage: node suite.js PORT SOCKET      (started by ../node_suite.py, which owns the server)

"use strict";

const assert = require("node:assert/strict");
const { createRequire } = require("node:module");
const path = require("node:path");

// The package lies where the test script installed it, not beside this file.
const Redis = createRequire(path.join(process.env.NODE_MODULES_HOME, "index.js"))("ioredis");

const port = Number(process.argv[2]);
const socketPath = process.argv[3];

const tests = {
  async strings(r) {
    assert.equal(await r.set("a", "1"), "OK");
    assert.equal(await r.get("a"), "1");
    assert.equal(await r.incrby("a", 5), 6);
    assert.equal(await r.set("a", "x", "NX"), null);
    assert.deepEqual(await r.mget("a", "missing"), ["6", null]);
    assert.equal(await r.set("e", "v", "EX", 100), "OK");
    const ttl = await r.ttl("e");
    assert.ok(ttl > 90 && ttl <= 100);
  },
  async binary(r) {
    const value = Buffer.alloc(100000, 0).map((_, i) => i % 256);
    await r.set("b", value);
    assert.ok((await r.getBuffer("b")).equals(value));
  },
  async hashes(r) {
    assert.equal(await r.hset("h", { a: "1", b: "2" }), 2);
    assert.deepEqual(await r.hgetall("h"), { a: "1", b: "2" });
    assert.equal(await r.hincrby("h", "a", 2), 3);
    assert.deepEqual(await r.hmget("h", "a", "zzz"), ["3", null]);
  },
  async lists(r) {
    assert.equal(await r.rpush("l", "a", "b", "c"), 3);
    assert.deepEqual(await r.lrange("l", 0, -1), ["a", "b", "c"]);
    assert.equal(await r.lpop("l"), "a");
    assert.equal(await r.llen("l"), 2);
  },
  async sets(r) {
    await r.sadd("s1", "a", "b", "c");
    await r.sadd("s2", "b", "c", "d");
    assert.deepEqual((await r.sinter("s1", "s2")).sort(), ["b", "c"]);
    assert.equal(await r.sunionstore("s3", "s1", "s2"), 4);
    assert.equal(await r.sismember("s3", "d"), 1);
  },
  async sortedSets(r) {
    await r.zadd("z", 1, "a", 2, "b", 3, "c");
    assert.deepEqual(await r.zrange("z", 0, -1, "WITHSCORES"), ["a", "1", "b", "2", "c", "3"]);
    assert.equal(await r.zrank("z", "b"), 1);
    assert.deepEqual(await r.zpopmax("z"), ["c", "3"]);
  },
  async pipeline(r) {
    const pipe = r.pipeline();
    for (let i = 0; i < 2000; i++) pipe.set(`p${i}`, i).get(`p${i}`);
    const replies = await pipe.exec();
    replies.forEach(([error, value], i) => {
      assert.equal(error, null);
      assert.equal(value, i % 2 ? String((i - 1) / 2) : "OK");
    });
  },
  async manyInFlight(r) {
    const replies = await Promise.all(Array.from({ length: 5000 }, (_, i) => r.echo(`n${i}`)));
    replies.forEach((value, i) => assert.equal(value, `n${i}`));
  },
  async transactions(r) {
    assert.deepEqual(await r.multi().set("t", 1).incr("t").exec(), [[null, "OK"], [null, 2]]);
    const other = r.duplicate();
    await r.watch("t");
    await other.set("t", "changed");
    assert.equal(await r.multi().set("t", "lost").exec(), null);
    assert.equal(await r.get("t"), "changed");
    await other.quit();
  },
  async scan(r) {
    await r.mset(Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`k${i}`, i])));
    const seen = new Set();
    for await (const keys of r.scanStream({ match: "k*", count: 100 })) keys.forEach((key) => seen.add(key));
    assert.equal(seen.size, 2000);
  },
  async errors(r) {
    await r.set("s", "x");
    await assert.rejects(r.lpush("s", "y"), /WRONGTYPE/);
    await assert.rejects(r.call("NOSUCH"), /unknown command/);
    assert.equal(await r.get("s"), "x");
  },
  async unixSocket() {
    const r = new Redis({ path: socketPath });
    assert.equal(await r.ping(), "PONG");
    await r.quit();
  },
};

async function main() {
  const r = new Redis({ host: "127.0.0.1", port, commandTimeout: 20000 });
  let failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    await r.flushall();
    try {
      await test(r);
    } catch (problem) {
      failed += 1;
      console.log(`FAILED ${name}: ${problem.stack}`);
    }
  }
  await r.quit();
  console.log(`ioredis: ${Object.keys(tests).length - failed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

setTimeout(() => {
  console.log("ioredis: not done after 60 s");
  process.exit(1);
}, 60000).unref();
main();
