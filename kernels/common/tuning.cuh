// tuning.cuh: the constants of launch shapes, each in one place. build.rs makes crate::tuning from this file: a line
// `constexpr int NAME = VALUE;` becomes `pub const NAME: u32 = VALUE;`.
#pragma once

