//! safetensors files, written and read piece by piece: of an archive of a gigabyte, memory never holds a second copy.

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// A number that tensors hold.
pub trait Element: bytemuck::Pod {
    const DTYPE: Dtype;
    /// The number whose bytes are those of this one as files order them, the least significant first; and the way back.
    fn little_endian(self) -> Self;
}

macro_rules! element {
    ($($number:ty: $dtype:ident),*) => {$(
        impl Element for $number {
            const DTYPE: Dtype = Dtype::$dtype;
            fn little_endian(self) -> $number {
                <$number>::from_le_bytes(self.to_ne_bytes())
            }
        }
    )*};
}
element!(u8: U8, u16: U16, u32: U32, i32: I32, f32: F32, u64: U64);

/// The bytes of `values` as files hold them.
fn bytes<T: Element>(values: &[T]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        return Cow::Borrowed(bytemuck::cast_slice(values));
    }
    let swapped: Vec<T> = values.iter().map(|value| value.little_endian()).collect();
    Cow::Owned(bytemuck::cast_slice(&swapped).to_vec())
}

/// Writes the values of a tensor.
type Writing<'a> = Box<dyn Fn(&mut dyn Write) -> io::Result<()> + 'a>;

/// A tensor that hands over its values when it is written.
pub struct Tensor<'a> {
    name: &'static str,
    dtype: Dtype,
    shape: Vec<usize>,
    write: Writing<'a>,
}

impl<'a> Tensor<'a> {
    /// Of `values`, which are as many as `shape` says.
    pub fn new<T: Element>(name: &'static str, shape: Vec<usize>, values: Vec<T>) -> Tensor<'a> {
        Tensor { name, dtype: T::DTYPE, shape, write: Box::new(move |sink| sink.write_all(&bytes(&values))) }
    }

    /// Of the values of all pieces, one after the other.
    pub fn of_pieces<T: Element, P: AsRef<[T]>, I: Iterator<Item = P>>(
        name: &'static str,
        shape: Vec<usize>,
        pieces: impl Fn() -> I + 'a,
    ) -> Tensor<'a> {
        let write = move |sink: &mut dyn Write| pieces().try_for_each(|piece| sink.write_all(&bytes(piece.as_ref())));
        Tensor { name, dtype: T::DTYPE, shape, write: Box::new(write) }
    }

    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// Writes `tensors` and `metadata` in safetensors form. The same input gives the same bytes, those that the crate would write, but
/// that the metadata stand in the order of their keys; the crate's is random.
///
/// # Errors
/// What `sink` says.
pub fn write(
    sink: &mut dyn Write,
    mut tensors: Vec<Tensor>,
    mut metadata: Vec<(&'static str, String)>,
) -> io::Result<()> {
    // Aligned: the widest come first.
    tensors.sort_by(|a, b| b.dtype.cmp(&a.dtype).then(a.name.cmp(b.name)));
    metadata.sort();
    let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value)));
    let mut header = serde_json::Map::from_iter([("__metadata__".to_owned(), Value::Object(metadata.collect()))]);
    let mut end = 0;
    for tensor in &tensors {
        let start = end;
        end += tensor.bytes();
        let info = json!({ "dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [start, end] });
        header.insert(tensor.name.to_owned(), info);
    }
    let mut header = serde_json::to_vec(&header).map_err(io::Error::other)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    sink.write_all(&(header.len() as u64).to_le_bytes())?;
    sink.write_all(&header)?;
    tensors.iter().try_for_each(|tensor| (tensor.write)(sink))
}

/// A safetensors file of which parts are read as they are needed.
pub struct Tensors<R> {
    source: R,
    header: Metadata,
    /// Where the first tensor begins.
    start: u64,
}

/// A tensor of a file: its type and shape have been looked at.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    start: u64,
}

impl<R: Read + Seek> Tensors<R> {
    /// The file that begins at the place `begin` of `source` and fills the rest of it.
    ///
    /// # Errors
    /// If its header cannot be read, or does not account for every byte.
    pub fn open(mut source: R, begin: u64) -> Result<Tensors<R>, String> {
        /// As the crate has it.
        const MOST: u64 = 100_000_000;
        let invalid = |reason: &dyn std::fmt::Display| format!("not safetensors: {reason}");
        let size = source.seek(SeekFrom::End(0)).map_err(|source| invalid(&source))?.saturating_sub(begin);
        source.seek(SeekFrom::Start(begin)).map_err(|source| invalid(&source))?;
        let mut length = [0; 8];
        source.read_exact(&mut length).map_err(|_| invalid(&"it is too short for a header"))?;
        let length = u64::from_le_bytes(length);
        if length > MOST || length > size - 8 {
            return Err(invalid(&format!("a header of {length} bytes in a file of {size}")));
        }
        let mut header = vec![0; length as usize];
        source.read_exact(&mut header).map_err(|source| invalid(&source))?;
        let header: Metadata = serde_json::from_slice(&header).map_err(|source| invalid(&source))?;
        let (want, got) = (header.data_len() as u64, size - 8 - length);
        if want != got {
            return Err(invalid(&format!("{got} bytes of tensors, the header says {want}")));
        }
        Ok(Tensors { source, header, start: begin + 8 + length })
    }

    /// The entries beside the tensors.
    pub fn metadata(&self) -> HashMap<String, String> {
        self.header.metadata().clone().unwrap_or_default()
    }

    /// The shape of tensor `name`.
    ///
    /// # Errors
    /// If there is none.
    pub fn shape(&self, name: &str) -> Result<&[usize], String> {
        self.info(name).map(|info| &info.shape[..])
    }

    fn info(&self, name: &str) -> Result<&TensorInfo, String> {
        self.header.info(name).ok_or_else(|| format!("has no tensor {name:?}"))
    }

    /// The tensor `name`, which must be of numbers `T` and have `shape`.
    ///
    /// # Errors
    /// If there is none, or it is another.
    pub fn place<T: Element>(&self, name: &str, shape: &[usize]) -> Result<Place, String> {
        let TensorInfo { dtype, shape: got, data_offsets: (start, _) } = self.info(name)?;
        if *dtype != T::DTYPE || got != shape {
            return Err(format!("tensor {name:?} is {dtype:?} {got:?}, must be {:?} {shape:?}", T::DTYPE));
        }
        Ok(Place { start: self.start + *start as u64 })
    }

    /// `count` values of the tensor at `place` from the `first` one on.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn values<T: Element>(&mut self, place: Place, first: usize, count: usize) -> Result<Vec<T>, String> {
        let mut values = vec![T::zeroed(); count];
        let at = place.start + (first * size_of::<T>()) as u64;
        let bytes = bytemuck::cast_slice_mut(&mut values);
        let read = self.source.seek(SeekFrom::Start(at)).and_then(|_| self.source.read_exact(bytes));
        read.map_err(|source| format!("cannot be read: {source}"))?;
        values.iter_mut().for_each(|value| *value = value.little_endian());
        Ok(values)
    }

    /// All values of tensor `name`, as [`Tensors::place`].
    ///
    /// # Errors
    /// As there, and as [`Tensors::values`].
    pub fn all<T: Element>(&mut self, name: &str, shape: &[usize]) -> Result<Vec<T>, String> {
        let place = self.place::<T>(name, shape)?;
        self.values(place, 0, shape.iter().product())
    }
}
