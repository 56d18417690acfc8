"""Finds a ``StopIteration`` that a user's function raised, without a Python frame per element.

``map(f, elements)`` ends in silence when `f` raises ``StopIteration``, as if the elements were used
up, and rows would be lost. Wrapping `f` in a function that catches it costs more than most
functions do themselves. So the two ends are told apart instead: a generator behind the elements
notes that they are used up, and one behind the results fails if that has not been noted.
"""

from itertools import chain
from types import CodeType
from typing import Any, Callable, Iterable, Iterator

from pyspark.errors import PySparkRuntimeError
from pyspark.util import fail_on_stopiteration


def stop_iteration_error(text: str) -> PySparkRuntimeError:
    """Return the error for a ``StopIteration`` with that text that came out of a user's function."""
    return PySparkRuntimeError(errorClass="STOP_ITERATION_OCCURRED", messageParameters={"exc": text})


class StopGuard:
    """Watches what goes into and what comes out of functions that are applied lazily in C."""

    __slots__ = ("_used_up",)

    def __init__(self) -> None:
        self._used_up = False

    def watch(self, elements: Iterable[Any]) -> Iterator[Any]:
        """Return the elements, for the functions to be applied to."""
        return chain(elements, self._note())

    def check(self, results: Iterable[Any]) -> Iterator[Any]:
        """Return the results; at their end, fail unless the watched elements have ended too."""
        return chain(results, self._compare())

    def _note(self) -> Iterator[Any]:
        self._used_up = True
        yield from ()

    def _compare(self) -> Iterator[Any]:
        if not self._used_up:
            # The exception itself is gone. The one of `next`, by far the most common, has no text.
            raise stop_iteration_error("")
        yield from ()


def with_text(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return `f`, wrapped if its own code names ``StopIteration`` and may so raise one with a text."""
    code = getattr(f, "__code__", None)
    return fail_on_stopiteration(f) if isinstance(code, CodeType) and _names_stop_iteration(code) else f


def _names_stop_iteration(code: CodeType) -> bool:
    return "StopIteration" in code.co_names or any(
        _names_stop_iteration(inner) for inner in code.co_consts if isinstance(inner, CodeType)
    )
