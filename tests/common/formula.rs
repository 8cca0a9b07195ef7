//! AlexNets whose weights and images are a formula's: alexnet-golden/README.md.

// Each test file uses a part of it.
#![allow(dead_code)]

use pareidolia::network::list::List;
use pareidolia::network::{Network, Parameters, Preprocess, shapes, weights};
use rayon::prelude::*;

/// alexnet-golden/README.md: the hash of a tensor's seed and a flat index.
pub fn hash(seed: u32, index: u32) -> u32 {
    let mix = |mut x: u32| {
        x = (x ^ x >> 16).wrapping_mul(0x85EB_CA6B);
        x = (x ^ x >> 13).wrapping_mul(0xC2B2_AE35);
        x ^ x >> 16
    };
    mix(mix(index).wrapping_add(seed.wrapping_mul(0x9E37_79B1)))
}

/// `(2 (h >> 16) - 65535) K / 2^E`: exact in f32.
pub fn value(seed: u32, index: u32, k: i32, e: i32) -> f32 {
    ((2 * (hash(seed, index) >> 16) as i32 - 65_535) * k) as f32 / 2f32.powi(e)
}

/// Seed of the first weights, the image's side, and K and E of each layer's weights and biases: the tables of the README.
pub struct Formula {
    first_seed: u32,
    weights: [(i32, i32); 8],
    biases: [(i32, i32); 8],
    pixel_seeds: (u32, u32),
}

pub const CAFFE: Formula = Formula {
    first_seed: 1,
    weights: [(197, 25), (217, 26), (209, 28), (241, 28), (241, 28), (209, 29), (157, 28), (188, 31)],
    biases: [(128, 20), (128, 20), (128, 22), (128, 22), (128, 22), (128, 22), (128, 22), (128, 24)],
    pixel_seeds: (101, 102),
};

pub const TORCHVISION: Formula = Formula {
    first_seed: 33,
    weights: [(132, 26), (251, 28), (241, 28), (171, 28), (209, 28), (209, 29), (157, 28), (196, 25)],
    biases: [(128, 26); 8],
    pixel_seeds: (103, 104),
};

impl Formula {
    /// The network of `list` with the formula's weights. The sum of all bit patterns of each tensor is printed nowhere: the logits tell.
    pub fn network(&self, list: &List, preprocess: Preprocess) -> Network {
        let (input, layers) = (list.input(), list.layers(1000));
        let shapes = shapes(input, &layers).unwrap();
        let parameters = weights(&layers, &shapes).enumerate().map(|(at, (_, shape))| {
            let (seed, (k, e)) = (self.first_seed + 2 * at as u32, self.weights[at]);
            let n = shape.iter().product::<usize>() as u32;
            let weight = (0..n).into_par_iter().map(|i| {
                let value = value(seed, i >> 1, k, e);
                if i % 2 == 1 { -value } else { value }
            });
            let (k, e) = self.biases[at];
            let bias = (0..shape[0] as u32).map(|i| value(seed + 1, i, k, e)).collect();
            Parameters { weight: weight.collect(), bias }
        });
        let parameters = parameters.collect();
        let classes = (0..1000).map(|class| class.to_string()).collect();
        Network::new(&list.name, input, preprocess, layers.clone(), parameters, classes).unwrap()
    }

    /// Both images, `(2, side, side, 3)` bytes RGB; channel 0 of the formula is blue if `is_bgr`.
    pub fn images(&self, side: u32, is_bgr: bool) -> Vec<u8> {
        let blocks = (side + 15) >> 4;
        let mut bytes = Vec::new();
        for n in 0..2 {
            for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
                for byte in 0..3 {
                    let plane = n * 3 + if is_bgr { 2 - byte } else { byte };
                    let block = (plane * blocks + (y >> 4)) * blocks + (x >> 4);
                    let pixel = (plane * side + y) * side + x;
                    let (rough, fine) = (hash(self.pixel_seeds.0, block) & 255, hash(self.pixel_seeds.1, pixel) & 255);
                    bytes.push(((3 * rough + fine) >> 2) as u8);
                }
            }
        }
        bytes
    }
}
