"""Starts a server and runs tests/client/node/suite.js against it.

usage: node_suite.py [--shards N] [--slotwise PATH]      (ioredis must lie in target/node: tools/test.sh sees to it)
"""

import argparse
import os
import subprocess
import sys

import support


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--slotwise")
    options = parser.parse_args()
    home = support.ROOT / "target" / "node"
    suite = support.ROOT / "tests" / "client" / "node" / "suite.js"
    with support.slotwise(options.slotwise, shards=options.shards) as server:
        return subprocess.run(["node", str(suite), str(server.port), server.socket_path], timeout=90,
                              env=dict(os.environ, NODE_MODULES_HOME=str(home))).returncode


if __name__ == "__main__":
    sys.exit(main())
