"""Broadcast variables: values sent to every executor once and read from a file there."""

import gc
import os
import pickle
import threading
from typing import (
    IO,
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Generic,
    Iterator,
    Optional,
    Set,
    Tuple,
    TypeVar,
)

from pyspark import cloudpickle
from pyspark.errors import PySparkRuntimeError

from pyrite.callsite import user_call_site

if TYPE_CHECKING:
    from pyrite.context import SparkContext

__all__ = ["Broadcast"]

T = TypeVar("T")

# In a Python worker: the broadcast variables that its tasks may use, by id.
_broadcastRegistry: Dict[int, "Broadcast[Any]"] = {}


def _from_id(bid: int) -> "Broadcast[Any]":
    """Return a broadcast variable that this worker was told of."""
    if bid not in _broadcastRegistry:
        raise PySparkRuntimeError(errorClass="BROADCAST_VARIABLE_NOT_LOADED", messageParameters={"variable": str(bid)})
    return _broadcastRegistry[bid]


def _from_id_or_file(bid: int, path: str) -> "Broadcast[Any]":
    """Return a broadcast variable, from the driver's own file where workers share its machine."""
    if bid not in _broadcastRegistry and os.path.exists(path):
        _broadcastRegistry[bid] = Broadcast(path=path)
    return _from_id(bid)


class BroadcastPickleRegistry(threading.local):
    """Broadcast variables met while this thread pickles a command."""

    def __init__(self) -> None:
        self._registry: Set[Broadcast[Any]] = set()
        # Whether somebody will tell the workers which variables the command needs.
        self.collecting = False

    def __iter__(self) -> Iterator["Broadcast[Any]"]:
        yield from self._registry

    def add(self, bcast: "Broadcast[Any]") -> None:
        """Note a variable."""
        self._registry.add(bcast)

    def clear(self) -> None:
        """Forget all variables."""
        self._registry.clear()


class Broadcast(Generic[T]):
    """A read-only value that every executor has.

    Made by :meth:`SparkContext.broadcast`; inside of functions use :attr:`value`.
    """

    def __init__(
        self,
        sc: Optional["SparkContext"] = None,
        value: Optional[T] = None,
        pickle_registry: Optional[BroadcastPickleRegistry] = None,
        path: Optional[str] = None,
        sock_file: Optional[IO[bytes]] = None,
    ):
        self._sc = sc
        self._pickle_registry = pickle_registry
        self._id = -1
        self._destroyed_at: Optional[str] = None
        self._path = path
        if sc is not None:
            self._id = sc._next_broadcast_id()
            self._path = os.path.join(sc._directory("broadcast"), str(self._id))
            with open(self._path, "wb") as file:
                self.dump(value, file)  # type: ignore[arg-type]
        elif sock_file is not None:
            self._value = self.load(sock_file)

    def dump(self, value: T, f: IO[bytes]) -> None:
        """Pickle `value` into a file; classes and functions of ``__main__`` go along."""
        try:
            cloudpickle.dump(value, f, pickle.HIGHEST_PROTOCOL)
        except pickle.PickleError:
            raise
        except Exception as error:
            raise pickle.PicklingError(f"Could not serialize broadcast: {type(error).__name__}: {error}") from error

    def load_from_path(self, path: str) -> T:
        """Read a pickled value from a file."""
        with open(path, "rb", 1 << 20) as file:
            return self.load(file)

    def load(self, file: IO[bytes]) -> T:
        """Read a pickled value from an open file."""
        # Many new objects at once would set off the collector again and again.
        enabled = gc.isenabled()
        gc.disable()
        try:
            value: T = pickle.load(file)
            return value
        finally:
            if enabled:
                gc.enable()

    @property
    def value(self) -> T:
        """The value; loaded on first use, and kept then even when the variable is destroyed."""
        if not hasattr(self, "_value"):
            assert self._path is not None
            self._value = self.load_from_path(self._path)
        return self._value

    def unpersist(self, blocking: bool = False) -> None:
        """Delete the executors' copies; a later use sends the value again."""
        self._driver_side("unpersisted")._core.remove_broadcast(self._id, blocking)

    def destroy(self, blocking: bool = False) -> None:
        """Delete the value everywhere; it cannot be used again."""
        self._driver_side("destroyed")._core.remove_broadcast(self._id, blocking)
        self._destroyed_at = str(user_call_site())
        if self._path is not None:
            os.unlink(self._path)

    def _driver_side(self, operation: str) -> "SparkContext":
        if self._sc is None:
            raise PySparkRuntimeError(
                errorClass="INVALID_BROADCAST_OPERATION", messageParameters={"operation": operation}
            )
        self._assert_valid()
        return self._sc

    def _assert_valid(self) -> None:
        """Raise Spark's error if this variable is destroyed."""
        if self._destroyed_at is not None:
            from pyspark.errors.exceptions.connect import SparkException

            raise SparkException(
                f"[INTERNAL_ERROR_BROADCAST] Attempted to use Broadcast({self._id}) after it was destroyed "
                f"({self._destroyed_at})  SQLSTATE: XX000",
                errorClass="INTERNAL_ERROR_BROADCAST",
                sql_state="XX000",
            )

    def __reduce__(self) -> Tuple[Callable[..., "Broadcast[Any]"], Tuple[Any, ...]]:
        self._driver_side("serialized")
        assert self._pickle_registry is not None
        if self._pickle_registry.collecting:
            self._pickle_registry.add(self)
            return _from_id, (self._id,)
        # In the function of a UDF: Spark Connect has no place for the ids of broadcasts.
        return _from_id_or_file, (self._id, self._path)
