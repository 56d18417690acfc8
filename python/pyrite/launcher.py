"""Starts the application's driver and notices when it ends.

The driver is the ``pyrite`` binary, run as a child. One line of JSON goes in, one comes back; the
child's standard input then stays open as its lifeline: when this process is gone, so is the pipe,
and the driver stops everything.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import weakref
from typing import Any, Dict, Iterator, List, Optional

from pyrite.errors import driver_error
from pyrite.markers import without_our_markers
from pyrite.submit_args import settings_of_flags

STOP_TIMEOUT_SECONDS = 20.0
_REMOVE_ATTEMPTS = 3


def find_binary() -> str:
    """Return the path of the ``pyrite`` binary.

    ``PYRITE_BINARY`` comes first, then the scripts of this Python environment, then PATH.
    """
    chosen = os.environ.get("PYRITE_BINARY")
    if chosen:
        return chosen
    for directory in _script_directories():
        path = os.path.join(directory, "pyrite")
        if os.access(path, os.X_OK):
            return path
    found = shutil.which("pyrite")
    if found is None:
        raise driver_error(
            "the `pyrite` binary is not beside this Python interpreter and not on PATH; "
            "install the pyrite package here or set PYRITE_BINARY"
        )
    return found


def _script_directories() -> Iterator[str]:
    yield sysconfig.get_path("scripts")
    yield os.path.dirname(sys.executable)
    user_scheme = sysconfig.get_preferred_scheme("user")
    yield sysconfig.get_path("scripts", user_scheme)


def _conf_dir() -> Optional[str]:
    directory = os.environ.get("SPARK_CONF_DIR")
    if directory:
        return directory
    home = os.environ.get("SPARK_HOME")
    return os.path.join(home, "conf") if home else None


def _app_file() -> str:
    main = sys.modules.get("__main__")
    path = getattr(main, "__file__", None)
    return os.path.abspath(path) if path else ""


def start_request(conf: Dict[str, str]) -> Dict[str, Any]:
    """Return what the driver has to know, as the first line on its standard input."""
    submitted = os.environ.get("PYRITE_SUBMIT_CONF")
    flags = json.loads(submitted) if submitted else settings_of_flags(os.environ.get("PYSPARK_SUBMIT_ARGS", ""))
    return {
        "conf": conf,
        "submit_conf": flags,
        "conf_dir": _conf_dir(),
        "python_exec": sys.executable,
        "python_version": "%d.%d" % sys.version_info[:2],
        "pid": os.getpid(),
        "app_file": _app_file(),
        "cwd": os.getcwd(),
        "verbose_events": os.environ.get("PYRITE_VERBOSE_EVENTS") == "1",
    }


class DriverProcess:
    """The driver as a child of this process."""

    def __init__(self, conf: Dict[str, str]):
        """Start the driver; :meth:`handshake` waits until it is ready."""
        self.master = conf.get("spark.master", "")
        self._ended = threading.Event()
        self._directory: Optional[str] = None
        self._stopping = False
        binary = find_binary()
        try:
            # A session of its own keeps Ctrl-C in the terminal away from the driver: the
            # application decides whether that means a cancelled job or the end.
            self._process = subprocess.Popen(
                [binary, "driver"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=without_our_markers(os.environ),
                start_new_session=True,
            )
        except OSError as error:
            raise driver_error(f"cannot start the driver `{binary}`: {error}") from error
        _live_drivers.add(self)
        self._send(start_request(conf))
        threading.Thread(target=self._watch, name="pyrite-driver-watch", daemon=True).start()

    @property
    def pid(self) -> int:
        """Process id of the driver."""
        return self._process.pid

    def _send(self, request: Dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode("utf-8") + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it died at once; the handshake tells how

    def _watch(self) -> None:
        self._process.wait()
        self._ended.set()

    def handshake(self) -> Dict[str, Any]:
        """Wait until the driver is ready and return what it says about itself.

        Raises
        ------
        PySparkException
            If the driver cannot start, for instance because the master does not answer.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._ended.wait(STOP_TIMEOUT_SECONDS)
            raise driver_error(f"the driver did not start: {self.describe_end()}")
        try:
            answer: Dict[str, Any] = json.loads(line)
        except ValueError as error:
            self.stop()
            raise driver_error(f"the driver answered {line[:200]!r} instead of JSON") from error
        if not answer.get("ok"):
            self.stop()
            raise _start_error(answer)
        self._directory = answer.get("local_dir")
        return answer

    def is_alive(self) -> bool:
        """Tell whether the driver runs."""
        return not self._ended.is_set()

    def wait_ended(self, timeout_seconds: float) -> bool:
        """Wait for the driver's end and tell whether it came."""
        return self._ended.wait(timeout_seconds)

    def describe_end(self) -> str:
        """Say how the driver ended."""
        status = self._process.poll()
        if status is None:
            return "it is still running"
        if status < 0:
            return f"it was ended by signal {-status}"
        return f"it exited with status {status}"

    def check_alive(self) -> None:
        """Raise an error if the driver is gone."""
        if self._ended.is_set():
            raise self.gone_error()

    def gone_error(self) -> Exception:
        """Return the error for calls after the driver's end."""
        if self._stopping:
            return driver_error("Cannot call methods on a stopped SparkContext.")
        return driver_error(
            f"the driver of this application is gone ({self.describe_end()}); "
            "stop this SparkContext and create a new one"
        )

    def drop_lifeline(self) -> None:
        """Close this process's end of the lifeline without waiting for anything."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass  # nothing was buffered that anybody waits for

    def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """End the driver: let it stop in order, then insist."""
        self._stopping = True
        self.drop_lifeline()
        if not self._ended.wait(timeout_seconds):
            self._process.terminate()
            if not self._ended.wait(5.0):
                self._process.kill()
                self._ended.wait(5.0)
        self._remove_directory()

    def _remove_directory(self) -> None:
        # A driver that was killed could not do it. Its children may still write.
        for _ in range(_REMOVE_ATTEMPTS):
            if self._directory is None or not os.path.exists(self._directory):
                return
            shutil.rmtree(self._directory, ignore_errors=True)


def _start_error(answer: Dict[str, Any]) -> Exception:
    from pyspark.errors import IllegalArgumentException

    message = str(answer.get("message", "the driver did not say why"))
    if "IllegalArgument" in str(answer.get("error_class", "")):
        return IllegalArgumentException(message)
    return driver_error(message)


_live_drivers: "weakref.WeakSet[DriverProcess]" = weakref.WeakSet()


def _close_in_child() -> None:
    # A forked child must not hold the lifeline: it could outlive the application.
    drivers: List[DriverProcess] = list(_live_drivers)
    for driver in drivers:
        for pipe in (driver._process.stdin, driver._process.stdout):
            if pipe is not None and not pipe.closed:
                os.close(pipe.fileno())


os.register_at_fork(after_in_child=_close_in_child)
