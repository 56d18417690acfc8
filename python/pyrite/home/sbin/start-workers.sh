#!/bin/sh
# Starts a worker on every machine of conf/workers, for the master on this machine.
here=$(dirname -- "$(readlink -f -- "$0")")
host=${SPARK_MASTER_HOST:-$(uname -n)}
exec "$here/workers.sh" "$here/start-worker.sh" "spark://$host:${SPARK_MASTER_PORT:-7077}"
