"""Threads that take the job properties of the thread that starts them along."""

import functools
import threading
from typing import TYPE_CHECKING, Any, Callable, Optional

if TYPE_CHECKING:
    pass


class Inheritance:
    """What the calling thread's jobs carry, to be put on in another thread."""

    def __init__(self, session: Optional[Any] = None):
        from pyrite.context import SparkContext

        self._context: Optional[SparkContext] = SparkContext._active_spark_context
        self._session = session
        if self._context is not None:
            self._job = self._context._properties.snapshot()
            if session is None:
                self._session = self._context._current_session()
        if self._session is not None:
            self._session_tags = set(getattr(self._session.client.thread_local, "tags", ()))

    def put_on(self) -> None:
        """Give the calling thread the properties."""
        if self._context is not None:
            self._context._properties.values = dict(self._job.values)
            self._context._properties.tags = set(self._job.tags)
        if self._session is not None:
            type(self._session)._set_default_and_active_session(self._session)
            self._session.client.thread_local.tags = set(self._session_tags)


def init_thread(self: Any, target: Callable[..., Any], *args: Any, session: Any = None, **kwargs: Any) -> None:
    """Initialise an ``InheritableThread``; the session is optional, as on classic Spark."""

    def run(*a: Any, **k: Any) -> Any:
        self._inheritance.put_on()
        return target(*a, **k)

    self._session = session
    threading.Thread.__init__(self, target=run, *args, **kwargs)  # type: ignore[misc] # noqa: B026


def start_thread(self: Any) -> None:
    """Start an ``InheritableThread`` with the properties of this moment."""
    self._inheritance = Inheritance(self._session)
    threading.Thread.start(self)


def inheritable_thread_target(f: Any) -> Callable[..., Any]:
    """Wrap a thread's function, or return a wrapper for a session's, to inherit properties."""

    def wrap(target: Callable[..., Any], session: Any) -> Callable[..., Any]:
        inheritance = Inheritance(session)

        @functools.wraps(target)
        def run(*args: Any, **kwargs: Any) -> Any:
            inheritance.put_on()
            return target(*args, **kwargs)

        return run

    if hasattr(f, "client"):
        return lambda target: wrap(target, f)
    return wrap(f, None)
