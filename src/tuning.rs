//! The constants of launch shapes, as build.rs reads them from kernels/common/tuning.cuh.

include!(concat!(env!("OUT_DIR"), "/tuning.rs"));
