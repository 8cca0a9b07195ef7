//! Folders of images to train on: `CLASS/IMAGE.jpg`, JPEG or PNG, at any depth below the class.
//!
//! The head of every file is looked at before the training begins, which finds what is empty, huge or no image. What only decoding shows,
//! shows when the turn of the image comes: see [`Broken`].

use super::data::{Picture, View};
use crate::error::{Error, Result, one_line};
use crate::experiment::classify::{Fit, Resize, fit_image};
use crate::genome::Canvas;
use crate::network::weights::read_bounded;
use crate::output::pictures::{self, MAX_PIXELS};
use crate::output::retrain::FoolingImages;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// The largest file that is read; ImageNet's largest has 15 MB.
const MAX_BYTES: u64 = 1 << 28;

/// Bytes in which the head of a JPEG nearly always ends, thumbnails and colour profiles included.
const HEAD_BYTES: u64 = 64 << 10;

/// How deep below a class images are looked for.
const MAX_DEPTH: usize = 16;

/// What is done with files that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Broken {
    /// The training does not begin, or stops, and names them
    #[default]
    Refuse,
    /// They are left out and counted; for one that shows only when its turn comes, the next of the folder takes that turn
    Skip,
}

/// Images of one class that no folder holds.
#[derive(Clone, Debug)]
struct Added {
    class: u32,
    /// File and row of each.
    images: Vec<(Arc<FoolingImages>, usize)>,
}

/// The images of a folder.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    broken: Broken,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Class and path below the root, class after class, in the order of their names.
    files: Arc<Vec<(u32, PathBuf)>>,
    /// Images beside those of the files, of a class behind theirs.
    added: Option<Added>,
    /// Of the names of classes and files and of the files' sizes: see [`Folder::scan`].
    pub sha256: String,
    /// Files that were left out before the training began.
    left_out: usize,
    /// Files that could not be decoded, by their number, ascending.
    undecodable: Mutex<Vec<usize>>,
}

impl Clone for Folder {
    fn clone(&self) -> Folder {
        let undecodable = self.undecodable.lock().expect("no thread fails with it").clone();
        Folder {
            root: self.root.clone(),
            broken: self.broken,
            classes: self.classes.clone(),
            files: Arc::clone(&self.files),
            added: self.added.clone(),
            sha256: self.sha256.clone(),
            left_out: self.left_out,
            undecodable: Mutex::new(undecodable),
        }
    }
}

/// A file of a folder as it is looked at.
struct Found {
    class: u32,
    path: PathBuf,
    size: u64,
    reason: Option<String>,
}

impl Folder {
    /// Looks at the images of `root`. Its classes are its folders in the order of their names, or those of `names` in that order.
    /// What begins with a dot is not looked at, and of the rest `.jpg`, `.jpeg` and `.png`, in upper or lower case.
    ///
    /// The SHA-256 is of the lines `CLASS NAME`, then `CLASS SIZE PATH` of each file that is used: it knows another file by its name and
    /// its size.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be read; [`Error::File`] if there are no two classes, a class has no image, the folders are
    /// not those of `names`, or a file cannot be used and `broken` refuses that.
    pub fn scan(root: &Path, names: Option<&[String]>, broken: Broken) -> Result<Folder> {
        let classes = classes(root, names)?;
        let (mut found, mut others) = (Vec::new(), Vec::new());
        for (class, name) in classes.iter().enumerate() {
            let begin = found.len();
            walk(root, Path::new(name), class as u32, MAX_DEPTH, &mut found, &mut others)?;
            if found.len() == begin {
                return Err(Error::file(&root.join(name), "holds no image: wanted .jpg, .jpeg or .png"));
            }
        }
        if let Some(first) = others.first() {
            tracing::warn!(
                "{} files are left out, since their names end in neither .jpg, .jpeg nor .png; the first is {}",
                others.len(),
                first.display()
            );
        }
        found.par_iter_mut().for_each(|file| file.reason = head(&root.join(&file.path), file.size).err());
        let (unusable, usable): (Vec<Found>, Vec<Found>) = found.into_iter().partition(|file| file.reason.is_some());
        if !unusable.is_empty() {
            let text = describe(root, &unusable);
            if broken == Broken::Refuse {
                return Err(Error::file(root, format!("{text}; --broken skip leaves them out")));
            }
            tracing::warn!("{}: {text}: left out", root.display());
        }
        let mut digest = Sha256::new();
        for (class, name) in classes.iter().enumerate() {
            digest.update(format!("{class} {name}\n"));
            if !usable.iter().any(|file| file.class == class as u32) {
                return Err(Error::file(&root.join(name), "holds no image that can be read"));
            }
        }
        for Found { class, path, size, .. } in &usable {
            digest.update(format!("{class} {size} "));
            digest.update(path.as_os_str().as_encoded_bytes());
            digest.update("\n");
        }
        Ok(Folder {
            root: root.to_path_buf(),
            broken,
            classes,
            files: Arc::new(usable.into_iter().map(|file| (file.class, file.path)).collect()),
            added: None,
            sha256: digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
            left_out: unusable.len(),
            undecodable: Mutex::default(),
        })
    }

    /// Number of images.
    pub fn n_images(&self) -> usize {
        self.files.len() + self.added.as_ref().map_or(0, |added| added.images.len())
    }

    /// Adds the sampled images of `files`, of the class `class`, of the size that images are shown in.
    pub(super) fn add(&mut self, class: u32, files: &[Arc<FoolingImages>]) {
        let images = files.iter().flat_map(|file| file.sampled().map(|row| (Arc::clone(file), row))).collect();
        self.added = Some(Added { class, images });
    }

    /// Files that could not be used, so far.
    pub fn skipped(&self) -> usize {
        self.left_out + self.undecodable.lock().expect("no thread fails with it").len()
    }

    /// The `index`-th image, in the size that `view` shows images in, and its class. Of one that cannot be decoded, where that is skipped,
    /// the next that can.
    ///
    /// # Errors
    /// [`Error::File`] that names the image.
    pub fn picture(&self, index: usize, view: View) -> Result<Picture> {
        for at in (index..self.n_images()).chain(0..index) {
            if let Some(picture) = self.try_picture(at, view)? {
                return Ok(picture);
            }
        }
        Err(Error::file(&self.root, "none of its images can be decoded"))
    }

    /// [`Folder::picture`] for exactly that one; `None` if it cannot be decoded and that is skipped.
    ///
    /// # Errors
    /// [`Error::File`] that names the image.
    pub fn try_picture(&self, index: usize, view: View) -> Result<Option<Picture>> {
        let Some((class, path)) = self.files.get(index) else {
            let added = self.added.as_ref().expect("an image there is");
            let (file, row) = &added.images[index - self.files.len()];
            return Ok(Some(Picture { pixels: file.image(*row)?, class: added.class }));
        };
        let path = self.root.join(path);
        match decode(&path, view.shown) {
            Ok(pixels) => Ok(Some(Picture { pixels, class: *class })),
            Err(reason) if self.broken == Broken::Refuse => Err(Error::file(
                &path,
                format!("{reason}; restore it and go on with --resume, or start again with --broken skip"),
            )),
            Err(reason) => {
                let mut undecodable = self.undecodable.lock().expect("no thread fails with it");
                if let Err(place) = undecodable.binary_search(&index) {
                    undecodable.insert(place, index);
                    tracing::warn!("{}: {reason}: skipped", path.display());
                }
                Ok(None)
            }
        }
    }
}

/// The names of the folders in `root`, sorted; or `names`, which must be those.
fn classes(root: &Path, names: Option<&[String]>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).map_err(Error::io("read", root))? {
        let entry = entry.map_err(Error::io("read", root))?;
        let name = entry.file_name();
        // A class may be a link to a folder.
        if name.as_encoded_bytes().starts_with(b".") || !entry.path().is_dir() {
            continue;
        }
        let name = name.into_string().map_err(|name| {
            Error::file(root, format!("the name of its folder {:?} is no UTF-8", name.to_string_lossy()))
        })?;
        if name.contains(char::is_control) {
            return Err(Error::file(root, format!("the name of its folder {name:?} has a control character")));
        }
        found.push(name);
    }
    found.sort();
    if let Some(names) = names {
        let missing = names.iter().find(|name| found.binary_search(name).is_err());
        let surplus = found.iter().find(|name| !names.contains(name));
        let text = match (missing, surplus) {
            (Some(name), _) => format!("has no folder for the class {name:?} that --class-names gives"),
            (None, Some(name)) => format!("has the folder {name:?}, which --class-names does not give"),
            (None, None) => String::new(),
        };
        if !text.is_empty() {
            return Err(Error::file(root, text));
        }
        found = names.to_vec();
    }
    match found.as_slice() {
        [] => Err(Error::file(root, "holds no folders: wanted one a class, with its images (CLASS/IMAGE.jpg)")),
        [only] => Err(Error::file(root, format!("has one class, {only:?}: wanted two or more to tell apart"))),
        _ => Ok(found),
    }
}

/// Adds the images below `folder` to `found`, those of a folder in the order of their names, and all else to `others`.
fn walk(
    root: &Path,
    folder: &Path,
    class: u32,
    depth: usize,
    found: &mut Vec<Found>,
    others: &mut Vec<PathBuf>,
) -> Result<()> {
    let place = root.join(folder);
    let entries = fs::read_dir(&place).and_then(|entries| entries.collect::<std::io::Result<Vec<_>>>());
    let mut names: Vec<_> = entries.map_err(Error::io("read", &place))?.iter().map(fs::DirEntry::file_name).collect();
    names.sort();
    for name in names.into_iter().filter(|name| !name.as_encoded_bytes().starts_with(b".")) {
        let path = folder.join(name);
        let full = root.join(&path);
        // Links to files are followed, links to folders are not: they may go round in circles.
        if fs::symlink_metadata(&full).is_ok_and(|metadata| metadata.is_dir()) {
            if depth == 0 {
                return Err(Error::file(&full, format!("lies more than {MAX_DEPTH} folders below its class")));
            }
            walk(root, &path, class, depth - 1, found, others)?;
            continue;
        }
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if !["jpg", "jpeg", "png"].iter().any(|known| known.eq_ignore_ascii_case(extension)) {
            others.push(path);
            continue;
        }
        // One that is no file says so when its head is read.
        let size = fs::metadata(&full).map_or(0, |metadata| metadata.len());
        found.push(Found { class, path, size, reason: None });
    }
    Ok(())
}

/// How many files cannot be used, and why the first of them cannot.
fn describe(root: &Path, unusable: &[Found]) -> String {
    const SHOWN: usize = 5;
    let text = |file: &Found| {
        let path = file.path.strip_prefix(root).unwrap_or(&file.path).display();
        format!("{path} ({})", file.reason.as_deref().unwrap_or_default())
    };
    let shown: Vec<String> = unusable.iter().take(SHOWN).map(text).collect();
    let more = if unusable.len() > SHOWN { format!(" and {} more", unusable.len() - SHOWN) } else { String::new() };
    let cannot = if unusable.len() == 1 { "1 image cannot" } else { &format!("{} images cannot", unusable.len()) };
    format!("{cannot} be used: {}{more}", shown.join(", "))
}

/// What a file holds, by its first bytes: some of ImageNet's names are wrong.
enum Kind {
    Jpeg,
    Png,
}

impl Kind {
    fn of(bytes: &[u8]) -> Result<Kind, String> {
        match bytes {
            [] => Err("an empty file".to_string()),
            [0xff, 0xd8, ..] => Ok(Kind::Jpeg),
            [0x89, b'P', b'N', b'G', ..] => Ok(Kind::Png),
            _ => Err("neither a JPEG nor a PNG".to_string()),
        }
    }
}

fn jpeg(bytes: &[u8]) -> JpegDecoder<ZCursor<&[u8]>> {
    // The pixels are counted by us, from the head.
    let options = DecoderOptions::default()
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
}

/// Height and width of a JPEG, by its head.
fn jpeg_size(decoder: &mut JpegDecoder<ZCursor<&[u8]>>) -> Result<(usize, usize), String> {
    decoder.decode_headers().map_err(|error| broken_jpeg(&error))?;
    let info = decoder.info().ok_or("a JPEG without a size")?;
    Ok((usize::from(info.height), usize::from(info.width)))
}

fn broken_jpeg(error: &impl std::fmt::Display) -> String {
    format!("not a readable JPEG: {}", one_line(&error.to_string()))
}

/// Fails for a size that is not to be decoded.
fn check_size((height, width): (usize, usize)) -> Result<(), String> {
    match height as u64 * width as u64 {
        0 => Err("it has no pixels".to_string()),
        pixels if pixels > MAX_PIXELS => {
            Err(format!("{width} x {height} pixels are more than the {MAX_PIXELS} allowed"))
        }
        _ => Ok(()),
    }
}

/// Looks at the head of the file `path` of so many bytes: whether it is an image, and not too large.
fn head(path: &Path, size: u64) -> Result<(), String> {
    if !path.is_file() {
        return Err("no file".to_string());
    }
    if size > MAX_BYTES {
        return Err(format!("{size} bytes are more than the {MAX_BYTES} allowed"));
    }
    let read = |most: u64| -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|error| format!("cannot open: {error}"))?;
        file.take(most).read_to_end(&mut bytes).map_err(|error| format!("cannot read: {error}"))?;
        Ok(bytes)
    };
    let bytes = read(HEAD_BYTES)?;
    match Kind::of(&bytes)? {
        // Its head may be longer, or broken.
        Kind::Jpeg => match jpeg_size(&mut jpeg(&bytes)) {
            Err(_) if size > HEAD_BYTES => jpeg_size(&mut jpeg(&read(MAX_BYTES)?)).and_then(check_size),
            size => size.and_then(check_size),
        },
        Kind::Png => {
            // The signature, a length, `IHDR`, width, height.
            let word = |at: usize| bytes.get(at..at + 4).map(|word| u32::from_be_bytes(word.try_into().expect("four")));
            match (bytes.get(12..16), word(20), word(16)) {
                (Some(b"IHDR"), Some(height), Some(width)) => check_size((height as usize, width as usize)),
                _ => Err("not a readable PNG: it ends in its head".to_string()),
            }
        }
    }
}

/// The pixels of the file `path` on the canvas `to`, as `classify --resize bilinear` makes them: colours become grey by Rec. 601 where the
/// canvas is grey, and the sides' ratio is not kept.
fn decode(path: &Path, to: Canvas) -> Result<Vec<u8>, String> {
    let text = |error: Error| match error {
        Error::File { reason, .. } => reason,
        Error::Io { action, source, .. } => format!("cannot {action}: {source}"),
        error => error.to_string(),
    };
    let bytes = read_bounded(path, MAX_BYTES).map_err(text)?;
    let image = match Kind::of(&bytes)? {
        Kind::Jpeg => {
            let mut decoder = jpeg(&bytes);
            let (height, width) = jpeg_size(&mut decoder)?;
            check_size((height, width))?;
            let pixels = decoder.decode().map_err(|error| broken_jpeg(&error))?;
            let channels = 3;
            if pixels.len() != height * width * channels {
                return Err("a JPEG of other colours than grey, RGB, CMYK and their like".to_string());
            }
            // The decoder makes do with what there is. Behind the last scan comes the end of the image, unless that was cut off; a
            // thumbnail in the head has both.
            let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
            if last(0xd9) < last(0xda) {
                return Err("a JPEG that was cut off".to_string());
            }
            pictures::Image { canvas: Canvas { height, width, channels }, pixels }
        }
        Kind::Png => pictures::read_png(path).map_err(text)?,
    };
    fit_image(image, to, to, Fit { resize: Some(Resize::Bilinear), invert: false })
}
