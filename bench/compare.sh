#!/bin/sh
# Question: what does Slotwise cost, beside Redis on the same machine in the same run?
#
#   bench/compare.sh                     every workload, full length
#   bench/compare.sh --quick get_set     one workload, fewer requests, three rounds
#   bench/compare.sh --help              all workloads and options
#
# The rules of measuring stand at the top of bench/compare.py.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
for tool in python3 redis-server redis-benchmark taskset; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        echo "compare.sh: $tool is missing (Debian packages: python3 redis-server redis-tools util-linux)" >&2
        exit 1
    fi
done
exec python3 "$here/compare.py" "$@"
