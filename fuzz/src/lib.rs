//! What the fuzz targets share.

pub mod files;
pub mod import;
pub mod memory;

use libfuzzer_sys::fuzzer_mutate;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// libFuzzer's mutation for a file whose bytes from `start` on are safetensors: of the whole file, of the header alone, whose
/// length is then set right, or of the data alone. Without it nearly every change of a header's size ends at its length.
pub fn mutate_safetensors(file: &mut [u8], size: usize, max_size: usize, seed: u32, start: usize) -> usize {
    let header = start + 8;
    let length = file[..size].get(start..header).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")));
    let end = length.and_then(|length| header.checked_add(usize::try_from(length).ok()?));
    let Some(end) = end.filter(|&end| end <= size && size < max_size) else {
        return fuzzer_mutate(file, size, max_size);
    };
    match seed % 3 {
        0 => fuzzer_mutate(file, size, max_size),
        1 => {
            let data = file[end..size].to_vec();
            let length = fuzzer_mutate(&mut file[header..], end - header, max_size - header - data.len());
            file[start..header].copy_from_slice(&(length as u64).to_le_bytes());
            file[header + length..][..data.len()].copy_from_slice(&data);
            header + length + data.len()
        }
        _ => end + fuzzer_mutate(&mut file[end..], size - end, max_size - end),
    }
}

/// Bytes of a checkpoint's second line: a SHA-256 in hexadecimal and the end of the line.
pub const SECOND_LINE: usize = 65;

/// The first line of a checkpoint and its body, the digest between them left out.
pub fn split_checkpoint(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = file.iter().take(64).position(|&byte| byte == b'\n')? + 1;
    Some((&file[..end], file.get(end + SECOND_LINE..)?))
}
