//! What the buffers of a run on a GPU come to. Whoever adds a buffer adds it here: tests/cuda/memory.rs compares the sum with what
//! is allocated, to the byte.

use super::classifier::Classifier;
use super::compile_cppn::CppnPrograms;
use super::elites::Elites;
use super::genomes::Genomes;
use super::insertions::Insertions;
use super::params::{Counters, CppnRules, Pair, RunState};
use super::render_cppn::planes_bytes;
use crate::backend::Job;
use crate::backend::memory::{Memory, Owner, Part};
use crate::genome::Encoding;

/// The memory of `job` on the device.
pub fn memory(job: &Job) -> Memory {
    let (runs, n_niches, n_classes) = (job.seeds.len() as u64, job.classes.len() as u64, job.network.classes.len());
    let state = size_of::<RunState>() + size_of::<u32>() + size_of::<Counters>();
    let mut parts = vec![
        Part::per_candidate("genomes", Genomes::slot_bytes(job) as u64),
        Part::per_candidate("images", job.canvas.len() as u64),
        Part::per_candidate("probabilities", (n_classes * size_of::<f32>()) as u64),
        Part::per_candidate("pairs", size_of::<Pair>() as u64 / 2),
        Part::fixed("archive and winners of a generation", runs * n_niches * Elites::niche_bytes(job) as u64),
        Part::fixed("states, counters and classes", runs * state as u64 + n_niches * size_of::<u32>() as u64),
    ];
    if job.lineage {
        parts.push(Part::fixed("lineage, until the host has it", runs * Insertions::run_bytes(job) as u64));
    }
    parts.extend(Classifier::memory(&job.network, job.candidates() as usize));
    if let Encoding::Cppn(rules) = &job.encoding {
        let programs = CppnPrograms::slot_bytes(&CppnRules::new(rules, job.canvas.channels));
        parts.push(Part::per_candidate("programs", programs as u64));
        parts.push(Part::fixed("input planes", planes_bytes(job.canvas) as u64));
    }
    Memory { owner: Owner::Gpu, parts }
}
