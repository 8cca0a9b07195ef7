//! A layer list that has all there is.

/// Small: 9 x 9 of 12 x 12 pixels, 4 classes; every kind of layer, groups, a branch, both ways to round.
pub const TINY: &str = r#"name = "tiny"
channel_order = "RGB"
image = 12
crop = 9
mean = [1, 2.5, 3]
scale = [0.5, 0.25, 0.125]
classes = 4
layers = [
  { name = "conv1", type = "convolution", outputs = 6, kernel = 3, stride = 2, padding = 1, groups = 3 },
  { name = "relu1", type = "relu" },
  { name = "left", type = "max-pool", inputs = ["relu1"], kernel = 2, stride = 2, rounding = "ceil" },
  { name = "norm", type = "lrn", inputs = ["relu1"], size = 3, alpha = 0.5, beta = 0.75, k = 2 },
  { name = "right", type = "average-pool", kernel = 3, stride = 2, padding = 1, rounding = "floor", count_padding = false },
  { name = "both", type = "concat", inputs = ["right", "left"] },
  { name = "fc", type = "dense", outputs = "classes" },
  { name = "prob", type = "softmax" },
]
"#;
