#!/bin/sh
# Starts a master here and a worker on every machine of conf/workers.
here=$(dirname -- "$(readlink -f -- "$0")")
"$here/start-master.sh" && exec "$here/start-workers.sh"
