//! `start_genomes`: the genomes that a run starts from, in the order of their candidates.
//!
//! A first line with the format's name and version; a second one with the SHA-256 of the first line and of all that follows the second;
//! then a genome a line, in the JSON of [`crate::genome::exchange::json`].

use crate::error::{Error, Result, one_line};
use crate::genome::exchange::{Specimen, json};
use crate::output::sealed;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

/// Its name in the folder of a run, or of a series.
pub const NAME: &str = "start_genomes";

const FIRST_LINE: &[u8] = b"pareidolia start 1\n";

/// Writes the file `path`, atomically.
///
/// # Errors
/// [`Error::Io`].
pub fn write(path: &Path, specimens: &[Specimen]) -> Result<()> {
    sealed::write(path, FIRST_LINE, |body| {
        specimens.iter().try_for_each(|specimen| {
            let line = json::line(specimen).map_err(io::Error::other)?;
            writeln!(body, "{line}")
        })
    })
}

/// Reads what [`write()`] wrote, and checks all of it.
///
/// # Errors
/// [`Error::Io`] if it cannot be read; [`Error::File`] if a single bit of it is not as it was written.
pub fn read(path: &Path) -> Result<Vec<Specimen>> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let (first_line, begin) = sealed::verify(path, &mut file, "list of genomes to start from")?;
    if first_line != FIRST_LINE {
        let [got, want] = [&first_line, FIRST_LINE].map(|line| String::from_utf8_lossy(line).trim_end().to_owned());
        return Err(Error::file(path, format!("the format is {got:?}, this program reads {want:?}")));
    }
    file.seek(SeekFrom::Start(begin)).map_err(Error::io("read", path))?;
    let lines = BufReader::new(file).split(b'\n').enumerate();
    let specimen = |(at, line): (usize, io::Result<Vec<u8>>)| {
        json::parse(&line.map_err(Error::io("read", path))?)
            .map_err(|reason| Error::file(path, format!("genome {at}: {}", one_line(&reason))))
    };
    lines.map(specimen).collect()
}
