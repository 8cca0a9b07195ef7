//! `lineage`: who won which niche, from generation 0 on. All else about births follows from the seed: see
//! [`experiment::lineage`](crate::experiment::lineage).
//!
//! A first line with the format's name and version; a second one with what decides the run, as JSON; a third one with the SHA-256 of the
//! two. Then [`RECORD`] bytes an insertion, little endian, by generation and niche:
//!
//! | bytes | |
//! |---|---|
//! | 0..4 | generation |
//! | 4..8 | candidate, its number within the batch |
//! | 8..12 | niche, by position among the classes of the run |
//! | 12..16 | f32: its confidence in the niche's class |
//! | 16..20 | check: the lower half of `h = mix(mix(h ^ (generation << 32 | candidate)) ^ (niche << 32 | bits of the confidence))` |
//!
//! `mix` is that of [`archive`](crate::archive); `h` starts as the first 8 bytes of the third line's digest, little endian, and goes from record to
//! record, so none can be changed, lost or moved without the next ones telling.
//!
//! Records are on the disk before the checkpoint of their generation is. What a run that ended suddenly wrote after its checkpoint is cut
//! when it goes on.

use crate::archive::{ARITHMETIC_VERSION, Archive, mix};
use crate::backend::Insertion;
use crate::error::{Error, Result, one_line};
use crate::experiment::config::Config;
use crate::genome::{Canvas, Encoding};
use crate::output::{archive_file, atomic, checkpoint};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// Bytes of an insertion.
pub const RECORD: usize = 20;

const FORMAT: &str = "pareidolia lineage";
const VERSION: &str = "1";
/// Bytes of the header, at most: a configuration may list 1000 classes.
const MOST_HEADER: u64 = 1 << 20;

/// Bytes of the file of a run of so many generations and evaluations, estimated. Of pixels, a niche may be won in every generation, and is in
/// most at first; of CPPNs the more seldom the longer it goes on.
pub fn file_bytes(encoding: &Encoding, n_niches: usize, generations: u64, evaluations: u64) -> u64 {
    const HEADER: f64 = 1024.0;
    /// For each doubling of the evaluations: some four times what there was in runs that were looked at.
    const WON: f64 = 12.0;
    let most = generations as f64;
    let won = match encoding {
        Encoding::Direct(_) => most,
        Encoding::Cppn(_) => most.min(1.0 + WON * (evaluations.max(1) as f64).log2()),
    };
    (HEADER + n_niches as f64 * won * RECORD as f64) as u64
}

/// What decides a run, as a log says it. Keys that say when it stops and what it tells are not among it, as they may change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    arithmetic_version: u32,
    weights_sha256: String,
    canvas: Canvas,
    configuration: BTreeMap<String, Value>,
}

/// The one entry of an [`Identity`] that every version has.
#[derive(Deserialize)]
struct Made {
    arithmetic_version: u32,
}

impl Identity {
    /// That of a run of `config` against a network with these weights.
    pub fn new(config: &Config, weights_sha256: &str, canvas: Canvas) -> Identity {
        Identity {
            arithmetic_version: ARITHMETIC_VERSION,
            weights_sha256: weights_sha256.to_owned(),
            canvas,
            configuration: checkpoint::deciding_entries(config),
        }
    }

    /// What of `other`, that of a log, is not so here; in words.
    fn difference(&self, other: &Identity) -> Option<String> {
        let keys = self.configuration.keys().chain(other.configuration.keys());
        let value = |of: &Identity, key: &String| {
            of.configuration.get(key).map_or_else(|| "not set".to_owned(), |value| one_line(&value.to_string()))
        };
        for key in keys {
            let (there, here) = (value(other, key), value(self, key));
            if there != here {
                return Some(format!("{key} is {there} there and {here} here"));
            }
        }
        if self.weights_sha256 != other.weights_sha256 {
            let (there, here) = (one_line(&other.weights_sha256), &self.weights_sha256);
            return Some(format!("the SHA-256 of the weights is {there} there and {here} here"));
        }
        (self.canvas != other.canvas).then(|| "the size of the images is another".to_owned())
    }

    /// The header's bytes, and what the checks start from.
    fn header(&self) -> (Vec<u8>, u64) {
        let json = serde_json::to_string(self).expect("an identity has a JSON form");
        let lines = format!("{FORMAT} {VERSION}\n{json}\n");
        let digest = Sha256::digest(lines.as_bytes());
        let text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        (format!("{lines}{text}\n").into_bytes(), start(&digest))
    }
}

/// What the checks start from.
fn start(digest: &[u8]) -> u64 {
    u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

/// `state` after `insertion`.
fn chained(state: u64, insertion: &Insertion) -> u64 {
    let Insertion { generation, candidate, niche, fitness } = *insertion;
    let born = u64::from(generation) << 32 | u64::from(candidate);
    mix(mix(state ^ born) ^ (u64::from(niche) << 32 | u64::from(fitness.to_bits())))
}

fn encode(insertion: &Insertion, check: u64) -> [u8; RECORD] {
    let Insertion { generation, candidate, niche, fitness } = *insertion;
    let mut bytes = [0; RECORD];
    for (to, word) in bytes.chunks_exact_mut(4).zip([generation, candidate, niche, fitness.to_bits(), check as u32]) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// The insertion, and its check.
fn decode(bytes: &[u8; RECORD]) -> (Insertion, u32) {
    let word = |at: usize| u32::from_le_bytes(bytes[4 * at..][..4].try_into().expect("four bytes"));
    let fitness = f32::from_bits(word(3));
    (Insertion { generation: word(0), candidate: word(1), niche: word(2), fitness }, word(4))
}

/// The insertions of a run up to the generation of an archive, checked against it.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub insertions: Vec<Insertion>,
    /// Where the last of them ends in the file, and the state of the checks there.
    end: u64,
    state: u64,
    /// Bytes behind that.
    rest: u64,
}

impl Log {
    /// Reads the file `path`, which a run of this `identity` with batches of `batch` candidates wrote, up to the generation of `archive`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::File`] if it is of another version or run, if a record up to that generation is damaged or
    /// lost, or if its last holders of the niches are not the elites of `archive`.
    pub fn read(path: &Path, identity: &Identity, batch: u32, archive: &Archive) -> Result<Log> {
        let broken = |reason: String| Error::file(path, reason);
        let mut source = BufReader::new(File::open(path).map_err(Error::io("read", path))?);
        let length = fs::metadata(path).map_err(Error::io("read", path))?.len();
        let (mut end, mut state) = header(path, &mut source, identity)?;
        let n_niches = archive.classes.len();
        let mut holders: Vec<Option<Insertion>> = vec![None; n_niches];
        let mut insertions: Vec<Insertion> = Vec::new();
        let mut ends_badly = None;
        loop {
            let mut bytes = [0; RECORD];
            if !fill(&mut source, &mut bytes).map_err(Error::io("read", path))? {
                break; // the end, or a record that was torn
            }
            let number = insertions.len() + 1;
            let (insertion, check) = decode(&bytes);
            let next = chained(state, &insertion);
            if next as u32 != check {
                ends_badly = Some(format!("record {number} does not fit its check"));
                break; // no harm in what a sudden end left behind the checkpoint; below it shows whether that is so
            }
            let Insertion { generation, candidate, niche, fitness } = insertion;
            if generation > archive.generation {
                break;
            }
            let bad = |what: String| broken(format!("record {number}: {what}; {REMEDY}"));
            let Some(holder) = holders.get_mut(niche as usize) else {
                return Err(bad(format!("niche {niche}, the run has niches 0 to {}", n_niches - 1)));
            };
            if candidate >= batch {
                return Err(bad(format!("candidate {candidate}, the run has batches of {batch}")));
            }
            let place = |of: &Insertion| (of.generation, of.niche);
            if insertions.last().is_some_and(|last| place(last) >= place(&insertion)) {
                return Err(bad(format!("generation {generation}, niche {niche} comes after a later one")));
            }
            let is_better = holder.map_or(generation == 0, |holder| fitness > holder.fitness);
            if !is_better || !(0.0..=1.0).contains(&fitness) {
                return Err(bad(format!("a confidence of {fitness} did not win niche {niche}")));
            }
            *holder = Some(insertion);
            insertions.push(insertion);
            (end, state) = (end + RECORD as u64, next);
        }
        for (niche, (holder, elite)) in holders.iter().zip(&archive.elites).enumerate() {
            let (class, fitness) = (archive.classes[niche], elite.probabilities[archive.classes[niche] as usize]);
            let born = holder.map(|holder| (holder.generation, holder.candidate));
            if born == Some(elite.born) && holder.is_some_and(|holder| holder.fitness.to_bits() == fitness.to_bits()) {
                continue;
            }
            let why = ends_badly.unwrap_or_else(|| {
                let held = born.map_or("nobody".to_owned(), |(generation, candidate)| {
                    format!("candidate {candidate} of generation {generation}")
                });
                let (generation, candidate) = elite.born;
                let after = archive.generation;
                format!(
                    "by its {} records class {class} is held by {held} after generation {after}, by the archive of the run by candidate \
                     {candidate} of generation {generation}; records are missing, or are of another run",
                    insertions.len()
                )
            });
            return Err(broken(format!("this lineage is damaged: {why}; {REMEDY}")));
        }
        Ok(Log { insertions, end, state, rest: length.saturating_sub(end) })
    }

    /// Bytes behind the last record that counts: what a run wrote after its checkpoint, or a part of a record.
    pub fn rest(&self) -> u64 {
        self.rest
    }
}

const REMEDY: &str = "restore it from a copy, or make the run again in another folder";

/// Where the records begin, and what their checks start from.
fn header(path: &Path, source: &mut impl BufRead, identity: &Identity) -> Result<(u64, u64)> {
    let mut lines = [Vec::new(), Vec::new(), Vec::new()];
    let mut limited = source.take(MOST_HEADER);
    for line in &mut lines {
        limited.read_until(b'\n', line).map_err(Error::io("read", path))?;
    }
    let [first, second, third] = &lines;
    let digest = Sha256::new_with_prefix(first).chain_update(second).finalize();
    let text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    if third != format!("{text}\n").as_bytes() {
        return Err(Error::file(
            path,
            format!("this lineage is damaged: its header does not fit its SHA-256; {REMEDY}"),
        ));
    }
    let want = format!("{FORMAT} {VERSION}\n");
    if first != want.as_bytes() {
        let [got, want] = [String::from_utf8_lossy(first), want.into()].map(|line| one_line(&line));
        return Err(Error::file(path, format!("the format is {got:?}, this program reads {want:?}")));
    }
    let invalid = |source: serde_json::Error| Error::file(path, format!("not a lineage: its header: {source}"));
    let made: Made = serde_json::from_slice(second).map_err(invalid)?;
    archive_file::check_arithmetic(made.arithmetic_version).map_err(|reason| Error::file(path, reason))?;
    let there: Identity = serde_json::from_slice(second).map_err(invalid)?;
    if let Some(difference) = identity.difference(&there) {
        return Err(Error::file(path, format!("is the lineage of another run: {difference}; {REMEDY}")));
    }
    let end: usize = lines.iter().map(Vec::len).sum();
    Ok((end as u64, start(&digest)))
}

/// Fills `bytes`; whether there were as many.
fn fill(source: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match source.read_exact(bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        done => done.map(|()| true),
    }
}

/// Appends to a lineage.
#[derive(Debug)]
pub struct LineageWriter {
    file: File,
    path: PathBuf,
    state: u64,
    /// Records in the file.
    n: u64,
}

impl LineageWriter {
    /// Starts the file `path` for a new run.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn create(path: &Path, identity: &Identity) -> Result<LineageWriter> {
        let (header, state) = identity.header();
        atomic::write(path, |file| file.write_all(&header))?;
        LineageWriter::append_to(path, state, 0)
    }

    /// Goes on with the file `path` behind what is in `log`, which was read from it; the rest is cut.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn go_on(path: &Path, log: &Log) -> Result<LineageWriter> {
        let writer = LineageWriter::append_to(path, log.state, log.insertions.len() as u64)?;
        if log.rest > 0 {
            let cut = writer.file.set_len(log.end).and_then(|()| writer.file.sync_all());
            cut.map_err(Error::io("write", path))?;
        }
        Ok(writer)
    }

    fn append_to(path: &Path, state: u64, n: u64) -> Result<LineageWriter> {
        let file = OpenOptions::new().append(true).open(path).map_err(Error::io("open", path))?;
        Ok(LineageWriter { file, path: path.to_path_buf(), state, n })
    }

    /// Records in the file.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Appends `insertions`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, insertions: &[Insertion]) -> Result<()> {
        let mut bytes = Vec::with_capacity(insertions.len() * RECORD);
        for insertion in insertions {
            self.state = chained(self.state, insertion);
            bytes.extend(encode(insertion, self.state));
        }
        self.n += insertions.len() as u64;
        self.file.write_all(&bytes).map_err(Error::io("write", &self.path))
    }

    /// Brings all so far to the disk: to be called before a checkpoint is written.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::File`] if the file is no longer there.
    pub fn sync(&self) -> Result<()> {
        if !atomic::is_at(&self.file, &self.path)? {
            let text = "was removed or replaced during the run, and what was in it is lost; start the run again in another folder";
            return Err(Error::file(&self.path, text));
        }
        self.file.sync_data().map_err(Error::io("write", &self.path))
    }
}

/// Whether the file `path` is the lineage of a run that was ended before its first checkpoint: no more than generation 0 stands there.
pub(super) fn is_barely_begun(path: &Path) -> bool {
    let Ok(bytes) = fs::read(path) else { return false };
    let Some(rest) = bytes.strip_prefix(FORMAT.as_bytes()) else { return bytes.is_empty() };
    let end = rest.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).map_or(rest.len(), |(at, _)| at + 1);
    rest[end..].chunks_exact(RECORD).all(|record| record[..4] == [0; 4])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::config::{Flavour, Preset};

    fn identity() -> Identity {
        let config = Config::preset(Preset::MnistCppn, Flavour::Faithful);
        Identity::new(&config, "abc", Canvas::MNIST)
    }

    #[test]
    fn identity_forgets_when_a_run_stops_and_nothing_else() {
        let config = Config::preset(Preset::MnistCppn, Flavour::Faithful);
        let longer = Config { generations: 5, log_every: 7, checkpoint_every: 9, ..config.clone() };
        assert_eq!(Identity::new(&longer, "abc", Canvas::MNIST), identity());
        assert_eq!(identity().difference(&identity()), None);
        let other = Identity::new(&Config { seed: 9, ..config.clone() }, "abc", Canvas::MNIST);
        assert_eq!(identity().difference(&other), Some("seed is 9 there and 1 here".into()));
        let other = Identity::new(&config, "abd", Canvas::MNIST);
        assert!(identity().difference(&other).unwrap().contains("the weights is abd there and abc here"));
    }

    #[test]
    fn records_come_back_and_every_bit_is_checked() {
        let insertion = Insertion { generation: 1, candidate: 2, niche: 3, fitness: 0.75 };
        let bytes = encode(&insertion, chained(7, &insertion));
        assert_eq!(decode(&bytes), (insertion, chained(7, &insertion) as u32));
        assert_eq!(bytes[..16], [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0x40, 0x3f]);
        for bit in 0..8 * RECORD {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            let (insertion, check) = decode(&damaged);
            assert_ne!(chained(7, &insertion) as u32, check, "bit {bit}");
        }
    }
}
