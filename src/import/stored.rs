//! Tensors of safetensors files, of any of the types that weights are stored in.

use super::tensor::{Tensor, Type};
use crate::error::one_line;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use std::borrow::Cow;

/// The longest header: some hundred tensors need 50 kB.
const MAX_HEADER_BYTES: u64 = 1 << 24;

/// The tensors of a safetensors file.
///
/// # Errors
/// What is broken.
pub fn read(bytes: &[u8]) -> Result<Vec<Tensor<'_>>, String> {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Err(format!("truncated: it has {} bytes", bytes.len()));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES || length > rest.len() as u64 {
        return Err(format!("truncated: it announces a header of {length} bytes, {} follow", rest.len()));
    }
    let (length, header) = SafeTensors::read_metadata(bytes)
        .map_err(|error| format!("broken or truncated: {}", one_line(&error.to_string())))?;
    let data = &rest[length..];
    let mut tensors = Vec::new();
    for name in header.offset_keys() {
        let info = header.info(&name).expect("one of its keys");
        let dtype = match info.dtype {
            Dtype::F16 => Type::F16,
            Dtype::BF16 => Type::Bf16,
            Dtype::F32 => Type::F32,
            Dtype::F64 => Type::F64,
            Dtype::I64 => Type::Other("int64"),
            Dtype::I32 => Type::Other("int32"),
            Dtype::I16 => Type::Other("int16"),
            Dtype::I8 => Type::Other("int8"),
            Dtype::U8 => Type::Other("uint8"),
            Dtype::BOOL => Type::Other("bool"),
            _ => Type::Other("that no weights are stored in here"),
        };
        let bytes = &data[info.data_offsets.0..info.data_offsets.1];
        tensors.push(Tensor::contiguous(&one_line(&name), info.shape.clone(), dtype, Cow::Borrowed(bytes))?);
    }
    Ok(tensors)
}
