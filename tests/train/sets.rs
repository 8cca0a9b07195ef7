//! Small folders of images, and a small network for them.

use crate::word;
use pareidolia::genome::Canvas;
use pareidolia::output::pictures::write_png;
use std::fs;
use std::path::Path;

/// A network that is shown images of 14 x 14 in colour, of which it sees 12 x 12.
pub const SMALL: &str = r#"
name = "small"
channel_order = "RGB"
image = 14
crop = 12
mean = [128, 128, 128]
scale = 0.01
classes = 3
layers = [
  { name = "conv1", type = "convolution", outputs = 8, kernel = 3 },
  { name = "relu1", type = "relu" },
  { name = "pool1", type = "max-pool", kernel = 2, stride = 2, rounding = "ceil" },
  { name = "fc2", type = "dense", outputs = 16 },
  { name = "relu2", type = "relu" },
  { name = "fc3", type = "dense", outputs = "classes" },
  { name = "prob", type = "softmax" },
]
"#;

/// An image of 16 x 14 of a class: its colour, in noise.
pub fn image(class: usize, seed: u64) -> Vec<u8> {
    let pixel = |at: usize| {
        let noise = (word(seed, 4, at as u32) >> 25) as u8;
        if at % 3 == class % 3 { noise + 120 } else { noise }
    };
    (0..16 * 14 * 3).map(pixel).collect()
}

/// Writes `count` images of each of `classes` into `root`, and the layer list `small.toml` beside it.
pub fn write(root: &Path, classes: &[&str], count: usize, seed: u64) {
    let canvas = Canvas { height: 14, width: 16, channels: 3 };
    for (class, name) in classes.iter().enumerate() {
        fs::create_dir_all(root.join(name)).unwrap();
        for i in 0..count {
            let seed = seed + (1000 * class + i) as u64;
            write_png(&root.join(name).join(format!("{i:02}.png")), canvas, &image(class, seed)).unwrap();
        }
    }
    fs::write(root.parent().unwrap().join("small.toml"), SMALL).unwrap();
}

/// The head of a PNG of `width` x `height` pixels, and nothing more.
pub fn png_head(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bytes.extend([width, height].iter().flat_map(|side| side.to_be_bytes()));
    bytes.extend([8, 2, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

pub fn jpeg(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images").join(name)).unwrap()
}
