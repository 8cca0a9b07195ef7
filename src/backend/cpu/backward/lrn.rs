//! Local response normalisation across channels, over a tile of images, and back.
//!
//! ```text
//! input, output, gradients  (channels, positions, L::N) f32, lane = image
//! ```
//!
//! Mapping   some positions at a time, so that what is kept of their channels stays in the first caches.
//! Numbers   forward [`Operation::Lrn`](crate::network::Operation::Lrn), backward [`crate::network::gradient`]. Exact at every width.

use std::ops::Range;

use crate::simd::Lanes;

/// A normalisation of `channels` channels.
#[derive(Clone, Copy, Debug)]
pub struct Lrn {
    pub channels: usize,
    pub size: usize,
    pub alpha: f32,
    pub k: f32,
}

/// Positions whose channels are kept at a time.
const POSITIONS: usize = 4;

impl Lrn {
    /// The channels in the window around `channel`.
    #[inline(always)]
    fn window(&self, channel: usize) -> Range<usize> {
        channel.saturating_sub(self.size / 2)..(channel + self.size / 2 + 1).min(self.channels)
    }

    /// `s` of `channel` at the position that begins at `place` of a plane of `plane` values.
    #[inline(always)]
    fn scale<L: Lanes>(&self, input: &[f32], channel: usize, plane: usize, place: usize) -> L {
        let mut sum = L::splat(0.0);
        for channel in self.window(channel) {
            let x = L::load(&input[channel * plane + place..]);
            sum = x.mul_add(x, sum);
        }
        L::splat(self.alpha / self.size as f32).mul_add(sum, L::splat(self.k))
    }

    /// The channels `channels` of one tile: `output` holds them alone, `input` all.
    #[inline(always)]
    pub fn forward<L: Lanes>(&self, output: &mut [f32], input: &[f32], channels: Range<usize>) {
        let plane = input.len() / self.channels;
        for (channel, output) in channels.zip(output.chunks_exact_mut(plane)) {
            for (position, value) in output.chunks_exact_mut(L::N).enumerate() {
                let place = position * L::N;
                let root = self.scale::<L>(input, channel, plane, place).sqrt();
                L::load(&input[channel * plane + place..]).div(root.mul(root.sqrt())).store(value);
            }
        }
    }

    /// Writes the gradients of the channels `channels` of one tile: `input_gradient` holds them alone, `output_gradient` and `input` all.
    #[inline(always)]
    pub fn backward<L: Lanes>(
        &self,
        input_gradient: &mut [f32],
        output_gradient: &[f32],
        input: &[f32],
        channels: Range<usize>,
    ) {
        let plane = input.len() / self.channels;
        let factor = L::splat((2.0 * 0.75 * self.alpha) / self.size as f32).neg();
        // The channels whose outputs saw those of `channels`.
        let seen = self.window(channels.start).start..self.window(channels.end - 1).end;
        // Of each of them: t, and the gradient over p.
        let mut kept = vec![0.0; seen.len() * POSITIONS * 2 * L::N];
        for first in (0..plane).step_by(POSITIONS * L::N) {
            let places = first..(first + POSITIONS * L::N).min(plane);
            for (channel, kept) in seen.clone().zip(kept.chunks_exact_mut(POSITIONS * 2 * L::N)) {
                for (place, kept) in places.clone().step_by(L::N).zip(kept.chunks_exact_mut(2 * L::N)) {
                    let s = self.scale::<L>(input, channel, plane, place);
                    let root = s.sqrt();
                    let p = root.mul(root.sqrt());
                    let g = L::load(&output_gradient[channel * plane + place..]);
                    let y = L::load(&input[channel * plane + place..]).div(p);
                    let (t, quotient) = kept.split_at_mut(L::N);
                    g.mul(y).div(s).store(t);
                    g.div(p).store(quotient);
                }
            }
            for channel in channels.clone() {
                for (position, place) in places.clone().step_by(L::N).enumerate() {
                    let mut sum = L::splat(0.0);
                    for other in self.window(channel) {
                        sum = sum.add(L::load(&kept[((other - seen.start) * POSITIONS + position) * 2 * L::N..]));
                    }
                    let own = ((channel - seen.start) * POSITIONS + position) * 2 + 1;
                    let quotient = L::load(&kept[own * L::N..]);
                    let x = L::load(&input[channel * plane + place..]);
                    let gradient = factor.mul(x).mul_add(sum, quotient);
                    gradient.store(&mut input_gradient[(channel - channels.start) * plane + place..]);
                }
            }
        }
    }
}
