//! The memory that a large network takes on the CPU against what is said before.

#[path = "../fuzz/src/memory.rs"]
#[allow(dead_code)]
mod memory;

use std::sync::Arc;

use memory::Limit;
use pareidolia::backend::cpu::classify::{Classifier, Mapping};
use pareidolia::network::Network;
use pareidolia::network::list::List;
use pareidolia::simd::Simd;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// AlexNet in small: groups, both poolings, normalisation, two branches, dense layers that weigh most.
const LIST: &str = r#"
name = "small"
channel_order = "BGR"
image = 35
mean = [104, 117, 123]
classes = 30
layers = [
  { name = "conv1", type = "convolution", outputs = 32, kernel = 7, stride = 2, padding = 3 },
  { name = "relu1", type = "relu" },
  { name = "norm1", type = "lrn", size = 5, alpha = 0.0001, beta = 0.75 },
  { name = "pool1", type = "max-pool", kernel = 3, stride = 2, rounding = "ceil" },
  { name = "conv2", type = "convolution", outputs = 48, kernel = 5, padding = 2, groups = 2 },
  { name = "left", type = "convolution", outputs = 20, kernel = 1 },
  { name = "right", type = "average-pool", inputs = ["conv2"], kernel = 3, padding = 1, rounding = "ceil" },
  { name = "both", type = "concat", inputs = ["left", "right"] },
  { name = "fc6", type = "dense", outputs = 200 },
  { name = "relu6", type = "relu" },
  { name = "fc7", type = "dense", outputs = "classes" },
  { name = "prob", type = "softmax" },
]
"#;

#[test]
fn a_graph_takes_what_was_planned_and_not_much_less() {
    let network = Arc::new(Network::random(&List::parse(LIST).unwrap(), 1).unwrap());
    let simd = Simd::detect(); // the widest takes most
    for images in [1, 300] {
        let classifier = Classifier::with_mapping(Arc::clone(&network), simd, Mapping::Graph);
        let planned = classifier.packed_bytes() + classifier.scratch_bytes();
        let pixels = vec![77; images * network.input.len()];
        let mut probabilities = vec![0.0; images * 30];
        // On this thread alone, whose allocations count: what names the steps is some kilobytes.
        let takes = |constant: usize| {
            let limit = Limit { factor: 0, constant };
            let classifier = Classifier::with_mapping(Arc::clone(&network), simd, Mapping::Graph);
            let mut probabilities = probabilities.clone();
            let run = || limit.hold(0, || classifier.classify_group(false, &pixels, &mut probabilities));
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_ok()
        };
        assert!(takes(planned + (16 << 10)), "{simd}, {images} images: more than the {planned} bytes planned");
        // A full chunk takes what was planned; fewer images less of the chunk's part.
        if images == 300 {
            assert!(!takes(planned / 10 * 8), "{simd}: less than four fifths of the {planned} bytes planned");
        }
        classifier.classify_group(false, &pixels, &mut probabilities);
        assert!(probabilities.chunks(30).all(|row| row == &probabilities[..30]), "{simd}: equal images");
    }
}
