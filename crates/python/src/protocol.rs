//! The wire format of `pyspark.worker`: big-endian integers, length-prefixed UTF-8.

use std::collections::BTreeMap;

use bytes::{BufMut, BytesMut};

/// Negative lengths with a meaning (`pyspark.serializers.SpecialLengths`).
pub(crate) mod special {
    pub(crate) const END_OF_DATA_SECTION: i32 = -1;
    pub(crate) const PYTHON_EXCEPTION_THROWN: i32 = -2;
    pub(crate) const TIMING_DATA: i32 = -3;
    pub(crate) const END_OF_STREAM: i32 = -4;
    pub(crate) const NULL: i32 = -5;
    pub(crate) const START_ARROW_STREAM: i32 = -6;
}

/// Number of 64-bit integers after `TIMING_DATA`: boot, init, finish and processing time in
/// milliseconds, then bytes spilled from memory and to disk.
pub(crate) const TIMING_VALUES: usize = 6;

/// Writes the parts of a task's header.
pub(crate) trait WireWriter {
    /// Length-prefixed bytes; they must be shorter than 2 GiB.
    fn put_framed(&mut self, bytes: &[u8]);
    /// Number of entries, then keys and values.
    fn put_conf(&mut self, conf: &BTreeMap<String, String>);
    /// Number of items of a section.
    fn put_count(&mut self, count: usize);
    /// One byte.
    fn put_bool(&mut self, value: bool);
}

impl WireWriter for BytesMut {
    fn put_framed(&mut self, bytes: &[u8]) {
        self.put_count(bytes.len());
        self.put_slice(bytes);
    }

    fn put_conf(&mut self, conf: &BTreeMap<String, String>) {
        self.put_count(conf.len());
        for (key, value) in conf {
            self.put_framed(key.as_bytes());
            self.put_framed(value.as_bytes());
        }
    }

    fn put_count(&mut self, count: usize) {
        self.put_i32(i32::try_from(count).expect("sections of a header stay below 2 GiB"));
    }

    fn put_bool(&mut self, value: bool) {
        self.put_u8(u8::from(value));
    }
}
