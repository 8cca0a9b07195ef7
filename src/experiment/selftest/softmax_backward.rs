//! softmax_backward: gradients of the probability of a class.

use super::cases::Extent;
use super::gpu::{GUARD_F32, Gpu};
use super::layers::{by_class, numbers};
use super::softmax;
use super::tally::Tally;
use crate::backend::cuda::arena::Place;
use crate::error::Result;

/// The gradient of the probability of `class`, of one image's `probabilities`.
pub fn on_host(probabilities: &[f32], class: usize) -> Vec<f32> {
    let of = |(j, p): (usize, &f32)| probabilities[class] * (if j == class { 1.0 } else { 0.0 } - p);
    probabilities.iter().enumerate().map(of).collect()
}

/// Round the edges of a block of 256 logits.
///
/// # Errors
/// The driver's.
pub fn softmax_backward(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    for (n_classes, batch) in extent.of(vec![(10, 0), (1, 1), (7, 37), (2, 128), (1000, 3), (10, 40)], 3, usize::MAX) {
        tally.case(batch, format_args!("{n_classes} classes, {batch} images"));
        let (stride, out) = (batch + 3, Place { start: 2, image: n_classes + 4 });
        let rows: Vec<Vec<f32>> = (0..batch)
            .map(|image| {
                let logits: Vec<f32> = numbers(9300 + image as u32, n_classes).iter().map(|x| x * 9.0).collect();
                softmax::on_host(&logits)
            })
            .collect();
        let classes: Vec<u32> = (0..batch).map(|image| (image * 7 % n_classes) as u32).collect();
        let end = out.start + batch * out.image;
        let mut want = vec![GUARD_F32; end];
        for (image, row) in rows.iter().enumerate() {
            want[out.start + image * out.image..][..n_classes].copy_from_slice(&on_host(row, classes[image] as usize));
        }
        let probabilities = gpu.upload(&by_class(&rows.concat(), n_classes, stride, 0))?;
        let mut arena = gpu.guarded(end, GUARD_F32)?;
        let on_device = gpu.upload(&classes)?;
        gpu.timed(tally, |launcher| {
            let classes = on_device.slice(0..batch);
            launcher.softmax_backward(&mut arena, out, &probabilities, stride, &classes, n_classes, batch)
        })?;
        let got = gpu.read(tally, "the gradients", &arena, end, GUARD_F32)?;
        tally.same("the gradients", &want, &got);
    }
    Ok(())
}
