"""What Ctrl-C does: the active jobs are cancelled and KeyboardInterrupt is raised, at any moment.

Python drops exceptions in places where nobody can catch them: in ``__del__``, in callbacks of weak
references (the import system has one for each module) and while modules written in C start. A
program would then work on as if nobody had pressed anything, most likely while it starts, which is
mostly importing. There the signal is sent again a moment later, and so it is while gRPC does
anything but wait: an exception leaves a lock taken or a call without its thread, and later calls hang.
And so it is while a thread starts: a pool that is interrupted there does not know its new thread,
which nobody ends then, and the program hangs when it exits.
"""

import _thread
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any, NoReturn, Optional

_AGAIN_SECONDS = 0.02
_CANCEL_SECONDS = 0.5

# Functions that run as callbacks whose exceptions are printed and dropped.
_DROPPING = {"__del__", "_remove", "cb"}

# Where gRPC waits; an exception there leaves nothing half done.
_WAITING = {"wait", "_wait_once", "_blocking"}


def install() -> None:
    """Let Ctrl-C arrive during imports, too, unless the program has a handler of its own."""
    if _in_main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def take_over() -> None:
    """Handle Ctrl-C from now on; a new context does this, as in Spark."""
    if _in_main_thread():
        signal.signal(signal.SIGINT, _interrupt)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _interrupt(signum: int, frame: Optional[FrameType]) -> None:
    unsafe = _would_be_dropped(frame) or _in_the_middle_of_grpc(frame) or _starts_thread(frame)
    if unsafe and _start_thread(_send_again):
        return
    _cancel_jobs()
    _raise()


def _raise() -> NoReturn:
    raise KeyboardInterrupt


def _would_be_dropped(frame: Optional[FrameType]) -> bool:
    if frame is not None and _imports(frame):
        return True
    while frame is not None:
        if frame.f_code.co_name in _DROPPING and (frame.f_code.co_name == "__del__" or _is_library(frame)):
            return True
        frame = frame.f_back
    return False


def _in_the_middle_of_grpc(frame: Optional[FrameType]) -> bool:
    if frame is None or frame.f_code.co_name in _WAITING:
        return False
    while frame is not None and frame.f_globals.get("__name__") == "threading":
        frame = frame.f_back
    return frame is not None and str(frame.f_globals.get("__name__", "")).startswith("grpc.")


def _starts_thread(frame: Optional[FrameType]) -> bool:
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if module == "concurrent.futures.thread" and frame.f_code.co_name == "submit":
            return True
        if module == "threading" and frame.f_code.co_name == "start":
            return True
        frame = frame.f_back
    return False


def _imports(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith("<frozen importlib")


def _is_library(frame: FrameType) -> bool:
    return _imports(frame) or frame.f_globals.get("__name__") in ("weakref", "_weakrefset")


def _send_again() -> None:
    time.sleep(_AGAIN_SECONDS)
    ident = threading.main_thread().ident
    if ident is not None:
        signal.pthread_kill(ident, signal.SIGINT)


def _cancel_jobs() -> None:
    """Cancel all jobs, as Spark does: those of other threads would keep the program from ending."""
    # No import: the interrupted code may be in the middle of this one.
    contexts = getattr(sys.modules.get("pyrite.context"), "SparkContext", None)
    context = getattr(contexts, "_active_spark_context", None)
    if context is None or context._stopped or context._owner_pid != os.getpid():
        return
    done = _thread.allocate_lock()
    done.acquire()

    def cancel() -> None:
        try:
            context.cancelAllJobs()
        except Exception:
            pass  # the driver has ended, and with it every job
        finally:
            done.release()

    # The interrupted code may hold locks that the call needs: not in this thread, and not for long.
    if _start_thread(cancel):
        done.acquire(timeout=_CANCEL_SECONDS)


def _start_thread(target: Any) -> bool:
    # `threading.Thread` takes a lock that the interrupted code may hold.
    try:
        _thread.start_new_thread(target, ())
    except RuntimeError:
        return False  # the interpreter is ending
    return True
