//! The wire form of protocol buffers, field by field.
//!
//! Nothing is copied and nothing allocated: a message's weights, a gibibyte of them perhaps, stay where they are in the file. That is why
//! this is no derived message type of a crate: those own what they decode, and hold some ten bytes for each byte of a hostile file.
//! The form: <https://protobuf.dev/programming-guides/encoding/>.

use std::borrow::Cow;

/// The longest name of a layer or a blob that is read.
const MAX_NAME: usize = 1 << 10;

/// The value of a field, as it is encoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// int32, int64, uint32, uint64, bool, enum
    Varint(u64),
    /// double, fixed64
    Eight(&'a [u8; 8]),
    /// string, bytes, a message, packed numbers
    Bytes(&'a [u8]),
    /// float, fixed32
    Four(&'a [u8; 4]),
}

/// The fields of a message, in the file's order: number and value.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// The fields of `message`.
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[]; // what follows a broken field means nothing
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Value<'a>), String> {
        let key = self.varint()?;
        let (number, wire_type) = (key >> 3, key & 7);
        // A field number has 29 bits and is not 0.
        if number == 0 || number >> 29 != 0 {
            return Err(format!("field number {number}"));
        }
        let value = match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => Value::Eight(self.take(8, number)?.try_into().expect("eight bytes")),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length, number)?)
            }
            5 => Value::Four(self.take(4, number)?.try_into().expect("four bytes")),
            _ => return Err(format!("field {number} has wire type {wire_type}, which is not in use")),
        };
        Ok((number, value))
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for at in 0..10 {
            let Some((&byte, rest)) = self.rest.split_first() else {
                return Err("truncated: it ends within a number".to_string());
            };
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << (7 * at); // of the tenth byte, one bit counts
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number of more than ten bytes".to_string())
    }

    fn take(&mut self, length: u64, number: u64) -> Result<&'a [u8], String> {
        let taken = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let Some((taken, rest)) = taken else {
            return Err(format!("truncated: field {number} announces {length} bytes, {} follow", self.rest.len()));
        };
        self.rest = rest;
        Ok(taken)
    }
}

impl<'a> Value<'a> {
    /// A message, a text or other bytes.
    pub fn bytes(self) -> Result<&'a [u8], String> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err("a number where a message belongs".to_string()),
        }
    }

    /// A name.
    pub fn text(self) -> Result<&'a str, String> {
        let bytes = self.bytes()?;
        if bytes.len() > MAX_NAME {
            return Err(format!("a name of {} bytes", bytes.len()));
        }
        str::from_utf8(bytes).map_err(|_| "a name that is not UTF-8".to_string())
    }

    /// An integer, of which a negative one has ten bytes.
    pub fn int(self) -> Result<i64, String> {
        match self {
            Value::Varint(value) => Ok(value as i64),
            _ => Err("other bytes where an integer belongs".to_string()),
        }
    }

    /// A size: an integer from 0 to 2^31.
    pub fn size(self) -> Result<usize, String> {
        size(self.int()?)
    }

    /// A float32.
    pub fn float(self) -> Result<f32, String> {
        match self {
            Value::Four(word) => Ok(f32::from_le_bytes(*word)),
            _ => Err("other bytes where a float belongs".to_string()),
        }
    }

    /// Appends repeated integers, packed or one by one, of which there may be `most`.
    pub fn ints(self, list: &mut Vec<i64>, most: usize) -> Result<(), String> {
        match self {
            Value::Varint(value) => list.push(value as i64),
            Value::Bytes(packed) => {
                let mut rest = Fields { rest: packed };
                while !rest.rest.is_empty() && list.len() <= most {
                    list.push(rest.varint()? as i64);
                }
            }
            _ => return Err("other bytes where integers belong".to_string()),
        }
        if list.len() > most { Err(format!("more than {most} integers in a list")) } else { Ok(()) }
    }

    /// Appends repeated floats or doubles, packed or one by one, as little-endian bytes.
    pub fn words(self, words: &mut Cow<'a, [u8]>) -> Result<(), String> {
        let more = match self {
            Value::Bytes(packed) => packed,
            Value::Four(word) => word,
            Value::Eight(word) => word,
            Value::Varint(_) => return Err("an integer where a float belongs".to_string()),
        };
        if words.is_empty() {
            *words = Cow::Borrowed(more);
        } else {
            words.to_mut().extend_from_slice(more);
        }
        Ok(())
    }
}

/// An integer of a file as a size.
pub fn size(value: i64) -> Result<usize, String> {
    u32::try_from(value)
        .ok()
        .filter(|&size| size <= 1 << 31)
        .map(|size| size as usize)
        .ok_or_else(|| format!("a size of {value}"))
}
