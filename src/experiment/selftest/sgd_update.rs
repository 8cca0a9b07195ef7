//! sgd_update: weights, biases and velocities after an update.

use super::cases::Extent;
use super::gpu::{GUARD_F32, Gpu};
use super::layers::parameters;
use super::tally::Tally;
use crate::backend::cuda::params::TrainingStep;
use crate::backend::cuda::sgd_update::Layout;
use crate::backend::training::{Learned, Sgd};
use crate::error::Result;
use crate::network::Parameters;
use crate::network::gradient::{SLOTS, total};

/// What becomes of a layer, one number at a time.
pub fn on_host(learned: &Learned, gradient: &Parameters, sgd: &Sgd, rate: f32) -> Learned {
    let update = |w: &[f32], v: &[f32], gradient: &[f32], decay: f32, rate: f32| -> (Vec<f32>, Vec<f32>) {
        let one = |((&w, &v), &gradient): ((&f32, &f32), &f32)| {
            let g = decay.mul_add(w, gradient);
            let v = sgd.momentum.mul_add(v, rate * g);
            (w - v, v)
        };
        w.iter().zip(v).zip(gradient).map(one).unzip()
    };
    let Learned { parameters: w, velocity: v } = learned;
    let (weight, weight_v) = update(&w.weight, &v.weight, &gradient.weight, sgd.decay, rate);
    let (bias, bias_v) = update(&w.bias, &v.bias, &gradient.bias, sgd.decay * sgd.bias_decay, rate * sgd.bias_rate);
    Learned { parameters: Parameters { weight, bias }, velocity: Parameters { weight: weight_v, bias: bias_v } }
}

/// Compares an update of a layer with `slots` accumulators; of these, those of some weights are all -0.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, layout: Layout, slots: usize, sgd: &Sgd, rate: f32) -> Result<()> {
    tally.case(layout.groups * layout.outputs, format_args!("{layout:?}, {slots} slots, {sgd:?}, rate {rate}"));
    let n_outputs = layout.groups * layout.outputs;
    let n_weights = n_outputs * layout.k;
    let of = |stream: u32| parameters(60_000 + 2 * stream, n_weights, n_outputs);
    let mut learned = Learned { parameters: of(0), velocity: of(1) };
    let mut gradients: Vec<Parameters> = (0..slots as u32).map(|slot| of(2 + slot)).collect();
    for at in (0..n_weights).step_by(5) {
        gradients.iter_mut().for_each(|slot| slot.weight[at] = -0.0);
        (learned.parameters.weight[at], learned.velocity.weight[at]) = (0.0, -0.0);
    }
    let sum = |of: &dyn Fn(&Parameters) -> f32| match &gradients[..] {
        [only] => of(only) + 0.0,
        all => total(std::array::from_fn::<f32, SLOTS, _>(|slot| of(&all[slot]))),
    };
    let gradient = Parameters {
        weight: (0..n_weights).map(|at| sum(&|slot| slot.weight[at])).collect(),
        bias: (0..n_outputs).map(|at| sum(&|slot| slot.bias[at])).collect(),
    };
    let want = on_host(&learned, &gradient, sgd, rate);

    let guarded = |values: &[f32]| -> Result<_> {
        let mut buffer = gpu.guarded(values.len(), GUARD_F32)?;
        gpu.launcher.upload_part(&mut buffer, 0, values)?;
        Ok(buffer)
    };
    let packed = layout.pack_weights(&learned.parameters.weight);
    let want_packed = layout.pack_weights(&want.parameters.weight);
    let mut weights = guarded(&packed)?;
    let mut bias = guarded(&learned.parameters.bias)?;
    let mut velocity = guarded(&layout.pack_velocity(&learned.velocity))?;
    let all: Vec<f32> = gradients.iter().flat_map(|slot| layout.pack_velocity(slot)).collect();
    let all = gpu.upload(&all)?;
    let step = gpu.upload(&[TrainingStep { iteration: 3, rate }])?;
    gpu.timed(tally, |launcher| {
        launcher.sgd_update(&mut weights, &mut bias, &mut velocity, &all, &step.slice(..), layout, slots, sgd)
    })?;
    let got = gpu.read(tally, "the weights", &weights, packed.len(), GUARD_F32)?;
    tally.same("the weights", &want_packed, &got);
    let got = gpu.read(tally, "the biases", &bias, n_outputs, GUARD_F32)?;
    tally.same("the biases", &want.parameters.bias, &got);
    let got = gpu.read(tally, "the velocities", &velocity, layout.velocity_len(), GUARD_F32)?;
    tally.same("the velocities", &layout.pack_velocity(&want.velocity), &got);
    Ok(())
}

/// Layers of one and several groups, of outputs that fill quads and that do not, round a block of threads; with decay and without.
///
/// # Errors
/// The driver's.
pub fn sgd_update(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    let layouts = [
        Layout { groups: 1, outputs: 1, k: 1, padded_k: 8 },
        Layout { groups: 1, outputs: 8, k: 127, padded_k: 128 },
        Layout { groups: 2, outputs: 7, k: 9, padded_k: 16 },
        Layout { groups: 3, outputs: 12, k: 50, padded_k: 56 },
        Layout { groups: 1, outputs: 10, k: 500, padded_k: 512 },
    ];
    let rules = [
        Sgd { momentum: 0.9, decay: 5e-4, bias_rate: 2.0, bias_decay: 1.0 },
        Sgd { momentum: 0.0, decay: 0.0, bias_rate: 1.0, bias_decay: 0.0 },
        Sgd { momentum: 0.5, decay: 0.1, bias_rate: 3.0, bias_decay: 0.25 },
    ];
    let mut cases = Vec::new();
    for layout in layouts {
        cases.extend([1, SLOTS].into_iter().flat_map(|slots| rules.map(|sgd| (layout, slots, sgd))));
    }
    extent
        .of(cases, 4, usize::MAX)
        .into_iter()
        .try_for_each(|(layout, slots, sgd)| compare(gpu, tally, layout, slots, &sgd, 0.01))
}
