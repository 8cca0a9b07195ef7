//! The compiled CUDA kernels, if build.rs found a compiler for them, and what each takes of a multiprocessor.

use crate::tuning::WARP_SIZE;
use serde::{Deserialize, Serialize};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// The fatbin; none if this program was built without a CUDA compiler.
pub const FATBIN: Option<&[u8]> = PARTS.0;

/// What the kernels were compiled by and for, or why there are none and how to get them: a line.
pub const BUILT: &str = env!("PAREIDOLIA_KERNELS");

/// The oldest driver that takes the fatbin, as `cuDriverGetVersion` says it.
pub const DRIVER_VERSION: i32 = DRIVER.0;

/// Its release, as people know it.
pub const DRIVER_RELEASE: &str = DRIVER.1;

/// Fatbin and report.
type Parts = (Option<&'static [u8]>, Option<&'static str>);

/// Bytes where a driver may read words.
#[allow(dead_code, reason = "a build without kernels has none to align")]
#[repr(C, align(16))]
struct Aligned<T: ?Sized>(T);

/// What the compiler said of the kernels that are built in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Version of nvcc.
    pub nvcc: String,
    /// Machine code (`sm_90a`) and PTX (`compute_80`) in the fatbin.
    pub architectures: Vec<String>,
    /// Sorted by name, then architecture. There are none for PTX.
    pub kernels: Vec<Resources>,
}

/// A kernel on an architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    pub kernel: String,
    pub architecture: String,
    /// Of each thread.
    pub registers: u32,
    pub spill_store_bytes: u32,
    pub spill_load_bytes: u32,
    /// Of each thread.
    pub stack_bytes: u32,
    /// Of each block; without what a launch adds.
    pub shared_bytes: u32,
    pub constant_bytes: u32,
    /// Threads of a block at most, where the kernel bounds them.
    pub max_threads: Option<u32>,
}

/// What one multiprocessor of an architecture has (CUDA C++ Programming Guide, technical specifications per compute capability).
struct Multiprocessor {
    threads: u32,
    blocks: u32,
    shared_bytes: u32,
}

/// All architectures since compute capability 5.0 give a multiprocessor as many.
const REGISTERS: u32 = 65536;
/// Registers are given to a warp in steps.
const REGISTER_STEP: u32 = 256;
/// Of each block, for the system.
const RESERVED_SHARED_BYTES: u32 = 1024;
const SHARED_STEP: u32 = 128;

impl Multiprocessor {
    fn of(architecture: &str) -> Option<Multiprocessor> {
        let (threads, blocks, kib) = match architecture.trim_start_matches("sm_").trim_end_matches(['a', 'f']) {
            "80" => (2048, 32, 164),
            "86" => (1536, 16, 100),
            "89" => (1536, 24, 100),
            "90" | "100" => (2048, 32, 228),
            _ => return None,
        };
        Some(Multiprocessor { threads, blocks, shared_bytes: kib * 1024 })
    }
}

impl Resources {
    /// Blocks of as many threads as the kernel allows that a multiprocessor holds at once, and the share of its threads that they
    /// are. An upper bound where a launch adds shared memory. `None` for a kernel without a bound, or an unknown architecture.
    pub fn occupancy(&self) -> Option<(u32, f64)> {
        let (has, threads) =
            (Multiprocessor::of(&self.architecture)?, self.max_threads.filter(|&threads| threads > 0)?);
        let warps = threads.div_ceil(WARP_SIZE);
        let by_registers = REGISTERS / (self.registers * WARP_SIZE).next_multiple_of(REGISTER_STEP).max(1) / warps;
        let shared = self.shared_bytes.next_multiple_of(SHARED_STEP) + RESERVED_SHARED_BYTES;
        let blocks = has.blocks.min(has.threads / (warps * WARP_SIZE)).min(by_registers).min(has.shared_bytes / shared);
        Some((blocks, f64::from(blocks * warps * WARP_SIZE) / f64::from(has.threads)))
    }
}

/// The report on the kernels that are built in, if there are any; [`BUILT`] says why not.
pub fn report() -> Option<Report> {
    PARTS.1.map(|json| serde_json::from_str(json).expect("build.rs writes what is read here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(registers: u32, shared_bytes: u32, max_threads: u32) -> Resources {
        Resources {
            kernel: "trial".into(),
            architecture: "sm_90a".into(),
            registers,
            spill_store_bytes: 0,
            spill_load_bytes: 0,
            stack_bytes: 0,
            shared_bytes,
            constant_bytes: 0,
            max_threads: Some(max_threads),
        }
    }

    #[test]
    fn occupancy_is_bound_by_what_runs_out_first() {
        assert_eq!(resources(32, 0, 256).occupancy(), Some((8, 1.0))); // threads
        assert_eq!(resources(16, 0, 32).occupancy(), Some((32, 0.5))); // blocks
        assert_eq!(resources(40, 0, 1024).occupancy(), Some((1, 0.5))); // registers: 51 warps
        assert_eq!(resources(33, 0, 128).occupancy(), Some((12, 0.75))); // 40 registers, after rounding
        assert_eq!(resources(32, 47 * 1024, 128).occupancy(), Some((4, 0.25))); // 228 KiB in pieces of 48
        assert_eq!(Resources { max_threads: None, ..resources(32, 0, 1) }.occupancy(), None);
        assert_eq!(Resources { architecture: "sm_75".into(), ..resources(32, 0, 1) }.occupancy(), None);
    }

    #[test]
    fn what_is_built_in_agrees_with_its_report() {
        assert_eq!(FATBIN.is_some(), report().is_some(), "{BUILT}");
        let (Some(fatbin), Some(report)) = (FATBIN, report()) else { return };
        assert_eq!(fatbin[..4], 0xba55_ed50_u32.to_le_bytes()); // the magic number of a fatbin
        assert_eq!(fatbin.as_ptr() as usize % 16, 0);
        let machine_code = report.architectures.iter().filter(|name| name.starts_with("sm_")).count();
        assert!(!report.kernels.is_empty() && report.kernels.len().is_multiple_of(machine_code.max(1)));
    }
}
