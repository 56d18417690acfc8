"""Errors of ours in PySpark's own exception classes."""

from typing import Any

from pyspark.errors import (
    PySparkAttributeError,
    PySparkNotImplementedError,
    PySparkRuntimeError,
)


def not_supported(feature: str) -> PySparkNotImplementedError:
    """Return the error for a feature that is not there yet."""
    return PySparkNotImplementedError(errorClass="NOT_IMPLEMENTED", messageParameters={"feature": feature})


def driver_error(message: str) -> PySparkRuntimeError:
    """Return the error for a driver that cannot start or is gone."""
    return PySparkRuntimeError(message)


class NoJvm:
    """Attribute that only a JVM could provide.

    On the class it is None, which is how ``pyspark-client`` asks whether a JVM runs.
    """

    def __init__(self, instead: str):
        self.instead = instead
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> None:
        if instance is None:
            return None
        raise PySparkAttributeError(
            f"`{type(instance).__name__}.{self.name}` is not there: no JVM runs behind this application. {self.instead}"
        )
