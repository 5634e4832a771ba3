#!/usr/bin/env bash
# All that the page docs/reference/measurements.md shows: sets up, measures (an hour on two cores), writes JSON and page.
# Scratch is $PEERS_HOME (by default `peers` in the temporary folder). ROUNDS, N: rounds, and tasks of a drain.
# SYSTEMS, VERBS: some of them only; what others have measured there before is kept.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
export PEERS_HOME=${PEERS_HOME:-${TMPDIR:-/tmp}/peers}
export PEERS_VENVS=${PEERS_VENVS:-$PEERS_HOME/venvs}
export PEERS_RESULTS=${PEERS_RESULTS:-$PEERS_HOME/results}
SYSTEMS=${SYSTEMS:-gristmill-redis,gristmill-redis-inline,gristmill,gristmill-inline,huey,dramatiq,taskiq,arq,docket,streaq,celery,floor}
VERBS=${VERBS:-throughput latency io idle kill duplicate poison}
ROUNDS=${ROUNDS:-3}
N=${N:-20000}
[ -n "${SKIP_SETUP:-}" ] || bash "$HERE/setup.sh" gristmill raw celery dramatiq taskiq streaq docket arq huey
mkdir -p "$PEERS_RESULTS"
for verb in $VERBS; do
    case $verb in
        throughput) options="--rounds $ROUNDS --n $N --roles one,tuned" ;;
        kill) options="--watch ${WATCH:-120} --parallel 6" ;;
        duplicate) options="--parallel 6" ;;
        poison) options="--parallel 5" ;;
        *) options="--rounds $ROUNDS" ;;
    esac
    python3 "$HERE/bench.py" "$verb" --systems "$SYSTEMS" $options
done
python3 "$HERE/summary.py" collect "$PEERS_RESULTS"
