//! Tensors of foreign files: where their values lie and of what type they are; read when they are needed.

use crate::network::weights::tuple;
use half::{bf16, f16};
use std::borrow::Cow;
use std::sync::Arc;

/// The most values of a tensor: a gibibyte of float32.
const MAX_VALUES: usize = 1 << 28;
/// The most dimensions. A convolution's weights have four.
pub const MAX_DIMENSIONS: usize = 8;

/// How a value is stored. All are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    F16,
    Bf16,
    F32,
    F64,
    /// What no weight is stored in, by its name in the file's format; its values are never read.
    Other(&'static str),
}

impl Type {
    /// Bytes of a value.
    fn bytes(self) -> Option<usize> {
        match self {
            Type::F16 | Type::Bf16 => Some(2),
            Type::F32 => Some(4),
            Type::F64 => Some(8),
            Type::Other(_) => None,
        }
    }
}

/// A tensor of a file: a view of stored values.
#[derive(Clone, Debug)]
pub struct Tensor<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    dtype: Type,
    data: Data<'a>,
    /// Of the first value, in values.
    offset: usize,
    /// Per dimension, in values. They may be 0, overlap, or leave gaps.
    strides: Vec<usize>,
}

/// Stored values: a part of the file, or gathered from parts of it. Tensors of the same values share them.
#[derive(Clone, Debug)]
enum Data<'a> {
    InFile(&'a [u8]),
    Gathered(Arc<[u8]>),
}

impl<'a> Tensor<'a> {
    /// A tensor whose values are all of `data`, row-major.
    ///
    /// # Errors
    /// If the shape cannot be, or needs more or fewer bytes than there are.
    pub fn contiguous(name: &str, shape: Vec<usize>, dtype: Type, data: Cow<'a, [u8]>) -> Result<Tensor<'a>, String> {
        let values = count(&shape)?;
        if let Some(bytes) = dtype.bytes()
            && data.len() != values * bytes
        {
            let reason = format!("has {} bytes, its shape {} needs {}", data.len(), tuple(&shape), values * bytes);
            return Err(format!("tensor {name:?} {reason}"));
        }
        let data = match data {
            Cow::Borrowed(bytes) => Data::InFile(bytes),
            Cow::Owned(bytes) => Data::Gathered(bytes.into()),
        };
        let strides = row_major(&shape);
        Ok(Tensor { name: name.to_string(), shape, dtype, data, offset: 0, strides })
    }

    /// A tensor whose value at an index is that of `data` at `offset` and the sum of index times stride.
    ///
    /// # Errors
    /// If the shape cannot be, or a value would lie beyond the data.
    pub fn view(
        name: &str,
        shape: Vec<usize>,
        strides: Vec<usize>,
        offset: usize,
        dtype: Type,
        data: &'a [u8],
    ) -> Result<Tensor<'a>, String> {
        let values = count(&shape).map_err(|reason| format!("tensor {name:?}: {reason}"))?;
        if strides.len() != shape.len() {
            return Err(format!("tensor {name:?} has {} dimensions and {} strides", shape.len(), strides.len()));
        }
        if let Some(bytes) = dtype.bytes()
            && values > 0
        {
            let last = shape.iter().zip(&strides).try_fold(offset, |at, (&size, &stride)| {
                (size - 1).checked_mul(stride).and_then(|step| at.checked_add(step))
            });
            let stored = data.len() / bytes;
            if last.is_none_or(|last| last >= stored) {
                return Err(format!(
                    "tensor {name:?} of shape {} reaches beyond its storage of {stored} values",
                    tuple(&shape)
                ));
            }
        }
        Ok(Tensor { name: name.to_string(), shape, dtype, data: Data::InFile(data), offset, strides })
    }

    /// How many values.
    pub fn len(&self) -> usize {
        self.shape.iter().product() // checked when it was made
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same values under another shape; `None` if that has not as many, or they do not lie one after the other.
    pub fn reshaped(&self, shape: &[usize]) -> Option<Tensor<'a>> {
        let fits = self.strides == row_major(&self.shape) && shape.iter().product::<usize>() == self.len();
        fits.then(|| Tensor { shape: shape.to_vec(), strides: row_major(shape), ..self.clone() })
    }

    /// A matrix with rows and columns exchanged.
    pub fn transposed(mut self) -> Tensor<'a> {
        self.shape.reverse();
        self.strides.reverse();
        self
    }

    /// The values, row-major, as float32: exactly those stored.
    ///
    /// # Errors
    /// If they are of a type that is not read, if one is NaN or infinite, or if one of type float64 is not a float32.
    pub fn values(&self) -> Result<Vec<f32>, String> {
        match self.dtype {
            Type::F16 => self.read(|word| Ok(f16::from_le_bytes(word).to_f32())),
            Type::Bf16 => self.read(|word| Ok(bf16::from_le_bytes(word).to_f32())),
            Type::F32 => self.read(|word| Ok(f32::from_le_bytes(word))),
            Type::F64 => self.read(|word| {
                let value = f64::from_le_bytes(word);
                if f64::from(value as f32) == value || !value.is_finite() {
                    Ok(value as f32)
                } else {
                    Err(format!("{value:e} of type float64, which is no float32; round it to float32 first"))
                }
            }),
            Type::Other(name) => Err(format!("has type {name}, wanted float32, float64, float16 or bfloat16")),
        }
    }

    /// The values as `convert` makes them of `N` bytes each.
    fn read<const N: usize>(&self, convert: impl Fn([u8; N]) -> Result<f32, String>) -> Result<Vec<f32>, String> {
        let data = match &self.data {
            Data::InFile(bytes) => bytes,
            Data::Gathered(bytes) => &bytes[..],
        };
        let (words, _) = data.as_chunks::<N>();
        let mut values = Vec::with_capacity(self.len());
        let mut take = |at: usize| {
            let flat = values.len();
            let value = convert(words[at]).map_err(|reason| format!("has at flat index {flat} {reason}"))?;
            if !value.is_finite() {
                return Err(format!("has {value} at flat index {flat}, wanted finite numbers"));
            }
            values.push(value);
            Ok(())
        };
        // The last dimension is the inner loop; `index` counts the others.
        let (&width, outer) = self.shape.split_last().unwrap_or((&1, &[]));
        let (&stride, steps) = self.strides.split_last().unwrap_or((&1, &[]));
        let mut index = vec![0; outer.len()];
        let mut start = self.offset;
        for _ in 0..outer.iter().product() {
            for x in 0..width {
                take(start + x * stride)?;
            }
            for dimension in (0..outer.len()).rev() {
                index[dimension] += 1;
                start += steps[dimension];
                if index[dimension] < outer[dimension] {
                    break;
                }
                start -= index[dimension] * steps[dimension];
                index[dimension] = 0;
            }
        }
        Ok(values)
    }
}

/// The strides of a tensor whose values lie one after the other.
fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for dimension in (1..shape.len()).rev() {
        strides[dimension - 1] = strides[dimension] * shape[dimension].max(1); // see `count`
    }
    strides
}

/// How many values a tensor of this shape has.
fn count(shape: &[usize]) -> Result<usize, String> {
    if shape.len() > MAX_DIMENSIONS {
        return Err(format!("a shape of {} dimensions, wanted at most {MAX_DIMENSIONS}", shape.len()));
    }
    let values = shape.iter().try_fold(1_usize, |values, &size| values.checked_mul(size));
    // Of a shape with a zero the other sizes count too: strides are made of them.
    let fits = shape.iter().try_fold(1_usize, |values, &size| values.checked_mul(size.max(1)));
    values
        .filter(|_| fits.is_some_and(|fits| fits <= MAX_VALUES))
        .ok_or_else(|| format!("a shape of {} has more than {MAX_VALUES} values", tuple(shape)))
}
