//! The kernels that measure what a device can do: what they give is what they must.

use crate::harness;
use pareidolia::backend::cuda::peak::PEAK_FMA_REST;
use pareidolia::tuning;

#[test]
fn chains_of_multiply_adds_come_to_rest_in_every_thread_and_nothing_else_is_written() {
    let Some(launcher) = harness::launcher() else { return };
    for (blocks, links) in [(1, 64), (3, 80), (1, 1024)] {
        let n = (blocks * tuning::PEAK_FMA_THREADS) as usize;
        let mut rests = launcher.upload(&vec![harness::GUARD_F32; n + harness::GUARDS]).unwrap();
        launcher.peak_fma(&mut rests, links).unwrap();
        let got = harness::unguarded(launcher.download(&rests).unwrap(), n, harness::GUARD_F32);
        harness::assert_bits(&vec![PEAK_FMA_REST; n], &got, &format!("{blocks} blocks of {links} links"));
    }
}

/// Numbers of words round a turn of one block's loop and of two, and fewer.
const LENGTHS: [usize; 8] = [4, 1020, 1024, 4092, 4096, 4100, 12_288, 20_000];

fn words(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| i.wrapping_mul(0x9e37_79b1) ^ 0x8000_0000).collect()
}

#[test]
fn read_adds_up_every_word_once() {
    let Some(launcher) = harness::launcher() else { return };
    for n in LENGTHS {
        let words = words(n);
        let want: u64 = words.iter().map(|&word| u64::from(word)).sum();
        let on_device = launcher.upload(&words).unwrap();
        for blocks in [1, 2, 5] {
            let mut sums = launcher.upload(&vec![u64::MAX; blocks + harness::GUARDS]).unwrap();
            launcher.peak_read(&mut sums, &on_device, blocks as u32).unwrap();
            let sums = harness::unguarded(launcher.download(&sums).unwrap(), blocks, u64::MAX);
            assert_eq!(sums.iter().sum::<u64>(), want, "{n} words, {blocks} blocks");
        }
    }
}

#[test]
fn copy_copies_every_word_and_no_more() {
    let Some(launcher) = harness::launcher() else { return };
    for n in LENGTHS {
        let words = words(n);
        let source = launcher.upload(&words).unwrap();
        for blocks in [1, 2, 5] {
            let mut target = launcher.upload(&vec![77_u32; n + harness::GUARDS]).unwrap();
            launcher.peak_copy(&mut target, &source, blocks).unwrap();
            let got = harness::unguarded(launcher.download(&target).unwrap(), n, 77);
            assert!(got == words, "{n} words, {blocks} blocks");
        }
    }
    assert_eq!(launcher.peak_blocks(0).unwrap(), 1);
    let most = 8 * launcher.multiprocessors().unwrap();
    assert_eq!(launcher.peak_blocks(1 << 40).unwrap(), most);
}

#[test]
fn buffers_that_are_too_short_are_refused() {
    let Some(launcher) = harness::launcher() else { return };
    let source = launcher.upload(&words(8)).unwrap();
    assert!(launcher.peak_copy(&mut launcher.zeros(4).unwrap(), &source, 1).is_err());
    assert!(launcher.peak_read(&mut launcher.zeros(1).unwrap(), &source, 2).is_err());
}
