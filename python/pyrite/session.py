"""Joins Spark Connect sessions to the driver of a context.

Importing this module imports ``pyspark.sql.connect`` with pandas and pyarrow.
"""

from typing import Any, Dict, Iterable, Optional, Tuple

import grpc
from pyspark.sql.connect.client import ChannelBuilder
from pyspark.sql.connect.session import SparkSession

from pyrite.context import SparkContext
from pyrite.hooks import current_session
from pyrite.launcher import DriverProcess
from pyrite.rpc import CHANNEL_OPTIONS

# Options of a builder that only make sense before the driver starts.
_START_ONLY = {"spark.master", "spark.app.name", "spark.remote", "spark.api.mode"}


class _DriverChannel(ChannelBuilder):
    """Connects a session to a driver on this machine, with the driver's token."""

    def __init__(self, context: SparkContext):
        super().__init__(CHANNEL_OPTIONS)
        self.context = context
        self._port = context._port
        self._token = context._token
        self.add_interceptor(_Lifeguard(context._driver))

    @property
    def host(self) -> str:
        return "127.0.0.1"

    @property
    def endpoint(self) -> str:
        """Address of the driver."""
        return f"{self.host}:{self._port}"

    def toChannel(self) -> grpc.Channel:
        return self._insecure_channel(self.endpoint)

    def metadata(self) -> Iterable[Tuple[str, str]]:
        return [*super().metadata(), ("authorization", f"Bearer {self._token}")]


class _Lifeguard(  # type: ignore[misc]
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
):
    """Fails calls to a driver that is gone, which the client would retry for minutes."""

    def __init__(self, driver: DriverProcess):
        self._driver = driver

    def _intercept(self, continuation: Any, details: Any, request: Any) -> Any:
        self._driver.check_alive()
        return continuation(details, request)

    intercept_unary_unary = _intercept
    intercept_unary_stream = _intercept
    intercept_stream_unary = _intercept


def create(context: SparkContext, options: Dict[str, Any]) -> SparkSession:
    """Return a new session beside those that exist."""
    with SparkContext._lock:
        session = open_session(context)
        SparkSession._set_default_and_active_session(session)
        _apply(session, options)
        return session


def attach(context: SparkContext, options: Dict[str, Any]) -> SparkSession:
    """Return the session of a context, with these options set."""
    with SparkContext._lock:
        session = current_session(context)
        if session is None:
            session = open_session(context)
            context._session = session  # type: ignore[attr-defined]
        SparkSession._set_default_and_active_session(session)
        _apply(session, options)
        return session  # type: ignore[no-any-return]


def open_session(context: SparkContext) -> SparkSession:
    """Open another session on a context's driver."""
    context._assert_running()
    session = SparkSession(connection=_DriverChannel(context), userId=context.sparkUser())
    session._pyrite_context = context  # type: ignore[attr-defined]
    context._on_stop.append(lambda: _close(session))
    return session


def _apply(session: SparkSession, options: Dict[str, Any]) -> None:
    settable: Dict[str, Optional[str]] = {key: str(value) for key, value in options.items() if key not in _START_ONLY}
    if settable:
        session.conf._set_all(configs=settable, silent=True)  # type: ignore[arg-type]


def _close(session: SparkSession) -> None:
    session.client.close()
    if SparkSession._default_session is session:
        SparkSession._default_session = None
    if getattr(SparkSession._active_session, "session", None) is session:
        SparkSession._active_session.session = None
