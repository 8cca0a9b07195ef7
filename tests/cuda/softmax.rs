//! softmax against its formula.

use crate::harness;
use crate::layers::numbers;
use pareidolia::backend::cuda::arena::Place;
use pareidolia::math;
use pareidolia::simd::{Lanes, Plain};

fn exp(x: f32) -> f32 {
    let mut lanes = [0.0; Plain::N];
    math::exp(Plain::splat(x)).store(&mut lanes);
    lanes[0]
}

/// Of one image, in the written order.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let best = logits.iter().fold(logits[0], |best, &x| if x > best { x } else { best });
    let powers: Vec<f32> = logits.iter().map(|&x| exp(x - best)).collect();
    let sum = powers.iter().fold(0.0, |sum, &x| sum + x);
    let canonical = |x: f32| if x.is_nan() { f32::from_bits(0x7fc0_0000) } else { x };
    powers.iter().map(|&x| canonical(x / sum)).collect()
}

#[test]
fn softmax_gives_the_bits_of_the_formula() {
    let Some(launcher) = harness::launcher() else { return };
    let mut n_nans = 0;
    for (n_classes, batch) in [(1, 1), (7, 31), (8, 32), (9, 33), (10, 64), (1000, 5), (1001, 33)] {
        for what in ["usual", "far", "infinite", "NaN"] {
            let mut images: Vec<Vec<f32>> =
                (0..batch).map(|image| numbers(image as u32, n_classes).iter().map(|x| x * 12.0).collect()).collect();
            for (number, image) in images.iter_mut().enumerate() {
                match what {
                    "far" => image.iter_mut().for_each(|x| *x *= 40.0),
                    "infinite" => {
                        image[number % n_classes] = if number % 2 == 0 { f32::INFINITY } else { f32::NEG_INFINITY }
                    }
                    "NaN" => image[number % n_classes] = f32::NAN,
                    _ => {}
                }
            }
            let (from, stride, first) = (Place { start: 3, image: n_classes + 2 }, batch + 9, 4);
            let mut logits = vec![harness::GUARD_F32; from.start + batch * from.image];
            let mut want = vec![harness::GUARD_F32; n_classes * stride + harness::GUARDS];
            for (number, image) in images.iter().enumerate() {
                for (class, (&logit, probability)) in image.iter().zip(softmax(image)).enumerate() {
                    logits[from.start + number * from.image + class] = logit;
                    want[class * stride + first + number] = probability;
                    n_nans += usize::from(probability.is_nan());
                }
            }
            let arena = launcher.upload(&logits).unwrap();
            let mut probabilities = launcher.upload(&vec![harness::GUARD_F32; want.len()]).unwrap();
            launcher.softmax(&mut probabilities, stride, first, n_classes, &arena, from, batch).unwrap();
            let got = launcher.download(&probabilities).unwrap();
            harness::assert_bits(&want, &got, &format!("{n_classes} classes, {batch} images, {what}"));
            let mut refused = |n_classes, first, batch| {
                launcher
                    .softmax(&mut probabilities, stride, first, n_classes, &arena, from, batch)
                    .unwrap_err()
                    .to_string()
            };
            assert!(refused(n_classes, stride - batch + 1, batch).contains("a row of probabilities"));
            assert!(refused(n_classes + 70, first, batch).contains("probabilities"));
        }
    }
    assert!(n_nans > 1000, "{n_nans} NaNs");
}
