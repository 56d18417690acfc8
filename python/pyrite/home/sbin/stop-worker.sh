#!/bin/sh
# Stops the workers that start-worker.sh started.
daemon="$(dirname -- "$(readlink -f -- "$0")")/spark-daemon.sh"
instance=1
while [ "$instance" -le "${SPARK_WORKER_INSTANCES:-1}" ]; do
  "$daemon" stop worker "$instance" || exit 1
  instance=$((instance + 1))
done
