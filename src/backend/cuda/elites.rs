//! The elites of all runs on the device. A niche has two slots: one holds its elite, a parent of the present generation; into
//! the other goes what beats it.

use super::Launcher;
use super::genomes::Genomes;
use super::params::Winner;
use crate::archive::{Archive, Elite};
use crate::backend::Job;
use crate::error::Result;
use cudarc::driver::CudaSlice;
use std::sync::Arc;

/// R runs, N niches, C classes.
#[derive(Debug)]
pub struct Elites {
    /// `(R, N)`: which of the two slots holds the elite.
    pub current: CudaSlice<u32>,
    /// `(R, N)`: the elite's fitness, and who has beaten it in this generation.
    pub winners: CudaSlice<Winner>,
    /// `(R, N, 2)` slots.
    pub genomes: Genomes,
    /// `(R, N, 2, height, width, channels)`
    pub images: CudaSlice<u8>,
    /// `(R, N, 2, C)`
    pub probabilities: CudaSlice<f32>,
    /// `(R, N, 2)`
    pub content_hashes: CudaSlice<u64>,
    /// `(R, N, 2, 2)`: generation and candidate.
    pub born: CudaSlice<u32>,
}

impl Elites {
    /// Room for those of `job`; nobody is there yet.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver) if there is no room.
    pub fn new(launcher: &Launcher, job: &Job) -> Result<Elites> {
        let niches = job.seeds.len() * job.classes.len();
        let slots = 2 * niches;
        Ok(Elites {
            current: launcher.zeros(niches)?,
            winners: launcher.upload(&vec![Winner::NONE; niches])?,
            genomes: Genomes::new(launcher, job, slots)?,
            images: launcher.zeros(slots * job.canvas.len())?,
            probabilities: launcher.zeros(slots * job.network.classes.len())?,
            content_hashes: launcher.zeros(slots)?,
            born: launcher.zeros(2 * slots)?,
        })
    }

    /// Bytes of a niche of `job`.
    pub fn niche_bytes(job: &Job) -> usize {
        let (probabilities, hash, born) =
            (job.network.classes.len() * size_of::<f32>(), size_of::<u64>(), 2 * size_of::<u32>());
        let slot = Genomes::slot_bytes(job) + job.canvas.len() + probabilities + hash + born;
        size_of::<u32>() + size_of::<Winner>() + 2 * slot
    }

    /// The archive of run `run`, which has made `generation`.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver).
    pub fn download(&self, launcher: &Launcher, job: &Job, run: usize, generation: u32) -> Result<Archive> {
        let (n_niches, n_classes, image_len) = (job.classes.len(), job.network.classes.len(), job.canvas.len());
        let (first, slots) = (run * n_niches, 2 * n_niches);
        let current = launcher.download_part(&self.current, first, n_niches)?;
        let probabilities = launcher.download_part(&self.probabilities, 2 * first * n_classes, slots * n_classes)?;
        let hashes = launcher.download_part(&self.content_hashes, 2 * first, slots)?;
        let born = launcher.download_part(&self.born, 4 * first, 2 * slots)?;
        let elite = |(niche, &current): (usize, &u32)| {
            let within = 2 * niche + current as usize;
            let slot = 2 * first + within;
            Ok(Arc::new(Elite {
                probabilities: probabilities[within * n_classes..][..n_classes].to_vec(),
                image: launcher.download_part(&self.images, slot * image_len, image_len)?,
                genome: self.genomes.get(launcher, slot)?,
                born: (born[2 * within], born[2 * within + 1]),
                content_hash: hashes[within],
            }))
        };
        let elites = current.iter().enumerate().map(elite).collect::<Result<_>>()?;
        Ok(Archive { generation, classes: job.classes.clone(), elites })
    }

    /// Makes `archive` that of run `run`: its elites go to the first slots.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver).
    ///
    /// # Panics
    /// If it is not one of `job`.
    pub fn upload(&mut self, launcher: &Launcher, job: &Job, run: usize, archive: &Archive) -> Result<()> {
        assert_eq!(archive.classes, job.classes);
        let (n_niches, n_classes, image_len) = (job.classes.len(), job.network.classes.len(), job.canvas.len());
        let first = run * n_niches;
        let fitness = archive.fitness().into_iter();
        let winners: Vec<Winner> = fitness.map(|fitness| Winner { fitness, ..Winner::NONE }).collect();
        launcher.upload_part(&mut self.winners, first, &winners)?;
        launcher.upload_part(&mut self.current, first, &vec![0; n_niches])?;
        for (niche, elite) in archive.elites.iter().enumerate() {
            let slot = 2 * (first + niche);
            launcher.upload_part(&mut self.probabilities, slot * n_classes, &elite.probabilities)?;
            launcher.upload_part(&mut self.images, slot * image_len, &elite.image)?;
            launcher.upload_part(&mut self.content_hashes, slot, &[elite.content_hash])?;
            launcher.upload_part(&mut self.born, 2 * slot, &[elite.born.0, elite.born.1])?;
            self.genomes.set(launcher, slot, &elite.genome)?;
        }
        Ok(())
    }
}
