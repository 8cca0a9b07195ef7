//! Activations on the device: parts of one buffer, the arena, which kernels read and write side by side.

use super::launcher::check_len;
use crate::error::{Error, Result};
use cudarc::driver::{CudaSlice, CudaView};

/// Where the values of a batch are in an arena: those of image i begin at `start + i * image`. A range of the channels of a wider
/// activation is a place too. In floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub start: usize,
    /// From an image to the next.
    pub image: usize,
}

impl Place {
    /// The part of `arena` from the first of `len` values of the first of `batch` images, at least one, to the last of the last.
    ///
    /// # Errors
    /// [`Error::Shape`] if it reaches beyond the arena's end, or images run into one another.
    pub(super) fn of<'a>(
        self,
        arena: &'a CudaSlice<f32>,
        what: &'static str,
        batch: usize,
        len: usize,
    ) -> Result<CudaView<'a, f32>> {
        if batch > 1 && self.image < len {
            return Err(Error::Shape { what, got: self.image, want: len });
        }
        let end = self.start + (batch - 1) * self.image + len;
        check_len(what, arena, end)?;
        Ok(arena.slice(self.start..end))
    }

    /// Whether no value of `len` here is one of `other_len` at `other`, in `batch` images of both.
    fn is_apart(self, len: usize, other: Place, other_len: usize, batch: usize) -> bool {
        let end = |place: Place, len| place.start + (batch - 1) * place.image + len;
        if end(self, len) <= other.start || end(other, other_len) <= self.start {
            return true;
        }
        // Channels of one activation: apart in each image, and so in all.
        let (low, low_len, high, high_len) =
            if self.start <= other.start { (self, len, other, other_len) } else { (other, other_len, self, len) };
        self.image == other.image && low.start + low_len <= high.start && high.start + high_len <= low.start + low.image
    }

    /// For kernels that may not write where they read.
    ///
    /// # Panics
    /// If `len` values at `out` and `in_len` at `input` overlap: a mistake of whoever laid them out.
    pub(super) fn check_apart(out: Place, len: usize, input: Place, in_len: usize, batch: usize) {
        assert!(
            out.is_apart(len, input, in_len, batch),
            "{out:?} of {len} and {input:?} of {in_len} overlap in {batch} images"
        );
    }
}

/// What has a part of each image's share of an arena, and from which launch to which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    /// Floats of an image.
    pub len: usize,
    /// The first launch that writes it.
    pub first: usize,
    /// The last that reads it.
    pub last: usize,
}

/// Where each of `lives` that there are begins in an image's share, and the floats of that: the largest first, each the lowest that is
/// free as long as it lives.
pub(super) fn lay_out(lives: &[Option<Life>]) -> (Vec<usize>, usize) {
    let mut order: Vec<(usize, Life)> =
        lives.iter().enumerate().filter_map(|(at, life)| life.map(|life| (at, life))).collect();
    order.sort_by_key(|(_, life)| std::cmp::Reverse(life.len));
    let mut starts = vec![0; lives.len()];
    let mut placed: Vec<(usize, Life)> = Vec::new();
    let mut image = 0;
    for (at, life) in order {
        let beside = |(_, other): &&(usize, Life)| other.first <= life.last && life.first <= other.last;
        let mut others: Vec<&(usize, Life)> = placed.iter().filter(beside).collect();
        others.sort_by_key(|(start, _)| *start);
        let mut start = 0;
        for (other_start, other) in others {
            if start + life.len <= *other_start {
                break;
            }
            start = start.max(other_start + other.len);
        }
        starts[at] = start;
        image = image.max(start + life.len);
        placed.push((start, life));
    }
    (starts, image)
}

/// `value` as kernels take it.
///
/// # Errors
/// [`Error::Shape`] if 32 bits do not hold it.
pub(super) fn narrow(what: &'static str, value: usize) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::Shape { what, got: value, want: u32::MAX as usize })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_overlap_as_their_values_do() {
        let values = |place: Place, len: usize, batch: usize| -> Vec<usize> {
            (0..batch).flat_map(|i| (0..len).map(move |at| place.start + i * place.image + at)).collect()
        };
        let mut seen = [0, 0];
        for batch in 1..4 {
            for (start, image, len) in [(0, 5, 5), (3, 5, 2), (0, 5, 3), (15, 7, 7), (2, 5, 3), (10, 5, 5), (4, 5, 1)] {
                for (other_start, other_image, other_len) in [(0, 5, 3), (3, 5, 2), (5, 5, 5), (14, 3, 2), (0, 40, 40)]
                {
                    let (one, other) = (Place { start, image }, Place { start: other_start, image: other_image });
                    let others = values(other, other_len, batch);
                    let apart = values(one, len, batch).iter().all(|at| !others.contains(at));
                    // Places of other strides that interleave are called overlapping though they may not be.
                    let told = one.is_apart(len, other, other_len, batch);
                    assert!(!told || apart, "{one:?} {len}, {other:?} {other_len}, {batch}");
                    assert!(told || !apart || image != other_image || start / image != other_start / image);
                    seen[usize::from(told)] += 1;
                }
            }
        }
        assert!(seen.iter().all(|&n| n > 20), "{seen:?}");
    }
}
