//! State dicts that PyTorch's `torch.save` has written: a zip archive since PyTorch 1.6, a row of pickles before.
//!
//! The archive holds, under a folder of any name, `data.pkl` (the dict), `data/KEY` (the storages, uncompressed) and `byteorder`. The older
//! format is a magic number, a protocol number, a dict about the system, the state dict, the list of the storages' keys, each a
//! pickle, then for each key the number of values as an i64 and the values. Both from torch/serialization.py.

use super::pickle::{Pickle, Storage};
use super::tensor::{Tensor, Type};
use crate::error::one_line;
use rawzip::{CompressionMethod, ZipArchive};
use std::collections::HashMap;

/// The most entries of an archive: a storage is one.
const MAX_ENTRIES: usize = 1 << 16;
/// 0x1950a86a20f9469cfc6c, little-endian: what an older file begins with, as a pickle.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Whether `bytes` begin like a file of the older format.
pub fn is_legacy(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, 0x8a, 10, rest @ ..] if rest.starts_with(&MAGIC))
}

/// The tensors of a zip archive, in the dict's order.
///
/// # Errors
/// What is broken, or not what `torch.save(model.state_dict(), FILE)` writes.
pub fn read_zip(bytes: &[u8]) -> Result<Vec<Tensor<'_>>, String> {
    let archive = Archive::open(bytes)?;
    let pickle = Pickle::read(archive.entry("data.pkl")?)?;
    if let Ok(order) = archive.entry("byteorder")
        && order != b"little"
    {
        return Err(format!("its byte order is {:?}, wanted little", one_line(&String::from_utf8_lossy(order))));
    }
    let mut storages: HashMap<&str, &[u8]> = HashMap::new();
    tensors(&pickle, |storage| {
        if let Some(data) = storages.get(storage.key) {
            return Ok(data);
        }
        let data = archive.entry(&format!("data/{}", storage.key))?;
        storages.insert(storage.key, data);
        Ok(data)
    })
}

/// The tensors of a file of the older format, in the dict's order.
///
/// # Errors
/// What is broken, or not what `torch.save(model.state_dict(), FILE)` writes.
pub fn read_legacy(bytes: &[u8]) -> Result<Vec<Tensor<'_>>, String> {
    let mut rest = bytes;
    let mut next = |what: &str| {
        let pickle = Pickle::read(rest).map_err(|reason| format!("{what}: {reason}"))?;
        rest = &rest[pickle.len..];
        Ok::<_, String>(pickle)
    };
    if !next("magic number")?.is_long(&MAGIC) {
        return Err("a pickle, but none that torch.save has written".to_string());
    }
    let protocol = next("protocol")?.int();
    if protocol != Some(1001) {
        return Err(format!("protocol {protocol:?} of torch.save, wanted 1001"));
    }
    next("system")?;
    let pickle = next("state dict")?;
    let keys = next("keys of the storages")?.texts().ok_or("the keys of its storages are no list of texts")?;

    let types: HashMap<&str, Storage> = pickle.storages().map(|storage| (storage.key, storage)).collect();
    let mut storages = HashMap::new();
    for key in keys {
        let Some(storage) = types.get(key) else {
            return Err(format!("storage {:?} belongs to no tensor", one_line(key)));
        };
        let truncated = || format!("truncated within storage {:?}", one_line(key));
        let (len, after) = rest.split_first_chunk().ok_or_else(truncated)?;
        let bytes = width(storage.dtype).and_then(|width| u64::from_le_bytes(*len).checked_mul(width as u64));
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(truncated)?;
        let (data, after) = after.split_at_checked(bytes).ok_or_else(truncated)?;
        storages.insert(key, data);
        rest = after;
    }
    tensors(&pickle, |storage| {
        storages.get(storage.key).copied().ok_or_else(|| format!("storage {:?} is missing", one_line(storage.key)))
    })
}

/// Bytes of a stored value.
fn width(dtype: Type) -> Option<usize> {
    Some(match dtype {
        Type::Other("int64") | Type::F64 => 8,
        Type::Other("int32") | Type::F32 => 4,
        Type::Other("int16") | Type::F16 | Type::Bf16 => 2,
        Type::Other("int8" | "uint8" | "bool") => 1,
        Type::Other(_) => return None,
    })
}

/// The tensors of a state dict, views of what `data` gives for a storage.
fn tensors<'a>(
    pickle: &Pickle<'a>,
    mut data: impl FnMut(Storage<'a>) -> Result<&'a [u8], String>,
) -> Result<Vec<Tensor<'a>>, String> {
    let mut tensors = Vec::new();
    for (name, view) in pickle.state_dict()? {
        let name = &one_line(name);
        let fail = |reason: String| format!("tensor {name:?}: {reason}");
        let bytes = data(view.storage).map_err(fail)?;
        if width(view.storage.dtype)
            .is_none_or(|width| bytes.len() as u64 != view.storage.len.saturating_mul(width as u64))
        {
            let reason = format!("its storage has {} bytes, wanted {} values", bytes.len(), view.storage.len);
            return Err(fail(reason));
        }
        let sizes =
            |list: Vec<i64>| list.into_iter().map(|size| usize::try_from(size).ok()).collect::<Option<Vec<usize>>>();
        let (Some(shape), Some(strides), Ok(offset)) =
            (sizes(view.shape), sizes(view.strides), usize::try_from(view.offset))
        else {
            return Err(fail("a negative size or stride".to_string()));
        };
        tensors.push(Tensor::view(name, shape, strides, offset, view.storage.dtype, bytes)?);
    }
    Ok(tensors)
}

/// The entries of a zip archive under the folder that holds `data.pkl`.
struct Archive<'a> {
    folder: String,
    entries: HashMap<Vec<u8>, Entry<'a>>,
}

struct Entry<'a> {
    data: &'a [u8],
    /// Of the data; looked at when they are read.
    crc: u32,
    method: CompressionMethod,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Result<Archive<'a>, String> {
        let broken =
            |error: rawzip::Error| format!("not a zip archive, or truncated: {}", one_line(&error.to_string()));
        let archive = ZipArchive::from_slice(bytes).map_err(broken)?;
        let mut entries = HashMap::new();
        let mut n_entries = 0;
        let mut iterator = archive.entries();
        while let Some(record) = iterator.next_entry().map_err(broken)? {
            n_entries += 1;
            if n_entries > MAX_ENTRIES {
                return Err(format!("a zip archive of more than {MAX_ENTRIES} entries"));
            }
            let entry = archive.get_entry(record.wayfinder()).map_err(broken)?;
            let (start, end) = entry.compressed_data_range();
            let data = &bytes[start as usize..end as usize]; // within them, or get_entry had failed
            let path = record.file_path().as_bytes().to_vec();
            let entry = Entry { data, crc: record.crc32(), method: record.compression_method() };
            if let Some(path) = entries.insert(path.clone(), entry).map(|_| path) {
                return Err(format!("its entry {:?} is there twice", one_line(&String::from_utf8_lossy(&path))));
            }
        }
        let names = || entries.keys().filter_map(|name| str::from_utf8(name).ok());
        if names().any(|name| name.ends_with("/constants.pkl")) {
            return Err(
                "a TorchScript archive (torch.jit.save), wanted torch.save(model.state_dict(), FILE)".to_string()
            );
        }
        let mut folders =
            names().filter_map(|name| name.strip_suffix("data.pkl")).filter(|folder| folder.ends_with('/'));
        let Some(folder) = folders.next() else {
            return Err("a zip archive without data.pkl: not one that torch.save has written".to_string());
        };
        if folders.next().is_some() {
            return Err("a zip archive with several data.pkl: not one that torch.save has written".to_string());
        }
        Ok(Archive { folder: folder.to_string(), entries })
    }

    /// The bytes of an entry, which are what the archive's checksum says.
    fn entry(&self, name: &str) -> Result<&'a [u8], String> {
        let path = format!("{}{name}", self.folder);
        let shown = one_line(&path);
        let entry = self.entries.get(path.as_bytes()).ok_or_else(|| format!("its entry {shown:?} is missing"))?;
        if entry.method != CompressionMethod::STORE {
            return Err(format!("its entry {shown:?} is compressed; torch.save compresses nothing"));
        }
        let crc = rawzip::crc32(entry.data);
        if crc != entry.crc {
            return Err(format!("its entry {shown:?} is damaged: CRC-32 {crc:08x}, wanted {:08x}", entry.crc));
        }
        Ok(entry.data)
    }
}
