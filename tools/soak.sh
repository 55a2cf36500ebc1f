#!/bin/sh
# The long versions of the client checks, for a night or a release: fresh seeds, many shard counts, all benchmark lists.
#
#   tools/soak.sh [MINUTES]            60 minutes unless told otherwise
#   SLOTWISE=path tools/soak.sh        another binary than target/release/slotwise
#   VALKEY=path tools/soak.sh          replication with this valkey-server, too
#   REDIS_SRC=path                     a checkout of redis/redis at tag 7.2.4: its own suite runs too
#   SOAK_EXTRA="--directive value"     further arguments of the server, such as one that switches a mechanism off
#
# It stops at the first failure: the failing seed and history stand at the end of target/test-logs/soak.log.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 1
minutes=${1:-60}
SLOTWISE=${SLOTWISE:-$root/target/release/slotwise}
export SLOTWISE
clients="$root/tests/client"
log="$root/target/test-logs/soak.log"
mkdir -p "$root/target/test-logs"
: >"$log"
end=$(($(date +%s) + minutes * 60))
turns=0

check() {
    bound=$1
    shift
    echo "== $*" >>"$log"
    if ! timeout -k 10 "$bound" "$@" >>"$log" 2>&1 </dev/null; then
        echo "FAILED after $turns whole turns: $*"
        tail -n 60 "$log"
        exit 1
    fi
}

while [ "$turns" -eq 0 ] || [ "$(date +%s)" -lt "$end" ]; do
    for shards in 1 2 3 5 8; do
        check 600 python3 "$clients/differential.py" --shards $shards --seconds 180 --steps 1500 --extra "${SOAK_EXTRA:-}"
        check 600 python3 "$clients/history.py" --shards $shards --seconds 25 --clients 16 --extra "${SOAK_EXTRA:-}"
        check 300 python3 "$clients/recovery.py" --slotwise "$SLOTWISE" --shards $shards --seed "$(date +%s)" --cuts 40
        [ "$(date +%s)" -lt "$end" ] || break
    done
    check 1200 python3 "$clients/crash.py" --kills 300 --seconds 900
    check 1200 python3 "$clients/effects.py" --rounds 40 --seconds 900 --rewrite
    for ends in r:r s1:r r:s1 s4:r r:s4 s4:s1 s2:s5; do
        check 600 python3 "$clients/replication.py" --ends $ends --full
    done
    for ends in s4:s4 s2:s4 s5:s3; do
        check 600 python3 "$clients/replication.py" --ends $ends --flows
    done
    if [ -n "${VALKEY:-}" ]; then
        for channels in yes no; do
            check 900 python3 "$clients/replication.py" --ends s1:v,v:s1,s4:v,v:s4 --full --peer "$VALKEY" \
                --peer-options "--dual-channel-replication-enabled $channels"
        done
        check 1500 python3 "$clients/replication_chaos.py" --rounds 10 --seconds 60 --kinds v,s1,s4 --peer "$VALKEY"
        check 600 python3 "$clients/sentinel.py" --nodes s1,v,s4 --peer "$VALKEY"
    fi
    for shards in 1 2; do
        check 400 python3 "$clients/cluster.py" --shards $shards --slotwise "$SLOTWISE"
    done
    for shards in 1 4; do
        check 400 python3 "$clients/cluster_node.py" --shards $shards --slotwise "$SLOTWISE" --connections 5000 --seconds 30
    done
    for kinds in s,s,s,s s,r,s,r r,s,r,s; do
        check 400 python3 "$clients/partitions.py" --kinds $kinds --rounds 12
    done
    for shards in 1 4; do
        check 1500 python3 "$clients/cluster_tools.py" --shards $shards --slotwise "$SLOTWISE" --slots 5000
    done
    check 1500 python3 "$clients/replication_chaos.py" --rounds 20 --seconds 60
    check 1500 python3 "$clients/replication_chaos.py" --rounds 10 --seconds 60 --flows --kinds s2,s4,s4
    check 900 python3 "$clients/replication_chaos.py" --netns --rounds 8
    for nodes in s4,r,s1 r,s4,s4 s2,s2,r; do
        check 600 python3 "$clients/sentinel.py" --nodes $nodes
    done
    # The simulated loss of power, on seeds that no turn has had.
    first=$(($(date +%s) % 100000000 * 1000))
    check 3600 env SLOTWISE_POWER_SEEDS="$first-$((first + 3000))" cargo test --locked --lib recovery::power_tests
    # The simulated cluster, on seeds of this turn.
    check 3600 env SLOTWISE_SIM_SEEDS="$first-$((first + 150))" cargo test --locked --lib cluster::simulation
    check 1200 python3 "$clients/tools_suite.py" --shards 2 --full
    # Redis's own suite says that it was skipped when REDIS_SRC names no checkout.
    check 3600 python3 "$root/tests/compat/run.py"
    check 3600 python3 "$root/tests/compat/run.py" --replace
    check 7200 python3 "$root/tests/compat/run.py" --replication
    check 7200 python3 "$root/tests/compat/run.py" --cluster
    turns=$((turns + 1))
    echo "turn $turns done"
done
echo "soak: no failure in $turns turns"
