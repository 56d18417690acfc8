# Sourced by the scripts here: sets PYRITE to the binary and SPARK_HOME to this directory.
# Order: PYRITE_BINARY, the Python environment that this directory is installed in, PATH.
if [ -z "${SPARK_HOME:-}" ]; then
  SPARK_HOME=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd)
  export SPARK_HOME
fi
pyrite_home=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd)
PYRITE=${PYRITE_BINARY:-}
if [ -z "$PYRITE" ]; then
  # <environment>/lib/pythonX.Y/site-packages/pyrite/home
  for candidate in "$pyrite_home/../../../../../bin/pyrite" "$(command -v pyrite)"; do
    if [ -n "$candidate" ] && [ -x "$candidate" ]; then
      PYRITE=$(readlink -f -- "$candidate")
      break
    fi
  done
fi
if [ -z "$PYRITE" ]; then
  echo "error: cannot find the pyrite binary" >&2
  echo "hint: set PYRITE_BINARY or put it on PATH" >&2
  exit 1
fi
