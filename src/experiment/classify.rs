//! Classification: what a network says of pictures, MNIST's files, and the elites of a run.

use super::device::Chosen;
use super::specimens::{as_elite, read_genome};
use crate::archive::Archive;
use crate::backend::cpu::classify::Classifier;
use crate::backend::cuda::classifier;
use crate::dataset;
use crate::error::{Error, Result};
use crate::genome::Canvas;
use crate::genome::exchange::json;
use crate::network::{Crops, Network};
use crate::output::{Image, archive_file, pictures, run_folder};
use crate::simd::Simd;
use fast_image_resize::{FilterType, ResizeAlg};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a picture of another size is brought to the network's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Resize {
    /// The nearest pixel
    Nearest,
    /// The weighted mean of the pixels around; of all that fall into one when the picture shrinks
    Bilinear,
}

/// How pictures are made to fit the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    /// `None` refuses pictures of another size.
    pub resize: Option<Resize>,
    /// Whether pixels become 255 minus themselves.
    pub invert: bool,
}

/// An image, ready for the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The file; for one of many, with its place in it.
    pub name: String,
    /// `(height, width, channels)`: what the network sees, or the whole image where it is to judge ten parts.
    pub pixels: Vec<u8>,
    /// What is judged of it.
    pub crops: Crops,
    /// Of an elite.
    pub recorded: Option<Recorded>,
}

/// What an archive says of an elite.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// The class of its niche.
    pub class: u32,
    /// `(n_classes)`.
    pub probabilities: Vec<f32>,
}

/// Reads the images of `path` for `network`: a PNG, an IDX file (plain or gzip), an archive, a run's folder, or what a genome in JSON
/// draws at its own size. Where the network
/// sees the middle of the images that it is shown, that is cut out of each; an image as large as the middle is taken for it.
///
/// Colour becomes grey by Rec. 601's weights, `(299 R + 587 G + 114 B + 500) / 1000`; a grey picture for a network that
/// sees colour has three equal channels.
///
/// Of each image `crops` are judged; of an archive's, unless told, what its run judged. A network that sees all of an image judges that.
///
/// # Errors
/// [`Error::File`] if it is none of these, or of another size than the network's input without `fit.resize`;
/// [`Error::Io`] if it cannot be read.
pub fn read(path: &Path, network: &Network, fit: Fit, crops: Option<Crops>) -> Result<Vec<Item>> {
    let fitted = |name: String, image: Image, crops: Crops| {
        fitted(name, image, network, fit, crops).map_err(|reason| Error::file(path, format!("{reason}; see --resize")))
    };
    if let FileKind::Archive(file) = FileKind::of(path)? {
        let (Archive { classes, elites, .. }, about) = archive_file::read(&file)?;
        let items = classes.into_iter().zip(elites).map(|(class, elite)| {
            let elite = Arc::unwrap_or_clone(elite);
            let image = Image { canvas: about.canvas, pixels: elite.image };
            let recorded = Some(Recorded { class, probabilities: elite.probabilities });
            let item = fitted(format!("{}#{class}", path.display()), image, crops.unwrap_or(about.crops))?;
            Ok(Item { recorded, ..item })
        });
        return items.collect();
    }
    if let FileKind::Genome = FileKind::of(path)? {
        let (about, elite) = as_elite(&read_genome(path)?, Simd::detect());
        let image = Image { canvas: about.canvas, pixels: elite.image };
        return Ok(vec![fitted(path.display().to_string(), image, crops.unwrap_or(about.crops))?]);
    }
    let pictures = read_pictures(path)?.into_iter();
    pictures.map(|(name, image)| fitted(name, image, crops.unwrap_or(Crops::One))).collect()
}

/// The pictures of a PNG or an IDX file, each with its name: the file's, and for one of many its place in it.
///
/// # Errors
/// [`Error::File`] if it is neither; [`Error::Io`] if it cannot be read.
pub(super) fn read_pictures(path: &Path) -> Result<Vec<(String, Image)>> {
    let name = path.display().to_string();
    match FileKind::of(path)? {
        FileKind::Png => Ok(vec![(name, pictures::read_png(path)?)]),
        FileKind::Idx => {
            let images = dataset::read_idx_images(path)?;
            let canvas = Canvas { height: images.height, width: images.width, channels: 1 };
            let each = images.pixels.chunks(canvas.len().max(1)).enumerate();
            Ok(each.map(|(i, pixels)| (format!("{name}#{i}"), Image { canvas, pixels: pixels.to_vec() })).collect())
        }
        FileKind::Archive(_) | FileKind::Genome => Err(Error::file(path, "neither a PNG nor an IDX file of images")),
    }
}

/// `image` as `network` is given it, which judges `crops` of it where it sees a part of an image; or why that cannot be, and what it takes.
pub(super) fn fitted(name: String, image: Image, network: &Network, fit: Fit, crops: Crops) -> Result<Item, String> {
    let [shown, seen] = [network.image, network.input].map(|shape| Canvas {
        height: shape.height,
        width: shape.width,
        channels: shape.channels,
    });
    let crops = if shown == seen { Crops::One } else { crops };
    let seen = if crops == Crops::Ten { shown } else { seen };
    let pixels = fit_image(image, shown, seen, fit).map_err(|reason| {
        let part = if shown == seen {
            String::new()
        } else {
            format!(", or the {} x {} in the middle of that", seen.width, seen.height)
        };
        format!("{reason}, {} wants {} x {}{part}", network.name, shown.width, shown.height)
    })?;
    Ok(Item { name, pixels, crops, recorded: None })
}

/// Probabilities of each item, `(n_classes)` each. Runs on rayon's current pool.
///
/// # Errors
/// [`Error::Refused`] if the network does not fit into memory.
pub fn classify(network: &Arc<Network>, simd: Simd, items: &[Item]) -> Result<Vec<Vec<f32>>> {
    by_crops(network, items, |network, pixels| probabilities_of(network, simd, pixels))
}

/// Probabilities of images as `network` is [given](Network::given) them, `(n, height, width, channels)`: `(n, n_classes)`.
fn probabilities_of(network: &Arc<Network>, simd: Simd, pixels: &[u8]) -> Result<Vec<f32>> {
    let n_images = pixels.len() / Canvas::of(network).len();
    let mut probabilities = vec![0.0; n_images * network.classes.len()];
    let classifier = Classifier::new(Arc::clone(network), simd);
    classifier.check(rayon::current_num_threads())?;
    classifier.classify(pixels, &mut probabilities);
    Ok(probabilities)
}

/// As [`probabilities_of`], on `device`.
///
/// # Errors
/// Those of [`classify_on`].
pub(super) fn probabilities_on(device: &Chosen, network: &Arc<Network>, simd: Simd, pixels: &[u8]) -> Result<Vec<f32>> {
    match device.launcher() {
        Some(launcher) => classifier::classify(launcher, network, pixels),
        None => probabilities_of(network, simd, pixels),
    }
}

/// As [`classify`], on `device`.
///
/// # Errors
/// Those of [`classify`]; [`Error::Driver`] for what a GPU refuses.
pub fn classify_on(device: &Chosen, network: &Arc<Network>, simd: Simd, items: &[Item]) -> Result<Vec<Vec<f32>>> {
    let Some(launcher) = device.launcher() else { return classify(network, simd, items) };
    by_crops(network, items, |network, pixels| classifier::classify(launcher, network, pixels))
}

/// What `classify` says of the items: first those that are judged as they are, then those of which ten parts are.
fn by_crops(
    network: &Arc<Network>,
    items: &[Item],
    classify: impl Fn(&Arc<Network>, &[u8]) -> Result<Vec<f32>>,
) -> Result<Vec<Vec<f32>>> {
    let mut answers = vec![Vec::new(); items.len()];
    for crops in [Crops::One, Crops::Ten] {
        let of_these = |&index: &usize| items[index].crops == crops;
        let these: Vec<usize> = (0..items.len()).filter(of_these).collect();
        if these.is_empty() {
            continue;
        }
        let network = match crops {
            Crops::One => Arc::clone(network),
            Crops::Ten => Arc::new(Network::clone(network).judging(crops)?),
        };
        let pixels: Vec<u8> = these.iter().flat_map(|&index| &items[index].pixels).copied().collect();
        let probabilities = classify(&network, &pixels)?;
        for (&index, row) in these.iter().zip(probabilities.chunks(network.classes.len())) {
            answers[index] = row.to_vec();
        }
    }
    Ok(answers)
}

/// What a file holds, by its first bytes.
enum FileKind {
    Png,
    Idx,
    Archive(PathBuf),
    /// In JSON.
    Genome,
}

impl FileKind {
    fn of(path: &Path) -> Result<FileKind> {
        if path.is_dir() {
            return Ok(FileKind::Archive(run_folder::archive_of(path)));
        }
        let mut start = Vec::new();
        let file = File::open(path).map_err(Error::io("open", path))?;
        file.take(9).read_to_end(&mut start).map_err(Error::io("read", path))?;
        match start.as_slice() {
            [0x89, b'P', b'N', b'G', ..] => Ok(FileKind::Png),
            [0, 0, 8, ..] | [0x1f, 0x8b, ..] => Ok(FileKind::Idx),
            start if json::begins(start) => Ok(FileKind::Genome),
            // safetensors: the length of its header, 8 bytes, then the header, which is JSON.
            [_, _, _, _, _, _, _, _, b'{'] => Ok(FileKind::Archive(path.to_path_buf())),
            _ => Err(Error::file(
                path,
                "neither a PNG, nor an IDX file of images, nor the archive or folder of a run, nor a genome in JSON",
            )),
        }
    }
}

/// The pixels of `image` on the canvas `shown`, of which the middle, as large as `seen`, is kept; or why not.
pub(super) fn fit_image(image: Image, shown: Canvas, seen: Canvas, fit: Fit) -> Result<Vec<u8>, String> {
    let Image { canvas, pixels } = image;
    let mut pixels = match (canvas.channels, seen.channels) {
        (3, 1) => pixels.chunks_exact(3).map(|rgb| grey([rgb[0], rgb[1], rgb[2]])).collect(),
        (1, 3) => pixels.iter().flat_map(|&grey| [grey; 3]).collect(),
        _ => pixels,
    };
    let is = |other: Canvas| (canvas.height, canvas.width) == (other.height, other.width);
    if !is(seen) {
        if !is(shown) {
            let resize = fit.resize.ok_or_else(|| format!("is {} x {} pixels", canvas.width, canvas.height))?;
            let how = match resize {
                Resize::Nearest => ResizeAlg::Nearest,
                Resize::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
            };
            let from = Canvas { channels: shown.channels, ..canvas };
            pixels = pictures::resized(&pixels, from, shown, how);
        }
        pixels = middle(&pixels, shown, seen);
    }
    if fit.invert {
        pixels.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
    }
    Ok(pixels)
}

/// The middle of `pixels`, as large as `seen`, of those of `shown`: half of what is left, rounded down, lies above and on the left.
pub(super) fn middle(pixels: &[u8], shown: Canvas, seen: Canvas) -> Vec<u8> {
    let (top, left) = ((shown.height - seen.height) / 2, (shown.width - seen.width) / 2);
    let row = |y: usize| &pixels[((top + y) * shown.width + left) * seen.channels..][..seen.width * seen.channels];
    (0..seen.height).flat_map(row).copied().collect()
}

/// Luma of Rec. 601, rounded; equal channels stay what they are.
fn grey(rgb: [u8; 3]) -> u8 {
    let [r, g, b] = rgb.map(u32::from);
    ((299 * r + 587 * g + 114 * b + 500) / 1000) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn canvas(height: usize, width: usize, channels: usize) -> Canvas {
        Canvas { height, width, channels }
    }

    #[test]
    fn grey_keeps_equal_channels_and_weighs_others() {
        for value in 0..=255 {
            assert_eq!(grey([value; 3]), value);
        }
        assert_eq!([grey([255, 0, 0]), grey([0, 255, 0]), grey([0, 0, 255])], [76, 150, 29]);
    }

    #[test]
    fn another_size_needs_resize() {
        let image = Image { canvas: canvas(2, 4, 1), pixels: vec![0, 0, 200, 200, 0, 0, 200, 200] };
        let to = canvas(1, 2, 1);
        let fit = |resize| fit_image(image.clone(), to, to, Fit { resize, invert: false });
        assert_eq!(fit(None), Err("is 4 x 2 pixels".into()));
        assert_eq!(fit(Some(Resize::Nearest)), Ok(vec![0, 200]));
        // Shrinking by 2, the triangle filter weighs the pixels of a row 1/8 3/8 3/8 1/8; at the edges 3/7 3/7 1/7.
        assert_eq!(fit(Some(Resize::Bilinear)), Ok(vec![29, 171]));
    }

    #[test]
    fn colours_and_inversion_reach_the_network() {
        let colour = Image { canvas: canvas(1, 2, 3), pixels: vec![255, 0, 0, 7, 7, 7] };
        let to = canvas(1, 2, 1);
        let inverted = fit_image(colour, to, to, Fit { resize: None, invert: true });
        assert_eq!(inverted, Ok(vec![255 - 76, 248]));
        let grey = Image { canvas: canvas(1, 2, 1), pixels: vec![9, 8] };
        let to = canvas(1, 2, 3);
        assert_eq!(fit_image(grey, to, to, Fit::default()), Ok(vec![9, 9, 9, 8, 8, 8]));
    }

    #[test]
    fn the_middle_of_an_image_is_cut_out() {
        let (shown, seen) = (canvas(4, 5, 1), canvas(2, 2, 1));
        let pixels: Vec<u8> = (0..20).collect();
        let fit =
            |canvas, pixels, resize| fit_image(Image { canvas, pixels }, shown, seen, Fit { resize, invert: false });
        assert_eq!(fit(shown, pixels.clone(), None), Ok(vec![6, 7, 11, 12]));
        assert_eq!(fit(seen, vec![1, 2, 3, 4], None), Ok(vec![1, 2, 3, 4]), "an image as large as the middle");
        let twice: Vec<u8> = (0..80).map(|at| pixels[at / 20 * 5 + at % 10 / 2]).collect();
        assert_eq!(fit(canvas(8, 10, 1), twice, Some(Resize::Nearest)), Ok(vec![6, 7, 11, 12]));
    }
}
