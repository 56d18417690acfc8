//! Pickle for the values of Spark SQL: what `SQL_BATCHED_UDF` exchanges with its workers.
//!
//! - [`PickleWriter`] writes opcodes, [`RowPickler`] rows of Arrow columns
//! - [`Unpickler`] reads any pickle made of plain values, [`ColumnBuilder`] turns such values
//!   into Arrow columns by Spark's rules (`EvaluatePython.makeFromJava`): a value of the
//!   wrong Python type becomes null
//!
//! Dates and timestamps travel as the integers that Spark keeps internally; the Python side
//! converts them (`DataType.fromInternal`, `toInternal`).

mod columns;
mod reader;
mod rows;
mod text;
mod writer;

pub use columns::ColumnBuilder;
pub use reader::{Object, Unpickler, Value};
pub use rows::RowPickler;
pub use writer::PickleWriter;

/// Opcodes of Python's `pickle` module that both directions use.
pub(crate) mod op {
    pub(crate) const MARK: u8 = b'(';
    pub(crate) const STOP: u8 = b'.';
    pub(crate) const NONE: u8 = b'N';
    pub(crate) const BININT: u8 = b'J';
    pub(crate) const BININT1: u8 = b'K';
    pub(crate) const BINFLOAT: u8 = b'G';
    pub(crate) const BINUNICODE: u8 = b'X';
    pub(crate) const SHORT_BINBYTES: u8 = b'C';
    pub(crate) const BINBYTES: u8 = b'B';
    pub(crate) const EMPTY_LIST: u8 = b']';
    pub(crate) const APPENDS: u8 = b'e';
    pub(crate) const TUPLE: u8 = b't';
    pub(crate) const TUPLE1: u8 = 0x85;
    pub(crate) const EMPTY_DICT: u8 = b'}';
    pub(crate) const SETITEMS: u8 = b'u';
    pub(crate) const GLOBAL: u8 = b'c';
    pub(crate) const REDUCE: u8 = b'R';
    pub(crate) const BINPUT: u8 = b'q';
    pub(crate) const BINGET: u8 = b'h';
    pub(crate) const POP: u8 = b'0';
    pub(crate) const PROTO: u8 = 0x80;
    pub(crate) const NEWTRUE: u8 = 0x88;
    pub(crate) const NEWFALSE: u8 = 0x89;
    pub(crate) const LONG1: u8 = 0x8a;
}
