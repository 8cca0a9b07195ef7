//! The kernels that measure what a device can do: what they give is what they must.

use super::cases::{Extent, product};
use super::gpu::{GUARD_F32, Gpu};
use super::tally::Tally;
use crate::backend::cuda::peak::PEAK_FMA_REST;
use crate::error::Result;
use crate::tuning::PEAK_FMA_THREADS;

/// Chains of multiply-adds that come to rest, in every thread of a block and of several.
///
/// # Errors
/// The driver's.
pub fn fma(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    for (blocks, links) in extent.of(vec![(1, 1024), (1, 64), (3, 80)], 1, usize::MAX) {
        let n = (blocks * PEAK_FMA_THREADS) as usize;
        tally.case(n, format_args!("{blocks} blocks, {links} links"));
        let mut rests = gpu.guarded(n, GUARD_F32)?;
        gpu.timed(tally, |launcher| launcher.peak_fma(&mut rests, links))?;
        let got = gpu.read(tally, "the rests", &rests, n, GUARD_F32)?;
        tally.same("the rests", &vec![PEAK_FMA_REST; n], &got);
    }
    Ok(())
}

/// Numbers of words round a turn of one block's loop and of two, and fewer; with numbers of blocks.
fn cases(extent: Extent) -> Vec<(usize, u32)> {
    extent.of(product(&[4, 1020, 1024, 4092, 4096, 4100, 12_288, 20_000], &[1, 2, 5]), 4, usize::MAX)
}

/// `n` words, half of them above 2^31.
pub fn words(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| i.wrapping_mul(0x9e37_79b1) ^ 0x8000_0000).collect()
}

/// Adds up every word once.
///
/// # Errors
/// The driver's.
pub fn read(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    for (n, blocks) in cases(extent) {
        tally.case(n, format_args!("{n} words, {blocks} blocks"));
        let words = words(n);
        let want: u64 = words.iter().map(|&word| u64::from(word)).sum();
        let on_device = gpu.upload(&words)?;
        let mut sums = gpu.guarded(blocks as usize, u64::MAX)?;
        gpu.timed(tally, |launcher| launcher.peak_read(&mut sums, &on_device, blocks))?;
        let sums = gpu.read(tally, "the sums", &sums, blocks as usize, u64::MAX)?;
        // Which words a block reads is the kernel's own affair.
        let got = sums.iter().fold(0, |sum: u64, &of_block| sum.wrapping_add(of_block));
        tally.same("the sum of all blocks", &[want], &[got]);
    }
    Ok(())
}

/// Copies every word, and no more.
///
/// # Errors
/// The driver's.
pub fn copy(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    const GUARD: u32 = 77;
    for (n, blocks) in cases(extent) {
        tally.case(n, format_args!("{n} words, {blocks} blocks"));
        let words = words(n);
        let source = gpu.upload(&words)?;
        let mut target = gpu.guarded(n, GUARD)?;
        gpu.timed(tally, |launcher| launcher.peak_copy(&mut target, &source, blocks))?;
        let got = gpu.read(tally, "the words", &target, n, GUARD)?;
        tally.same("the words", &words, &got);
    }
    Ok(())
}
