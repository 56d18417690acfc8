#!/bin/sh
# Starts or stops a daemon of the cluster: spark-daemon.sh (start|stop) (master|worker) INSTANCE [ARG...]
#
# SPARK_LOG_DIR       where logs go (SPARK_HOME/logs if that can be written, else below TMPDIR)
# SPARK_PID_DIR       where process ids are kept (TMPDIR, else /tmp)
# SPARK_IDENT_STRING  tells daemons of several users apart (the user's name)
# SPARK_NO_DAEMONIZE  if set, stay in the foreground and log to the terminal
set -eu
here=$(dirname -- "$(readlink -f -- "$0")")
. "$here/../bin/pyrite-binary.sh"

if [ $# -lt 3 ]; then
  echo "usage: spark-daemon.sh (start|stop) (master|worker) INSTANCE [ARG...]" >&2
  exit 2
fi
action=$1
component=$2
instance=$3
shift 3

environment="${SPARK_CONF_DIR:-$SPARK_HOME/conf}/spark-env.sh"
if [ -f "$environment" ]; then
  set -a
  . "$environment"
  set +a
fi

ident=${SPARK_IDENT_STRING:-$(id -un)}
log_dir=${SPARK_LOG_DIR:-$SPARK_HOME/logs}
if ! mkdir -p "$log_dir" 2>/dev/null || ! [ -w "$log_dir" ]; then
  log_dir="${TMPDIR:-/tmp}/pyrite-$ident/logs"
  mkdir -p "$log_dir"
fi
pid_dir=${SPARK_PID_DIR:-${TMPDIR:-/tmp}}
mkdir -p "$pid_dir"
log="$log_dir/pyrite-$ident-$component-$instance-$(uname -n).out"
pid_file="$pid_dir/pyrite-$ident-$component-$instance.pid"

running() {
  [ -f "$pid_file" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null
}

case $action in
  start)
    if running; then
      echo "$component is running as process $(cat "$pid_file"); stop it first" >&2
      exit 1
    fi
    if [ -n "${SPARK_NO_DAEMONIZE:-}" ]; then
      exec "$PYRITE" "$component" "$@"
    fi
    echo "starting pyrite $component, logging to $log"
    nohup "$PYRITE" "$component" "$@" >>"$log" 2>&1 </dev/null &
    echo $! >"$pid_file"
    # A wrong option or a port in use shows within a moment.
    sleep 1
    if ! running; then
      rm -f "$pid_file"
      echo "error: pyrite $component did not start; the end of its log:" >&2
      tail -n 20 "$log" | sed 's/^/  /' >&2
      exit 1
    fi
    ;;
  stop)
    if ! running; then
      rm -f "$pid_file"
      echo "no pyrite $component to stop"
      exit 0
    fi
    pid=$(cat "$pid_file")
    echo "stopping pyrite $component"
    kill "$pid"
    waited=0
    while kill -0 "$pid" 2>/dev/null; do
      if [ "$waited" -ge 100 ]; then
        echo "pyrite $component did not stop in time; ending it" >&2
        kill -9 "$pid" || true
        break
      fi
      sleep 0.1
      waited=$((waited + 1))
    done
    rm -f "$pid_file"
    ;;
  *)
    echo "error: unknown action $action" >&2
    exit 2
    ;;
esac
