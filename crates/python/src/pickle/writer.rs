//! Writes pickles opcode by opcode.

use bytes::{BufMut, BytesMut};

use super::op;

/// Writes one pickle after the other into a buffer.
#[derive(Debug, Default)]
pub struct PickleWriter {
    out: BytesMut,
    /// Callables of this pickle, by their place in the memo.
    globals: Vec<(&'static str, &'static str)>,
}

impl PickleWriter {
    /// Begins a pickle; everything until [`PickleWriter::finish`] makes up one value.
    pub fn start(&mut self) {
        self.globals.clear();
        self.out.put_slice(&[op::PROTO, 4]);
    }

    /// Ends the pickle and returns it.
    pub fn finish(&mut self) -> BytesMut {
        self.out.put_u8(op::STOP);
        self.out.split()
    }

    /// `None`.
    pub fn none(&mut self) {
        self.out.put_u8(op::NONE);
    }

    /// A `bool`.
    pub fn bool(&mut self, value: bool) {
        self.out
            .put_u8(if value { op::NEWTRUE } else { op::NEWFALSE });
    }

    /// An `int`.
    pub fn int(&mut self, value: i64) {
        if let Ok(small) = u8::try_from(value) {
            self.out.put_slice(&[op::BININT1, small]);
        } else if let Ok(word) = i32::try_from(value) {
            self.out.put_u8(op::BININT);
            self.out.put_i32_le(word);
        } else {
            self.out.put_slice(&[op::LONG1, 8]);
            self.out.put_i64_le(value);
        }
    }

    /// A `float`.
    pub fn float(&mut self, value: f64) {
        self.out.put_u8(op::BINFLOAT);
        self.out.put_f64(value);
    }

    /// A `str`; it must be shorter than 4 GiB, as every Arrow string is.
    pub fn str(&mut self, value: &str) {
        self.out.put_u8(op::BINUNICODE);
        self.put_length(value.len());
        self.out.put_slice(value.as_bytes());
    }

    /// A `bytes`; it must be shorter than 4 GiB.
    pub fn bytes(&mut self, value: &[u8]) {
        if let Ok(short) = u8::try_from(value.len()) {
            self.out.put_slice(&[op::SHORT_BINBYTES, short]);
        } else {
            self.out.put_u8(op::BINBYTES);
            self.put_length(value.len());
        }
        self.out.put_slice(value);
    }

    fn put_length(&mut self, length: usize) {
        let length = u32::try_from(length).expect("values of Arrow columns stay below 4 GiB");
        self.out.put_u32_le(length);
    }

    /// Opens a tuple, list or dict content.
    pub fn mark(&mut self) {
        self.out.put_u8(op::MARK);
    }

    /// Closes a tuple opened by [`PickleWriter::mark`].
    pub fn tuple(&mut self) {
        self.out.put_u8(op::TUPLE);
    }

    /// Makes a tuple of the last value.
    pub fn tuple1(&mut self) {
        self.out.put_u8(op::TUPLE1);
    }

    /// Begins a list: an empty one, and the mark of its content.
    pub fn list(&mut self) {
        self.out.put_slice(&[op::EMPTY_LIST, op::MARK]);
    }

    /// Ends a list.
    pub fn end_list(&mut self) {
        self.out.put_u8(op::APPENDS);
    }

    /// Begins a dict; keys and values alternate.
    pub fn dict(&mut self) {
        self.out.put_slice(&[op::EMPTY_DICT, op::MARK]);
    }

    /// Ends a dict.
    pub fn end_dict(&mut self) {
        self.out.put_u8(op::SETITEMS);
    }

    /// A callable of a module, written once in a pickle.
    ///
    /// # Panics
    /// With more than 255 different callables in one pickle.
    pub fn global(&mut self, module: &'static str, name: &'static str) {
        match self
            .globals
            .iter()
            .position(|known| *known == (module, name))
        {
            Some(index) => self.get(index),
            None => {
                self.out.put_u8(op::GLOBAL);
                self.out.put_slice(module.as_bytes());
                self.out.put_u8(b'\n');
                self.out.put_slice(name.as_bytes());
                self.out.put_u8(b'\n');
                self.remember(module, name);
            }
        }
    }

    /// Puts the last value into the memo under a name of its own.
    pub fn remember(&mut self, module: &'static str, name: &'static str) {
        let index = u8::try_from(self.globals.len()).expect("few callables in a pickle");
        self.out.put_slice(&[op::BINPUT, index]);
        self.globals.push((module, name));
    }

    fn get(&mut self, index: usize) {
        let index = u8::try_from(index).expect("checked when it was remembered");
        self.out.put_slice(&[op::BINGET, index]);
    }

    /// Calls the value before the last with the last, a tuple.
    pub fn call(&mut self) {
        self.out.put_u8(op::REDUCE);
    }

    /// Forgets the last value.
    pub fn pop(&mut self) {
        self.out.put_u8(op::POP);
    }
}
