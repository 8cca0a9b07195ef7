//! The elites of all runs on the device. A niche has two slots: one holds its elite, a parent of the present generation; into
//! the other goes what beats it.

use super::genomes::Genomes;
use super::launcher::{Launcher, Reader};
use super::params::Winner;
use crate::archive::{Archive, Elite};
use crate::backend::Job;
use crate::error::Result;
use cudarc::driver::CudaSlice;

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

/// Who holds a niche: where, and by what he is told from all others of his run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Of those of all runs.
    slot: usize,
    born: (u32, u32),
    content_hash: u64,
}

impl Holder {
    /// Whether he is `elite`, one of the same run.
    pub fn is(&self, elite: &Elite) -> bool {
        (self.born, self.content_hash) == (elite.born, elite.content_hash)
    }
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
        let (hash, born) = (size_of::<u64>(), 2 * size_of::<u32>());
        size_of::<u32>() + size_of::<Winner>() + 2 * (Elites::elite_bytes(job) + hash + born)
    }

    /// Bytes of an elite of `job`: genome, image and probabilities.
    pub fn elite_bytes(job: &Job) -> usize {
        Genomes::slot_bytes(job) + job.canvas.len() + job.network.classes.len() * size_of::<f32>()
    }

    /// Who holds each niche of run `run` of `job`.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver).
    pub fn holders(&self, launcher: &Launcher, job: &Job, run: usize) -> Result<Vec<Holder>> {
        let n_niches = job.classes.len();
        let (first, slots) = (run * n_niches, 2 * n_niches);
        let current = launcher.download_part(&self.current, first, n_niches)?;
        let hashes = launcher.download_part(&self.content_hashes, 2 * first, slots)?;
        let born = launcher.download_part(&self.born, 4 * first, 2 * slots)?;
        let holder = |(niche, &current): (usize, &u32)| {
            let within = 2 * niche + current as usize;
            let born = (born[2 * within], born[2 * within + 1]);
            Holder { slot: 2 * first + within, born, content_hash: hashes[within] }
        };
        Ok(current.iter().enumerate().map(holder).collect())
    }

    /// The elites of `job` that `holders`, of ascending niches, are: all slots from the first to the last come over, in one copy a buffer.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver).
    pub fn get(&self, reader: Reader, job: &Job, holders: &[Holder]) -> Result<Vec<Elite>> {
        let slots: Vec<usize> = holders.iter().map(|holder| holder.slot).collect();
        let probabilities = reader.slots(&self.probabilities, job.network.classes.len(), &slots)?;
        let images = reader.slots(&self.images, job.canvas.len(), &slots)?;
        let genomes = self.genomes.get(reader, &slots)?;
        let parts = holders.iter().zip(probabilities).zip(images).zip(genomes);
        let elite = |(((holder, probabilities), image), genome): (((&Holder, _), _), _)| {
            let Holder { born, content_hash, .. } = *holder;
            Elite { probabilities, image, genome, born, content_hash }
        };
        Ok(parts.map(elite).collect())
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
