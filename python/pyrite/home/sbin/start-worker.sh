#!/bin/sh
# Starts a worker on this machine: start-worker.sh spark://HOST:PORT [--cores N] [--memory M] ...
# With SPARK_WORKER_INSTANCES=N it starts N of them.
if [ $# -lt 1 ]; then
  echo "usage: start-worker.sh MASTER_URL [OPTION...]" >&2
  exit 2
fi
daemon="$(dirname -- "$(readlink -f -- "$0")")/spark-daemon.sh"
if [ -n "${SPARK_NO_DAEMONIZE:-}" ]; then
  exec "$daemon" start worker 1 "$@"
fi
instance=1
while [ "$instance" -le "${SPARK_WORKER_INSTANCES:-1}" ]; do
  "$daemon" start worker "$instance" "$@" || exit 1
  instance=$((instance + 1))
done
