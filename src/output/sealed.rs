//! Files of which not a bit may be wrong: a first line with the format's name and version; a second one with the SHA-256 of the first line
//! and of all that follows the second; then the rest. So a damaged file is told from a foreign one.

use crate::error::{Error, Result};
use crate::output::atomic;
use sha2::{Digest, Sha256};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Bytes of the second line: 64 hexadecimal digits and the end of the line.
const SECOND_LINE: usize = 65;

/// Writes the file `path`, atomically, whose content behind the two lines `fill` writes.
///
/// # Errors
/// [`Error::Io`].
pub fn write(path: &Path, first_line: &[u8], fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    atomic::write(path, |file| {
        file.write_all(first_line)?;
        writeln!(file, "{:064}", 0)?; // the place of the digest, which is known last
        let mut body = Hashing { sink: file, digest: Sha256::new_with_prefix(first_line) };
        fill(&mut body)?;
        let Hashing { sink: file, digest } = body;
        file.seek(SeekFrom::Start(first_line.len() as u64))?;
        file.write_all(hexadecimal(digest).as_bytes())
    })
}

/// The first line of the file `path`, and where its content begins; it is a `what`.
///
/// # Errors
/// [`Error::Io`] if it cannot be read; [`Error::File`] if its second line is not the digest of the rest.
pub fn verify(path: &Path, source: &mut (impl Read + Seek), what: &str) -> Result<(Vec<u8>, u64)> {
    let first_line = verified(source).map_err(Error::io("read", path))?.ok_or_else(|| {
        let remedy = "restore it from a copy, or start the run again in another folder";
        Error::file(path, format!("this {what} is damaged: its SHA-256 does not fit its content; {remedy}"))
    })?;
    let begin = (first_line.len() + SECOND_LINE) as u64;
    Ok((first_line, begin))
}

/// Hands on what is written to it, and digests it.
struct Hashing<W> {
    sink: W,
    digest: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// The first line of the file `source`, if its second line is the digest of the rest.
fn verified(source: &mut (impl Read + Seek)) -> io::Result<Option<Vec<u8>>> {
    /// Bytes of a first line, at most.
    const MOST: u64 = 64;
    let mut lines = Vec::new();
    source.by_ref().take(MOST + SECOND_LINE as u64).read_to_end(&mut lines)?;
    let Some(end) = lines.iter().take(MOST as usize).position(|&byte| byte == b'\n') else { return Ok(None) };
    let (first, rest) = lines.split_at(end + 1);
    let Some((second, begin)) = rest.split_at_checked(SECOND_LINE) else { return Ok(None) };
    let mut digest = Sha256::new_with_prefix(first);
    digest.update(begin);
    let mut piece = vec![0; 32 << 10];
    loop {
        match source.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => digest.update(&piece[..n]),
            Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(source),
        }
    }
    Ok((second == format!("{}\n", hexadecimal(digest)).as_bytes()).then(|| first.to_vec()))
}

fn hexadecimal(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
