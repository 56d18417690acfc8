"""Rows to Arrow streams and back, as it runs inside Python workers.

pyarrow is imported when the first row comes, not with this module.
"""

from itertools import islice
from typing import Any, Callable, Iterable, Iterator, List, Optional

from pyspark.sql.types import DataType, Row, StructType, _make_type_verifier


class RowCheck:
    """Checks rows against a schema, as ``createDataFrame(verifySchema=True)`` promises."""

    def __init__(self, schema: DataType, single: bool):
        self.schema = schema
        self.single = single
        self._verify: Optional[Callable[[Any], None]] = None

    def __getstate__(self) -> Any:
        return self.schema, self.single

    def __setstate__(self, state: Any) -> None:
        self.schema, self.single = state
        self._verify = None

    def __call__(self, row: Any) -> None:
        if self._verify is None:
            name = "field value" if self.single else None
            self._verify = _make_type_verifier(self.schema, name=name)
        self._verify(row)


def streams_from_rows(
    schema: StructType,
    check: Optional[RowCheck],
    convert: Optional[Callable[[Any], Any]],
    single: bool,
    batch_rows: int,
    split: int,
    iterator: Iterable[Any],
) -> Iterator[bytes]:
    """Yield Arrow IPC streams of up to `batch_rows` rows each.

    Parameters
    ----------
    schema
        Schema of the rows.
    check
        Called on each row as the user made it.
    convert
        Turns a row into a tuple in the order of the schema; None for rows that have it.
    single
        Whether each element is the value of the only column.
    """
    import pyarrow as pa
    from pyspark.sql.conversion import LocalDataToArrowConversion

    rows = iter(iterator)
    while batch := list(islice(rows, batch_rows)):
        if check is not None:
            for row in batch:
                check(row)
        if convert is not None:
            batch = [convert(row) for row in batch]
        elif single:
            batch = [(value,) for value in batch]
        table = LocalDataToArrowConversion.convert(batch, schema, False)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        yield sink.getvalue().to_pybytes()


def rows_from_streams(schema: StructType, split: int, iterator: Iterable[bytes]) -> Iterator[Row]:
    """Yield the rows of Arrow IPC streams."""
    import pyarrow as pa
    from pyspark.sql.conversion import ArrowTableToRowsConversion

    for stream in iterator:
        with pa.ipc.open_stream(stream) as reader:
            for batch in reader:
                table = pa.Table.from_batches([batch])
                rows: List[Row] = ArrowTableToRowsConversion.convert(table, schema)
                yield from rows


def only_value(row: Row) -> Any:
    """Return the value of a row with one column."""
    return row[0]


def encode_text(text: str) -> bytes:
    """Return text as UTF-8."""
    return text.encode("utf-8")
