//! A small MNIST that is made up.

use pareidolia::rng::{Philox, Purpose};
use std::fs;
use std::path::Path;

pub fn word(seed: u64, stream: u32, index: u32) -> u32 {
    Philox::new(seed).draws(Purpose::DirectInit, stream, 0).word(index)
}

/// MNIST's four files, of digits that are bright bars, each at its own height, in noise.
pub fn digits(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    for (name, count, seed) in [("train", 600_u32, 1), ("t10k", 100, 2)] {
        let labels: Vec<u8> = (0..count).map(|image| (word(seed, 2, image) % 10) as u8).collect();
        let pixel = |at: u32| {
            let (image, row) = ((at / 784) as usize, at % 784 / 28);
            let noise = (word(seed, 3, at) >> 26) as u8;
            if (row / 2).checked_sub(2) == Some(labels[image].into()) { 190 + noise } else { noise }
        };
        let head = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
        let images = [head(&[2051, count, 28, 28]), (0..count * 784).map(pixel).collect()].concat();
        fs::write(dir.join(format!("{name}-images-idx3-ubyte")), images).unwrap();
        fs::write(dir.join(format!("{name}-labels-idx1-ubyte")), [head(&[2049, count]), labels].concat()).unwrap();
    }
}
