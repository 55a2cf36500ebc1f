#!/bin/sh
# Builds Slotwise and starts it with config/slotwise.conf, on a fresh Debian or Ubuntu machine too.
#
#   tools/run.sh                          then, elsewhere: redis-cli ping
#   tools/run.sh --port 7000 --shards 4   further arguments go to the server
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/tools/setup.sh"
need_build_tools
say "building the release binary (the first time takes some minutes)"
(cd "$root" && cargo build --release --locked --bin slotwise)
binary="${CARGO_TARGET_DIR:-$root/target}/release/slotwise"
exec "$binary" "$root/config/slotwise.conf" "$@"
