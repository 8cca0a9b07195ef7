//! Networks forward and back on the CPU, in tiles of images: the rules of [`crate::network::gradient`].
//!
//! Any list of layers, lane = image, so that no sum crosses lanes and every width gives the same bits. All values of a tile are kept for
//! the way back; a rectifier, dropout and the softmax work in place where nobody else needs what they take. Gradients lie as their
//! values do.
//!
//! Groups of tiles are shared out among threads. Where there are fewer groups than threads, the steps of a group are: in blocks of
//! channels of its output, whose memory is in one piece.

pub mod conv2d;
pub mod dense;
pub mod input_gradients;
pub mod lrn;
pub mod network;
pub mod pool;
pub mod relu;
pub mod softmax;

pub use input_gradients::InputGradients;
