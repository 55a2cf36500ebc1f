#!/bin/sh
# A cluster of six nodes on one machine, for looking at how one works: three primaries, each with a replica.
#
#   tools/create-cluster.sh start    starts the nodes
#   tools/create-cluster.sh create   makes them a cluster (redis-cli --cluster create)
#   tools/create-cluster.sh watch    shows the nodes, once a second
#   tools/create-cluster.sh stop     stops them; their data stays
#   tools/create-cluster.sh clean    removes their data
#
# PORT (30001), NODES (6), REPLICAS (1), SHARDS (1), TIMEOUT (2000 ms), DIR (target/cluster) and SLOTWISE change what it does.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
port=${PORT:-30001}
nodes=${NODES:-6}
replicas=${REPLICAS:-1}
shards=${SHARDS:-1}
timeout=${TIMEOUT:-2000}
dir=${DIR:-$root/target/cluster}
slotwise=${SLOTWISE:-}
for built in quick release; do
    [ -n "$slotwise" ] || [ ! -x "$root/target/$built/slotwise" ] || slotwise="$root/target/$built/slotwise"
done
slotwise=${slotwise:-slotwise}
last=$((port + nodes - 1))

each() {
    at=$port
    while [ "$at" -le "$last" ]; do
        "$@" "$at"
        at=$((at + 1))
    done
}

start_one() {
    mkdir -p "$dir/$1"
    "$slotwise" --port "$1" --dir "$dir/$1" --shards "$shards" --cluster-enabled yes --cluster-node-timeout "$timeout" \
        --appendonly yes --daemonize yes --pidfile "$dir/$1/slotwise.pid" --logfile "$dir/$1/slotwise.log"
    echo "node on port $1: $dir/$1"
}

stop_one() {
    redis-cli -p "$1" shutdown nosave 2>/dev/null || true
}

address_of() {
    addresses="$addresses 127.0.0.1:$1"
}

case "${1:-}" in
start) each start_one ;;
create)
    addresses=""
    each address_of
    # shellcheck disable=SC2086 # one word for each address
    redis-cli --cluster create $addresses --cluster-replicas "$replicas" --cluster-yes
    ;;
watch)
    while :; do
        clear
        date
        redis-cli -p "$port" cluster nodes || true
        sleep 1
    done
    ;;
stop) each stop_one ;;
clean) rm -rf "$dir" ;;
*)
    sed -n '2,10s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
