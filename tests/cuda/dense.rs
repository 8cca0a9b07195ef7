//! dense against its formula.

use crate::harness;
use crate::layers::{each_image, makes, numbers, parameters, rectified};
use pareidolia::backend::cuda::dense::Dense;
use pareidolia::network::Parameters;

fn dense(parameters: &Parameters, input: &[f32]) -> Vec<f32> {
    let rows = parameters.weight.chunks(input.len()).zip(&parameters.bias);
    rows.map(|(weights, &bias)| weights.iter().zip(input).fold(bias, |sum, (&w, &x)| x.mul_add(w, sum))).collect()
}

#[test]
fn dense_gives_the_bits_of_the_formula_round_the_edges_of_every_tile() {
    let Some(launcher) = harness::launcher() else { return };
    // Images, inputs, outputs: round 8, 64 and 128 outputs, 16, 64 and 256 images, 8 and 32 inputs.
    for (batch, inputs, outputs) in [
        (1, 1, 1),
        (15, 7, 7),
        (16, 8, 8),
        (17, 9, 9),
        (63, 31, 63),
        (64, 32, 64),
        (65, 33, 65),
        (2, 200, 127),
        (255, 5, 128),
        (256, 16, 3),
        (257, 11, 129),
        (3, 65, 256),
    ] {
        let stream = (batch * 1000 + inputs) as u32;
        let parameters = parameters(stream, inputs * outputs, outputs);
        let input = numbers(stream + 2, batch * inputs);
        let plain = each_image(&input, inputs, |image| dense(&parameters, image));
        for rectify in [false, true] {
            let want = if rectify { rectified(&plain) } else { plain.clone() };
            let mut layer = Dense::new(launcher, inputs, &parameters, rectify).unwrap();
            for kernel in launcher.dense_kernels().into_iter().map(Some).chain([None]) {
                layer.kernel = kernel;
                let case = format!("batch {batch}, {inputs} to {outputs}, {kernel:?}, rectify {rectify}");
                makes(launcher, (&input, inputs), (&want, outputs), batch, &case, |arena, to, from| {
                    launcher.dense(arena, &layer, to, from, batch).unwrap();
                });
            }
        }
    }
}

#[test]
fn dense_keeps_the_sign_of_zero_where_the_last_stage_is_filled_up() {
    let Some(launcher) = harness::launcher() else { return };
    let parameters = Parameters { weight: vec![-1.0; 5 * 13], bias: vec![-0.0; 5] };
    let mut layer = Dense::new(launcher, 13, &parameters, false).unwrap();
    for kernel in launcher.dense_kernels() {
        layer.kernel = Some(kernel);
        makes(launcher, (&[0.0; 26], 13), (&[-0.0; 10], 5), 2, kernel, |arena, to, from| {
            launcher.dense(arena, &layer, to, from, 2).unwrap();
        });
    }
}
