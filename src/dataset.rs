//! MNIST's IDX files, plain or gzip.
//!
//! Format (big-endian u32): images are 2051, count, height, width, then a byte a pixel; labels are 2049, count, then a
//! byte a label. Source: the page of LeCun, Cortes and Burges that the data came with.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

const MAGIC_IMAGES: u32 = 2051;
const MAGIC_LABELS: u32 = 2049;

/// Where MNIST's four files can be had, `NAME.gz` each.
pub const MNIST_URL: &str = "https://ossci-datasets.s3.amazonaws.com/mnist/";

/// The most bytes a file may hold when uncompressed: twenty times MNIST's largest.
const MAX_BYTES: u64 = 1 << 30;

/// How many times its own size a gzip file may hold, beyond [`GZIP_FREE_BYTES`]. MNIST's hold five times theirs; deflate allows a
/// thousand times, with which a megabyte would fill a gigabyte of memory.
const GZIP_RATIO: u64 = 100;

/// What a gzip file of any size may hold: small sets of blank images, and labels in order.
const GZIP_FREE_BYTES: u64 = 1 << 20;

/// Images from an IDX file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdxImages {
    pub count: usize,
    pub height: usize,
    pub width: usize,
    /// `(count, height, width)`
    pub pixels: Vec<u8>,
    /// SHA-256 of the uncompressed file, hexadecimal.
    pub sha256: String,
}

/// Labels from an IDX file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdxLabels {
    pub labels: Vec<u8>,
    /// SHA-256 of the uncompressed file, hexadecimal.
    pub sha256: String,
}

/// Which half of MNIST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// 60,000 digits.
    Train,
    /// 10,000 digits.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Split::Train => "train",
            Split::Test => "t10k",
        })
    }
}

/// Digits with their labels, 0 to 9.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mnist {
    pub images: IdxImages,
    pub labels: IdxLabels,
}

impl Mnist {
    /// Reads `train-images-idx3-ubyte` and `train-labels-idx1-ubyte` (or `t10k-...`), plain or `.gz`, from `dir` or
    /// `dir/mnist`.
    ///
    /// # Errors
    /// [`Error::File`] if a file is not there, is no such IDX file, or has too few or too many bytes; if images are
    /// not 28 x 28, labels not below 10, or their numbers differ. [`Error::Io`] if a file cannot be read.
    pub fn load(dir: &Path, split: Split) -> Result<Mnist> {
        let images_path = find(dir, &format!("{split}-images-idx3-ubyte"))?;
        let labels_path = find(dir, &format!("{split}-labels-idx1-ubyte"))?;
        let images = read_idx_images(&images_path)?;
        let labels = read_idx_labels(&labels_path)?;
        if (images.height, images.width) != (28, 28) {
            let reason = format!("images of {} x {}, MNIST's have 28 x 28", images.height, images.width);
            return Err(Error::file(&images_path, reason));
        }
        if images.count != labels.labels.len() {
            let reason =
                format!("{} labels for the {} images of {}", labels.labels.len(), images.count, images_path.display());
            return Err(Error::file(&labels_path, reason));
        }
        if let Some(at) = labels.labels.iter().position(|&label| label > 9) {
            return Err(Error::file(&labels_path, format!("label {at} is {}, wanted 0 to 9", labels.labels[at])));
        }
        Ok(Mnist { images, labels })
    }

    /// Number of digits.
    pub fn len(&self) -> usize {
        self.images.count
    }

    /// Whether there is no digit.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn find(dir: &Path, name: &str) -> Result<PathBuf> {
    for folder in [dir.to_path_buf(), dir.join("mnist")] {
        for suffix in ["", ".gz"] {
            let path = folder.join(format!("{name}{suffix}"));
            if path.is_file() {
                return Ok(path);
            }
        }
    }
    let reason = format!(
        "neither it nor its folder mnist holds {name} or {name}.gz (MNIST in IDX format; --data or PAREIDOLIA_DATA names \
         the folder; the four files can be had from {MNIST_URL})"
    );
    Err(Error::file(dir, reason))
}

/// Reads the images of an IDX file, plain or gzip.
///
/// # Errors
/// [`Error::File`] if it is not one, has fewer or more bytes than its header says, or is gzip that announces more than a
/// hundred times its own size and a mebibyte; [`Error::Io`] if it cannot be read. Reads no more than the header says, and
/// no more than a gibibyte.
pub fn read_idx_images(path: &Path) -> Result<IdxImages> {
    IdxImages::read(open(path)?, path)
}

/// Reads the labels of an IDX file, plain or gzip. Errors as [`read_idx_images`].
pub fn read_idx_labels(path: &Path) -> Result<IdxLabels> {
    IdxLabels::read(open(path)?, path)
}

impl IdxImages {
    /// [`read_idx_images`] for a file in memory.
    ///
    /// # Errors
    /// As [`read_idx_images`].
    pub fn from_bytes(bytes: &[u8]) -> Result<IdxImages> {
        IdxImages::read((bytes, bytes.len() as u64), Path::new("images in memory"))
    }

    fn read(file: (impl BufRead, u64), path: &Path) -> Result<IdxImages> {
        let ([count, height, width], pixels, sha256) = read_idx(file, path, MAGIC_IMAGES, "images")?;
        Ok(IdxImages { count, height, width, pixels, sha256 })
    }
}

impl IdxLabels {
    /// [`read_idx_labels`] for a file in memory.
    ///
    /// # Errors
    /// As [`read_idx_images`].
    pub fn from_bytes(bytes: &[u8]) -> Result<IdxLabels> {
        IdxLabels::read((bytes, bytes.len() as u64), Path::new("labels in memory"))
    }

    fn read(file: (impl BufRead, u64), path: &Path) -> Result<IdxLabels> {
        let ([_], labels, sha256) = read_idx(file, path, MAGIC_LABELS, "labels")?;
        Ok(IdxLabels { labels, sha256 })
    }
}

/// The file and its size.
fn open(path: &Path) -> Result<(BufReader<File>, u64)> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    Ok((BufReader::new(file), length))
}

/// The sizes, the bytes behind them and the SHA-256 of an IDX file with `N` dimensions, `length` bytes long.
fn read_idx<const N: usize>(
    (mut file, length): (impl BufRead, u64),
    path: &Path,
    magic: u32,
    what: &str,
) -> Result<([usize; N], Vec<u8>, String)> {
    let start = file.fill_buf().map_err(Error::io("read", path))?;
    let zipped = start.starts_with(&[0x1f, 0x8b]);
    let mut reader: Box<dyn Read> = if zipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };

    let mut header = Vec::new();
    read_at_most(&mut reader, &mut header, 4 + 4 * N, path)?;
    let word = |index: usize| {
        let bytes = header.get(4 * index..4 * index + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().expect("four bytes")))
    };
    match word(0) {
        Some(found) if found == magic => {}
        Some(found) => return Err(Error::file(path, format!("magic number {found}, wanted {magic} (IDX {what})"))),
        None => return Err(Error::file(path, format!("{} bytes, too short for an IDX header", header.len()))),
    }
    let mut sizes = [0; N];
    for (index, size) in sizes.iter_mut().enumerate() {
        let Some(found) = word(1 + index) else {
            let reason =
                format!("{} bytes, too short for the header of IDX {what} ({} bytes)", header.len(), 4 + 4 * N);
            return Err(Error::file(path, reason));
        };
        *size = found as usize;
    }

    let wanted = sizes.iter().try_fold(1u64, |product, &size| product.checked_mul(size as u64));
    let Some(wanted) = wanted.filter(|&bytes| bytes <= MAX_BYTES) else {
        return Err(Error::file(path, format!("its header says {sizes:?}: more than the limit of {MAX_BYTES} bytes")));
    };
    if zipped && wanted > GZIP_FREE_BYTES.saturating_add(GZIP_RATIO.saturating_mul(length)) {
        let reason = format!(
            "its header says {sizes:?}, more than {GZIP_RATIO} times the {length} bytes of this gzip file; unpack it first"
        );
        return Err(Error::file(path, reason));
    }
    let wanted = wanted as usize;
    let mut bytes = Vec::new();
    // One more than wanted, to see whether there is more.
    read_at_most(&mut reader, &mut bytes, wanted + 1, path)?;
    if bytes.len() != wanted {
        let found = if bytes.len() < wanted { bytes.len().to_string() } else { "more".to_string() };
        let reason = format!("its header says {sizes:?}, that is {wanted} bytes of {what}, but it has {found}");
        return Err(Error::file(path, reason));
    }
    let digest = Sha256::new().chain_update(&header).chain_update(&bytes).finalize();
    Ok((sizes, bytes, digest.iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// Appends bytes until there are `limit` or no more. A broken gzip stream is the file's fault, not the system's.
fn read_at_most(reader: &mut dyn Read, bytes: &mut Vec<u8>, limit: usize, path: &Path) -> Result<()> {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match reader.take(limit as u64).read_to_end(bytes) {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof) => {
            Err(Error::file(path, format!("broken gzip data: {error}")))
        }
        Err(source) => Err(Error::io("read", path)(source)),
    }
}
