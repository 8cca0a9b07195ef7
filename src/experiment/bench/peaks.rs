//! What the machine can do at most, measured in the same run as what we do: fused multiply-adds with each instruction set,
//! and bytes read and copied. All threads of the current pool work at once.

use super::measure::Timer;
use crate::error::Error;
use crate::simd::{Lanes, Simd, Vectorised};
use crate::telemetry;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Instant;

/// A limit of the machine.
pub struct Peak {
    pub name: String,
    /// `GFLOP/s` or `GB/s`.
    pub unit: &'static str,
    /// 10^9 floating-point operations or bytes of one call of `timer`.
    pub giga: f64,
    /// What was predicted, in the unit.
    pub predicted: Option<f64>,
    pub timer: Timer,
}

/// Chains of dependent multiply-adds: eight hide a latency of four cycles at two a cycle, and twelve with their two
/// operands still fit the sixteen registers of AVX2.
const CHAINS: usize = 12;
/// Links of a chain in a call.
const LINKS: usize = 20_000;

/// Bytes that the smaller copies move, read and written together, all threads together.
const COPIES: [(&str, u64); 3] = [("copy-64KiB", 64 << 10), ("copy-1MiB", 1 << 20), ("copy-16MiB", 16 << 20)];
/// Name of the copy that no cache holds.
const COPY_MEMORY: &str = "copy-memory";

/// The peak that multiply-adds with `simd` cannot pass.
pub fn fma_name(simd: Simd) -> String {
    format!("fma-{simd}")
}

/// The peak that work on `bytes` bytes, read and written, cannot pass: the largest copy that is not larger, so that a cache
/// which holds those bytes holds the copy's.
pub fn copy_name(bytes: f64) -> &'static str {
    let fits = |&&(_, size): &&(&str, u64)| size as f64 <= bytes;
    if bytes >= memory_bytes() as f64 {
        return COPY_MEMORY;
    }
    COPIES.iter().rev().find(fits).map_or(COPIES[0].0, |(name, _)| name)
}

/// Bytes of the copy that no cache holds: four times the last-level cache, at least 512 MiB, but not more than a quarter of
/// the machine's memory.
fn memory_bytes() -> u64 {
    let wanted = (512 << 20).max(4 * telemetry::last_level_cache().unwrap_or(0));
    telemetry::physical_memory().map_or(wanted, |memory| wanted.min(memory / 4))
}

/// All of them.
pub fn peaks() -> Vec<Peak> {
    let mut peaks: Vec<Peak> = Simd::available().into_iter().map(fma).collect();
    peaks.extend(COPIES.iter().map(|&(name, bytes)| copy(name, &Rc::new(Parts::new(bytes)))));
    let memory = Rc::new(Parts::new(memory_bytes()));
    peaks.push(copy(COPY_MEMORY, &memory));
    peaks.push(read("read-memory", memory));
    peaks
}

fn fma(simd: Simd) -> Peak {
    let operations = 2 * rayon::current_num_threads() * LINKS * CHAINS * simd.width();
    let timer = move |repeats| {
        let began = Instant::now();
        let sums = rayon::broadcast(|_| simd.run(Fma { links: LINKS * repeats as usize }));
        let time = began.elapsed();
        // x = x/2 + 1 comes to rest at 2, from anywhere.
        match sums.iter().find(|&&sum| sum != (2 * CHAINS) as f32) {
            Some(sum) => Err(Error::Refused(format!("bench: multiply-adds with {simd} came to {sum}"))),
            None => Ok(time),
        }
    };
    Peak {
        name: fma_name(simd),
        unit: "GFLOP/s",
        giga: operations as f64 / 1e9,
        predicted: None,
        timer: Box::new(timer),
    }
}

struct Fma {
    links: usize,
}

impl Vectorised for Fma {
    /// The first lane of the sum of all chains.
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes>(self) -> f32 {
        let (half, one) = (L::splat(black_box(0.5)), L::splat(black_box(1.0)));
        let mut chains = [L::splat(0.0); CHAINS];
        for (i, chain) in chains.iter_mut().enumerate() {
            *chain = L::splat(black_box(i as f32)); // equal chains could become one
        }
        for _ in 0..self.links {
            for chain in &mut chains {
                *chain = chain.mul_add(half, one);
            }
        }
        let mut lanes = [0.0; crate::simd::MAX_LANES];
        chains.into_iter().fold(L::splat(0.0), L::add).store(&mut lanes);
        lanes[0]
    }
}

/// Memory to move, a part a thread.
struct Parts {
    parts: Vec<Mutex<Part>>,
    /// Of the sources and targets together.
    bytes: usize,
}

struct Part {
    source: Vec<f32>,
    target: Vec<f32>,
}

impl Parts {
    /// About `bytes` bytes. Each thread touches its part first, so that it lies near it.
    fn new(bytes: u64) -> Parts {
        let len = bytes as usize / (2 * size_of::<f32>() * rayon::current_num_threads());
        let len = len.next_multiple_of(Read::STRIDE);
        let parts = rayon::broadcast(|_| Mutex::new(Part { source: vec![1.0; len], target: vec![0.5; len] }));
        Parts { bytes: 2 * size_of::<f32>() * len * parts.len(), parts }
    }

    /// Calls `move_part` `repeats` times on each thread's part.
    fn time(&self, repeats: u32, move_part: impl Fn(&mut Part) + Sync) -> std::time::Duration {
        let began = Instant::now();
        rayon::broadcast(|thread| {
            let mut part = self.parts[thread.index()].lock().expect("no panic while held");
            for _ in 0..repeats {
                move_part(black_box(&mut part));
            }
        });
        began.elapsed()
    }
}

fn copy(name: &str, parts: &Rc<Parts>) -> Peak {
    let parts = Rc::clone(parts);
    let giga = parts.bytes as f64 / 1e9;
    let timer = move |repeats| Ok(parts.time(repeats, |part| part.target.copy_from_slice(&part.source)));
    Peak { name: name.to_string(), unit: "GB/s", giga, predicted: None, timer: Box::new(timer) }
}

/// Reads the sources alone.
fn read(name: &str, parts: Rc<Parts>) -> Peak {
    let giga = (parts.bytes / 2) as f64 / 1e9;
    let simd = Simd::detect();
    let timer = move |repeats| {
        Ok(parts.time(repeats, |part| {
            black_box(simd.run(Read { values: &part.source }));
        }))
    };
    Peak { name: name.to_string(), unit: "GB/s", giga, predicted: None, timer: Box::new(timer) }
}

struct Read<'a> {
    values: &'a [f32],
}

impl Read<'_> {
    /// Vectors read at once, into sums of their own.
    const VECTORS: usize = 8;
    /// What lengths must be multiples of.
    const STRIDE: usize = Read::VECTORS * crate::simd::MAX_LANES;
}

impl Vectorised for Read<'_> {
    /// The first lane of the sum of all.
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes>(self) -> f32 {
        let mut sums = [L::splat(0.0); Read::VECTORS];
        for values in self.values.chunks_exact(Read::VECTORS * L::N) {
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = sum.add(L::load(&values[v * L::N..]));
            }
        }
        let mut lanes = [0.0; crate::simd::MAX_LANES];
        sums.into_iter().fold(L::splat(0.0), L::add).store(&mut lanes);
        lanes[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_held_against_the_largest_copy_that_is_not_larger() {
        let names = [1.0, 65_535.0, 65_536.0, 1e6, 2e6, 1.7e7, 1e13].map(copy_name);
        let [small, large] = ["copy-64KiB", "copy-memory"];
        assert_eq!(names, [small, small, small, small, "copy-1MiB", "copy-16MiB", large]);
    }

    #[test]
    fn every_instruction_set_has_a_peak_that_ends_where_it_must() {
        for mut peak in Simd::available().into_iter().map(fma) {
            assert!(!(peak.timer)(1).unwrap().is_zero(), "{}", peak.name);
        }
    }
}
