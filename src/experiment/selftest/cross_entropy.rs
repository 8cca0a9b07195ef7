//! cross_entropy: the gradients of logits, and the probabilities of labels.

use super::cases::{Extent, product};
use super::gpu::{GUARD_F32, Gpu};
use super::layers::{self, numbers};
use super::softmax::{Kind, on_host as probabilities_of};
use super::tally::Tally;
use crate::backend::cuda::Launcher;
use crate::error::Result;

/// A NaN of any bits is the one NaN: whose bits arithmetic with it has, is the processor's.
fn one_nan(values: &[f32]) -> Vec<f32> {
    values.iter().map(|&x| if x.is_nan() { f32::from_bits(0x7fc0_0000) } else { x }).collect()
}

/// Compares `batch` images, filled up to `filled`.
///
/// # Errors
/// The driver's.
pub fn compare(
    gpu: &Gpu,
    tally: &mut Tally,
    (n_classes, batch, filled): (usize, usize, usize),
    kind: Kind,
) -> Result<()> {
    tally.case(batch, format_args!("{n_classes} classes, {batch} of {filled} images, {kind:?}"));
    let times = if kind == Kind::Far { 400.0 } else { 6.0 };
    let mut logits: Vec<f32> = numbers(40_000, filled * n_classes).iter().map(|x| x * times).collect();
    for (number, image) in logits.chunks_mut(n_classes).enumerate() {
        match kind {
            Kind::Nan => image[number % n_classes] = f32::NAN,
            Kind::Infinite => image[number % n_classes] = f32::NEG_INFINITY,
            Kind::Far | Kind::Usual => {}
        }
    }
    let labels: Vec<u32> = (0..batch).map(|image| (image * 7 % n_classes) as u32).collect();
    let mut of_labels = Vec::new();
    let mut want = vec![0.0; filled * n_classes];
    for (image, &label) in labels.iter().enumerate() {
        let probabilities = probabilities_of(&logits[image * n_classes..][..n_classes]);
        of_labels.push(probabilities[label as usize]);
        for (class, p) in probabilities.into_iter().enumerate() {
            let difference = if class == label as usize { p - 1.0 } else { p };
            want[image * n_classes + class] = difference / batch as f32;
        }
    }
    let labels = gpu.upload(&labels)?;
    let mut probabilities = gpu.guarded(batch, GUARD_F32)?;
    let launch = |launcher: &Launcher, arena: &mut _, to, [from]: [_; 1]| {
        let labels = labels.slice(..);
        launcher.cross_entropy(arena, to, &mut probabilities, from, &labels, n_classes, batch, filled)
    };
    let got = layers::run(gpu, tally, [(&logits, n_classes)], n_classes, filled, launch)?;
    tally.same("the gradients", &one_nan(&want), &one_nan(&got));
    let got = gpu.read(tally, "the probabilities of labels", &probabilities, batch, GUARD_F32)?;
    tally.same("the probabilities of labels", &of_labels, &got);
    Ok(())
}

/// Round the edges of a warp of classes and a block of four images; the most ordinary one last.
///
/// # Errors
/// The driver's.
pub fn cross_entropy(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    let sizes = [(1, 1, 1), (7, 3, 16), (31, 4, 4), (32, 5, 5), (33, 17, 32), (1000, 20, 32), (10, 64, 64)];
    let kinds = [Kind::Far, Kind::Infinite, Kind::Nan, Kind::Usual];
    extent
        .of(product(&sizes, &kinds), 4, usize::MAX)
        .into_iter()
        .try_for_each(|(size, kind)| compare(gpu, tally, size, kind))
}
