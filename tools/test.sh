#!/bin/sh
# Every check there is, as .ci/run does it: format, lints, Rust tests, then the client suites against a built server.
#
#   tools/test.sh                 everything, under 25 minutes on two cores
#   tools/test.sh --only WORD     only the steps whose name holds WORD (the server is built in any case)
#   SLOTWISE=path tools/test.sh   the client suites run against that server; nothing is built for them
#   REDIS_PY_SRC=path tools/test.sh  also redis-py's own suite (tests/client/redis_py_own.py says what it needs)
#   IOREDIS_SRC=path tools/test.sh  also ioredis's (tests/client/ioredis_own.py)
#   REDIS_SRC=path tools/test.sh  also Redis's own suite, out of a checkout of redis/redis at tag 7.2.4 (tests/compat)
#
# Seeds are fixed here, so that a failure is about the change; tools/soak.sh draws its own.
#
# Each step writes target/test-logs/<step>.log, and its end is shown when it fails. The last line is the summary, and
# the exit status is non-zero when anything failed. What cannot run here (no npm, no network, no time left on a slow
# machine) is said and counted as skipped.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 1
. "$root/tools/setup.sh"

REDIS_PY=5.2.1
SECONDS_MAX=1440 # of the whole run; a step gets at most what is left of it
CLIENT_SECONDS_MAX=300 # of one client suite: many times what it takes, so that only what hangs is ended
COMPAT_SECONDS_MAX=1200 # more of them, when REDIS_SRC asks for Redis's own suite
only=""
if [ "${1:-}" = "--only" ]; then
    only=${2:?--only wants a word}
elif [ -n "${1:-}" ]; then
    sed -n '2,12s/^# \{0,1\}//p' "$0"
    exit 2
fi

logs="$root/target/test-logs"
mkdir -p "$logs"
passed=0
failed=0
skipped=0
began=$(date +%s)

wanted() {
    case "$1" in *"$only"*) return 0 ;; *) return 1 ;; esac
}

skip() {
    wanted "$1" || return 0
    skipped=$((skipped + 1))
    say "$1: skipped, $2"
}

# Adds the counts found in a log: cargo's "test result:" lines and the suites' own "N passed, N failed".
count() {
    sed -n -e 's/^test result: [a-zA-Z]*\. \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored.*/\1 \2 \3/p' \
        -e 's/^[a-zA-Z].*: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2 0/p' "$1" |
        awk '{ p += $1; f += $2; s += $3; n++ } END { print p + 0, f + 0, s + 0, n + 0 }'
}

# step NAME SECONDS COMMAND...: runs a command under a bound and counts it.
step() {
    name=$1 bound=$2
    shift 2
    wanted "$name" || return 0
    left=$((SECONDS_MAX - ($(date +%s) - began)))
    if [ "$left" -lt 10 ]; then
        skip "$name" "no time left of $SECONDS_MAX s"
        return 1
    fi
    late=""
    [ "$bound" -gt "$left" ] && bound=$left late=yes
    log="$logs/$name.log"
    step_began=$(date +%s)
    timeout -k 10 "$bound" "$@" >"$log" 2>&1 </dev/null
    status=$?
    # shellcheck disable=SC2046 # four numbers, four words
    set -- $(count "$log")
    if [ "$status" -eq 124 ] && [ -n "$late" ] && [ "$2" -eq 0 ] && ! grep -q FAIL "$log"; then
        skip "$name" "ended with the $SECONDS_MAX s of the whole run, nothing had failed"
        return 1
    fi
    if [ "$4" -eq 0 ]; then # a step without counts of its own counts as one
        if [ "$status" -eq 0 ]; then set -- 1 0 0 1; else set -- 0 1 0 1; fi
    elif [ "$status" -ne 0 ] && [ "$2" -eq 0 ]; then
        set -- "$1" 1 "$3" "$4"
    fi
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + $3))
    if [ "$status" -eq 0 ]; then
        say "$name: ok ($1 passed) in $(($(date +%s) - step_began)) s"
        return 0
    fi
    [ "$status" -eq 124 ] && echo "ended after $bound s" >>"$log"
    end=$(tail -n 40 "$log" | cut -c1-600 | sed 's/^/    /')
    say "$name: FAILED with status $status; the end of target/test-logs/$name.log:
$end"
    return 1
}

finish() {
    say "$(($(date +%s) - began)) s; logs in target/test-logs"
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit
}

# --- what the tests need ---------------------------------------------------------------------------------------------

[ -n "${SLOTWISE:-}" ] && [ -n "$only" ] || need_build_tools
missing=""
command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
command -v redis-cli >/dev/null 2>&1 || missing="$missing redis-tools"
command -v python3 >/dev/null 2>&1 || missing="$missing python3"
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
# shellcheck disable=SC2086 # one word for each package
[ -z "$missing" ] || install_packages $missing || say "going on without:$missing"

venv="$root/target/venv"
client_python=""
if "$venv/bin/python" -c "import redis, sys; sys.exit(redis.__version__ != '$REDIS_PY')" 2>/dev/null; then
    client_python="$venv/bin/python"
elif timeout 60 python3 -m venv "$venv" >"$logs/venv.log" 2>&1 &&
    timeout 120 "$venv/bin/pip" install -q "redis==$REDIS_PY" >>"$logs/venv.log" 2>&1; then
    client_python="$venv/bin/python"
fi

# --- Rust --------------------------------------------------------------------------------------------------------------

if wanted format; then
    cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt >/dev/null 2>&1
    step format 60 cargo fmt --check
fi
if [ -z "${SLOTWISE:-}" ]; then
    # The server that the Rust tests need anyway: its arithmetic and its assertions are checked.
    SLOTWISE="${CARGO_TARGET_DIR:-$root/target}/debug/slotwise"
    export SLOTWISE
    log_only=$only
    only=""
    step build 600 cargo build --locked --bins || finish
    only=$log_only
fi

# Compiling keeps the cores busy while the clients wait, and stands back when they do not.
lane_rust() {
    if wanted clippy; then
        cargo clippy --version >/dev/null 2>&1 || rustup component add clippy >/dev/null 2>&1
        step clippy 900 nice cargo clippy --locked --all-targets -- -D warnings
    fi
    step rust-tests 1200 nice env SLOTWISE_FUZZ_SEED="${SLOTWISE_FUZZ_SEED:-7200}" cargo test --locked
}

# --- clients -----------------------------------------------------------------------------------------------------------

# Most of what the client suites take is waiting, so two lanes of them run side by side, beside that of Rust.

clients="$root/tests/client"

client() { # client NAME SUITE ARGUMENT...: a step that is a program of tests/client
    client_name=$1 client_suite=$2
    shift 2
    step "$client_name" "$CLIENT_SECONDS_MAX" python3 "$clients/$client_suite.py" "$@"
}

# What keeps the cores busy, against Redis for the most part.
lane_busy() {
    if command -v redis-server >/dev/null 2>&1; then
        for shards in 1 3; do
            client differential-$shards differential --shards $shards --seconds 15 --seed 7200
        done
        for shards in 1 4; do
            client recovery-$shards recovery --slotwise "$SLOTWISE" --shards $shards
            client pubsub-$shards pubsub --shards $shards
        done
        client command-table command_table
        client every-command every_command
        for shards in 1 2; do
            client server-commands-$shards server_commands --shards $shards
        done
    else
        skip differential "redis-server is missing"
    fi
    for shards in 2 5; do
        client history-$shards history --shards $shards --seconds 4 --seed 7200 --signals push,exec,mset
    done
    client effects effects --rounds 3 --seconds 40 --commands 2000 --seed 7200 --rewrite
    client eviction-4 eviction --shards 4
    if [ -n "$client_python" ]; then
        for shards in 1 2; do
            step "redis-py-$shards" "$CLIENT_SECONDS_MAX" "$client_python" "$clients/redis_py_suite.py" --shards $shards
        done
    else
        skip redis-py "redis-py $REDIS_PY could not be installed (target/test-logs/venv.log)"
    fi
    node_suite
    if command -v redis-cli >/dev/null 2>&1 && command -v redis-benchmark >/dev/null 2>&1; then
        for shards in 1 2; do
            client tools-$shards tools_suite --shards $shards
        done
    else
        skip tools "redis-tools are missing"
    fi
}

# What waits: for time to pass, for disks, for other servers.
lane_waiting() {
    for shards in 1 4; do
        client runtime-$shards runtime --shards $shards
        client operations-$shards operations --shards $shards
        client blocking-$shards blocking --shards $shards --seconds 3 --seed 7200
        client acl-$shards acl --shards $shards
        client streams-$shards streams --shards $shards
        client scripting-$shards scripting --shards $shards
        client persistence-$shards persistence --shards $shards --keys 100000
        client snapshots-$shards snapshots --shards $shards --keys 20000
        client aof-$shards aof --shards $shards
    done
    client crash crash --kills 20 --seconds 60 --seed 7200
    command -v redis-server >/dev/null 2>&1 || return
    # Several at once, since they wait for each other's time-outs; chaos and sentinels have seeds and bounds of their own.
    for ends in s4:r r:s4 s4:s1; do
        client "replication-$ends" replication --ends $ends --jobs 6
    done
    client replication-flows replication --ends s4:s4,s2:s4 --jobs 4 flows
    client replication-chaos replication_chaos --seconds 12 --rounds 2 --seed 7200
    step sentinel "$CLIENT_SECONDS_MAX" "${client_python:-python3}" "$clients/sentinel.py" --jobs 5
    client cluster-4 cluster --shards 4 --jobs 4 --slotwise "$SLOTWISE"
    client cluster-tools-2 cluster_tools --shards 2 --jobs 4 --slotwise "$SLOTWISE" \
        mends covers added imported killed by_hand redis_benchmark_and
    client cluster-node cluster_node --shards 2 --slotwise "$SLOTWISE" --jobs 3 --seconds 4
    client cluster-words cluster_words
    client partitions partitions --seed 7200
}

node_suite() {
    wanted node || return
    if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
        skip node "node or npm is missing"
        return
    fi
    mkdir -p "$root/target/node"
    if ! cmp -s "$clients/node/package.json" "$root/target/node/package.json" || [ ! -d "$root/target/node/node_modules/redis" ]; then
        cp "$clients/node/package.json" "$root/target/node/package.json"
        (cd "$root/target/node" && timeout 120 npm install --no-audit --no-fund --silent) >"$logs/npm.log" 2>&1
    fi
    if [ -d "$root/target/node/node_modules/ioredis" ]; then
        command -v redis-cli >/dev/null 2>&1 &&
            step cluster-clients "$CLIENT_SECONDS_MAX" "${client_python:-python3}" "$clients/cluster_clients.py" --shards 2
        client node node_suite --shards 2
    else
        skip node "ioredis could not be installed (target/test-logs/npm.log)"
    fi
}

# lane NAME: runs the lane in a process of its own, which leaves its counts in a file.
lane() {
    (
        passed=0 failed=0 skipped=0
        "lane_$1"
        echo "$passed $failed $skipped" >"$logs/lane-$1.counts"
    ) &
}

lanes="rust busy waiting"
if ! command -v python3 >/dev/null 2>&1; then
    skip client-suites "python3 is missing"
    lanes="rust"
fi
rm -f "$logs"/lane-*.counts
for name in $lanes; do
    lane "$name"
done
wait
for name in $lanes; do
    # A lane that left no counts has died.
    read -r lane_passed lane_failed lane_skipped <"$logs/lane-$name.counts" || lane_passed=0 lane_failed=1 lane_skipped=0
    passed=$((passed + lane_passed))
    failed=$((failed + lane_failed))
    skipped=$((skipped + lane_skipped))
done

if [ -z "${REDIS_PY_SRC:-}" ]; then
    skip redis-py-own "REDIS_PY_SRC does not name a checkout of redis-py"
elif ! python3 -c "import pytest, pytest_timeout, pytest_asyncio" 2>/dev/null; then
    skip redis-py-own "pytest, pytest-timeout or pytest-asyncio is missing"
else
    SECONDS_MAX=$((SECONDS_MAX + 600))
    step redis-py-own 600 python3 "$clients/redis_py_own.py" --alone
fi
if [ -z "${IOREDIS_SRC:-}" ]; then
    skip ioredis-own "IOREDIS_SRC does not name a checkout of ioredis"
else
    SECONDS_MAX=$((SECONDS_MAX + 400))
    step ioredis-own 400 python3 "$clients/ioredis_own.py"
fi
if [ -z "${REDIS_SRC:-}" ]; then
    skip compat "REDIS_SRC does not name a checkout of redis 7.2.4"
elif ! command -v tclsh >/dev/null 2>&1; then
    skip compat "tclsh is missing"
else
    SECONDS_MAX=$((SECONDS_MAX + COMPAT_SECONDS_MAX))
    step compat "$COMPAT_SECONDS_MAX" python3 "$root/tests/compat/run.py"
fi
finish
