//! What the cases of a check come to: how much was compared, and the first difference in bits.

use cudarc::driver::DeviceRepr;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Debug, Display, Write};

/// Counts of one check.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub cases: u64,
    /// Values compared.
    pub elements: u64,
    /// The largest batch, or what stands for one, of a case.
    pub largest_batch: u64,
    /// What the launches took by the device's clock; of a CPU by the host's.
    pub seconds: f64,
    /// Values of other bits than wanted.
    pub differing: u64,
    pub first: Option<Difference>,
    case: String,
}

/// A value that is not as wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub case: String,
    /// Which of the case's values.
    pub what: String,
    /// Its index among them.
    pub element: u64,
    /// The value, and its bits.
    pub want: String,
    pub got: String,
}

impl Tally {
    /// Begins a case, of a batch of `batch`.
    pub fn case(&mut self, batch: usize, case: impl Display) {
        self.cases += 1;
        self.largest_batch = self.largest_batch.max(batch as u64);
        self.case.clear();
        _ = write!(self.case, "{case}"); // a String takes everything
    }

    /// Whether `got` has the bits of `want`.
    pub fn same<T: DeviceRepr + Debug>(&mut self, what: &str, want: &[T], got: &[T]) -> bool {
        self.elements += want.len() as u64;
        if bytes(want) == bytes(got) {
            return true;
        }
        if want.len() != got.len() {
            self.differ(what, want.len().min(got.len()), format!("{} values", want.len()), got.len().to_string());
            return false;
        }
        for (at, (want, got)) in want.iter().zip(got).enumerate() {
            if bytes(std::slice::from_ref(want)) != bytes(std::slice::from_ref(got)) {
                self.differing += 1;
                if self.first.is_none() {
                    self.first = Some(self.difference(what, at, text(want), text(got)));
                }
            }
        }
        false
    }

    /// Whether `values`, which nothing was to write, are `guard` still.
    pub fn untouched<T: DeviceRepr + Debug>(&mut self, what: &str, guard: &T, values: &[T]) -> bool {
        let touched = |value: &&T| bytes(std::slice::from_ref(*value)) != bytes(std::slice::from_ref(guard));
        let n_touched = values.iter().filter(touched).count();
        if let Some(at) = values.iter().position(|value| touched(&value)) {
            self.differ(what, at, format!("as it was, {}", text(guard)), text(&values[at]));
            self.differing += n_touched as u64 - 1;
        }
        n_touched == 0
    }

    /// Notes a difference that is seen as `want` and `got`.
    pub fn differ(&mut self, what: &str, element: usize, want: String, got: String) {
        self.differing += 1;
        if self.first.is_none() {
            self.first = Some(self.difference(what, element, want, got));
        }
    }

    fn difference(&self, what: &str, element: usize, want: String, got: String) -> Difference {
        Difference { case: self.case.clone(), what: what.to_string(), element: element as u64, want, got }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { case, what, element, want, got } = self;
        write!(f, "{case}: {what}, element {element}: want {want}, got {got}")
    }
}

/// The bytes of values that cross to the device.
fn bytes<T: DeviceRepr>(values: &[T]) -> &[u8] {
    // SAFETY: what crosses to the device is a number, or a struct of numbers without padding (params.rs): each byte is there.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// A value and its bits.
fn text<T: DeviceRepr + Debug>(value: &T) -> String {
    let words: Vec<String> = bytes(std::slice::from_ref(value))
        .chunks(align_of::<T>().max(4))
        .map(|word| word.iter().rev().fold("0x".to_string(), |text, byte| text + &format!("{byte:02x}")))
        .collect();
    format!("{value:?} ({})", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_difference_has_case_element_and_bits() {
        let mut tally = Tally::default();
        tally.case(3, "a case");
        assert!(tally.same("numbers", &[0.5_f32, f32::NAN], &[0.5, f32::NAN]));
        assert!(!tally.same("numbers", &[0.0_f32, 1.0, 2.0], &[-0.0, 1.0, 3.0]));
        assert!(!tally.same("bytes", &[1_u8], &[2]));
        assert!(!tally.same("lengths", &[1_u8, 2], &[1]));
        assert!(tally.untouched("guards", &7_u32, &[7, 7]) && !tally.untouched("guards", &7_u32, &[7, 8, 9]));
        assert_eq!((tally.cases, tally.largest_batch, tally.differing), (1, 3, 2 + 1 + 1 + 2));
        let first = tally.first.unwrap().to_string();
        assert_eq!(first, "a case: numbers, element 0: want 0.0 (0x00000000), got -0.0 (0x80000000)");
    }
}
