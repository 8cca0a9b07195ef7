//! CPPNs drawn in real numbers, as a network takes them, on the device; and their programs there, which the way back reads too.

use super::arena::{Place, narrow};
use super::launcher::{Launcher, check_len};
use super::params::{CppnEye, Crop, DrawnCppn, DrawnInstruction, DrawnTerm};
use super::render_cppn::{planes_bytes, upload_planes};
use crate::error::{Error, Result};
use crate::genome::Canvas;
use crate::genome::cppn::{BAND, InputPlanes, N_INPUTS, Program};
use crate::network::gradient::SLOTS;
use crate::network::{self, ChannelOrder, Network, Shape};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

const _: () = assert!(tuning::DRAWN_BAND as usize == BAND, "tuning.cuh has it as genome::cppn");
const _: () = assert!(tuning::GRADIENT_SLOTS as usize == SLOTS, "tuning.cuh has it as network::gradient");

/// Blocks of a multiprocessor that are to have room in its shared memory: with fewer it waits where it could draw.
const BLOCKS: u64 = 3;

/// What rooms may take in the scratch buffer, unless a single one takes more.
const SCRATCH_BYTES: usize = 64 << 20;

/// Where a block of draw_cppn or draw_cppn_backward keeps what it knows of its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Of a block, a pixel each.
    pub threads: u32,
    /// Of a block.
    pub floats: usize,
    /// Blocks whose rooms are in the scratch buffer at once; `None` where they are in shared memory.
    pub in_scratch: Option<u32>,
}

impl Room {
    /// For `rows` floats a pixel and `beside` more, on a device whose blocks may have `most_shared` bytes of shared memory.
    fn new(rows: usize, beside: usize, most_shared: u64) -> Room {
        let with = |threads: u32| Room { threads, floats: rows * threads as usize + beside, in_scratch: None };
        let most = tuning::DRAW_CPPN_THREADS;
        let warp = with(tuning::WARP_SIZE);
        let in_shared =
            [with(most), with(most / 2)].into_iter().find(|room| BLOCKS * room.bytes() as u64 <= most_shared);
        in_shared.unwrap_or_else(|| {
            if warp.bytes() as u64 <= most_shared {
                return warp;
            }
            let room = with(most);
            Room { in_scratch: Some((SCRATCH_BYTES / room.bytes()).max(1) as u32), ..room }
        })
    }

    fn bytes(self) -> usize {
        self.floats * size_of::<f32>()
    }

    /// Floats of the scratch buffer.
    fn scratch(self) -> usize {
        self.in_scratch.map_or(0, |blocks| blocks as usize * self.floats)
    }

    /// The launch that does so many `items`, a block each or several, and what it says of the room in scratch.
    pub(super) fn launch(self, items: usize) -> Result<(LaunchConfig, u32)> {
        // Half of what 32 bits hold, so that the step from an item to a block's next one stays within them.
        let (most, what) = (u32::MAX as usize / 2, "parts of drawings");
        if items > most {
            return Err(Error::Shape { what, got: items, want: most });
        }
        let blocks = self.in_scratch.map_or(items, |most| items.min(most as usize));
        let bytes = if self.in_scratch.is_some() { 0 } else { self.bytes() };
        let config = LaunchConfig {
            grid_dim: (narrow(what, blocks)?, 1, 1),
            block_dim: (self.threads, 1, 1),
            shared_mem_bytes: narrow("a block's shared memory", bytes)?,
        };
        let room = if self.in_scratch.is_some() { narrow("a block's room", self.floats)? } else { 0 };
        Ok((config, room))
    }
}

/// How large programs are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    pub programs: usize,
    /// Of all.
    pub instructions: usize,
    pub terms: usize,
    /// Of the program that has most.
    pub most_instructions: usize,
    pub most_terms: usize,
}

impl Sizes {
    /// Those of `programs`.
    pub fn of<'a>(programs: impl IntoIterator<Item = &'a Program>) -> Sizes {
        let mut sizes = Sizes::default();
        for program in programs {
            let (instructions, terms) = (program.instructions.len(), program.terms.len());
            sizes.programs += 1;
            sizes.instructions += instructions;
            sizes.terms += terms;
            sizes.most_instructions = sizes.most_instructions.max(instructions);
            sizes.most_terms = sizes.most_terms.max(terms);
        }
        sizes
    }

    /// The rooms of draw_cppn, and of draw_cppn_backward.
    fn rooms(&self, most_shared: u64) -> [Room; 2] {
        let (instructions, sums) = (self.most_instructions, self.most_terms * SLOTS);
        [Room::new(N_INPUTS + instructions, 0, most_shared), Room::new(N_INPUTS + 3 * instructions, sums, most_shared)]
    }
}

/// CPPNs on the device: programs, the weights that are tried, and what a network sees of their drawings.
#[derive(Debug)]
pub struct DrawnCppns {
    pub sizes: Sizes,
    pub eye: CppnEye,
    /// Of draw_cppn, and of draw_cppn_backward.
    pub rooms: [Room; 2],
    /// `(programs)`
    pub headers: CudaSlice<DrawnCppn>,
    /// Those of one program after those of the one before; so with terms and weights.
    pub instructions: CudaSlice<DrawnInstruction>,
    pub terms: CudaSlice<DrawnTerm>,
    pub weights: CudaSlice<f32>,
    /// `(3, pixels)`
    pub planes: CudaSlice<f32>,
    /// `(n_crops)`
    pub crops: CudaSlice<Crop>,
    /// `(channels, height, width)` of the network's input.
    pub mean: CudaSlice<f32>,
    /// Rooms, one after the other, where they are here.
    pub scratch: CudaSlice<f32>,
}

impl DrawnCppns {
    /// Brings `programs` to the device, with the weights that they have, to be shown to `network`; `normalise` is that of their inputs,
    /// `most_shared` the shared memory that a block may have.
    ///
    /// # Errors
    /// [`Error::Driver`] if there is no room.
    ///
    /// # Panics
    /// If a program has not an output a channel of the canvas.
    pub fn new<'a>(
        launcher: &Launcher,
        programs: impl Iterator<Item = &'a Program> + Clone,
        network: &Network,
        normalise: bool,
        most_shared: u64,
    ) -> Result<DrawnCppns> {
        let (sizes, eye) = (Sizes::of(programs.clone()), eye(network)?);
        let (mut headers, mut instructions, mut terms) = (Vec::new(), Vec::new(), Vec::new());
        let mut weights = Vec::new();
        for program in programs {
            let mut outputs = [0; 3];
            assert_eq!(program.outputs.len(), eye.channels as usize, "an output a channel");
            outputs[..program.outputs.len()].copy_from_slice(&program.outputs);
            headers.push(DrawnCppn {
                first_instruction: narrow("instructions of all programs", instructions.len())?,
                n_instructions: narrow("instructions of a program", program.instructions.len())?,
                first_term: narrow("terms of all programs", terms.len())?,
                n_terms: narrow("terms of a program", program.terms.len())?,
                outputs,
                reserved: 0,
            });
            let mut own = program.terms.iter();
            for (instruction, one) in (0..).zip(&program.instructions) {
                instructions.push(DrawnInstruction { activation: one.activation as u32, n_terms: one.n_terms });
                let of_one = own.by_ref().take(one.n_terms as usize);
                terms.extend(of_one.map(|term| DrawnTerm { slot: term.slot, instruction }));
            }
            weights.extend(program.terms.iter().map(|term| term.weight));
        }
        let rooms = sizes.rooms(most_shared);
        for (kernel, room) in
            [&launcher.kernels.draw_cppn_f32, &launcher.kernels.draw_cppn_backward_f32].iter().zip(rooms)
        {
            if room.in_scratch.is_none() {
                // All that there is, so that another ascent on this device does not take away what this one has.
                launcher.set_shared(kernel, launcher.most_shared()?)?;
            }
        }
        let no_mean = vec![0.0; network.input.len()];
        let mean = &network.preprocess.mean;
        Ok(DrawnCppns {
            sizes,
            eye,
            rooms,
            headers: launcher.upload(&headers)?,
            instructions: launcher.upload(&instructions)?,
            terms: launcher.upload(&terms)?,
            weights: launcher.upload(&weights)?,
            planes: upload_planes(launcher, &InputPlanes::new(Canvas::of(network), normalise))?,
            crops: launcher.upload(&crops(network))?,
            mean: launcher.upload(if mean.is_empty() { &no_mean } else { mean })?,
            scratch: launcher.zeros(rooms.map(Room::scratch).into_iter().max().unwrap_or(0))?,
        })
    }

    /// Bytes on the device: of programs of such `sizes`, and of all else.
    pub fn bytes(sizes: &Sizes, network: &Network, most_shared: u64) -> [usize; 2] {
        let instructions = sizes.instructions.max(1) * size_of::<DrawnInstruction>();
        let terms = sizes.terms.max(1) * (size_of::<DrawnTerm>() + size_of::<f32>());
        let of_programs = sizes.programs.max(1) * size_of::<DrawnCppn>() + instructions + terms;
        let scratch = sizes.rooms(most_shared).map(Room::scratch).into_iter().max().unwrap_or(0).max(1);
        let crops = network.n_crops() * size_of::<Crop>();
        let floats = (network.input.len() + scratch) * size_of::<f32>();
        [of_programs, planes_bytes(Canvas::of(network)) + crops + floats]
    }

    /// Pixels of a drawing.
    pub(super) fn n_pixels(&self) -> usize {
        self.eye.canvas_height as usize * self.eye.canvas_width as usize
    }

    /// Bands of a drawing.
    pub fn n_bands(&self) -> usize {
        self.n_pixels().div_ceil(BAND)
    }

    /// Values of what a network sees of a crop.
    pub(super) fn crop_len(&self) -> usize {
        self.eye.channels as usize * self.eye.height as usize * self.eye.width as usize
    }

    /// Whether there are `n` programs from `first` on.
    pub(super) fn check(&self, first: usize, n: usize) -> Result<()> {
        check_len("programs of drawings", &self.headers, first + n)?;
        check_len("weights of drawings", &self.weights, self.sizes.terms)
    }
}

/// What `network` sees of its canvas.
fn eye(network: &Network) -> Result<CppnEye> {
    let (canvas, Shape { channels, height, width }) = (Canvas::of(network), network.input);
    let side = |side| narrow("a side of an image", side);
    Ok(CppnEye {
        canvas_height: side(canvas.height)?,
        canvas_width: side(canvas.width)?,
        height: side(height)?,
        width: side(width)?,
        channels: channels as u32,
        n_crops: network.n_crops() as u32,
        blue_first: u32::from(network.preprocess.channel_order == ChannelOrder::Bgr),
        scale: network.preprocess.scale,
    })
}

/// The crops that it judges, or all of the image.
fn crops(network: &Network) -> Vec<Crop> {
    let crop =
        |&network::Crop { x, y, mirror }: &network::Crop| Crop { x: x as u32, y: y as u32, mirror: u32::from(mirror) };
    match &network.crops[..] {
        [] => vec![Crop::default()],
        crops => crops.iter().map(crop).collect(),
    }
}

impl Launcher {
    /// Draws the `n` CPPNs of `drawn` from `first` on, with the weights that are there, and writes what the network takes of each crop of each
    /// to `input` of `arena`, crops of an image side by side. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    pub fn draw_cppn(
        &self,
        drawn: &mut DrawnCppns,
        arena: &mut CudaSlice<f32>,
        input: Place,
        first: usize,
        n: usize,
    ) -> Result<()> {
        if n == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        drawn.check(first, n)?;
        let to = input.of(arena, "the network's input", n * drawn.eye.n_crops as usize, drawn.crop_len())?;
        let [room, _] = drawn.rooms;
        let (config, room) = room.launch(n * drawn.n_pixels().div_ceil(room.threads as usize))?;
        let (images, input_crop) = (narrow("images", n)?, narrow("a crop", input.image)?);
        let DrawnCppns { headers, instructions, terms, weights, planes, crops, mean, scratch, eye, .. } = drawn;
        let headers = headers.slice(first..);
        let mut launch = self.stream.launch_builder(&self.kernels.draw_cppn_f32);
        launch.arg(&to).arg(scratch).arg(&headers).arg(&*instructions).arg(&*terms).arg(&*weights);
        launch.arg(&*planes).arg(&*crops).arg(&*mean).arg(&*eye).arg(&images).arg(&input_crop).arg(&room);
        // SAFETY: order and types are those of draw_cppn_f32 in kernels/ascent/draw_cppn.cu; the lengths were checked, the programs are those
        // of DrawnCppns::new, which made room for the longest; it writes `input` and scratch alone, and nobody else has the arena.
        unsafe { launch.launch(config) }.map_err(Error::launch("draw_cppn_f32"))?;
        Ok(())
    }
}
