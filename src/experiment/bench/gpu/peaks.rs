//! What the GPU can do at most, measured in the same run by kernels of our own (kernels/peak/): fused multiply-adds, bytes read
//! and copied. What each gives is checked.

use crate::backend::cuda::Launcher;
use crate::backend::cuda::peak::PEAK_FMA_REST;
use crate::error::{Error, Result};
use crate::experiment::bench::peaks::Peak;
use crate::experiment::bench::work::Work;
use crate::predictions;
use crate::tuning;
use cudarc::driver::CudaSlice;
use std::sync::Arc;
use std::time::Instant;

/// Peaks that there are.
pub const COUNT: usize = 5;

const FMA: &str = "fma";
/// Bytes that the smaller copies move, read and written together. The first is little more than a launch; the second stays in the
/// second-level cache.
const COPIES: [(&str, u64); 2] = [("copy-1MiB", 1 << 20), ("copy-16MiB", 16 << 20)];
const COPY_MEMORY: &str = "copy-memory";
const READ_MEMORY: &str = "read-memory";

/// Bytes from which on work is held against the copy that no cache holds: what fits into a cache of 50 MiB beside other things does
/// not count.
const LARGE: f64 = (64 << 20) as f64;

/// The name of the peak that binds `work` with `items` genomes a call: of bytes, the largest copy that is not larger.
pub fn limit(work: Work, items: u32) -> String {
    match work {
        Work::Operations(_) => FMA,
        Work::Bytes(bytes) => {
            let bytes = bytes * f64::from(items);
            let fits = |&&(_, size): &&(&str, u64)| size as f64 <= bytes;
            let copy = COPIES.iter().rev().find(fits).map_or(COPIES[0].0, |(name, _)| name);
            if bytes >= LARGE { COPY_MEMORY } else { copy }
        }
    }
    .to_string()
}

/// How much work a call has.
pub struct Sizes {
    /// Blocks of the multiply-adds, and links of each chain.
    blocks: u32,
    links: u32,
    /// Bytes that the copy which no cache holds moves.
    memory: u64,
    /// Calls recorded in one graph, so that the host's launches do not hold up the small ones.
    repeats: u32,
}

impl Sizes {
    /// What fills a GPU: all its threads, and a GiB or eight times the cache, but not more than a quarter of its memory. An emulated
    /// one is filled by little.
    pub fn of(multiprocessors: u32, l2_bytes: u64, memory_bytes: u64, emulated: bool) -> Sizes {
        if emulated {
            return Sizes { blocks: 2, links: 64, memory: 2 << 20, repeats: 2 };
        }
        let memory = (1 << 30).max(8 * l2_bytes).min(memory_bytes / 4);
        // All 2048 threads of each multiprocessor; a call of some 0.3 ms.
        Sizes { blocks: multiprocessors * 2048 / tuning::PEAK_FMA_THREADS, links: 4096, memory, repeats: 16 }
    }
}

/// All of them, of the device of `launcher`.
///
/// # Errors
/// [`Error::Driver`] if there is no room; [`Error::Refused`] if a kernel gives something else than it must.
pub fn peaks(launcher: &Arc<Launcher>, sizes: &Sizes) -> Result<Vec<Peak>> {
    let mut peaks = vec![fma(launcher, sizes)?];
    for (name, bytes) in COPIES {
        let words = Words::new(launcher, (bytes / 2).min(sizes.memory / 2))?;
        peaks.push(copy(name, words, sizes.repeats)?);
    }
    peaks.push(copy(COPY_MEMORY, Words::new(launcher, sizes.memory / 2)?, 1)?);
    peaks.push(read(Words::new(launcher, sizes.memory)?)?);
    debug_assert_eq!(peaks.len(), COUNT);
    Ok(peaks)
}

fn fma(launcher: &Arc<Launcher>, sizes: &Sizes) -> Result<Peak> {
    let launcher = Arc::clone(launcher);
    let n_threads = sizes.blocks * tuning::PEAK_FMA_THREADS;
    let links = sizes.links;
    let operations = 2.0 * f64::from(n_threads) * f64::from(links) * f64::from(tuning::PEAK_FMA_CHAINS);
    let mut rests = launcher.zeros::<f32>(n_threads as usize)?;
    let timer = move |repeats: u32| {
        launcher.synchronise()?;
        let began = Instant::now();
        (0..repeats).try_for_each(|_| launcher.peak_fma(&mut rests, links))?;
        launcher.synchronise()?;
        let time = began.elapsed();
        match launcher.download(&rests)?.iter().find(|&&rest| rest != PEAK_FMA_REST) {
            Some(rest) => Err(Error::Refused(format!(
                "bench: multiply-adds of the GPU came to {rest}, wanted {PEAK_FMA_REST}; no figure of it means anything"
            ))),
            None => Ok(time),
        }
    };
    let predicted = predictions::of("peak_fma", n_threads.into()).map(|prediction| 2.0 * prediction.rate / 1e9);
    Ok(Peak { name: FMA.into(), unit: "GFLOP/s", giga: operations / 1e9, predicted, timer: Box::new(timer) })
}

/// Numbers on the device whose sum is known.
struct Words {
    launcher: Arc<Launcher>,
    words: CudaSlice<u32>,
    /// On the host.
    values: Vec<u32>,
}

impl Words {
    /// `bytes` bytes, to whole quads; all different, so that a copy of the wrong ones shows.
    fn new(launcher: &Arc<Launcher>, bytes: u64) -> Result<Words> {
        let n = (bytes / 16 * 4) as u32;
        let values: Vec<u32> = (0..n).map(|i| i.wrapping_mul(0x9e37_79b1)).collect();
        Ok(Words { words: launcher.upload(&values)?, launcher: Arc::clone(launcher), values })
    }

    fn bytes(&self) -> u64 {
        4 * self.values.len() as u64
    }
}

fn copy(name: &str, source: Words, at_once: u32) -> Result<Peak> {
    let moved = 2 * source.bytes();
    let Words { launcher, words, values } = source;
    let blocks = launcher.peak_blocks(values.len() as u64)?;
    let mut target = launcher.zeros::<u32>(values.len())?;
    launcher.peak_copy(&mut target, &words, blocks)?;
    if launcher.download(&target)? != values {
        return Err(Error::Refused("bench: a copy of the GPU's memory differs from what was copied".into()));
    }
    drop(values);
    let timer = move |repeats: u32| {
        let graph = launcher.record("record a copy", || {
            (0..at_once).try_for_each(|_| launcher.peak_copy(&mut target, &words, blocks))
        })?;
        super::stage::time_graph(&launcher, &graph, at_once, repeats)
    };
    let giga = moved as f64 / 1e9;
    let predicted = predictions::of("peak_copy", moved).map(|prediction| prediction.rate / 1e9);
    Ok(Peak { name: name.into(), unit: "GB/s", giga, predicted, timer: Box::new(timer) })
}

fn read(words: Words) -> Result<Peak> {
    let bytes = words.bytes();
    let Words { launcher, words, values } = words;
    let want: u64 = values.iter().map(|&value| u64::from(value)).sum();
    let blocks = launcher.peak_blocks(values.len() as u64)?;
    let mut sums = launcher.zeros::<u64>(blocks as usize)?;
    drop(values);
    let timer = move |repeats: u32| {
        launcher.synchronise()?;
        let began = Instant::now();
        (0..repeats).try_for_each(|_| launcher.peak_read(&mut sums, &words, blocks))?;
        launcher.synchronise()?;
        let time = began.elapsed();
        let got: u64 = launcher.download(&sums)?.iter().sum();
        if got != want {
            return Err(Error::Refused(format!("bench: the GPU's memory adds up to {got}, wanted {want}")));
        }
        Ok(time)
    };
    let predicted = predictions::of("peak_read", bytes).map(|prediction| prediction.rate / 1e9);
    Ok(Peak { name: READ_MEMORY.into(), unit: "GB/s", giga: bytes as f64 / 1e9, predicted, timer: Box::new(timer) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_held_against_the_largest_copy_that_is_not_larger() {
        let names = [1.0, 1.1e6, 1.7e7, 6.6e7, 6.8e7].map(|bytes| limit(Work::Bytes(bytes / 2.0), 2));
        assert_eq!(names, ["copy-1MiB", "copy-1MiB", "copy-16MiB", "copy-16MiB", "copy-memory"]);
        assert_eq!(limit(Work::Operations(1.0), 1), "fma");
    }
}
