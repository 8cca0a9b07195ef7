//! The CPU backend: one file a step, generic over the vector width.
//!
//! Activations are `(tiles, channels, height, width, L::N)`: a tile is `L::N` images, one a lane, so that no step ever
//! mixes lanes and every width gives the same bits.

pub mod conv2d;
pub mod dense;
pub mod max_pool;
pub mod preprocess;
pub mod relu;
pub mod softmax;
