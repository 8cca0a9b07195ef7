//! What a run leaves behind: its folder, manifest, metrics, checkpoint, archive and pictures.

pub mod analyse;
pub mod archive_file;
pub mod ascent;
pub mod atomic;
pub mod checkpoint;
pub mod contact_sheet;
pub mod convergence;
mod font;
pub mod lineage;
mod locked_folder;
pub mod manifest;
pub mod metrics;
pub mod phylogeny;
pub mod pictures;
pub mod report;
pub mod reproduce;
pub mod retrain;
pub mod run_folder;
mod sealed;
pub mod series;
pub mod start_file;
pub mod tensorboard;
mod tensors;
pub mod training;
pub mod transfer;

pub use archive_file::About;
pub use checkpoint::Checkpoint;
pub use lineage::LineageWriter;
pub use manifest::{ClassResult, GpuUse, Manifest, Stop};
pub use metrics::{GpuMetrics, GpuTotals, Metrics, MetricsWriter};
pub use pictures::Image;
pub use run_folder::RunFolder;
pub use series::{Series, Summary};

/// A 64-bit hash as files and people see it: 16 hexadecimal digits.
pub fn hash_text(hash: u64) -> String {
    format!("{hash:016x}")
}

/// `confidence` to five decimals, cut and not rounded: 0.999999 reads 0.99999, only 1 reads 1.00000, and a confidence
/// reads at least 0.9999 exactly if it is at least `0.9999_f32`.
///
/// What is cut is the shortest decimal that names the f32. Cutting its exact value would turn `0.9999_f32`, a hair
/// below 0.9999, into 0.99989.
pub fn confidence_text(confidence: f32) -> String {
    const DECIMALS: usize = 5;
    let shortest = confidence.to_string(); // never in scientific notation
    let (whole, decimals) = shortest.split_once('.').unwrap_or((&shortest, ""));
    format!("{whole}.{:0<DECIMALS$.DECIMALS$}", decimals)
}

/// `name`, on one line and of at most `width` characters.
pub fn cut(name: &str, width: usize) -> String {
    let name = name.replace(char::is_control, " ");
    if name.chars().count() <= width {
        return name;
    }
    let kept: String = name.chars().take(width - 1).collect();
    kept.trim_end().to_owned() + "…"
}

/// A 64-bit hash in JSON: a string of 16 hexadecimal digits, since JSON's numbers are f64 to many readers.
mod hex64 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(hash: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::hash_text(*hash))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_hash(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is not 16 hexadecimal digits")))
    }
}

/// What [`hash_text`] wrote.
fn parse_hash(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok().filter(|&hash| hash_text(hash) == text)
}

/// A moment in JSON: RFC 3339 in UTC, to the second.
pub(crate) mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::time::SystemTime;

    pub fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        humantime::parse_rfc3339(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
