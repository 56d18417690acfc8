"""Calls to the driver's core service.

Messages are built at run time from the descriptors that the driver hands over when it starts, so
this package carries no generated code and both sides always speak the same protocol.
"""

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Tuple

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from pyrite.errors import driver_error

if TYPE_CHECKING:
    from pyrite.launcher import DriverProcess

_SERVICE = "pyrite.core.CoreService"
_ERROR_TRAILER = "pyrite-error-bin"
_DEATH_NOTICE_SECONDS = 1.0

MAX_METADATA_BYTES = 1 << 20

CHANNEL_OPTIONS: List[Tuple[str, Any]] = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Errors come in trailers, and tracebacks are long.
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    # The driver is on this machine: an HTTP proxy must never get between.
    ("grpc.enable_http_proxy", 0),
]


def load_messages(descriptor_set: bytes) -> Dict[str, SimpleNamespace]:
    """Return the message classes of a ``FileDescriptorSet`` by package and name."""
    # A pool of its own: the default one belongs to pyspark and the user.
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file
    for file in files:
        pool.Add(file)
    packages: Dict[str, SimpleNamespace] = {}
    for file in files:
        package = packages.setdefault(file.package, SimpleNamespace())
        for message in file.message_type:
            descriptor = pool.FindMessageTypeByName(f"{file.package}.{message.name}")
            setattr(package, message.name, message_factory.GetMessageClass(descriptor))
    return packages


class CoreClient:
    """The driver's core service as methods."""

    def __init__(self, port: int, token: str, descriptor_set: bytes, driver: "DriverProcess"):
        packages = load_messages(descriptor_set)
        self.messages = packages["pyrite.core"]
        self._error_class = packages["pyrite.exec"].SparkError
        self._driver = driver
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS)
        self._run_job = self._channel.unary_stream(
            f"/{_SERVICE}/RunJob",
            request_serializer=self.messages.RunJobRequest.SerializeToString,
            response_deserializer=self.messages.RunJobResponse.FromString,
        )

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def run_job(self, request: Any) -> Iterator[Any]:
        """Run a job and yield its responses; leaving the iterator early cancels the job."""
        self._driver.check_alive()
        call = self._run_job(request, metadata=self._metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            raise self._translate(error, "RunJob") from None
        finally:
            # Without effect on a finished call; also reached by Ctrl-C and abandoned iterators.
            call.cancel()

    def describe_rdd(self, request: Any) -> Any:
        """Ask about an RDD."""
        return self._unary("DescribeRdd", request)

    def unpersist_rdd(self, rdd_id: int, blocking: bool) -> None:
        """Drop the cached partitions of an RDD."""
        message = self.messages.UnpersistRddRequest(rdd_id=rdd_id, blocking=blocking)
        self._unary("UnpersistRdd", message)

    def remove_broadcast(self, broadcast_id: int, blocking: bool) -> None:
        """Drop the executors' copies of a broadcast value."""
        message = self.messages.RemoveBroadcastRequest(broadcast_id=broadcast_id, blocking=blocking)
        self._unary("RemoveBroadcast", message)

    def cancel_jobs(self, **which: Any) -> List[int]:
        """Cancel jobs and return their ids."""
        reply = self._unary("CancelJobs", self.messages.CancelJobsRequest(**which))
        return list(reply.job_ids)

    def status(self) -> Any:
        """Return what the application has at this moment."""
        return self._unary("GetStatus", self.messages.GetStatusRequest())

    def stop(self, exit_code: int, timeout_seconds: float) -> None:
        """End the application in order."""
        request = self.messages.StopRequest(exit_code=exit_code)
        self._unary("Stop", request, timeout_seconds)

    def _unary(self, method: str, request: Any, timeout_seconds: Any = None) -> Any:
        self._driver.check_alive()
        reply_class = getattr(self.messages, f"{method}Response")
        call: Callable[..., Any] = self._channel.unary_unary(
            f"/{_SERVICE}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=reply_class.FromString,
        )
        try:
            return call(request, metadata=self._metadata, timeout=timeout_seconds)
        except grpc.RpcError as error:
            raise self._translate(error, method) from None

    def _translate(self, error: Any, method: str) -> BaseException:
        """Return PySpark's exception for a failed call."""
        for key, value in error.trailing_metadata() or ():
            if key == _ERROR_TRAILER:
                return spark_exception(self._error_class.FromString(value))
        if error.code() == grpc.StatusCode.UNAVAILABLE and self._driver.wait_ended(_DEATH_NOTICE_SECONDS):
            return self._driver.gone_error()
        return driver_error(f"the driver's {method} failed: {error.details()} ({error.code().name})")


def spark_exception(error: Any) -> Exception:
    """Turn a ``pyrite.exec.SparkError`` into the exception that PySpark has for it."""
    from pyspark.errors.exceptions import connect

    message = error.message
    if error.condition:
        message = f"[{error.condition}] {message}"
        if error.sql_state:
            message = f"{message} SQLSTATE: {error.sql_state}"
    if error.class_name == "org.apache.spark.api.python.PythonException":
        return connect.PythonException(
            f"\n  An exception was thrown from the Python worker. Please see the stack trace below.\n{message}"
        )
    exception = connect.EXCEPTION_CLASS_MAPPING.get(error.class_name, connect.SparkException)
    translated: Exception = exception(
        message,
        errorClass=error.condition or None,
        messageParameters=dict(error.parameters) if error.condition else None,
        sql_state=error.sql_state or None,
    )
    return translated
