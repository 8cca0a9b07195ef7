//! The elementary functions and the random numbers: one arithmetic on both sides.
//!
//! Each function is tried at every edge, in dense sweeps round them and at 2^20 bit patterns all over; at all 2^32 by
//!
//!     PAREIDOLIA_EXHAUSTIVE=1 cargo test --release --test cuda elementary

use crate::harness::passes;
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::elementary::{FUNCTIONS, compare, elementary};
use std::f32::consts::{LN_2, LOG2_E};

#[test]
fn elementary_functions_have_the_bits_of_the_host() {
    passes(|gpu, tally| elementary(gpu, Extent::Full, tally));
}

#[test]
fn elementary_functions_have_the_bits_of_the_host_at_all_inputs() {
    if std::env::var_os("PAREIDOLIA_EXHAUSTIVE").is_none_or(|v| v != "1") {
        eprintln!("left out: PAREIDOLIA_EXHAUSTIVE=1 tries all 2^32 inputs");
        return;
    }
    const PART: u64 = 1 << 24;
    for start in (0..1u64 << 32).step_by(PART as usize) {
        let x: Vec<f32> = (start..start + PART).map(|bits| f32::from_bits(bits as u32)).collect();
        passes(|gpu, tally| FUNCTIONS.into_iter().try_for_each(|function| compare(gpu, tally, function, &x)));
    }
}

const MATH_RS: &str = include_str!("../../src/math.rs");
const MATH_CUH: &str = include_str!("../../kernels/common/math.cuh");
const RNG_RS: &str = include_str!("../../src/rng.rs");
const RNG_CUH: &str = include_str!("../../kernels/common/rng.cuh");

/// What stands between `before` and `after` in `line`.
fn between<'a>(line: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(line.split_once(before)?.1.split_once(after)?.0)
}

/// The numbers of the table that `start` begins the definition of, as bits.
fn table(source: &str, start: &str, open: &str, close: &str) -> Vec<u32> {
    let definition = source.split_once(start).unwrap_or_else(|| panic!("{start:?} is not there")).1;
    let values = between(definition.split_once('=').unwrap().1, open, close).unwrap();
    let bits = |value: &str| match value {
        "LN_2" => LN_2.to_bits(),
        "LOG2_E" => LOG2_E.to_bits(),
        hex if hex.starts_with("0x") => u32::from_str_radix(&hex[2..].replace('_', ""), 16).unwrap(),
        number => number.trim_end_matches('f').parse::<f32>().unwrap().to_bits(),
    };
    values.split(',').map(|value| bits(value.trim())).collect()
}

#[test]
fn elementary_tables_are_the_same_on_both_sides() {
    for (name, len) in [("SIN", 4), ("EXP", 5), ("EXP2", 6), ("LOG2", 9), ("INVERSE", 7)] {
        let host = table(MATH_RS, &format!("const {name}: "), "[", "]");
        assert_eq!(host.len(), len, "{name}");
        assert_eq!(host, table(MATH_CUH, &format!(" {name}[{len}] "), "{", "}"), "{name}");
    }
}

#[test]
fn purposes_are_the_same_on_both_sides() {
    let purposes = |source: &str, keyword: &str| -> Vec<(String, u32)> {
        let body = between(source, keyword, "}").unwrap();
        let entries = body.lines().map(str::trim).filter(|line| !line.starts_with("//")).filter_map(|line| {
            let (name, value) = line.split_once(" = ")?;
            Some((name.to_string(), value.trim_end_matches(',').parse().unwrap()))
        });
        entries.collect()
    };
    let host = purposes(RNG_RS, "pub enum Purpose {");
    assert_eq!(host.len(), 20);
    assert_eq!(host, purposes(RNG_CUH, "enum class Purpose : uint32_t {"));
}
