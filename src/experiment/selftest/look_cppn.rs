//! look_cppn: what a step sees of drawings.

use super::cases::Extent;
use super::gpu::Gpu;
use super::layers::{by_class, numbers};
use super::softmax;
use super::tally::Tally;
use crate::backend::cuda::look::Answers;
use crate::backend::cuda::params::CppnSeen;
use crate::error::Result;

/// Images, classes and crops: round a warp of classes and a block of images.
const CASES: [(usize, usize, usize); 7] =
    [(0, 3, 1), (1, 1, 1), (3, 10, 1), (4, 32, 10), (5, 33, 2), (2, 1000, 10), (9, 31, 1)];

/// What stands where nothing was seen.
const GUARD: CppnSeen = CppnSeen { probability: -7.0, best: 7777 };

/// The first image of the launch.
const FIRST: usize = 2;

/// All cases, with probabilities as they come, equal ones, and none that is a number.
///
/// # Errors
/// The driver's.
pub fn look_cppn(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    let cases = extent.of(CASES.into(), 3, usize::MAX);
    for ((n, n_classes, n_crops), kind) in super::cases::product(&cases, &["usual", "equal", "no number"]) {
        tally.case(n, format_args!("{n} images, {n_classes} classes, {n_crops} crops, {kind}"));
        let row = |at: usize| {
            let change = |x: &f32| match kind {
                "usual" => x * 3.0,
                "equal" => (x * 2.0).trunc(),
                _ => f32::NAN,
            };
            softmax::on_host(&numbers(9980 + at as u32, n_classes).iter().map(change).collect::<Vec<_>>())
        };
        let rows: Vec<Vec<f32>> = (0..n).map(row).collect();
        // Those of other crops are not looked at.
        let classes: Vec<u32> = (0..n * n_crops).map(|i| (i / n_crops * 5 % n_classes) as u32).collect();
        let mut want = vec![GUARD; FIRST + n];
        for (at, row) in rows.iter().enumerate() {
            let best = (0..n_classes).fold(0, |best, class| if row[class] > row[best] { class } else { best });
            want[FIRST + at] = CppnSeen { probability: row[classes[at * n_crops] as usize], best: best as u32 };
        }
        let stride = n + 3;
        let probabilities = gpu.upload(&by_class(&rows.concat(), n_classes, stride, 0))?;
        let classes = gpu.upload(&classes)?;
        let mut seen = gpu.guarded(want.len(), GUARD)?;
        gpu.timed(tally, |launcher| {
            let answers = Answers { probabilities: &probabilities, n_classes, stride };
            launcher.look_cppn(&mut seen, answers, &classes.slice(..), n_crops, FIRST, n)
        })?;
        let got = gpu.read(tally, "what was seen", &seen, want.len(), GUARD)?;
        tally.same("what was seen", &want, &got);
    }
    Ok(())
}
