//! lrn, by itself and in one pass with a max pooling: the values of the formulas.

use super::cases::{Extent, product};
use super::gpu::Gpu;
use super::layers::{self, each_image, numbers, shape};
use super::pool::{self, pooling, poolings};
use super::tally::Tally;
use crate::backend::cuda::lrn::Lrn;
use crate::backend::cuda::params::LrnRule;
use crate::backend::cuda::pool::{Pool, Pooling};
use crate::error::Result;
use crate::network::Shape;

/// The normalisation of one image, one number at a time.
pub fn on_host(rule: LrnRule, of: Shape, input: &[f32]) -> Vec<f32> {
    let (plane, half) = (of.height * of.width, rule.size as usize / 2);
    (0..of.len())
        .map(|at| {
            let (channel, position) = (at / plane, at % plane);
            let mut sum = 0.0_f32;
            for other in channel.saturating_sub(half)..(channel + half + 1).min(of.channels) {
                let x = input[other * plane + position];
                sum = x.mul_add(x, sum);
            }
            let s = rule.scale.mul_add(sum, rule.k);
            input[at] / (s.sqrt() * s.sqrt().sqrt())
        })
        .collect()
}

/// What `layer` makes of one image, one step after the other.
fn passes(layer: &Lrn, input: &[f32]) -> Vec<f32> {
    match *layer {
        Lrn::Alone(rule, of) => on_host(rule, of, input),
        Lrn::AfterMaxPool(rule, pooling) => on_host(rule, pooling.output, &pool::on_host(&pooling, Pool::Max, input)),
        Lrn::BeforeMaxPool(rule, pooling) => pool::on_host(&pooling, Pool::Max, &on_host(rule, pooling.input, input)),
    }
}

/// Compares `layer` of `batch` images of `in_len` random values, `out_len` an image.
fn compare(
    gpu: &Gpu,
    tally: &mut Tally,
    layer: &Lrn,
    batch: usize,
    (in_len, out_len): (usize, usize),
    value: impl Fn(f32) -> f32,
) -> Result<()> {
    tally.case(batch, format_args!("batch {batch}, {layer:?}"));
    let input: Vec<f32> = numbers(9000 + in_len as u32, batch * in_len).into_iter().map(value).collect();
    let want = each_image(&input, in_len, |image| passes(layer, image));
    layers::compare(gpu, tally, (&input, in_len), (&want, out_len), batch, |launcher, arena, to, from| {
        launcher.lrn(arena, layer, to, from, batch)
    })
}

/// By itself, of several sizes: channels round the edges of a part of 32, positions round that of a block of 128.
///
/// # Errors
/// The driver's.
pub fn alone(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    let batches =
        [(1, shape(1, 1, 1)), (2, shape(5, 3, 3)), (3, shape(2, 7, 9)), (1, shape(33, 4, 8)), (2, shape(97, 1, 1))];
    let rules = [(1, 0.5, 2.0), (3, 2.0, 0.1), (9, 1e-3, 1.0), (5, 1e-4, 1.0)]
        .map(|(size, alpha, k)| LrnRule::new(size, alpha, k));
    for ((batch, of), rule) in extent.of(product(&batches, &rules), 3, usize::MAX) {
        compare(gpu, tally, &Lrn::Alone(rule, of), batch, (of.len(), of.len()), |x| x * 200.0)?;
    }
    Ok(())
}

/// Those of `layer` of all [`poolings`], of few different values: many equals.
fn fused(gpu: &Gpu, extent: Extent, tally: &mut Tally, layer: fn(LrnRule, Pooling) -> Option<Lrn>) -> Result<()> {
    let rule = LrnRule::new(5, 1e-3, 1.0);
    for (batch, pooling) in extent.of(poolings(), 3, usize::MAX) {
        let layer = layer(rule, pooling).expect("kernels take all of these");
        let lens = (pooling.input.len(), pooling.output.len());
        compare(gpu, tally, &layer, batch, lens, |x| (x * 40.0).trunc())?;
    }
    Ok(())
}

/// In one pass after each of [`poolings`].
///
/// # Errors
/// The driver's.
pub fn after_max_pool(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    fused(gpu, extent, tally, Lrn::after_max_pool)
}

/// In one pass before each of [`poolings`]; and before one that has several bands.
///
/// # Errors
/// The driver's.
pub fn before_max_pool(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    if extent != Extent::Quick {
        bands(gpu, tally)?;
    }
    fused(gpu, extent, tally, Lrn::before_max_pool)
}

/// 55 wide: 9 rows at a time.
fn bands(gpu: &Gpu, tally: &mut Tally) -> Result<()> {
    let pooling = pooling(shape(35, 55, 55), (3, 2, 0), true);
    let layer = Lrn::before_max_pool(LrnRule::new(5, 1e-4, 1.0), pooling).expect("a band has room");
    compare(gpu, tally, &layer, 1, (pooling.input.len(), pooling.output.len()), |x| x * 100.0)
}
