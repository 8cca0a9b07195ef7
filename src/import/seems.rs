//! What kind of file some bytes are.

use super::pth;
use super::wire::{Value, fields};

/// A format that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Caffe,
    Onnx,
    Safetensors,
    /// A zip archive of PyTorch 1.6 or later.
    PthZip,
    /// Pickles of an earlier PyTorch.
    PthLegacy,
}

impl Format {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Caffe => "Caffe model",
            Format::Onnx => "ONNX model",
            Format::Safetensors => "safetensors",
            Format::PthZip => "PyTorch state dict (zip archive)",
            Format::PthLegacy => "PyTorch state dict (before PyTorch 1.6)",
        }
    }
}

/// What is said of a Caffe blob.
pub const BLOB: &str = "it seems to be a Caffe blob, perhaps a mean image: give it with --mean";

/// How files begin that people may take for weights, and what they are.
const OTHERS: [(&[u8], &str); 17] = [
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x1f\x8b", "a gzip file; unpack it first"),
    (b"BZh", "a bzip2 file; unpack it first"),
    (b"\xfd7zXZ", "an xz file; unpack it first"),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it first"),
    (b"\x89HDF", "an HDF5 file (Keras, or Caffe's .caffemodel.h5)"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"GGUF", "a GGUF file"),
    (b"\x7fELF", "a program"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`"),
    (b"<!DOCTYPE", "a web page, perhaps of a download that failed"),
    (b"<!doctype", "a web page, perhaps of a download that failed"),
    (b"<html", "a web page, perhaps of a download that failed"),
    (b"pareidolia checkpoint", "a checkpoint of a run"),
    (b"name:", "a text; a .prototxt has no weights, the .caffemodel has them"),
    (b"layer", "a text; a .prototxt has no weights, the .caffemodel has them"),
];

/// The format of a file.
///
/// # Errors
/// What it seems to be instead.
pub fn format(bytes: &[u8]) -> Result<Format, String> {
    if bytes.is_empty() {
        return Err("an empty file".to_string());
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Ok(Format::PthZip);
    }
    if pth::is_legacy(bytes) {
        return Ok(Format::PthLegacy);
    }
    if let [length @ .., b'{'] = &bytes[..bytes.len().min(9)]
        && let Ok(length) = length.try_into()
        && u64::from_le_bytes(length) < 1 << 32
    {
        return Ok(Format::Safetensors);
    }
    if let Some((_, what)) = OTHERS.iter().find(|(begin, _)| bytes.starts_with(begin)) {
        return Err(format!("it seems to be {what}"));
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Err("it seems to be a tar archive (PyTorch before 0.2 wrote such); save it again with a later PyTorch"
            .to_string());
    }
    if bytes.get(4..8) == Some(b"TFL3") {
        return Err("it seems to be a TensorFlow Lite model".to_string());
    }
    if let [0x80, 2..=5, ..] = bytes {
        return Err("it seems to be a pickle, but none that torch.save has written".to_string());
    }
    message(bytes).ok_or_else(|| {
        "of no format that is known here: wanted a .caffemodel, .pth, .safetensors or .onnx file".to_string()
    })?
}

/// What protocol buffer a file is, by the wire types of its fields up to the first that tells.
fn message(bytes: &[u8]) -> Option<Result<Format, String>> {
    let mut onnx = false;
    for field in fields(bytes) {
        match field {
            // ModelProto: ir_version (1) is a number, graph (7) a message; other fields between them are texts.
            Ok((1, Value::Varint(1..=100))) => onnx = true,
            Ok((7, Value::Bytes(_))) if onnx => return Some(Ok(Format::Onnx)),
            // BlobProto: num, channels, height, width (1 to 4) are numbers, data (5) are floats.
            Ok((2..=4, Value::Varint(_))) if onnx => {
                return Some(Err(BLOB.to_string()));
            }
            // NetParameter: name (1) is a text; layers (2) and layer (100) are messages.
            Ok((2 | 100, Value::Bytes(_))) if !onnx => return Some(Ok(Format::Caffe)),
            Ok((1, Value::Bytes(_))) => {}
            Ok((3..=8, _)) => {}
            Ok((2, Value::Bytes(_))) if onnx => {}
            // Cut within a field that tells: what it is, its reader will say.
            Err(reason) if onnx && reason.starts_with("truncated: field 7") => return Some(Ok(Format::Onnx)),
            Err(reason)
                if !onnx
                    && (reason.starts_with("truncated: field 2 ") || reason.starts_with("truncated: field 100 ")) =>
            {
                return Some(Ok(Format::Caffe));
            }
            _ => return None,
        }
    }
    None
}
