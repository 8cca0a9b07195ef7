use super::abi::Thread;
use super::block::{Finding, Launch};
use std::ffi::{c_int, c_void};
pub unsafe extern "C" fn access(_: *const c_void, _: usize, _: c_int, _: *const c_void) {}
pub fn begin(_: &Launch) {}
pub fn end() {}
pub fn begin_block() {}
pub fn turn(_: &Thread, _: u32) {}
pub fn barrier() {}
pub fn warp_barrier(_: usize) {}
pub fn take_findings() -> Vec<Finding> {
    Vec::new()
}
pub fn arena() -> Option<std::ops::Range<usize>> {
    let size = 1usize << 39;
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if base == libc::MAP_FAILED { None } else { Some(base as usize..base as usize + size) }
}
pub fn allocated(_: usize, _: usize) {}
pub fn freed(_: usize, _: usize) {}
pub fn written(_: usize, _: usize) {}
pub fn copied(_: usize, _: usize, _: usize) {}
