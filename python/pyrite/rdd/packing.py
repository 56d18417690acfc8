"""Batches of pairs, pickled as two columns.

A column needs no tuple and no memo entry for each pair, which is most of what pickling small pairs
costs. What comes out of unpickling is the list of pairs, so readers need not know.
"""

from operator import itemgetter
from typing import Any, Callable, List, Sequence

from pyspark.serializers import CloudPickleSerializer, CPickleSerializer, Serializer

_first, _second = itemgetter(0), itemgetter(1)


class _Call:
    """Pickles as a call of a function, so that unpickling yields what the function returns."""

    __slots__ = ("arguments", "function")

    def __init__(self, function: Callable[..., Any], *arguments: Any):
        self.function = function
        self.arguments = arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


def dump_columns(serializer: Serializer, keys: Sequence[Any], values: Sequence[Any]) -> bytes:
    """Serialise pairs of these keys and values, so that they arrive as a list of pairs."""
    if isinstance(serializer, (CPickleSerializer, CloudPickleSerializer)):
        return serializer.dumps(_Call(list, _Call(zip, keys, values)))
    return serializer.dumps(list(zip(keys, values)))


def dump_pairs(serializer: Serializer, pairs: List[Any]) -> bytes:
    """Serialise a list of pairs."""
    return dump_columns(serializer, list(map(_first, pairs)), list(map(_second, pairs)))
