//! Networks from elsewhere: weights that others have trained, brought into our form.

pub mod caffe;
pub mod graph;
pub mod onnx;
pub mod pickle;
pub mod pth;
pub mod seems;
pub mod tensor;
pub mod wire;
