#!/bin/sh
# Stops what start-all.sh started.
here=$(dirname -- "$(readlink -f -- "$0")")
"$here/stop-workers.sh"
exec "$here/stop-master.sh"
