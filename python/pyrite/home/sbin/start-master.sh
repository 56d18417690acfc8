#!/bin/sh
# Starts a master on this machine. Options: --host, --port, --webui-port.
exec "$(dirname -- "$(readlink -f -- "$0")")/spark-daemon.sh" start master 1 "$@"
