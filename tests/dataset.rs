//! MNIST's IDX files: the real ones, and broken ones.

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use pareidolia::dataset::{Mnist, Split, read_idx_images, read_idx_labels};

fn idx(words: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    file.extend(bytes);
    file
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn mnist_is_byte_for_byte_the_original() {
    let Some(data) = common::data_dir() else { return };
    // Labels and checksums of data/README.md.
    let train = Mnist::load(&data, Split::Train).unwrap();
    assert_eq!((train.len(), &train.labels.labels[..10]), (60_000, &[5, 0, 4, 1, 9, 2, 1, 3, 1, 4][..]));
    assert_eq!(train.images.sha256, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db");
    assert_eq!(train.labels.sha256, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5");
    let test = Mnist::load(&data.join("mnist"), Split::Test).unwrap();
    assert_eq!((test.len(), &test.labels.labels[..10]), (10_000, &[7, 2, 1, 0, 4, 1, 4, 9, 5, 9][..]));
    assert_eq!(test.images.sha256, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7");
    assert_eq!(test.labels.sha256, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2");
    assert_eq!(test.images.pixels.len(), 10_000 * 784);
}

#[test]
fn idx_files_read_the_same_plain_and_gzip() {
    let folder = tempfile::tempdir().unwrap();
    let pixels: Vec<u8> = (0..2 * 3 * 4).collect();
    let file = idx(&[2051, 2, 3, 4], &pixels);
    let plain = read_idx_images(&write(folder.path(), "plain", &file)).unwrap();
    assert_eq!((plain.count, plain.height, plain.width, &plain.pixels), (2, 3, 4, &pixels));
    assert_eq!(read_idx_images(&write(folder.path(), "zipped", &gzip(&file))).unwrap(), plain);
    let labels = read_idx_labels(&write(folder.path(), "labels", &gzip(&idx(&[2049, 3], &[9, 0, 4])))).unwrap();
    assert_eq!(labels.labels, [9, 0, 4]);
    let empty = read_idx_images(&write(folder.path(), "empty", &idx(&[2051, 0, 28, 28], &[]))).unwrap();
    assert_eq!((empty.count, empty.pixels.len()), (0, 0));
}

#[test]
fn broken_idx_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = idx(&[2051, 2, 3, 4], &[7; 24]);
    let zipped = gzip(&good);
    let mut damaged = zipped.clone();
    let at = damaged.len() - 8; // its checksum
    damaged[at] ^= 1;
    let wrong_count = "its header says [2, 3, 4], that is 24 bytes of images, but it has";
    let cases: [(Vec<u8>, &str); 13] = [
        (vec![], "0 bytes, too short for an IDX header"),
        (vec![0, 0, 8], "3 bytes, too short for an IDX header"),
        (good[..12].to_vec(), "12 bytes, too short for the header of IDX images (16 bytes)"),
        (idx(&[2049, 24], &[7; 24]), "magic number 2049, wanted 2051 (IDX images)"),
        (b"\x89PNG\r\n\x1a\n".to_vec(), "magic number 2303741511, wanted 2051"),
        (good[..39].to_vec(), &format!("{wrong_count} 23")),
        ([&good[..], &[0]].concat(), &format!("{wrong_count} more")),
        (gzip(&good[..30]), &format!("{wrong_count} 14")),
        (gzip(&[&good[..], &[0]].concat()), &format!("{wrong_count} more")),
        (idx(&[2051, u32::MAX, u32::MAX, u32::MAX], &[]), "more than the limit of 1073741824 bytes"),
        (idx(&[2051, 1 << 21, 28, 28], &[]), "its header says [2097152, 28, 28]: more than the limit"),
        (zipped[..zipped.len() - 12].to_vec(), "broken gzip data"),
        (damaged, "broken gzip data"),
    ]
    .map(|(bytes, want)| (bytes, &*want.to_string().leak()));
    for (bytes, want) in cases {
        let path = write(folder.path(), "images", &bytes);
        let error = read_idx_images(&path).expect_err(want).to_string();
        assert!(error.starts_with(&path.display().to_string()) && error.contains(want), "want {want:?} in {error:?}");
    }
    let labels = write(folder.path(), "labels", &good);
    let error = read_idx_labels(&labels).unwrap_err().to_string();
    assert!(error.contains("magic number 2051, wanted 2049 (IDX labels)"), "{error}");
    let missing = read_idx_images(&folder.path().join("none")).unwrap_err().to_string();
    assert!(missing.contains("none: cannot open: "), "{missing}");
}

#[test]
fn a_gzip_bomb_is_refused_before_it_is_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    // The header announces 10 labels; behind them come 3 GiB of zeros, 3 MB of file.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&idx(&[2049, 10], &[1; 10])).unwrap();
    let zeros = vec![0; 1 << 24];
    let start = encoder.finish().unwrap();
    let mut member = GzEncoder::new(Vec::new(), Compression::fast());
    member.write_all(&zeros).unwrap();
    let member = member.finish().unwrap();
    let bomb = [start, member.repeat(192)].concat();
    let started = std::time::Instant::now();
    let error = read_idx_labels(&write(folder.path(), "bomb.gz", &bomb)).unwrap_err().to_string();
    assert!(error.contains("that is 10 bytes of labels, but it has more"), "{error}");
    assert!(started.elapsed().as_secs() < 1, "unpacked all of it");
}

#[test]
fn mnist_folders_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (images, labels) = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte");
    let load = || Mnist::load(folder.path(), Split::Test).map_err(|error| error.to_string());
    let assert_refused = |want: &str| {
        let error = load().expect_err(want);
        assert!(error.contains(want), "want {want:?} in {error:?}");
    };
    assert_refused("neither it nor its folder mnist holds t10k-images-idx3-ubyte or t10k-images-idx3-ubyte.gz");
    let mnist = folder.path().join("mnist");
    write(&mnist, &format!("{images}.gz"), &gzip(&idx(&[2051, 2, 28, 28], &[0; 2 * 784])));
    assert_refused("holds t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz");
    write(&mnist, labels, &idx(&[2049, 3], &[0, 9, 1]));
    assert_refused("t10k-labels-idx1-ubyte: 3 labels for the 2 images of ");
    write(&mnist, labels, &idx(&[2049, 2], &[0, 10]));
    assert_refused("t10k-labels-idx1-ubyte: label 1 is 10, wanted 0 to 9");
    write(&mnist, labels, &idx(&[2049, 2], &[0, 9]));
    let mnist_of_two = load().unwrap();
    assert_eq!((mnist_of_two.len(), mnist_of_two.labels.labels), (2, vec![0, 9]));
    write(folder.path(), images, &idx(&[2051, 2, 27, 28], &[0; 2 * 27 * 28]));
    assert_refused("t10k-images-idx3-ubyte: images of 27 x 28, MNIST's have 28 x 28");
}
