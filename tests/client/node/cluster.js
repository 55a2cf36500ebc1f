// Does a cluster client of JavaScript work against a cluster of the server? One script for two libraries.
//
// usage: node cluster.js LIBRARY KEYS PORT...     (started by ../cluster_clients.py, which owns the nodes)
//
// LIBRARY is ioredis or redis; KEYS is a file with one key for each slot. When the plain checks are done the script says
// "moving" and writes and reads until a line comes, while its caller moves slots and primaries about; then it looks
// whether everything that it wrote is there.

"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { createRequire } = require("node:module");
const path = require("node:path");

const load = createRequire(path.join(process.env.NODE_MODULES_HOME, "index.js"));
const [library, keysFile, ...ports] = process.argv.slice(2);
const keys = fs.readFileSync(keysFile, "utf8").trim().split("\n");
const PORTION = 1024;

// What the checks need of a client, for each library.
const makers = {
  async ioredis() {
    const Redis = load("ioredis");
    const cluster = new Redis.Cluster(ports.map((port) => ({ host: "127.0.0.1", port: Number(port) })), {
      clusterRetryStrategy: () => 50,
      retryDelayOnFailover: 50,
      retryDelayOnClusterDown: 50,
      maxRedirections: 200,
    });
    cluster.on("error", () => {}); // a node that goes for a moment is part of the test
    await cluster.ping();
    return {
      set: (key, value) => cluster.set(key, value),
      get: (key) => cluster.get(key),
      // All keys of a pipeline lie on one node in this library, so each key has its own.
      many: (calls) => Promise.all(calls.map(([word, ...args]) => cluster[word](...args))),
      async pipeline(key) {
        const answers = await cluster.pipeline().set(key, "1").incr(key).get(key).exec();
        return answers.map(([error, value]) => error || value);
      },
      multi: async (key) => (await cluster.multi().set(key, "5").incrby(key, 2).exec()).map(([error, value]) => error || value),
      async heard(channel) {
        // The node that has the channel is found by hand: the library subscribes anywhere.
        for (const node of cluster.nodes("master")) {
          const own = node.duplicate();
          own.on("error", () => {});
          try {
            await own.ssubscribe(channel);
          } catch {
            own.disconnect();
            continue;
          }
          const heard = new Promise((resolve) => own.on("smessage", (_, message) => resolve(message)));
          await cluster.spublish(channel, "hello");
          const message = await heard;
          own.disconnect();
          return message;
        }
        return null;
      },
      end: () => cluster.disconnect(),
    };
  },
  async redis() {
    const { createCluster } = load("redis");
    const cluster = createCluster({
      rootNodes: ports.map((port) => ({ url: `redis://127.0.0.1:${port}` })),
      maxCommandRedirections: 200,
    });
    cluster.on("error", () => {});
    await cluster.connect();
    return {
      set: (key, value) => cluster.set(key, value),
      get: (key) => cluster.get(key),
      many: (calls) => Promise.all(calls.map(([word, ...args]) => cluster[word](...args))),
      pipeline: (key) => Promise.all([cluster.set(key, "1"), cluster.incr(key), cluster.get(key)]),
      multi: (key) => cluster.multi().set(key, "5").incrBy(key, 2).exec(),
      async heard(channel) {
        const heard = new Promise((resolve) => {
          this.subscribed = cluster.sSubscribe(channel, (message) => resolve(message));
        });
        await this.subscribed;
        await cluster.sPublish(channel, "hello");
        const message = await heard;
        await cluster.sUnsubscribe(channel);
        return message;
      },
      end: () => cluster.disconnect(),
    };
  },
};

// Errors that clients meet while a primary changes, and go on after.
function isPassing(error) {
  return /CLUSTERDOWN|closed|ECONN|TRYAGAIN|READONLY|Socket|Connection|replica|LOADING/i.test(String(error));
}

async function main() {
  const client = await makers[library]();
  for (let at = 0; at < keys.length; at += PORTION) {
    const some = keys.slice(at, at + PORTION);
    await client.many(some.map((key) => ["set", key, `v:${key}`]));
    assert.deepEqual(await client.many(some.map((key) => ["get", key])), some.map((key) => `v:${key}`));
  }
  assert.deepEqual((await client.pipeline("{tag}counter")).map(String), ["OK", "2", "2"]);
  assert.deepEqual((await client.multi("{tag}sum")).map(String), ["OK", "7"]);
  assert.equal(await client.heard("{tag}news"), "hello");

  const written = new Map();
  let over = false, passing = 0, at = 0;
  process.stdin.once("data", () => { over = true; });
  process.stdout.write("moving\n");
  while (!over) {
    const key = keys[(at * 37) % keys.length];
    const value = `${at++}`;
    try {
      await client.set(key, value);
      written.set(key, value);
      assert.equal(await client.get(key), value);
    } catch (error) {
      if (error.code === "ERR_ASSERTION" || !isPassing(error)) throw error;
      passing++;
      written.delete(key); // whether it was written is not known
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  for (const [key, value] of written) {
    assert.equal(await client.get(key), value, `${key} is lost or old`);
  }
  process.stdout.write(`${library}: ${at} writes, ${passing} errors that pass\n`);
  await client.end();
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
