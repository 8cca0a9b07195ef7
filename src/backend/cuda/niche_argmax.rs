//! The best candidate of a chunk for every niche, on the device.

use super::elites::Elites;
use super::genomes::Genomes;
use super::launcher::{Launcher, check_len};
use super::params::{Chunk, RunState, node_stride};
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

/// The candidates of a chunk, and what was seen of them.
#[derive(Clone, Copy)]
pub struct Scored<'a> {
    /// `(chunk.count)` slots
    pub genomes: &'a Genomes,
    /// `(chunk.count, image_len)`
    pub images: &'a CudaSlice<u8>,
    pub image_len: u32,
    /// `(n_classes, stride)`, of which the first `chunk.count` of each class count.
    pub probabilities: &'a CudaSlice<f32>,
    pub n_classes: u32,
    pub stride: u32,
}

impl Launcher {
    /// Lets the candidates of `chunk` compete for every niche; strictly greater wins, of equals the lowest number, and never a NaN.
    ///
    /// Who beats the niche's winner so far becomes it, and is written, with its content hash and birth, to that of the niche's
    /// slots in `elites`, `(n_runs, n_niches, 2)`, which does not hold the elite. `runs` is `(n_runs)`, of which `active` takes
    /// part; `classes`, `(n_niches)`, is the class of each niche. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    pub fn niche_argmax(
        &self,
        elites: &mut Elites,
        scored: Scored,
        classes: &CudaSlice<u32>,
        runs: &CudaSlice<RunState>,
        active: &CudaSlice<u32>,
        chunk: Chunk,
    ) -> Result<()> {
        let Scored { genomes, images, image_len, probabilities, n_classes, stride } = scored;
        let (n, n_cells) = (chunk.count as usize, runs.len() * classes.len());
        let slots = 2 * n_cells;
        check_len("images", images, n * image_len as usize)?;
        check_len("probabilities", probabilities, n_classes as usize * stride as usize)?;
        if (stride as usize) < n {
            return Err(Error::Shape { what: "a row of probabilities", got: stride as usize, want: n });
        }
        check_len("active", active, chunk.runs())?;
        check_len("runs", runs, chunk.runs())?;
        check_len("elites.winners", &elites.winners, n_cells)?;
        check_len("elites.current", &elites.current, n_cells)?;
        check_len("elites.images", &elites.images, slots * image_len as usize)?;
        check_len("elites.probabilities", &elites.probabilities, slots * n_classes as usize)?;
        check_len("elites.content_hashes", &elites.content_hashes, slots)?;
        check_len("elites.born", &elites.born, 2 * slots)?;
        if chunk.count == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let n_niches = classes.len() as u32;
        let n_runs = chunk.runs() as u32 - chunk.start / chunk.batch; // that have places in the chunk
        let config = LaunchConfig {
            grid_dim: (n_runs * n_niches, 1, 1),
            block_dim: (tuning::NICHE_ARGMAX_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        match (&mut elites.genomes, genomes) {
            (Genomes::Direct(to), Genomes::Direct(from)) => {
                let n_genes = from.n_genes as u32;
                check_len("genes", &from.genes, n * from.n_genes)?;
                check_len("elites.genes", &to.genes, slots * from.n_genes)?;
                let mut launch = self.stream.launch_builder(&self.kernels.niche_argmax_direct_f32);
                launch.arg(&mut elites.winners).arg(&mut to.genes).arg(&mut elites.images);
                launch.arg(&mut elites.probabilities).arg(&mut elites.content_hashes).arg(&mut elites.born);
                launch.arg(&from.genes).arg(images).arg(probabilities).arg(&elites.current).arg(classes).arg(runs);
                launch
                    .arg(active)
                    .arg(&chunk)
                    .arg(&stride)
                    .arg(&n_niches)
                    .arg(&n_classes)
                    .arg(&image_len)
                    .arg(&n_genes);
                // SAFETY: order and types are those of niche_argmax_direct_f32 in kernels/archive/niche_argmax.cu; lengths were
                // checked, and classes lie below n_classes; it writes only what is passed as `&mut`.
                unsafe { launch.launch(config) }.map_err(Error::launch("niche_argmax_direct_f32"))?;
            }
            (Genomes::Cppn(to), Genomes::Cppn(from)) => {
                let (nodes, max_edges) = (node_stride(from.max_nodes) as u32, from.max_edges);
                check_len("sizes", &from.sizes, n)?;
                check_len("activations", &from.activations, n * nodes as usize)?;
                check_len("edges", &from.edges, n * max_edges as usize)?;
                check_len("elites.sizes", &to.sizes, slots)?;
                check_len("elites.activations", &to.activations, slots * nodes as usize)?;
                check_len("elites.edges", &to.edges, slots * max_edges as usize)?;
                let mut launch = self.stream.launch_builder(&self.kernels.niche_argmax_cppn_f32);
                launch.arg(&mut elites.winners).arg(&mut to.sizes).arg(&mut to.activations).arg(&mut to.edges);
                launch.arg(&mut elites.images).arg(&mut elites.probabilities).arg(&mut elites.content_hashes);
                launch.arg(&mut elites.born).arg(&from.sizes).arg(&from.activations).arg(&from.edges).arg(images);
                launch
                    .arg(probabilities)
                    .arg(&elites.current)
                    .arg(classes)
                    .arg(runs)
                    .arg(active)
                    .arg(&chunk)
                    .arg(&stride);
                launch.arg(&n_niches).arg(&n_classes).arg(&image_len).arg(&nodes).arg(&max_edges);
                // SAFETY: order and types are those of niche_argmax_cppn_f32 in kernels/archive/niche_argmax.cu; lengths were
                // checked, no genome is larger than a slot, and classes lie below n_classes; it writes only what is passed as `&mut`.
                unsafe { launch.launch(config) }.map_err(Error::launch("niche_argmax_cppn_f32"))?;
            }
            _ => unreachable!("a job has one encoding"),
        }
        Ok(())
    }
}
