//! draw_cppn: what a network takes of drawings, of the CPU's drawing one number at a time.

use super::ascent_cppn::{FIRST, shared, trials};
use super::cases::Extent;
use super::gpu::{GUARD_F32, GUARDS, Gpu};
use super::tally::Tally;
use crate::backend::cuda::arena::Place;
use crate::error::Result;

/// All trials, wherever the room is; which rooms there were.
///
/// # Errors
/// The driver's.
pub fn draw_cppn(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<Vec<(u32, bool)>> {
    let mut rooms = Vec::new();
    for trial in trials(extent) {
        let (n, len) = (trial.n(), trial.network.input.len());
        let input = Place { start: 3, image: len + 2 };
        let start = vec![GUARD_F32; input.start + n * trial.network.n_crops() * input.image + GUARDS];
        let mut want = start.clone();
        let inputs: Vec<f32> = (0..n).flat_map(|at| trial.inputs(at + FIRST)).collect();
        for (at, values) in inputs.chunks(len).enumerate() {
            want[input.start + at * input.image..][..len].copy_from_slice(values);
        }
        for most_shared in shared(gpu, extent)? {
            tally.case(n, format_args!("{}, {most_shared} bytes a block", trial.name));
            let mut drawn = trial.upload(gpu, most_shared)?;
            let mut arena = gpu.upload(&start)?;
            gpu.timed(tally, |launcher| launcher.draw_cppn(&mut drawn, &mut arena, input, FIRST, n))?;
            tally.same("what the network takes", &want, &gpu.launcher.download(&arena)?);
            rooms.push((drawn.rooms[0].threads, drawn.rooms[0].in_scratch.is_some()));
        }
    }
    Ok(rooms)
}
