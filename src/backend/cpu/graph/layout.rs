//! How an activation of one image lies in memory.

use crate::network::Shape;

/// `(channels / lanes rounded up, border + height + border, border + width + border, lanes)` f32. The border is as wide as the
/// widest padding of the convolutions that read it, and 0, so that none of them needs to look where it is. Lanes past the last
/// channel are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub shape: Shape,
    pub border: usize,
    pub lanes: usize,
}

impl Layout {
    /// Values of a row.
    pub fn row(self) -> usize {
        (self.shape.width + 2 * self.border) * self.lanes
    }

    /// Values of a block of channels.
    pub fn block(self) -> usize {
        (self.shape.height + 2 * self.border) * self.row()
    }

    /// Blocks of channels.
    pub fn blocks(self) -> usize {
        self.shape.channels.div_ceil(self.lanes)
    }

    /// All values.
    pub fn size(self) -> usize {
        self.blocks() * self.block()
    }

    /// Where position (`y`, `x`) of the image begins in a block.
    pub fn position(self, y: usize, x: usize) -> usize {
        (y + self.border) * self.row() + (x + self.border) * self.lanes
    }

    /// Where a value is.
    pub fn at(self, channel: usize, y: usize, x: usize) -> usize {
        channel / self.lanes * self.block() + self.position(y, x) + channel % self.lanes
    }

    /// The values of `activation`, `(channels, height, width)`.
    pub fn flatten(self, activation: &[f32], flat: &mut [f32]) {
        let Shape { height, width, .. } = self.shape;
        for (index, row) in flat.chunks_exact_mut(width).enumerate() {
            let start = self.at(index / height, index % height, 0);
            for (x, value) in row.iter_mut().enumerate() {
                *value = activation[start + x * self.lanes];
            }
        }
    }
}
