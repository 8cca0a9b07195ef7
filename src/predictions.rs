//! What the kernels were predicted to do, as build.rs reads it from the `Predicted` lines of their headers.

/// What a kernel was predicted to do at a size, before it was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The kernel's name, or without the type at its end.
    pub kernel: &'static str,
    /// Of `unit`.
    pub rate: f64,
    /// Such as `genomes/s`.
    pub unit: &'static str,
    /// Genomes of a launch; of kernels/peak/, what their headers say.
    pub size: u64,
    /// For which GPU.
    pub device: &'static str,
    pub reason: &'static str,
}

/// All of them, by files.
pub const PREDICTIONS: &[Prediction] = include!(concat!(env!("OUT_DIR"), "/predictions.rs"));

/// What `kernel`, by its name in kernels/ or without the type at its end, was predicted to do with `size` genomes.
pub fn of(kernel: &str, size: u64) -> Option<&'static Prediction> {
    let found = |prediction: &&Prediction| {
        prediction.size == size
            && kernel.strip_prefix(prediction.kernel).is_some_and(|rest| rest.is_empty() || is_type(rest))
    };
    PREDICTIONS.iter().find(found)
}

/// Whether this is what stands at the end of a kernel's name, such as `_f32`.
fn is_type(rest: &str) -> bool {
    let bits = rest.strip_prefix("_f").or(rest.strip_prefix("_u"));
    bits.is_some_and(|bits| !bits.is_empty() && bits.chars().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prediction_is_found_by_the_whole_name_and_at_its_size() {
        let all = of("lenet_features_f32", 65_536).unwrap();
        assert_eq!((all.kernel, all.unit, all.device), ("lenet_features", "genomes/s", "H100"));
        let few = of("lenet_features_few_f32", 200).unwrap();
        assert_eq!((few.kernel, few.rate), ("lenet_features_few_f32", 7.4e6));
        assert_eq!(of("lenet_features_few_f32", 65_536), None);
        assert_eq!(of("lenet_features", 65_536), Some(all));
    }
}
