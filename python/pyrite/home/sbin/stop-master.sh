#!/bin/sh
# Stops the master that start-master.sh started.
exec "$(dirname -- "$(readlink -f -- "$0")")/spark-daemon.sh" stop master 1
