//! Gradient ascent: its update against formulas, SciPy, NumPy and a literal reference; the same images whatever the threads, the width of
//! the vectors and the company; the program, its folder, its refusals.

mod common;
#[path = "reference/gradient.rs"]
mod gradient;
#[path = "common/list.rs"]
mod list;
#[path = "common/program.rs"]
mod program;
#[path = "reference/ascent.rs"]
mod reference;

use list::TINY;
use pareidolia::backend::ascent::{Ascent, AscentRule, Seen};
use pareidolia::backend::cpu::ascent::{Climb, CpuAscent, squared_norm};
use pareidolia::experiment::ascend::config::{Config, PAPER_CLASSES, Preset, Start};
use pareidolia::experiment::ascend::{climbers, memory, start::start};
use pareidolia::network::list::List;
use pareidolia::network::{ChannelOrder, Network, Parameters, Shape};
use pareidolia::output::ascent::{AscentManifest, End, as_8_bits, image_hash, result_hash, without_mean};
use pareidolia::output::pictures;
use pareidolia::rng::{Philox, Purpose, unit};
use pareidolia::simd::Simd;
use program::{fails, names, pareidolia, run};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

fn lenet() -> Network {
    Network::embedded_lenet(None).unwrap()
}

/// Colour, every kind of layer, scales and means that differ: see `common/list.rs`.
fn tiny() -> Network {
    Network::random(&List::parse(TINY).unwrap(), 5).unwrap()
}

/// `n` numbers in [-1, 1), the same for the same `stream`.
fn random(stream: u32, n: usize) -> Vec<f32> {
    let draws = Philox::new(20_150_607).draws(Purpose::TrainInit, stream, 0);
    (0..n as u32).map(|index| 2.0 * unit(draws.word(index)) - 1.0).collect()
}

const NO_RULE: AscentRule = AscentRule {
    decay: 0.0,
    early: 0.03,
    late: 0.1,
    max_rate: 1e12,
    blur_radius: 0.0,
    blur_every: 1,
    small_norm: 0.0,
    benefit: 0.0,
    abs_benefit: 0.0,
};

/// Everything at once.
const ALL: AscentRule = AscentRule {
    decay: 0.02,
    early: 0.03,
    late: 0.1,
    max_rate: 1e9,
    blur_radius: 0.6,
    blur_every: 2,
    small_norm: 11.0,
    benefit: 7.5,
    abs_benefit: 20.0,
};

/// A network whose input has this shape; its layers are of no matter.
fn of_shape(channels: usize, height: usize, width: usize) -> Network {
    let mut network = tiny();
    network.input = Shape { channels, height, width };
    network.preprocess.mean = Vec::new();
    network
}

/// What a step of rate `rate` makes of `x`, by every set of vector instructions, which agree.
fn advance(network: &Network, rule: AscentRule, step: u32, rate: f32, x: &[f32], g: &[f32]) -> Vec<f32> {
    let climb = Climb::new(network, rule);
    let results = Simd::available().into_iter().map(|simd| {
        let mut x = x.to_vec();
        climb.advance(simd, step, rate, &mut x, g);
        x
    });
    let results: Vec<Vec<f32>> = results.collect();
    assert!(results.iter().all(|other| same_bits(other, &results[0])), "widths differ");
    results[0].clone()
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[test]
fn blur_is_scipys() {
    // import numpy as np; from scipy.ndimage import gaussian_filter (1.17.1)
    // x = np.array([(7 * i) % 11 - 4.5 for i in range(20)]).reshape(4, 5)
    // print([float("%.9g" % v) for v in gaussian_filter(x, RADIUS, mode="reflect").ravel()])
    #[rustfmt::skip]
    let golden: [(f64, [f64; 20]); 5] = [
        (0.3, [-4.46547367, 2.46547367, -1.45029052, 5.4235986, 1.52285567, -2.47330807, 4.41592608, 0.5, -3.41592608, 3.47330807, -0.515183149, -4.41592608, 2.45796304, -1.45796304, 5.43110923, 1.47698245, -2.46547367, 4.45012864, 0.492489368, -3.45029052]),
        (0.4, [-4.13645816, 2.13648214, -0.992887752, 4.72806352, 1.72440236, -2.23519138, 3.64728334, 0.500006851, -2.64727116, 3.23516892, -0.643614944, -3.64730922, 2.07367364, -1.07363901, 4.79089296, 1.25765184, -2.13647339, 3.97490579, 0.437127555, -2.99281391]),
        (0.5, [-3.53803095, 1.53987724, -0.240133134, 3.61607068, 2.0149738, -1.87694637, 2.4025963, 0.500526964, -1.40185058, 2.87540982, -0.801326532, -2.40439671, 1.45347142, -0.451189155, 3.70370484, 0.859758054, -1.53939615, 3.11227374, 0.409246868, -2.23464014]),
        (1.0, [-1.5762609, -0.0225174093, 0.889546561, 1.62150167, 2.16082296, -1.0945647, -0.0116464739, 0.57618375, 1.04735772, 1.91954719, -0.657258597, -0.186117556, 0.476696068, 0.73076837, 1.19903423, -0.161364854, -0.016911368, 0.751762703, 0.500723085, -0.147302446]),
        // Taps reach beyond both edges, more than once.
        (2.5, [0.0271029732, 0.188863215, 0.44624011, 0.698312988, 0.851503369, 0.0334744084, 0.18335647, 0.421468886, 0.654173712, 0.795350543, 0.0426370485, 0.175671536, 0.386447495, 0.591653771, 0.71576613, 0.0491927454, 0.17029134, 0.361691973, 0.547397723, 0.659403562]),
    ];
    let x: Vec<f32> = (0..20).map(|i| (7 * i % 11) as f32 - 4.5).collect();
    let g = vec![0.0; 20];
    for (radius, want) in golden {
        let blurred = AscentRule { blur_radius: radius, blur_every: 3, ..NO_RULE };
        let network = of_shape(1, 4, 5);
        let got = advance(&network, blurred, 3, 1.0, &x, &g);
        for (i, (&got, want)) in got.iter().zip(want).enumerate() {
            // Two passes of sums of at most 21 products up to 5.5 in f32, and the golden's nine digits.
            assert!(
                (f64::from(got) - want).abs() < 5.5 * 44.0 * 2.0_f64.powi(-24),
                "radius {radius}, {i}: {got}, not {want}"
            );
        }
        // In steps between two blurs there is none.
        assert!(same_bits(&advance(&network, blurred, 4, 1.0, &x, &g), &x));
    }
}

/// How many pixels of `norms` (each the root of its pixel's number) percentile `q` zeroes.
fn zeroed(norms: &[f32], q: f64) -> usize {
    let network = of_shape(1, 1, norms.len());
    // No value is 0 itself.
    let x: Vec<f32> = norms.iter().map(|norm| 1.0 + norm).collect();
    let rule = AscentRule { small_norm: q, ..NO_RULE };
    advance(&network, rule, 0, 0.0, &x, &vec![0.0; x.len()]).iter().filter(|x| x.to_bits() == 0).count()
}

#[test]
fn percentiles_are_numpys() {
    // import numpy as np (2.4.6); v = np.array([(37 * i) % 101 / 8.0 for i in range(23)]), then (3 * i) % 5 for i in range(20)
    // print([int((v < np.percentile(v, q)).sum()) for q in QS])
    let distinct: Vec<f32> = (0..23).map(|i| (37 * i % 101) as f32 / 8.0).collect();
    let ties: Vec<f32> = (0..20).map(|i| (3 * i % 5) as f32).collect();
    let of_distinct =
        [(1e-9, 1), (1.0, 1), (10.0, 3), (20.0, 5), (50.0, 11), (77.3, 18), (80.0, 18), (90.0, 20), (100.0, 22)];
    for (q, want) in of_distinct {
        assert_eq!(zeroed(&distinct, q), want, "percentile {q}");
    }
    for (q, want) in [(10.0, 0), (20.0, 4), (40.0, 8), (50.0, 8), (90.0, 16), (100.0, 16)] {
        assert_eq!(zeroed(&ties, q), want, "percentile {q}, with ties");
    }
    assert_eq!((zeroed(&distinct, 0.0), zeroed(&[3.0], 100.0), zeroed(&[3.0, 4.0], 0.001)), (0, 0, 1));
}

/// Each regulariser against its formula in f64.
#[test]
fn regularisers_are_their_formulas() {
    let (channels, height, width) = (3, 7, 9);
    let pixels = height * width;
    let network = of_shape(channels, height, width);
    let x: Vec<f32> = random(1, 3 * pixels).iter().map(|x| 90.0 * x).collect();
    let g: Vec<f32> = random(2, 3 * pixels).iter().map(|g| 1e-3 * g).collect();
    let close = |got: f32, want: f64| (f64::from(got) - want).abs() <= 1e-5 * want.abs().max(1.0);
    let decayed = advance(&network, AscentRule { decay: 0.25, ..NO_RULE }, 0, 700.0, &x, &g);
    for i in 0..x.len() {
        let want = (f64::from(x[i]) + 700.0 * f64::from(g[i])) * 0.75;
        assert!(close(decayed[i], want), "{i}: {}, not {want}", decayed[i]);
    }
    let value = |v: &[f32], channel: usize, pixel: usize| f64::from(v[channel * pixels + pixel]);
    let sum = |of: &dyn Fn(usize) -> f64| (0..channels).map(of).sum::<f64>();
    type Number<'a> = &'a dyn Fn(usize) -> f64;
    let small: Number = &|pixel| sum(&|channel| value(&x, channel, pixel).powi(2)).sqrt();
    let benefit: Number = &|pixel| sum(&|channel| -value(&g, channel, pixel) * value(&x, channel, pixel));
    let absolute: Number = &|pixel| benefit(pixel).abs();
    for q in [3.0, 20.0, 66.6] {
        for (name, number, rule) in [
            ("small norm", small, AscentRule { small_norm: q, ..NO_RULE }),
            ("benefit", benefit, AscentRule { benefit: q, ..NO_RULE }),
            ("absolute benefit", absolute, AscentRule { abs_benefit: q, ..NO_RULE }),
        ] {
            // NumPy's percentile: linear between the two numbers around.
            let mut sorted: Vec<f64> = (0..pixels).map(number).collect();
            sorted.sort_by(f64::total_cmp);
            let at = q / 100.0 * (pixels - 1) as f64;
            let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
            let limit = below + (above - below) * at.fract();
            // In the direction of the gradient nothing moves at rate 0.
            let got = advance(&network, rule, 0, 0.0, &x, &g);
            for pixel in 0..pixels {
                for channel in 0..channels {
                    let i = channel * pixels + pixel;
                    let want = if number(pixel) < limit { 0.0 } else { x[i] };
                    assert_eq!(got[i].to_bits(), want.to_bits(), "{name}, percentile {q}, pixel {pixel}");
                }
            }
        }
    }
}

#[test]
fn norm_and_rate_are_their_formulas() {
    for n in [1, 255, 256, 257, 784, 3 * 227 * 227] {
        let g = random(n as u32, n);
        let want: f64 = g.iter().map(|&g| f64::from(g) * f64::from(g)).sum();
        assert!((squared_norm(&g) - want).abs() <= 1e-12 * want, "{n}");
        assert_eq!(squared_norm(&g).to_bits(), reference::norm(&g).to_bits(), "{n}");
    }
    let climb = Climb::new(&lenet(), AscentRule { max_rate: 1e7, ..NO_RULE });
    // Early and late limits, and that of the rate.
    assert_eq!(climb.rate(0.25, 4.0), Some((0.03 / 4.0) as f32));
    assert_eq!(climb.rate(0.875, 4.0), Some((0.1 * 0.125 / 4.0) as f32));
    assert_eq!(climb.rate(0.25, 1e-30), Some(1e7));
    assert_eq!(climb.rate(1.0, 1.0), Some(0.0));
    for (p, norm) in [(0.5, 0.0), (0.5, f64::NAN), (0.5, f64::INFINITY), (f32::NAN, 1.0)] {
        assert_eq!(climb.rate(p, norm), None, "{p} {norm}");
    }
}

/// The step of the code against that of the reference, in shapes round the edges of vectors and of the blur.
#[test]
fn a_step_is_the_literal_one() {
    for (channels, height, width) in [(1, 1, 1), (3, 1, 17), (1, 15, 2), (3, 16, 16), (1, 28, 28), (3, 33, 31)] {
        let network = of_shape(channels, height, width);
        let (len, name) = (network.input.len(), network.input);
        let x: Vec<f32> = random(3, len).iter().map(|x| 100.0 * x).collect();
        let g: Vec<f32> = random(4, len).iter().map(|g| 1e-4 * g).collect();
        let presets = [Preset::Default, Preset::Plain, Preset::Fade, Preset::Blur, Preset::Sparse];
        let rules = presets.map(|preset| Config::preset(preset).rule()).into_iter();
        let wide = AscentRule { blur_radius: 11.0, ..ALL };
        for (number, rule) in rules.chain([ALL, wide]).enumerate() {
            for step in 0..3 {
                let mut want = x.clone();
                reference::move_image(&rule, network.input, step, 5e4, &mut want, &g);
                let got = advance(&network, rule, step, 5e4, &x, &g);
                assert!(same_bits(&got, &want), "{name}, rule {number}, step {step}");
            }
        }
    }
}

/// An ascent from `starts` of seeds 0, 1, ... for `classes`, on so many threads.
fn climb(
    network: &Network,
    rule: AscentRule,
    from: Start,
    images: &[(u32, u64)],
    iterations: u32,
    threads: usize,
    simd: Simd,
) -> (Vec<f32>, Vec<Vec<Seen>>) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let x = images.iter().flat_map(|&(_, seed)| start(from, seed, network)).collect();
        let classes = images.iter().map(|image| image.0).collect();
        let mut ascent = CpuAscent::new(network, rule, classes, x, simd).unwrap();
        let seen = (1..=iterations).map(|step| ascent.step(step == iterations).unwrap()).collect();
        (ascent.images().unwrap(), seen)
    })
}

fn bits(seen: &Seen) -> (u32, u32, u64, bool) {
    (seen.probability.to_bits(), seen.best, seen.norm.to_bits(), seen.stopped)
}

#[test]
fn whole_ascents_are_the_literal_ones() {
    let grey = (lenet(), vec![(3, 0), (8, 4)]);
    let colour = (tiny(), vec![(0, 1), (3, 2)]);
    for (network, images) in [grey, colour] {
        let rules = [Config::preset(Preset::Default).rule(), Config::preset(Preset::Sparse).rule(), ALL];
        for (rule, from) in rules.into_iter().zip([Start::MeanPlus, Start::Randu, Start::MeanPlus]) {
            let (x, seen) = climb(&network, rule, from, &images, 5, 2, Simd::detect());
            let len = network.input.len();
            for (i, &(class, seed)) in images.iter().enumerate() {
                let begin = start(from, seed, &network);
                let literal = gradient::Reference::<f32>::new(&network);
                let gradient = |input: &[f32], class: usize| literal.probability_gradient(input, class);
                let (want, wanted) = reference::ascend(&network, rule, class as usize, &begin, 5, &gradient);
                for (step, wanted) in wanted.iter().enumerate() {
                    assert_eq!(bits(&seen[step][i]), bits(wanted), "{}, image {i}, step {step}", network.name);
                }
                assert!(same_bits(&x[i * len..][..len], &want), "{}, image {i}", network.name);
                let rise = wanted[4].probability - wanted[0].probability;
                assert!(rise > 0.0 || network.name == "tiny", "{}: {rise}", network.name);
            }
        }
    }
}

#[test]
fn images_are_the_same_whatever_threads_widths_and_company() {
    for (network, n_classes) in [(lenet(), 10), (tiny(), 4)] {
        let images: Vec<(u32, u64)> = (0..n_classes).flat_map(|class| [(class, 7), (class, 8)]).collect();
        let len = network.input.len();
        let (want, seen) = climb(&network, ALL, Start::MeanPlus, &images, 6, 1, Simd::Plain);
        for simd in Simd::available() {
            for threads in [1, 2, 3] {
                let (x, seen_now) = climb(&network, ALL, Start::MeanPlus, &images, 6, threads, simd);
                assert!(same_bits(&x, &want), "{}: {simd}, {threads} threads", network.name);
                for (a, b) in seen.iter().flatten().zip(seen_now.iter().flatten()) {
                    assert_eq!(bits(a), bits(b), "{}: {simd}, {threads} threads", network.name);
                }
            }
            // Parts of five, of which the last two have two images in common.
            let x = images.iter().flat_map(|&(_, seed)| start(Start::MeanPlus, seed, &network)).collect();
            let classes = images.iter().map(|image| image.0).collect();
            let mut ascent = CpuAscent::in_parts(&network, ALL, classes, x, simd, 5).unwrap();
            for (step, seen) in seen.iter().enumerate() {
                let seen_now = ascent.step(step == 5).unwrap();
                assert!(
                    seen.iter().zip(&seen_now).all(|(a, b)| bits(a) == bits(b)),
                    "{}: {simd}, in parts",
                    network.name
                );
            }
            assert!(same_bits(&ascent.images().unwrap(), &want), "{}: {simd}, in parts", network.name);
            for (i, &image) in images.iter().enumerate().step_by(3) {
                let (x, seen_now) = climb(&network, ALL, Start::MeanPlus, &[image], 6, 2, simd);
                assert!(same_bits(&x, &want[i * len..][..len]), "{}: {simd}, {image:?} by itself", network.name);
                assert!(seen.iter().zip(&seen_now).all(|(all, one)| bits(&all[i]) == bits(&one[0])));
            }
        }
    }
}

/// A network that says the same of every image has no gradient: its images stop where they are.
#[test]
fn images_without_a_gradient_stop() {
    let mut network = lenet();
    let zeros = |values: &[f32]| vec![0.0; values.len()];
    network.parameters.iter_mut().for_each(|layer| {
        *layer = Parameters { weight: zeros(&layer.weight), bias: zeros(&layer.bias) };
    });
    let (x, seen) = climb(&network, ALL, Start::MeanPlus, &[(2, 0)], 3, 1, Simd::detect());
    // Clipped once and never again.
    let begin: Vec<f32> = start(Start::MeanPlus, 0, &network).iter().map(|&x| if x > 0.0 { x } else { 0.0 }).collect();
    assert!(same_bits(&x, &begin));
    assert!(
        seen.iter().all(|seen| bits(&seen[0]) == bits(&Seen { probability: 0.1, best: 0, norm: 0.0, stopped: true }))
    );
}

#[test]
fn pictures_follow_their_rules() {
    let mut network = of_shape(3, 1, 3);
    network.preprocess.channel_order = ChannelOrder::Bgr;
    // Blue, green, red of three pixels each.
    let x = [-4.0, 0.0, 4.0, 99.4, 99.5, 99.6, 300.0, -1.0, 1.0];
    assert_eq!(as_8_bits(&network, &x), [255, 99, 0, 0, 100, 0, 1, 100, 4]);
    network.preprocess.mean = vec![10.0; 9];
    assert_eq!(as_8_bits(&network, &x)[..3], [255, 109, 6]);
    // 300 is white, 0 the grey 128, the rest between them.
    assert_eq!(without_mean(&network, &x), [255, 170, 126, 127, 170, 128, 128, 170, 129]);
    assert_eq!(without_mean(&network, &[0.0; 9]), [128; 9]);
    assert_eq!(without_mean(&of_shape(1, 1, 2), &[-5.0, 5.0]), [0, 255]);
}

#[test]
fn presets_are_the_papers() {
    let numbers = |preset| {
        let Config { iterations, .. } = Config::preset(preset);
        let rule = Config::preset(preset).rule();
        let AscentRule { decay, early, late, max_rate, blur_radius, blur_every, small_norm, benefit, abs_benefit } =
            rule;
        let blur_every = f64::from(blur_every);
        let n = f64::from(iterations);
        [decay, n, early, late, max_rate, blur_radius, blur_every, small_norm, benefit, abs_benefit]
    };
    assert_eq!(numbers(Preset::Default), [0.01, 300.0, 0.03, 0.1, 1e12, 0.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(numbers(Preset::Plain), [0.0, 500.0, 0.02, 0.1, 1e7, 0.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(numbers(Preset::Fade), [0.01, 1500.0, 0.03, 0.02, 1e7, 0.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(numbers(Preset::Blur), [0.001, 1000.0, 0.03, 0.05, 1e7, 0.4, 2.0, 0.0, 0.0, 0.0]);
    assert_eq!(numbers(Preset::Sparse), [0.001, 1500.0, 0.03, 0.05, 1e7, 0.3, 1.0, 20.0, 0.0, 20.0]);
}

/// Noise is that of the formula, in f64 and by the standard library, and normal.
#[test]
fn starts_are_their_formulas() {
    let network = lenet();
    let (mut n, mut sum, mut squares, mut beyond) = (0.0, 0.0, 0.0, 0.0);
    for seed in 0..100 {
        let draws = Philox::new(seed).draws(Purpose::AscentStart, 0, 0);
        for (i, &x) in start(Start::MeanPlus, seed, &network).iter().enumerate() {
            let word = |index: usize| f64::from(draws.word(index as u32) >> 8);
            let (u, v) = ((word(2 * i) + 1.0) / 16_777_216.0, word(2 * i + 1) / 16_777_216.0);
            let want = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).sin();
            let x = f64::from(x);
            assert!((x - want).abs() < 1e-5, "seed {seed}, element {i}: {x}, not {want}");
            n += 1.0;
            sum += x;
            squares += x * x;
            beyond += f64::from(u8::from(x.abs() > 2.0));
        }
    }
    assert_eq!(n, 100.0 * 784.0);
    // Four standard deviations of each estimate; 4.55 % are beyond 2.
    let bound = 4.0 / f64::sqrt(n);
    assert!((sum / n).abs() < bound, "mean {}", sum / n);
    assert!((squares / n - 1.0).abs() < bound * f64::sqrt(2.0), "variance {}", squares / n);
    assert!((beyond / n - 0.0455).abs() < bound * 0.21, "{beyond} of {n} beyond 2");

    let network = tiny();
    let uniform = start(Start::Randu, 3, &network);
    let pixels: Vec<f32> = uniform.iter().zip(&network.preprocess.mean).map(|(x, mean)| x + mean).collect();
    assert!(pixels.iter().all(|v| (0.0..255.01).contains(v)) && pixels.iter().sum::<f32>() / 243.0 - 127.5 < 19.0);
    assert!(start(Start::Zero, 3, &network).iter().all(|x| x.to_bits() == 0));
    assert_ne!(start(Start::Randu, 4, &network), uniform);
}

/// Ten digits, few steps on two threads, unless `more` says otherwise.
fn short(folder: &Path, more: &[&str]) -> Command {
    let mut command = pareidolia(&["ascend", "--out"]);
    command.arg(folder).args(more);
    for option in [["--iterations", "12"], ["--threads", "2"]] {
        if !more.contains(&option[0]) {
            command.args(option);
        }
    }
    command
}

fn manifest(folder: &Path) -> AscentManifest {
    AscentManifest::read(&folder.join("run.json")).unwrap()
}

/// What `classify` says of class `class` of a picture.
fn classified(picture: &Path, class: u32, more: &[&str]) -> f32 {
    let mut command = pareidolia(&["classify", "--json", "--top", "1000"]);
    command.arg(picture).args(more);
    let answer: Value = serde_json::from_str(&run(command, 0).0).unwrap();
    let top = answer[0]["top"].as_array().unwrap();
    let label = top.iter().find(|label| label["class"] == class).unwrap();
    label["probability"].as_f64().unwrap() as f32
}

/// The variables that images.safetensors holds.
fn variables(folder: &Path) -> (Vec<usize>, Vec<f32>, Vec<f32>) {
    let bytes = fs::read(folder.join("images.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let floats = |name| -> Vec<f32> {
        let bytes = tensors.tensor(name).unwrap().data().chunks_exact(4);
        bytes.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
    };
    (tensors.tensor("images").unwrap().shape().to_vec(), floats("images"), floats("confidence"))
}

#[test]
fn run_folder_holds_what_the_readme_says() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("deep/run");
    let (stdout, stderr) = run(short(&folder, &["--json", "--seeds", "2", "--classes", "1,4-5"]), 0);
    assert!(stderr.contains("memory at most"), "{stderr}");
    let manifest = manifest(&folder);
    assert_eq!(stdout, fs::read_to_string(folder.join("run.json")).unwrap(), "--json prints run.json");
    let who: Vec<(u32, u64)> = manifest.images.iter().map(|image| (image.class, image.seed)).collect();
    assert_eq!(who, [(1, 0), (1, 1), (4, 0), (4, 1), (5, 0), (5, 1)]);
    assert_eq!((manifest.iterations, manifest.stopped_by), (12, End::Iterations));
    assert!(manifest.peak_memory_bytes.is_none_or(|peak| peak <= manifest.planned_memory_bytes), "{manifest:?}");
    let wanted = [
        "contact_sheet.png",
        "contact_sheet_without_mean.png",
        "convergence.png",
        "images",
        "images.safetensors",
        "lock",
        "metrics.jsonl",
        "run.json",
        "without_mean",
    ];
    assert_eq!(names(&folder), wanted.map(String::from).into());

    let (shape, x, confidences) = variables(&folder);
    assert_eq!(shape, [6, 1, 28, 28]);
    let lines = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 12);
    for (i, line) in lines.iter().enumerate() {
        let most = confidences[6 * i..][..6].iter().fold(0.0, |most: f32, &p| most.max(p));
        assert_eq!((line["iteration"].as_u64(), line["max"].as_f64()), (Some(i as u64), Some(most.into())));
        assert!(line["majority"].as_u64().unwrap() <= 6 && line["stopped"] == 0);
    }
    let network = lenet();
    for (i, image) in manifest.images.iter().enumerate() {
        let x = &x[784 * i..][..784];
        assert_eq!(image.confidence.to_bits(), confidences[6 * 11 + i].to_bits(), "the last iteration's");
        assert_eq!(image.hash, image_hash(image.class, image.seed, x, image.confidence, image.best));
        let rises = confidences.chunks(6).map(|row| row[i]).position(|p| p > 0.99).map(|at| at as u32);
        assert_eq!(image.over_99_at, rises);
        assert!(image.best != image.class || image.majority_at.is_some(), "{image:?}");
        let picture = pictures::read_png(&folder.join(&image.file)).unwrap();
        assert_eq!(picture.pixels, as_8_bits(&network, x));
        let picture = pictures::read_png(&folder.join(image.file_without_mean.as_ref().unwrap())).unwrap();
        assert_eq!(picture.pixels, without_mean(&network, x));
        let now = classified(&folder.join(&image.file), image.class, &[]);
        assert_eq!(now.to_bits(), image.confidence_8bit.to_bits(), "class {}", image.class);
    }
    let hashes = manifest.images.iter().map(|image| (image.class, image.hash));
    assert_eq!(manifest.result_hash, result_hash(12, hashes));

    // By itself an image is the same.
    let alone = scratch.path().join("alone");
    run(short(&alone, &["--seed", "1", "--classes", "5", "--no-pictures", "--threads", "1", "--simd", "plain"]), 0);
    assert_eq!(self::manifest(&alone).images[0].hash, manifest.images[5].hash);
    assert_eq!(names(&alone), ["images.safetensors", "lock", "metrics.jsonl", "run.json"].map(String::from).into());
}

/// The hashes of all presets: a change of any rule changes them, and nothing else may.
#[test]
fn recorded_hashes_come_out() {
    let scratch = TempDir::new().unwrap();
    for (preset, want) in [
        ("default", "3f1d238570dda688"),
        ("plain", "c566c30de813a4fa"),
        ("fade", "23deab9d346182fd"),
        ("blur", "3c67dd67dcf6d1cb"),
        ("sparse", "8834f5a52d8fa0ef"),
    ] {
        let folder = scratch.path().join(preset);
        run(short(&folder, &[preset, "--no-pictures"]), 0);
        assert_eq!(format!("{:016x}", manifest(&folder).result_hash), want, "{preset}");
    }
}

/// Ten digits all come to .9999 by the program's own settings.
#[test]
fn every_digit_gets_there() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("run");
    let (stdout, _) = run(short(&folder, &["plain", "--iterations", "500", "--no-pictures"]), 0);
    let manifest = manifest(&folder);
    assert_eq!(manifest.statistics.over_9999, 10, "{stdout}");
    for image in &manifest.images {
        let order = [image.majority_at, image.over_99_at, image.over_999_at, image.over_9999_at];
        assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{image:?}");
    }
    assert!(stdout.contains("10 of 10 images at 0.9999 or more"), "{stdout}");
}

#[test]
fn a_network_in_colour_climbs_and_its_pictures_are_classified_as_recorded() {
    let scratch = TempDir::new().unwrap();
    let weights = scratch.path().join("tiny.safetensors");
    let list = scratch.path().join("tiny.toml");
    for order in [ChannelOrder::Rgb, ChannelOrder::Bgr] {
        let mut network = tiny();
        network.preprocess.channel_order = order;
        network.save(&weights, &[]).unwrap();
        fs::write(&list, TINY).unwrap();
        let named = ["--weights", weights.to_str().unwrap(), "--network", list.to_str().unwrap()];
        let folder = scratch.path().join(order.to_string());
        run(short(&folder, &[&named[..], &["sparse", "--start", "randu"]].concat()), 0);
        let manifest = manifest(&folder);
        assert_eq!(manifest.images.len(), 4);
        assert!(manifest.random_weights.is_some());
        let (shape, x, _) = variables(&folder);
        assert_eq!(shape, [4, 3, 9, 9]);
        for (image, x) in manifest.images.iter().zip(x.chunks_exact(243)) {
            let picture = pictures::read_png(&folder.join(&image.file)).unwrap();
            let v = x[if order == ChannelOrder::Rgb { 0 } else { 162 }]
                + network.preprocess.mean[if order == ChannelOrder::Rgb { 0 } else { 162 }];
            assert_eq!(picture.pixels[0], (v + 0.5) as u8, "{order}: red comes first");
            let now = classified(&folder.join(&image.file), image.class, &named);
            assert_eq!(now.to_bits(), image.confidence_8bit.to_bits(), "{order}, class {}", image.class);
        }
    }
}

/// Two of the paper's classes against SqueezeNet: every width makes the same images, whose probabilities rise.
#[test]
fn squeezenet_climbs() {
    let Some(data) = common::data_dir() else { return };
    let network = Network::load(&data.join("squeezenet-v1.0.safetensors"), None).unwrap();
    let rule = Config::preset(Preset::Sparse).rule();
    let images = [(207, 0), (906, 0)];
    let results: Vec<_> = Simd::available()
        .into_iter()
        .filter(|&simd| simd != Simd::Plain) // slow where there is no fused multiply-add
        .map(|simd| climb(&network, rule, Start::MeanPlus, &images, 4, 2, simd))
        .collect();
    for (x, seen) in &results {
        assert!(same_bits(x, &results[0].0));
        assert!(seen.iter().flatten().zip(results[0].1.iter().flatten()).all(|(a, b)| bits(a) == bits(b)));
        for (image, (last, first)) in seen[3].iter().zip(&seen[0]).enumerate() {
            let rise = last.probability / first.probability;
            assert!(rise > 1.1, "image {image}: {rise} times the probability after three steps");
        }
    }
}

#[test]
fn bad_calls_are_refused_before_the_disk_is_touched() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("run");
    for (code, what, arguments) in [
        (2, "classes: got 10, the network \"lenet\" has classes 0 to 9", &["--classes", "10"][..]),
        (2, "classes: got 12, the network", &["--classes", "3,7-12"]),
        (2, "--classes: \"eleven\" is no class number", &["--classes", "eleven"]),
        (2, "--classes: \"7-3\" is no class number", &["--classes", "7-3"]),
        (2, "--classes: got 3 twice, wanted each class once", &["--classes", "3,1-4"]),
        (2, "--iterations: got 0, wanted a whole number from 1 to", &["--iterations", "0"]),
        (2, "--iterations: got -3, wanted", &["--iterations", "-3"]),
        (2, "--decay: got 1.5, wanted a number from 0 to 1", &["--decay", "1.5"]),
        (2, "--decay: got -0.1, wanted", &["--decay", "-0.1"]),
        (2, "--decay: got nan, wanted", &["--decay", "nan"]),
        (2, "--early: got 2, wanted a number from 0 to 1", &["--early", "2"]),
        (2, "--late: got \"much\", wanted a number from 0 to 1", &["--late", "much"]),
        (2, "max_rate: got 0, wanted a number above 0", &["--max-rate", "0"]),
        (2, "max_rate: got inf, wanted", &["--max-rate", "inf"]),
        (2, "blur_radius: got 0.2, wanted 0 for none, or a number from 0.3 to 100", &["--blur-radius", "0.2"]),
        (2, "blur_radius: got -1, wanted", &["--blur-radius", "-1"]),
        (2, "blur_every: got 0, wanted a whole number, 1 or more", &["--blur-every", "0"]),
        (2, "small_norm: got 100.5, wanted a number from 0 to 100", &["--small-norm", "100.5"]),
        (2, "--benefit: got -1, wanted a number from 0 to 100", &["--benefit", "-1"]),
        (2, "abs_benefit: got nan, wanted", &["--abs-benefit", "nan"]),
        (2, "--seeds: got 0, wanted a whole number from 1 to 4096", &["--seeds", "0"]),
        (2, "--seed: got -1, wanted", &["--seed", "-1"]),
        (2, "--seeds: got 2, wanted no seed above", &["--seed", "9223372036854775807", "--seeds", "2"]),
        (2, "invalid value 'steep'", &["steep"]),
        (1, "no.safetensors: cannot open", &["--weights", "no.safetensors"]),
        (1, "--device cuda:9: ", &["--device", "cuda:9"]),
    ] {
        fails(short(&folder, arguments), code, what);
        assert!(!folder.exists(), "{arguments:?}");
    }
    // What is there stays.
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("mine"), "x").unwrap();
    fails(short(&folder, &[]), 1, "is not empty, and nothing is ever overwritten; choose another --out");
    fails(short(&folder.join("mine"), &[]), 1, "is no folder");
    assert_eq!(names(&folder), ["mine".to_string()].into());
}

#[test]
fn a_configuration_comes_back_and_options_come_last() {
    let scratch = TempDir::new().unwrap();
    let file = scratch.path().join("steep.toml");
    let dry = |arguments: &[&str]| run(pareidolia(&[&["ascend", "--dry-run"], arguments].concat()), 0).0;
    let text = dry(&["sparse", "--classes", "3,5-7", "--start", "zero", "--decay", "0.125"]);
    fs::write(&file, &text).unwrap();
    assert_eq!(dry(&["--config", file.to_str().unwrap()]), text);
    assert!(text.contains("preset = \"sparse\"") && text.contains("classes = [3, 5, 6, 7]"), "{text}");
    let other = dry(&["--config", file.to_str().unwrap(), "--decay", "0.5", "--classes", "1"]);
    assert_eq!(other, text.replace("0.125", "0.5").replace("[3, 5, 6, 7]", "[1]"));
    // The paper's numbers for its settings.
    for (alias, name) in [("none", "plain"), ("169", "fade"), ("188", "blur"), ("360", "sparse")] {
        assert_eq!(dry(&[alias]), dry(&[name]));
    }
    for (text, what) in [
        ("decay = 2.0", "decay: got 2.0, wanted a number from 0 to 1"),
        ("dekay = 0.1", "unknown key \"dekay\", the nearest one is \"decay\""),
        ("preset = \"steep\"", "preset: got \"steep\", wanted default or plain or fade or blur or sparse"),
        ("classes = [70000]", "classes: got [70000], wanted class numbers"),
    ] {
        fs::write(&file, text).unwrap();
        let mut command = pareidolia(&["ascend", "--dry-run", "--config"]);
        command.arg(&file);
        fails(command, 2, what);
    }
}

#[test]
fn weights_that_are_no_numbers_are_refused() {
    let scratch = TempDir::new().unwrap();
    let (weights, folder) = (scratch.path().join("w.safetensors"), scratch.path().join("run"));
    let mut network = lenet();
    network.parameters[0].weight[7] = f32::NAN;
    network.save(&weights, &[]).unwrap();
    let named = ["--weights", weights.to_str().unwrap()];
    fails(short(&folder, &named), 1, "conv1.weight");
    assert!(!folder.exists());
    // Numbers so large that the answers are none.
    network = lenet();
    for layer in 2..4 {
        network.parameters[layer].weight.iter_mut().for_each(|weight| *weight *= 1e25);
    }
    network.save(&weights, &[]).unwrap();
    fails(
        short(&folder, &[&named[..], &["--start", "randu"]].concat()),
        1,
        "no probability in iteration 0: its answers are NaN",
    );
    assert!(!folder.join("run.json").exists());
}

#[test]
fn what_cannot_fit_into_memory_is_refused_with_what_fits() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("run");
    let most = ["--seeds", "4096", "--iterations", "1000000"];
    fails(short(&folder, &most), 1, "the ascent of 40960 images may take ");
    fails(short(&folder, &most), 1, " fit: take fewer --classes or --seeds at a time, which changes no image");
    assert!(!folder.exists());
    // Every image counts, and every iteration.
    let network = Arc::new(lenet());
    let of = |images, iterations| memory(&network, images, iterations, Simd::detect(), true, false);
    assert!(
        of(1000, 10) > of(10, 10) + 990 * 784 * (4 * size_of::<f32>() as u64 + 4),
        "variables, gradients, pictures"
    );
    assert_eq!(of(10, 11), of(10, 10) + 40);
}

#[test]
fn a_network_of_a_thousand_classes_has_the_papers_twenty() {
    let mut network = tiny();
    network.classes = (0..1000).map(|class| class.to_string()).collect();
    let config = Config { seed: 3, ..Config::preset(Preset::Default) };
    let climbers = climbers(&config, &network).unwrap();
    assert_eq!(climbers.iter().map(|climber| climber.class).collect::<Vec<_>>(), PAPER_CLASSES);
    assert!(climbers.iter().all(|climber| climber.seed == 3));
    let few = Config { classes: vec![7, 999], seeds: 2, ..config };
    assert_eq!(self::climbers(&few, &network).unwrap().len(), 4);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_with_what_there_is() {
    use std::io::{BufRead, BufReader};
    let scratch = TempDir::new().unwrap();
    for (signal, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let folder = scratch.path().join(code.to_string());
        let mut command = short(&folder, &["--iterations", "1000000", "--progress", "plain", "--classes", "3"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        while !lines.next().expect("progress is shown").unwrap().starts_with("iterations ") {}
        // SAFETY: the process is a child that nobody has waited for.
        assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, signal) }, 0);
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{rest:?}");
        let manifest = manifest(&folder);
        let said = format!("error: stopped by signal {signal} after {} of 1000000 iterations", manifest.iterations);
        assert!(rest.last().unwrap().starts_with(&said), "{rest:?}");
        assert_eq!(manifest.stopped_by, End::Signal);
        let (_, x, confidences) = variables(&folder);
        assert_eq!(confidences.len(), manifest.iterations as usize);
        // The image is the clipped one that the last iteration saw.
        assert!(x.iter().all(|x| (0.0..=255.0).contains(x)));
        assert_eq!(confidences.last().unwrap().to_bits(), manifest.images[0].confidence.to_bits());
        // So many iterations without a signal make the same image, if the last one moved nothing either.
        let n = manifest.iterations.to_string();
        let whole = scratch.path().join(format!("{code}-whole"));
        run(short(&whole, &["--iterations", &n, "--classes", "3", "--no-pictures"]), 0);
        assert_eq!(self::manifest(&whole).result_hash, manifest.result_hash);
    }
}
