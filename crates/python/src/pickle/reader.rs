//! Reads pickles that consist of plain values.

use pyrite_proto::error::SparkError;

use crate::errors::internal;

/// A value on the unpickler's stack. Everything that has parts lives in the arena.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// `None`
    None,
    /// `bool`
    Bool(bool),
    /// `int` of up to 64 bits
    Int(i64),
    /// `float`
    Float(f64),
    /// `str`: a range of the pickle.
    Str(usize, usize),
    /// `bytes` or `bytearray`: a range of the pickle.
    Bytes(usize, usize),
    /// See [`Unpickler::object`].
    Object(usize),
}

/// A value with parts, or one that does not fit into a [`Value`].
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// `str` that is not in the pickle as it is.
    Text(String),
    /// `int` of more than 64 bits: little-endian two's complement.
    BigInt(Vec<u8>),
    /// `decimal.Decimal`
    Decimal(String),
    /// `list`
    List(Vec<Value>),
    /// `set` or `frozenset`
    Set(Vec<Value>),
    /// `tuple`, also the values of a `Row`
    Tuple(Vec<Value>),
    /// `dict`
    Dict(Vec<(Value, Value)>),
    /// A class or function: module and name.
    Global(String, String),
    /// An instance of a class that has no meaning here.
    Instance(String),
}

/// Interprets one pickle after the other; protocols 0 to 5 without persistent ids.
#[derive(Debug, Default)]
pub struct Unpickler {
    arena: Vec<Object>,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: Vec<Value>,
}

/// Position in a pickle.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

fn malformed() -> SparkError {
    internal("a Python worker sent a malformed pickle")
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<(usize, usize), SparkError> {
        let start = self.at;
        let end = start
            .checked_add(length)
            .filter(|end| *end <= self.bytes.len());
        self.at = end.ok_or_else(malformed)?;
        Ok((start, self.at))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SparkError> {
        let (start, end) = self.take(N)?;
        Ok(self.bytes[start..end]
            .try_into()
            .expect("N bytes were taken"))
    }

    fn byte(&mut self) -> Result<usize, SparkError> {
        Ok(usize::from(self.array::<1>()?[0]))
    }

    fn word(&mut self) -> Result<usize, SparkError> {
        usize::try_from(u32::from_le_bytes(self.array()?)).map_err(|_| malformed())
    }

    fn long(&mut self) -> Result<usize, SparkError> {
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| malformed())
    }

    fn line(&mut self) -> Result<&'a str, SparkError> {
        let rest = &self.bytes[self.at..];
        let length = rest
            .iter()
            .position(|b| *b == b'\n')
            .ok_or_else(malformed)?;
        self.at += length + 1;
        std::str::from_utf8(&rest[..length]).map_err(|_| malformed())
    }
}

impl Unpickler {
    /// Reads a pickle. The result and all its parts are valid until the next call.
    ///
    /// # Errors
    /// When the bytes are no pickle, or one with instances that cannot be understood; the
    /// latter reads as on Spark.
    pub fn load(&mut self, bytes: &[u8]) -> Result<Value, SparkError> {
        self.arena.clear();
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        let mut input = Input { bytes, at: 0 };
        loop {
            let opcode = input.array::<1>()?[0];
            if opcode == b'.' {
                return self.pop();
            }
            let known = self.scalar(opcode, &mut input)?
                || self.container(opcode, &mut input)?
                || self.memo_or_call(opcode, &mut input)?;
            if !known {
                return Err(internal(format!("pickle opcode 0x{opcode:02x}")));
            }
        }
    }

    /// The object behind a [`Value::Object`].
    pub fn object(&self, index: usize) -> &Object {
        &self.arena[index]
    }

    fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    fn pop(&mut self) -> Result<Value, SparkError> {
        self.stack.pop().ok_or_else(malformed)
    }

    fn alloc(&mut self, object: Object) -> Value {
        self.arena.push(object);
        Value::Object(self.arena.len() - 1)
    }

    fn push_object(&mut self, object: Object) {
        let value = self.alloc(object);
        self.push(value);
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, SparkError> {
        let mark = self.marks.pop().ok_or_else(malformed)?;
        if mark > self.stack.len() {
            return Err(malformed());
        }
        Ok(self.stack.split_off(mark))
    }

    fn scalar(&mut self, opcode: u8, input: &mut Input<'_>) -> Result<bool, SparkError> {
        let value = match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i32::from_le_bytes(input.array()?).into()),
            b'K' => Value::Int(i64::from(input.array::<1>()?[0])),
            b'M' => Value::Int(u16::from_le_bytes(input.array()?).into()),
            b'G' => Value::Float(f64::from_be_bytes(input.array()?)),
            0x8a => {
                let length = input.byte()?;
                self.int(input, length)?
            }
            0x8b => {
                let length = input.word()?;
                self.int(input, length)?
            }
            b'I' | b'L' => self.text_int(opcode, input.line()?)?,
            b'F' => Value::Float(input.line()?.parse().map_err(|_| malformed())?),
            0x8c => text(input.byte()?, input)?,
            b'X' => text(input.word()?, input)?,
            0x8d => text(input.long()?, input)?,
            b'V' => {
                let raw = input.line()?;
                if raw.contains('\\') {
                    return Err(SparkError::not_supported(
                        "escaped text in a pickle of protocol 0",
                    ));
                }
                self.alloc(Object::Text(raw.to_owned()))
            }
            b'C' | b'U' => bytes(input.byte()?, input)?,
            b'B' | b'T' => bytes(input.word()?, input)?,
            0x8e | 0x96 => bytes(input.long()?, input)?,
            _ => return Ok(false),
        };
        self.push(value);
        Ok(true)
    }

    /// An integer in little-endian two's complement.
    fn int(&mut self, input: &mut Input<'_>, length: usize) -> Result<Value, SparkError> {
        let (start, end) = input.take(length)?;
        let digits = &input.bytes[start..end];
        if length > 8 {
            return Ok(self.alloc(Object::BigInt(digits.to_vec())));
        }
        let negative = digits.last().is_some_and(|high| high & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..length].copy_from_slice(digits);
        Ok(Value::Int(i64::from_le_bytes(wide)))
    }

    fn text_int(&mut self, opcode: u8, line: &str) -> Result<Value, SparkError> {
        match (opcode, line) {
            (b'I', "00") => Ok(Value::Bool(false)),
            (b'I', "01") => Ok(Value::Bool(true)),
            _ => match line.trim_end_matches('L').parse() {
                Ok(value) => Ok(Value::Int(value)),
                Err(_) => Ok(self.alloc(Object::Instance("builtins.int".into()))),
            },
        }
    }

    fn container(&mut self, opcode: u8, _: &mut Input<'_>) -> Result<bool, SparkError> {
        match opcode {
            b'(' => self.marks.push(self.stack.len()),
            b']' => self.push_object(Object::List(Vec::new())),
            0x8f => self.push_object(Object::Set(Vec::new())),
            b')' => self.push_object(Object::Tuple(Vec::new())),
            b'}' => self.push_object(Object::Dict(Vec::new())),
            b'l' => {
                let items = self.pop_to_mark()?;
                self.push_object(Object::List(items));
            }
            0x91 => {
                let items = self.pop_to_mark()?;
                self.push_object(Object::Set(items));
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push_object(Object::Tuple(items));
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let start = self.stack.len().checked_sub(count).ok_or_else(malformed)?;
                let items = self.stack.split_off(start);
                self.push_object(Object::Tuple(items));
            }
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push_object(Object::Dict(pairs(&items)?));
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.extend(&items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set(&items)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn top_object(&mut self) -> Result<&mut Object, SparkError> {
        match self.stack.last() {
            Some(Value::Object(index)) => Ok(&mut self.arena[*index]),
            _ => Err(malformed()),
        }
    }

    fn extend(&mut self, items: &[Value]) -> Result<(), SparkError> {
        match self.top_object()? {
            Object::List(list) | Object::Set(list) => list.extend_from_slice(items),
            // Content of a class that is not understood anyway.
            Object::Instance(_) => {}
            _ => return Err(malformed()),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Value]) -> Result<(), SparkError> {
        match self.top_object()? {
            Object::Dict(dict) => dict.extend(pairs(items)?),
            Object::Instance(_) => {}
            _ => return Err(malformed()),
        }
        Ok(())
    }

    fn memo_or_call(&mut self, opcode: u8, input: &mut Input<'_>) -> Result<bool, SparkError> {
        match opcode {
            0x80 => drop(input.byte()?),
            0x95 => drop(input.long()?),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = *self.stack.last().ok_or_else(malformed)?;
                self.push(top);
            }
            0x94 => self.put(self.memo.len())?,
            b'q' => {
                let index = input.byte()?;
                self.put(index)?;
            }
            b'r' => {
                let index = input.word()?;
                self.put(index)?;
            }
            b'p' => {
                let index = input.line()?.parse().map_err(|_| malformed())?;
                self.put(index)?;
            }
            b'h' => {
                let index = input.byte()?;
                self.get(index)?;
            }
            b'j' => {
                let index = input.word()?;
                self.get(index)?;
            }
            b'g' => {
                let index = input.line()?.parse().map_err(|_| malformed())?;
                self.get(index)?;
            }
            b'c' => {
                let (module, name) = (input.line()?.to_owned(), input.line()?.to_owned());
                self.push_object(Object::Global(module, name));
            }
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                let name = self
                    .str(name, input.bytes)
                    .ok_or_else(malformed)?
                    .to_owned();
                let module = self
                    .str(module, input.bytes)
                    .ok_or_else(malformed)?
                    .to_owned();
                self.push_object(Object::Global(module, name));
            }
            b'R' | 0x81 => {
                let args = self.pop()?;
                self.call(args, input.bytes)?;
            }
            0x92 => {
                let _keywords = self.pop()?;
                let args = self.pop()?;
                self.call(args, input.bytes)?;
            }
            // State of an instance; those that have meaning here carry none.
            b'b' => drop(self.pop()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn put(&mut self, index: usize) -> Result<(), SparkError> {
        // A memo is filled in order; anything far ahead is not a memo.
        if index > self.memo.len() + 65_536 {
            return Err(malformed());
        }
        if index >= self.memo.len() {
            self.memo.resize(index + 1, Value::None);
        }
        self.memo[index] = *self.stack.last().ok_or_else(malformed)?;
        Ok(())
    }

    fn get(&mut self, index: usize) -> Result<(), SparkError> {
        let value = *self.memo.get(index).ok_or_else(malformed)?;
        self.push(value);
        Ok(())
    }

    /// The text of a `str`; `pickle` is what [`Unpickler::load`] was given.
    pub fn str<'a>(&'a self, value: Value, pickle: &'a [u8]) -> Option<&'a str> {
        match value {
            Value::Str(start, end) => std::str::from_utf8(&pickle[start..end]).ok(),
            Value::Object(index) => match &self.arena[index] {
                Object::Text(text) => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// Calls the callable on the stack.
    fn call(&mut self, args: Value, pickle: &[u8]) -> Result<(), SparkError> {
        let callable = self.pop()?;
        let args = match args {
            Value::Object(index) => match &self.arena[index] {
                Object::Tuple(args) => args.clone(),
                _ => return Err(malformed()),
            },
            _ => return Err(malformed()),
        };
        let (module, name) = match callable {
            Value::Object(index) => match &self.arena[index] {
                Object::Global(module, name) => (module.clone(), name.clone()),
                _ => return Err(malformed()),
            },
            _ => return Err(malformed()),
        };
        let value = match (module.as_str(), name.as_str(), args.as_slice()) {
            ("decimal", "Decimal", [text]) => {
                let text = self.str(*text, pickle).ok_or_else(malformed)?.to_owned();
                self.alloc(Object::Decimal(text))
            }
            ("pyspark.sql.types", "_create_row", [_, values]) => *values,
            ("pyspark.sql.types", "Row", values) => self.alloc(Object::Tuple(values.to_vec())),
            ("collections", "OrderedDict", []) => self.alloc(Object::Dict(Vec::new())),
            ("builtins", "bytearray", [bytes @ Value::Bytes(..)]) => *bytes,
            ("builtins", "set" | "frozenset", [Value::Object(items)]) => {
                match self.arena[*items].clone() {
                    Object::List(items) => self.alloc(Object::Set(items)),
                    _ => return Err(malformed()),
                }
            }
            // Times have no Java counterpart that Spark would convert: null, see `columns`.
            ("datetime", kind, _) => self.alloc(Object::Instance(format!("datetime.{kind}"))),
            (_, _, []) => self.alloc(Object::Instance(format!("{module}.{name}"))),
            _ => {
                return Err(SparkError::other(format!(
                    "expected zero arguments for construction of ClassDict (for {module}.{name}). \
                     This happens when an unsupported/unregistered class is being unpickled that \
                     requires construction arguments. Fix it by converting the value to a plain \
                     Python one, for example with `.item()`"
                )));
            }
        };
        self.push(value);
        Ok(())
    }
}

fn text(length: usize, input: &mut Input<'_>) -> Result<Value, SparkError> {
    let (start, end) = input.take(length)?;
    Ok(Value::Str(start, end))
}

fn bytes(length: usize, input: &mut Input<'_>) -> Result<Value, SparkError> {
    let (start, end) = input.take(length)?;
    Ok(Value::Bytes(start, end))
}

fn pairs(items: &[Value]) -> Result<Vec<(Value, Value)>, SparkError> {
    if !items.len().is_multiple_of(2) {
        return Err(malformed());
    }
    Ok(items
        .chunks_exact(2)
        .map(|pair| (pair[0], pair[1]))
        .collect())
}
