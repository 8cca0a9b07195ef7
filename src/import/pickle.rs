//! The few opcodes of Python's pickles that a state dict of PyTorch is made of.
//!
//! A pickle is a program, and Python runs it: it may call anything. Here nothing is called. A global is one of the names in `Global`,
//! `REDUCE` makes a dict or a tensor of its arguments, and everything else is refused by name. Values refer to one another by number,
//! so that neither deep nesting nor a list that holds itself costs more than what it takes in the file. The opcodes are described in Python's
//! Lib/pickletools.py, what PyTorch writes with them in torch/serialization.py and torch/_utils.py.

use super::tensor::{MAX_DIMENSIONS, Type};
use std::collections::HashMap;

/// The longest pickle. A state dict takes some 200 bytes a tensor.
const MAX_BYTES: usize = 4 << 20;
/// The most values of a pickle. A state dict takes some twelve a tensor.
const MAX_VALUES: usize = 1 << 18;

/// A value, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id(u32);

/// What a pickle may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildTensorV2,
    RebuildParameter,
    Storage(Type),
}

impl Global {
    fn named(module: &str, name: &str) -> Option<Global> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor") => Global::RebuildTensor, // until PyTorch 0.3
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensorV2,
            ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
            ("torch", "HalfStorage") => Global::Storage(Type::F16),
            ("torch", "BFloat16Storage") => Global::Storage(Type::Bf16),
            ("torch", "FloatStorage") => Global::Storage(Type::F32),
            ("torch", "DoubleStorage") => Global::Storage(Type::F64),
            // Counters of batch normalisation are of type int64, and nobody needs them.
            ("torch", "LongStorage") => Global::Storage(Type::Other("int64")),
            ("torch", "IntStorage") => Global::Storage(Type::Other("int32")),
            ("torch", "ShortStorage") => Global::Storage(Type::Other("int16")),
            ("torch", "CharStorage") => Global::Storage(Type::Other("int8")),
            ("torch", "ByteStorage") => Global::Storage(Type::Other("uint8")),
            ("torch", "BoolStorage") => Global::Storage(Type::Other("bool")),
            _ => return None,
        })
    }
}

#[derive(Debug)]
enum Value<'a> {
    None,
    Bool,
    Int(i64),
    /// An integer of more than eight bytes.
    Long(&'a [u8]),
    Float,
    Text(&'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage<'a>),
    Tensor {
        storage: Storage<'a>,
        offset: u64,
        shape: Id,
        strides: Id,
    },
}

/// A storage that a tensor is a view of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage<'a> {
    pub dtype: Type,
    /// Under which name the file has it.
    pub key: &'a str,
    /// Values of the whole storage.
    pub len: u64,
    /// Where this view of it begins, in values.
    offset: u64,
}

/// A tensor of a state dict.
#[derive(Debug)]
pub struct View<'a> {
    pub storage: Storage<'a>,
    /// In values, from the storage's begin.
    pub offset: u64,
    pub shape: Vec<i64>,
    pub strides: Vec<i64>,
}

/// A pickle that has been read.
#[derive(Debug)]
pub struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
    /// Bytes that it takes.
    pub len: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that `bytes` begin with.
    ///
    /// # Errors
    /// What it wants that no state dict needs, or where it breaks off.
    pub fn read(bytes: &'a [u8]) -> Result<Pickle<'a>, String> {
        let mut machine = Machine {
            bytes: &bytes[..bytes.len().min(MAX_BYTES)],
            at: 0,
            cut: bytes.len() > MAX_BYTES,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            copied: 0,
        };
        let root = loop {
            let start = machine.at;
            if let Some(root) = machine.step().map_err(|reason| format!("pickle, byte {start}: {reason}"))? {
                break root;
            }
        };
        Ok(Pickle { values: machine.values, root, len: machine.at })
    }

    fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    /// Whether it is nothing but this integer, in the pickle's own bytes, of any length.
    pub fn is_long(&self, little_endian: &[u8]) -> bool {
        matches!(self.get(self.root), Value::Long(bytes) if *bytes == little_endian)
    }

    /// The integer that it is.
    pub fn int(&self) -> Option<i64> {
        match *self.get(self.root) {
            Value::Int(value) => Some(value),
            _ => None,
        }
    }

    /// The list of texts that it is.
    pub fn texts(&self) -> Option<Vec<&'a str>> {
        let Value::List(items) = self.get(self.root) else { return None };
        items.iter().map(|&item| self.text(item)).collect()
    }

    /// All storages that its tensors and nobody else may refer to.
    pub fn storages(&self) -> impl Iterator<Item = Storage<'a>> {
        self.values.iter().filter_map(|value| match value {
            Value::Storage(storage) => Some(*storage),
            _ => None,
        })
    }

    /// Its tensors by name, in order.
    ///
    /// # Errors
    /// If it is not a dict of tensors.
    pub fn state_dict(&self) -> Result<Vec<(&'a str, View<'a>)>, String> {
        let Value::Dict(items) = self.get(self.root) else {
            return Err(format!("holds {}, wanted a dict of tensors: save model.state_dict()", self.kind(self.root)));
        };
        let mut tensors = Vec::new();
        for &(key, value) in items {
            let Some(name) = self.text(key) else {
                return Err(format!("a key of its dict is {}, wanted the name of a tensor", self.kind(key)));
            };
            let &Value::Tensor { storage, offset, shape, strides } = self.get(value) else {
                return Err(format!(
                    "its {:?} is {}, wanted a tensor: save model.state_dict()",
                    crate::error::one_line(name),
                    self.kind(value)
                ));
            };
            let ints = |id| {
                self.ints(id).ok_or_else(|| {
                    format!("tensor {name:?}: its shape or strides are not up to {MAX_DIMENSIONS} integers")
                })
            };
            tensors.push((name, View { storage, offset, shape: ints(shape)?, strides: ints(strides)? }));
        }
        Ok(tensors)
    }

    fn text(&self, id: Id) -> Option<&'a str> {
        match *self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn ints(&self, id: Id) -> Option<Vec<i64>> {
        let (Value::Tuple(items) | Value::List(items)) = self.get(id) else { return None };
        if items.len() > MAX_DIMENSIONS {
            return None; // many tensors may have the same long list
        }
        let int = |&item| match *self.get(item) {
            Value::Int(value) => Some(value),
            _ => None,
        };
        items.iter().map(int).collect()
    }

    fn kind(&self, id: Id) -> &'static str {
        self.get(id).kind()
    }
}

impl Value<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool => "a bool",
            Value::Int(_) | Value::Long(_) => "an integer",
            Value::Float => "a float",
            Value::Text(_) => "a text",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dict",
            Value::Global(_) => "a class or function",
            Value::Storage(_) => "a storage",
            Value::Tensor { .. } => "a tensor",
        }
    }
}

/// A pickle that is being read.
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether more bytes follow, which are not read.
    cut: bool,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Items of OrderedDicts that were made of lists.
    copied: usize,
}

impl<'a> Machine<'a> {
    /// Executes an opcode; the value of the pickle at its end.
    fn step(&mut self) -> Result<Option<Id>, String> {
        match self.byte()? {
            b'.' => return self.pop().map(Some), // STOP
            0x80 => {
                // PROTO
                let version = self.byte()?;
                if !(2..=5).contains(&version) {
                    return Err(format!("protocol {version}, wanted 2 to 5"));
                }
            }
            0x95 => _ = self.take(8)?, // FRAME: how much may be read at once

            b'N' => self.push(Value::None)?,
            0x88 | 0x89 => self.push(Value::Bool)?, // NEWTRUE, NEWFALSE
            b'K' => {
                // BININT1
                let value = self.byte()?;
                self.push(Value::Int(value.into()))?;
            }
            b'M' => {
                // BININT2
                let value = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(value.into()))?;
            }
            b'J' => {
                // BININT
                let value = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(value.into()))?;
            }
            0x8a => {
                // LONG1: two's complement of any length
                let length = self.byte()?;
                let bytes = self.take(length.into())?;
                let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
                let mut word = if negative { [0xff; 8] } else { [0; 8] };
                let value = match word.get_mut(..bytes.len()) {
                    Some(low) => {
                        low.copy_from_slice(bytes);
                        Value::Int(i64::from_le_bytes(word))
                    }
                    None => Value::Long(bytes),
                };
                self.push(value)?;
            }
            b'G' => {
                // BINFLOAT
                self.take(8)?;
                self.push(Value::Float)?;
            }
            b'X' => {
                // BINUNICODE
                let length = u32::from_le_bytes(self.array()?);
                self.text(length.into())?;
            }
            0x8c => {
                // SHORT_BINUNICODE
                let length = self.byte()?;
                self.text(length.into())?;
            }
            0x8d => {
                // BINUNICODE8
                let length = u64::from_le_bytes(self.array()?);
                self.text(length)?;
            }
            b'T' => {
                // BINSTRING: what Python 2 writes for a text
                let length = u32::from_le_bytes(self.array()?);
                self.text(length.into())?;
            }
            b'U' => {
                // SHORT_BINSTRING
                let length = self.byte()?;
                self.text(length.into())?;
            }

            b'(' => {
                // MARK
                if self.marks.len() == MAX_VALUES {
                    return Err(format!("more than {MAX_VALUES} marks: no state dict"));
                }
                self.marks.push(self.stack.len());
            }
            b')' => self.push(Value::Tuple(Vec::new()))?,
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => {
                // TUPLE
                let items = self.pop_mark()?;
                self.push(Value::Tuple(items))?;
            }
            b']' => self.push(Value::List(Vec::new()))?,
            b'a' => {
                // APPEND
                let item = self.pop()?;
                self.list()?.push(item);
            }
            b'e' => {
                // APPENDS
                let items = self.pop_mark()?;
                self.list()?.extend(items);
            }
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b's' => {
                // SETITEM
                let (value, key) = (self.pop()?, self.pop()?);
                self.dict()?.push((key, value));
            }
            b'u' => {
                // SETITEMS
                let items = self.pop_mark()?;
                let (pairs, []) = items.as_chunks::<2>() else {
                    return Err("SETITEMS of an odd number of keys and values".to_string());
                };
                self.dict()?.extend(pairs.iter().map(|&[key, value]| (key, value)));
            }

            b'q' => {
                // BINPUT
                let index = self.byte()?;
                self.remember(index.into())?;
            }
            b'r' => {
                // LONG_BINPUT
                let index = u32::from_le_bytes(self.array()?);
                self.remember(index)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?, // MEMOIZE
            b'h' => {
                // BINGET
                let index = self.byte()?;
                self.recall(index.into())?;
            }
            b'j' => {
                // LONG_BINGET
                let index = u32::from_le_bytes(self.array()?);
                self.recall(index)?;
            }

            b'c' => {
                // GLOBAL
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                // STACK_GLOBAL
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.get(module), self.get(name)) {
                    (&Value::Text(module), &Value::Text(name)) => self.global(module, name)?,
                    _ => return Err("a class or function whose name is no text".to_string()),
                }
            }
            b'R' => {
                // REDUCE
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.reduce(function, arguments)?;
            }
            b'b' => {
                // BUILD: an OrderedDict's attributes, such as the versions in `_metadata`
                self.pop()?;
                self.dict()?;
            }
            b'Q' => {
                // BINPERSID
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(Value::Storage(storage))?;
            }
            opcode => {
                return Err(format!(
                    "opcode 0x{opcode:02x}{}, which no state dict needs",
                    if opcode.is_ascii_graphic() { format!(" ({})", opcode as char) } else { String::new() }
                ));
            }
        }
        Ok(None)
    }

    // --- bytes ---

    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let left = self.bytes.len() - self.at;
        match usize::try_from(length).ok().filter(|&length| length <= left) {
            Some(length) => {
                self.at += length;
                Ok(&self.bytes[self.at - length..self.at])
            }
            None if self.cut => Err(format!("longer than {MAX_BYTES} bytes: no state dict")),
            None => Err(format!("truncated: {length} bytes wanted, {left} left")),
        }
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.take(1).map(|byte| byte[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N as u64).map(|bytes| bytes.try_into().expect("as many as asked for"))
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let left = &self.bytes[self.at..];
        let length = left.iter().position(|&byte| byte == b'\n').unwrap_or(left.len());
        let line = self.take(length as u64)?;
        self.byte()?;
        utf8(line)
    }

    fn text(&mut self, length: u64) -> Result<(), String> {
        let text = utf8(self.take(length)?)?;
        self.push(Value::Text(text))
    }

    // --- stack and memo ---

    fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), String> {
        if self.values.len() == MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values: no state dict"));
        }
        self.stack.push(Id(self.values.len() as u32));
        self.values.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("it takes from an empty stack".to_string());
        }
        Ok(self.stack.pop().expect("not empty"))
    }

    /// What was pushed since the last mark, which goes too.
    fn pop_mark(&mut self) -> Result<Vec<Id>, String> {
        let height = self.marks.pop().ok_or("there is no mark on the stack")?;
        Ok(self.stack.drain(height..).collect()) // split_off would keep the stack's capacity
    }

    fn top(&self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack[floor..].last().copied().ok_or_else(|| "it looks at an empty stack".to_string())
    }

    fn tuple(&mut self, n: usize) -> Result<(), String> {
        let mut items = Vec::with_capacity(n);
        for _ in 0..n {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push(Value::Tuple(items))
    }

    fn list(&mut self) -> Result<&mut Vec<Id>, String> {
        let top = self.top()?;
        match &mut self.values[top.0 as usize] {
            Value::List(items) => Ok(items),
            other => Err(format!("it appends to {}", other.kind())),
        }
    }

    fn dict(&mut self) -> Result<&mut Vec<(Id, Id)>, String> {
        let top = self.top()?;
        match &mut self.values[top.0 as usize] {
            Value::Dict(items) => Ok(items),
            other => Err(format!("it sets an item or a state of {}", other.kind())),
        }
    }

    fn remember(&mut self, index: u32) -> Result<(), String> {
        let top = self.top()?;
        if self.memo.len() == MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values to remember: no state dict"));
        }
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), String> {
        let id = self.memo.get(&index).ok_or_else(|| format!("nothing is remembered under {index}"))?;
        self.stack.push(*id);
        Ok(())
    }

    // --- what a state dict is made of ---

    fn global(&mut self, module: &str, name: &str) -> Result<(), String> {
        match Global::named(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => Err(format!(
                "it wants {:?}; of a state dict's pickle only tensors and dicts are read, and nothing is executed",
                crate::error::one_line(&format!("{module}.{name}"))
            )),
        }
    }

    fn reduce(&mut self, function: Id, arguments: Id) -> Result<(), String> {
        let &Value::Global(function) = self.get(function) else {
            return Err(format!("it calls {}", self.get(function).kind()));
        };
        let Value::Tuple(arguments) = self.get(arguments) else {
            return Err(format!("it calls with {}", self.get(arguments).kind()));
        };
        let value = match (function, &arguments[..]) {
            (Global::OrderedDict, []) => Value::Dict(Vec::new()),
            (Global::OrderedDict, &[items]) => {
                // Python 2 gives the items as a list of lists.
                let Value::List(items) = self.get(items) else {
                    return Err("an OrderedDict of something else than a list".to_string());
                };
                let pair = |&item: &Id| match self.get(item) {
                    Value::List(pair) | Value::Tuple(pair) => {
                        pair[..].try_into().ok().map(|[key, value]: [Id; 2]| (key, value))
                    }
                    _ => None,
                };
                let pairs: Option<Vec<(Id, Id)>> = items.iter().map(pair).collect();
                let pairs = pairs.ok_or("an OrderedDict whose items are not keys and values")?;
                // The same list may be copied again and again.
                self.copied += pairs.len();
                if self.copied > MAX_VALUES {
                    return Err(format!("more than {MAX_VALUES} items in OrderedDicts: no state dict"));
                }
                Value::Dict(pairs)
            }
            (Global::RebuildTensor, &[storage, offset, shape, strides])
            | (Global::RebuildTensorV2, &[storage, offset, shape, strides, ..]) => {
                let (&Value::Storage(storage), &Value::Int(offset)) = (self.get(storage), self.get(offset)) else {
                    return Err("a tensor without a storage and an offset".to_string());
                };
                let offset = u64::try_from(offset).ok().and_then(|offset| offset.checked_add(storage.offset));
                let offset = offset.ok_or("a tensor whose offset cannot be")?;
                Value::Tensor { storage, offset, shape, strides }
            }
            (Global::RebuildParameter, &[data, ..]) => {
                // A tensor that can be trained: the tensor itself.
                if !matches!(self.get(data), Value::Tensor { .. }) {
                    return Err(format!("a parameter of {}", self.get(data).kind()));
                }
                self.stack.push(data);
                return Ok(());
            }
            (function, arguments) => return Err(format!("it calls {function:?} with {} arguments", arguments.len())),
        };
        self.push(value)
    }

    /// The storage that a persistent id names: ("storage", class, key, device, length), in the older format with None or
    /// (key of the view, offset, length) behind it.
    fn storage(&self, id: Id) -> Result<Storage<'a>, String> {
        let wrong = || Err("a persistent id that names no storage".to_string());
        let Value::Tuple(items) = self.get(id) else { return wrong() };
        let Some((&[kind, class, key, _device, len], rest)) = items.split_first_chunk() else { return wrong() };
        let (Value::Text("storage"), &Value::Global(Global::Storage(dtype)), &Value::Text(key), &Value::Int(len)) =
            (self.get(kind), self.get(class), self.get(key), self.get(len))
        else {
            return wrong();
        };
        let offset = match rest {
            [] => 0,
            &[view] => match self.get(view) {
                Value::None => 0,
                Value::Tuple(view) => match view[..] {
                    [_, offset, _] => match *self.get(offset) {
                        Value::Int(offset) => offset,
                        _ => return wrong(),
                    },
                    _ => return wrong(),
                },
                _ => return wrong(),
            },
            _ => return wrong(),
        };
        match (u64::try_from(len), u64::try_from(offset)) {
            (Ok(len), Ok(offset)) => Ok(Storage { dtype, key, len, offset }),
            _ => wrong(),
        }
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    str::from_utf8(bytes).map_err(|_| "a text that is not UTF-8".to_string())
}
