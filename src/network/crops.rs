//! The parts of an image that a network is shown, and what it says of all of them together.

use super::Shape;

/// A part of an image, as large as the network's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crop {
    /// Its left column and upper row in the image.
    pub x: usize,
    pub y: usize,
    /// Whether left and right are exchanged.
    pub mirror: bool,
}

/// How many parts of an image are judged (spec 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crops {
    /// The middle.
    One,
    /// The corners and the middle, each also mirrored.
    Ten,
}

impl Crops {
    /// That many, if there are such.
    pub fn of(count: u32) -> Option<Crops> {
        match count {
            1 => Some(Crops::One),
            10 => Some(Crops::Ten),
            _ => None,
        }
    }

    /// Those of an image of the shape `image` for a network that sees `input`: upper left, upper right, lower left, lower right,
    /// middle, each followed by its mirror image. Of what the middle leaves, the half, rounded down, lies above and on the left.
    ///
    /// # Panics
    /// If the image is smaller.
    pub fn within(self, image: Shape, input: Shape) -> Vec<Crop> {
        let (right, bottom) = (image.width - input.width, image.height - input.height);
        let middle = (right / 2, bottom / 2);
        let both = |(x, y)| [false, true].map(|mirror| Crop { x, y, mirror });
        match self {
            Crops::One => vec![both(middle)[0]],
            Crops::Ten => {
                [(0, 0), (right, 0), (0, bottom), (right, bottom), middle].into_iter().flat_map(both).collect()
            }
        }
    }
}

/// What the crops of an image say of a class together: the mean of `probabilities`, added in f64 in their order. NaN is the one NaN
/// 0x7fc00000.
#[inline]
pub fn mean(probabilities: impl ExactSizeIterator<Item = f32>) -> f32 {
    let n = probabilities.len() as f64;
    let sum = probabilities.fold(0.0, |sum, probability| sum + f64::from(probability));
    let mean = (sum / n) as f32;
    if mean.is_nan() { f32::from_bits(0x7fc0_0000) } else { mean }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn square(side: usize) -> Shape {
        Shape { channels: 3, height: side, width: side }
    }

    #[test]
    fn ten_crops_lie_where_the_papers_program_has_them() {
        let crops = Crops::Ten.within(square(256), square(227));
        let offsets = [(0, 0), (29, 0), (0, 29), (29, 29), (14, 14)];
        let want: Vec<Crop> =
            offsets.iter().flat_map(|&(x, y)| [false, true].map(|mirror| Crop { x, y, mirror })).collect();
        assert_eq!(crops, want);
        assert_eq!(Crops::One.within(square(256), square(227)), [Crop { x: 14, y: 14, mirror: false }]);
        assert_eq!(Crops::One.within(square(28), square(28)), [Crop::default()]);
    }

    #[test]
    fn mean_is_added_in_double_precision() {
        let tiny = f32::from_bits(1);
        assert_eq!(mean([1.0, tiny, tiny].into_iter()), 1.0 / 3.0);
        // In f32 the small ones would be lost one by one.
        let small = f32::EPSILON / 4.0;
        let many: Vec<f32> = std::iter::once(1.0).chain(std::iter::repeat_n(small, 8)).collect();
        assert_eq!(mean(many.into_iter()) * 9.0, 1.0 + 2.0 * f32::EPSILON);
        assert_eq!(mean([0.5, f32::NAN].into_iter()).to_bits(), 0x7fc0_0000);
        assert_eq!(mean([0.3].into_iter()).to_bits(), 0.3_f32.to_bits());
    }
}
