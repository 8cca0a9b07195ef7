//! Gradient ascent, literally: one image, one number at a time, from the rules of `backend::ascent`.

use pareidolia::backend::ascent::{AscentRule, Seen, gaussian, rank};
use pareidolia::network::{Network, Shape};

/// The gradient of a class's probability with respect to the network's input, and all probabilities: `(input, class)` to
/// `(probabilities, gradient)`.
pub type Gradient<'a> = &'a dyn Fn(&[f32], usize) -> (Vec<f32>, Vec<f32>);

/// What each of `iterations` steps saw of the image that starts at `x`, and the image after them.
pub fn ascend(
    network: &Network,
    rule: AscentRule,
    class: usize,
    x: &[f32],
    iterations: u32,
    gradient: Gradient,
) -> (Vec<f32>, Vec<Seen>) {
    let Shape { channels, height, width } = network.input;
    let pixels = height * width;
    let mean = |i: usize| network.preprocess.mean.get(i).copied().unwrap_or(0.0);
    let scale = |i: usize| network.preprocess.scale[i / pixels];
    let mut x = x.to_vec();
    let mut all: Vec<Seen> = Vec::new();
    for step in 0..iterations {
        if let Some(seen) = all.last().copied().filter(|seen| seen.stopped) {
            all.push(seen);
            continue;
        }
        for (i, x) in x.iter_mut().enumerate() {
            let mut v = *x + mean(i);
            v = if v > 0.0 { v } else { 0.0 };
            v = if v < 255.0 { v } else { 255.0 };
            *x = v - mean(i);
        }
        let input: Vec<f32> = (0..x.len()).map(|i| x[i] * scale(i)).collect();
        let (probabilities, of_input) = gradient(&input, class);
        let g: Vec<f32> = (0..x.len()).map(|i| of_input[i] * scale(i)).collect();
        let p = probabilities[class];
        let mut best = 0;
        for other in 0..probabilities.len() {
            if probabilities[other] > probabilities[best] {
                best = other;
            }
        }
        let norm = norm(&g);
        let norm = if norm.is_nan() { f64::NAN } else { norm };
        let stopped = norm == 0.0 || !norm.is_finite() || p.is_nan();
        all.push(Seen { probability: p, best: best as u32, norm, stopped });
        if stopped || step + 1 == iterations {
            continue;
        }
        let want = {
            let late = rule.late * (1.0 - f64::from(p));
            if rule.early < late { rule.early } else { late }
        };
        let rate = {
            let rate = want / norm;
            (if rule.max_rate < rate { rule.max_rate } else { rate }) as f32
        };
        move_image(&rule, network.input, step, rate, &mut x, &g);
    }
    assert_eq!(x.len(), channels * pixels);
    (x, all)
}

/// The squared norm.
pub fn norm(g: &[f32]) -> f64 {
    let mut sums = vec![0.0_f64; 256];
    for (i, &g) in g.iter().enumerate() {
        sums[i % 256] = f64::from(g).mul_add(f64::from(g), sums[i % 256]);
    }
    while sums.len() > 1 {
        let upper = sums.split_off(sums.len() / 2);
        for (lower, upper) in sums.iter_mut().zip(upper) {
            *lower += upper;
        }
    }
    sums[0]
}

/// The step itself.
pub fn move_image(rule: &AscentRule, shape: Shape, step: u32, rate: f32, x: &mut [f32], g: &[f32]) {
    let pixels = shape.height * shape.width;
    let keep = (1.0 - rule.decay) as f32;
    for i in 0..x.len() {
        x[i] = rate.mul_add(g[i], x[i]);
        x[i] *= keep;
    }
    if rule.blur_radius > 0.0 && step.is_multiple_of(rule.blur_every) {
        for channel in 0..shape.channels {
            blur(&mut x[channel * pixels..][..pixels], shape.height, shape.width, rule.blur_radius);
        }
    }
    let numbers = |x: &[f32], number: &dyn Fn(f32, f32, f32) -> f32| -> Vec<f32> {
        (0..pixels)
            .map(|pixel| {
                (0..shape.channels).fold(0.0, |sum, channel| {
                    let i = channel * pixels + pixel;
                    number(g[i], x[i], sum)
                })
            })
            .collect()
    };
    if rule.small_norm > 0.0 {
        let numbers = numbers(x, &|_, x, sum| x.mul_add(x, sum));
        zero_below(rule.small_norm, &numbers, x);
    }
    if rule.benefit > 0.0 {
        let numbers = numbers(x, &|g, x, sum| (-g).mul_add(x, sum));
        zero_below(rule.benefit, &numbers, x);
    }
    if rule.abs_benefit > 0.0 {
        let numbers = numbers(x, &|g, x, sum| (-g).mul_add(x, sum));
        zero_below(rule.abs_benefit, &numbers.iter().map(|number| number.abs()).collect::<Vec<_>>(), x);
    }
}

fn zero_below(q: f64, numbers: &[f32], x: &mut [f32]) {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let least = sorted[rank(q, numbers.len())];
    for (i, x) in x.iter_mut().enumerate() {
        if numbers[i % numbers.len()] < least {
            *x = 0.0;
        }
    }
}

/// Pixel `at` of a mirrored side, by walking: past an edge the way turns, and the edge's pixel counts once more.
fn mirrored(at: i64, n: usize) -> usize {
    let (mut place, mut forward) = (0, true);
    // -1 is 0 once more.
    for _ in 0..if at >= 0 { at } else { -at - 1 } {
        match (forward, place) {
            (true, place) if place == n - 1 => forward = false,
            (false, 0) => forward = true,
            (true, _) => place += 1,
            (false, _) => place -= 1,
        }
    }
    place
}

fn blur(channel: &mut [f32], height: usize, width: usize, radius: f64) {
    let taps = gaussian(radius);
    let reach = (taps.len() / 2) as i64;
    let along = |values: &[f32], step: &dyn Fn(usize, usize, i64) -> usize| -> Vec<f32> {
        (0..height * width)
            .map(|i| {
                taps.iter()
                    .zip(-reach..=reach)
                    .fold(0.0, |sum, (&weight, tap)| weight.mul_add(values[step(i / width, i % width, tap)], sum))
            })
            .collect()
    };
    let columns = along(channel, &|y, x, tap| mirrored(y as i64 + tap, height) * width + x);
    let rows = along(&columns, &|y, x, tap| y * width + mirrored(x as i64 + tap, width));
    channel.copy_from_slice(&rows);
}
