//! pool: the largest and the average values of the formulas.

use super::cases::Extent;
use super::gpu::Gpu;
use super::layers::{self, each_image, numbers, shape};
use super::tally::Tally;
use crate::backend::cuda::pool::{Pool, Pooling};
use crate::error::Result;
use crate::network::Shape;

/// Windows of (kernel, stride, padding) over `input`; `ceil` if one that is only partly inside counts, as long as it begins inside the
/// image or the padding before it.
pub fn pooling(input: Shape, (kernel, stride, padding): (usize, usize, usize), ceil: bool) -> Pooling {
    let size = |size: usize| {
        let room = size + 2 * padding - kernel;
        let n = if ceil { room.div_ceil(stride) + 1 } else { room / stride + 1 };
        if (n - 1) * stride >= size + padding { n - 1 } else { n }
    };
    let output = Shape { channels: input.channels, height: size(input.height), width: size(input.width) };
    Pooling { input, output, kernel, stride, padding }
}

/// The pooling of one image, one number at a time.
pub fn on_host(pooling: &Pooling, pool: Pool, input: &[f32]) -> Vec<f32> {
    let Pooling { input: from, output: to, kernel, stride, padding } = *pooling;
    let mut values = Vec::with_capacity(to.len());
    for channel in 0..to.channels {
        for row in 0..to.height {
            for column in 0..to.width {
                let (mut window, mut counted) = (Vec::new(), 0);
                for y in row * stride..row * stride + kernel {
                    for x in column * stride..column * stride + kernel {
                        // From the padding's first row and column.
                        counted += usize::from(y < from.height + 2 * padding && x < from.width + 2 * padding);
                        let inside = |at: usize, size: usize| at >= padding && at - padding < size;
                        if inside(y, from.height) && inside(x, from.width) {
                            window.push(input[(channel * from.height + y - padding) * from.width + x - padding]);
                        }
                    }
                }
                values.push(match pool {
                    Pool::Max => window[1..].iter().fold(window[0], |best, &x| if x > best { x } else { best }),
                    Pool::Average { count_padding } => {
                        let n = if count_padding { counted } else { window.len() };
                        window.iter().fold(0.0, |sum, &x| sum + x) / n as f32
                    }
                });
            }
        }
    }
    values
}

/// Batches and poolings of all kinds: clipped, padded, overlapping or not, of a plane to one value, of several parts of channels.
pub fn poolings() -> Vec<(usize, Pooling)> {
    vec![
        (1, pooling(shape(1, 1, 1), (1, 1, 0), false)),
        (2, pooling(shape(3, 13, 13), (3, 2, 0), true)),
        (3, pooling(shape(2, 12, 10), (3, 2, 0), true)),
        (1, pooling(shape(5, 9, 8), (3, 2, 1), true)),
        (2, pooling(shape(4, 7, 6), (3, 1, 1), false)),
        (5, pooling(shape(6, 7, 7), (7, 1, 0), false)),
        (1, pooling(shape(2, 4, 5), (5, 3, 2), true)),
        (1, pooling(shape(70, 55, 9), (3, 2, 0), true)),
        (1, pooling(shape(33, 8, 8), (2, 2, 0), false)),
    ]
}

/// Compares the poolings of `batch` images of few different values, zeros of both signs among them, so that many are equal.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, batch: usize, pooling: &Pooling, pool: Pool) -> Result<()> {
    tally.case(batch, format_args!("batch {batch}, {pool:?}, {pooling:?}"));
    let (in_len, out_len) = (pooling.input.len(), pooling.output.len());
    let input: Vec<f32> =
        numbers(8000 + in_len as u32, batch * in_len).iter().map(|x| (x * 4.0).trunc() / 8.0).collect();
    let want = each_image(&input, in_len, |image| on_host(pooling, pool, image));
    layers::compare(gpu, tally, (&input, in_len), (&want, out_len), batch, |launcher, arena, to, from| {
        launcher.pool(arena, pooling, pool, to, from, batch)
    })
}

/// Those of all [`poolings`] by each of `pools`.
fn all(gpu: &Gpu, extent: Extent, tally: &mut Tally, pools: &[Pool]) -> Result<()> {
    for (batch, pooling) in extent.of(poolings(), 3, usize::MAX) {
        pools.iter().try_for_each(|&pool| compare(gpu, tally, batch, &pooling, pool))?;
    }
    Ok(())
}

/// The largest values of all [`poolings`].
///
/// # Errors
/// The driver's.
pub fn max_pool(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    all(gpu, extent, tally, &[Pool::Max])
}

/// The averages of all [`poolings`], with the padding counted and not.
///
/// # Errors
/// The driver's.
pub fn average_pool(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    all(gpu, extent, tally, &[false, true].map(|count_padding| Pool::Average { count_padding }))
}
