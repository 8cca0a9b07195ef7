//! depth_to_space: where each phase goes.

use super::cases::Extent;
use super::gpu::Gpu;
use super::layers::{self, each_image, numbers, shape};
use super::tally::Tally;
use crate::backend::cuda::depth_to_space::DepthToSpace;
use crate::error::Result;

/// The planes of one image's phases.
pub fn on_host(layer: &DepthToSpace, phases: &[f32]) -> Vec<f32> {
    let DepthToSpace { input: from, output: to, stride, first } = *layer;
    let mut planes = vec![f32::NAN; to.len()];
    for (at, &value) in phases.iter().enumerate() {
        let (column, row, phase) = (at % from.width, at / from.width % from.height, at / from.width / from.height);
        let (phase_x, phase_y, channel) = (phase % stride, phase / stride % stride, phase / stride / stride);
        let (y, x) = (row * stride + phase_y, column * stride + phase_x);
        if (first..first + to.height).contains(&y) && (first..first + to.width).contains(&x) {
            planes[(channel * to.height + y - first) * to.width + x - first] = value;
        }
    }
    planes
}

/// Strides that cut planes off at all sides, round the edge of a block of 256.
///
/// # Errors
/// The driver's.
pub fn depth_to_space(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    let layer = |channels: usize, (height, width): (usize, usize), stride: usize, first: usize| DepthToSpace {
        input: shape(
            channels * stride * stride,
            (height + first).div_ceil(stride),
            (width + first).div_ceil(stride) + 1,
        ),
        output: shape(channels, height, width),
        stride,
        first,
    };
    let table = vec![
        (0, layer(1, (1, 1), 1, 0)),
        (1, layer(1, (1, 1), 1, 0)),
        (2, layer(3, (9, 10), 2, 1)),
        (1, layer(1, (16, 16), 4, 3)),
        (3, layer(2, (7, 19), 3, 0)),
        (2, layer(5, (23, 17), 2, 0)),
    ];
    for (batch, layer) in extent.of(table, 2, usize::MAX) {
        tally.case(batch, format_args!("batch {batch}, {layer:?}"));
        let (in_len, out_len) = (layer.input.len(), layer.output.len());
        let input = numbers(9400, batch * in_len);
        let want = each_image(&input, in_len, |image| on_host(&layer, image));
        layers::compare(gpu, tally, (&input, in_len), (&want, out_len), batch, |launcher, arena, to, from| {
            launcher.depth_to_space(arena, &layer, to, from, batch)
        })?;
    }
    Ok(())
}
