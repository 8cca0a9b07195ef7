//! pool, lrn and both in one pass, against their formulas.

use crate::harness;
use crate::layers::{each_image, makes, numbers, shape};
use pareidolia::backend::cuda::lrn::Lrn;
use pareidolia::backend::cuda::params::LrnRule;
use pareidolia::backend::cuda::pool::{Pool, Pooling};
use pareidolia::network::Shape;

/// Windows of (kernel, stride, padding) over `input`; `ceil` if one that is only partly inside counts, as long as it begins inside the
/// image or the padding before it.
fn pooling(input: Shape, (kernel, stride, padding): (usize, usize, usize), ceil: bool) -> Pooling {
    let size = |size: usize| {
        let room = size + 2 * padding - kernel;
        let n = if ceil { room.div_ceil(stride) + 1 } else { room / stride + 1 };
        if (n - 1) * stride >= size + padding { n - 1 } else { n }
    };
    let output = Shape { channels: input.channels, height: size(input.height), width: size(input.width) };
    Pooling { input, output, kernel, stride, padding }
}

/// The pooling of one image, one number at a time.
fn pooled(pooling: &Pooling, pool: Pool, input: &[f32]) -> Vec<f32> {
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

/// The normalisation of one image, one number at a time.
fn normalised(rule: LrnRule, of: Shape, input: &[f32]) -> Vec<f32> {
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

/// Poolings of all kinds: clipped, padded, overlapping or not, of a plane to one value.
fn poolings() -> Vec<(usize, Pooling)> {
    vec![
        (1, pooling(shape(1, 1, 1), (1, 1, 0), false)),
        (2, pooling(shape(3, 13, 13), (3, 2, 0), true)),
        (3, pooling(shape(2, 12, 10), (3, 2, 0), true)),
        (1, pooling(shape(5, 9, 8), (3, 2, 1), true)),
        (2, pooling(shape(4, 7, 6), (3, 1, 1), false)),
        (1, pooling(shape(33, 8, 8), (2, 2, 0), false)),
        (5, pooling(shape(6, 7, 7), (7, 1, 0), false)),
        (1, pooling(shape(2, 4, 5), (5, 3, 2), true)),
        (1, pooling(shape(70, 55, 9), (3, 2, 0), true)),
    ]
}

#[test]
fn pool_gives_the_bits_of_the_formula() {
    let Some(launcher) = harness::launcher() else { return };
    for (number, (batch, pooling)) in poolings().into_iter().enumerate() {
        let (in_len, out_len) = (pooling.input.len(), pooling.output.len());
        // Few different values, zeros of both signs among them: many equals.
        let input: Vec<f32> =
            numbers(8000 + number as u32, batch * in_len).iter().map(|x| (x * 4.0).trunc() / 8.0).collect();
        for pool in [Pool::Max, Pool::Average { count_padding: false }, Pool::Average { count_padding: true }] {
            let want = each_image(&input, in_len, |image| pooled(&pooling, pool, image));
            makes(
                launcher,
                (&input, in_len),
                (&want, out_len),
                batch,
                &format!("{pooling:?}, {pool:?}"),
                |arena, to, from| {
                    launcher.pool(arena, &pooling, pool, to, from, batch).unwrap();
                },
            );
        }
    }
}

#[test]
fn lrn_gives_the_bits_of_the_formula() {
    let Some(launcher) = harness::launcher() else { return };
    for (number, (batch, of)) in
        [(1, shape(1, 1, 1)), (2, shape(5, 3, 3)), (3, shape(2, 7, 9)), (1, shape(33, 4, 8)), (2, shape(97, 1, 1))]
            .into_iter()
            .enumerate()
    {
        let input: Vec<f32> = numbers(9000 + number as u32, batch * of.len()).iter().map(|x| x * 200.0).collect();
        for rule in [
            LrnRule::new(5, 1e-4, 1.0),
            LrnRule::new(1, 0.5, 2.0),
            LrnRule::new(3, 2.0, 0.1),
            LrnRule::new(9, 1e-3, 1.0),
        ] {
            let want = each_image(&input, of.len(), |image| normalised(rule, of, image));
            let layer = Lrn::Alone(rule, of);
            makes(
                launcher,
                (&input, of.len()),
                (&want, of.len()),
                batch,
                &format!("{of}, {rule:?}"),
                |arena, to, from| {
                    launcher.lrn(arena, &layer, to, from, batch).unwrap();
                },
            );
        }
    }
}

#[test]
fn lrn_in_one_pass_with_a_pooling_gives_the_bits_of_both() {
    let Some(launcher) = harness::launcher() else { return };
    let rule = LrnRule::new(5, 1e-3, 1.0);
    let mut n_before = 0;
    for (number, (batch, pooling)) in poolings().into_iter().enumerate() {
        let (in_len, out_len) = (pooling.input.len(), pooling.output.len());
        let input: Vec<f32> =
            numbers(9500 + number as u32, batch * in_len).iter().map(|x| (x * 40.0).trunc()).collect();
        let after = |image: &[f32]| normalised(rule, pooling.output, &pooled(&pooling, Pool::Max, image));
        let before = |image: &[f32]| pooled(&pooling, Pool::Max, &normalised(rule, pooling.input, image));
        let layer = Lrn::after_max_pool(rule, pooling).unwrap();
        let want = each_image(&input, in_len, after);
        makes(launcher, (&input, in_len), (&want, out_len), batch, &format!("{layer:?}"), |arena, to, from| {
            launcher.lrn(arena, &layer, to, from, batch).unwrap();
        });
        if let Some(layer) = Lrn::before_max_pool(rule, pooling) {
            let want = each_image(&input, in_len, before);
            makes(launcher, (&input, in_len), (&want, out_len), batch, &format!("{layer:?}"), |arena, to, from| {
                launcher.lrn(arena, &layer, to, from, batch).unwrap();
            });
            n_before += 1;
        }
    }
    assert_eq!(n_before, poolings().len());
    // What no block has room for, and other sizes of normalisation, are not done in one pass.
    assert_eq!(Lrn::before_max_pool(rule, pooling(shape(1, 9, 300), (3, 2, 0), false)), None);
    let other = LrnRule::new(3, 1.0, 1.0);
    let small = pooling(shape(1, 9, 9), (3, 2, 0), false);
    assert_eq!((Lrn::before_max_pool(other, small), Lrn::after_max_pool(other, small)), (None, None));
}

#[test]
fn lrn_before_a_pooling_has_several_bands() {
    let Some(launcher) = harness::launcher() else { return };
    let rule = LrnRule::new(5, 1e-4, 1.0);
    // 55 wide: 9 rows at a time.
    let pooling = pooling(shape(35, 55, 55), (3, 2, 0), true);
    let input: Vec<f32> = numbers(9900, pooling.input.len()).iter().map(|x| x * 100.0).collect();
    let want = pooled(&pooling, Pool::Max, &normalised(rule, pooling.input, &input));
    let layer = Lrn::before_max_pool(rule, pooling).unwrap();
    makes(launcher, (&input, input.len()), (&want, want.len()), 1, "bands", |arena, to, from| {
        launcher.lrn(arena, &layer, to, from, 1).unwrap();
    });
}

#[test]
fn copy_rectifies_or_not() {
    let Some(launcher) = harness::launcher() else { return };
    let input: Vec<f32> =
        numbers(9950, 3 * 257).iter().enumerate().map(|(i, &x)| if i % 7 == 0 { -0.0 } else { x }).collect();
    for rectify in [false, true] {
        let want = if rectify { crate::layers::rectified(&input) } else { input.clone() };
        makes(launcher, (&input, 257), (&want, 257), 3, "apart", |arena, to, from| {
            launcher.copy(arena, to, from, 257, 3, rectify).unwrap();
        });
        let mut arena = launcher.upload(&input).unwrap();
        let place = pareidolia::backend::cuda::arena::Place { start: 0, image: 257 };
        launcher.copy(&mut arena, place, place, 257, 3, rectify).unwrap();
        harness::assert_bits(&want, &launcher.download(&arena).unwrap(), "in place");
    }
}
