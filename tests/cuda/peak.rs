//! The kernels that measure what a device can do: what they give is what they must.

use crate::harness::{self, passes};
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::peak::{self, words};

#[test]
fn chains_of_multiply_adds_come_to_rest_in_every_thread_and_nothing_else_is_written() {
    passes(|gpu, tally| peak::fma(gpu, Extent::Full, tally));
}

#[test]
fn read_adds_up_every_word_once() {
    passes(|gpu, tally| peak::read(gpu, Extent::Full, tally));
}

#[test]
fn copy_copies_every_word_and_no_more() {
    passes(|gpu, tally| peak::copy(gpu, Extent::Full, tally));
}

#[test]
fn blocks_are_as_many_as_fill_the_device_and_fewer_where_there_is_less_to_do() {
    let Some(launcher) = harness::launcher() else { return };
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
