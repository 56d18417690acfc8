#!/bin/sh
# Runs a command on every machine of conf/workers: here for localhost, else with ssh.
set -eu
here=$(dirname -- "$(readlink -f -- "$0")")
. "$here/../bin/pyrite-binary.sh"
list="${SPARK_CONF_DIR:-$SPARK_HOME/conf}/workers"
hosts=localhost
if [ -f "$list" ]; then
  hosts=$(sed 's/#.*$//; /^[[:space:]]*$/d' "$list")
fi
for host in $hosts; do
  if [ "$host" = localhost ]; then
    "$@"
  else
    # shellcheck disable=SC2029,SC2086 # expanded here on purpose
    ssh ${SPARK_SSH_OPTS:-} "$host" "$*" </dev/null
  fi
done
