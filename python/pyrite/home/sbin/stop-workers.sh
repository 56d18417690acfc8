#!/bin/sh
# Stops the workers on every machine of conf/workers.
here=$(dirname -- "$(readlink -f -- "$0")")
exec "$here/workers.sh" "$here/stop-worker.sh"
