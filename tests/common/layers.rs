//! Layers in few words.

#![allow(dead_code)] // each test file uses its own part

use pareidolia::network::{Operation, Rounding, Window};

pub type Named = (&'static str, Operation);

pub const RELU: Named = ("relu", Operation::Relu);
pub const SOFTMAX: Named = ("softmax", Operation::Softmax);

pub fn conv2d(
    name: &'static str,
    out_channels: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    groups: usize,
) -> Named {
    (name, Operation::Conv2d { out_channels, kernel, stride, padding, groups })
}

pub fn dense(name: &'static str, out_features: usize) -> Named {
    (name, Operation::Dense { out_features })
}

pub fn max_pool_of(kernel: usize, stride: usize) -> Named {
    ("pool", Operation::MaxPool(Window { kernel, stride, padding: 0, rounding: Rounding::Ceil }))
}
