//! `pareidolia classify`: what a network says of images.

use super::{Source, Speed};
use crate::error::Result;
use crate::experiment::classify::{Fit, Item, Resize, classify_on, read};
use crate::experiment::device::{Asked, Chosen};
use crate::network::{Crops, Network};
use crate::output::confidence_text;
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use tracing::info;

/// Say what a network takes images for
///
/// Takes PNG files, IDX files (MNIST's, plain or gzip), genomes in JSON (`export`), and runs: a folder or its archive.safetensors. Of a
/// run's elites it also says whether the network gives the very probabilities that the archive has recorded, in every bit.
///
/// Colour becomes grey by the weights of Rec. 601 (0.299 red, 0.587 green, 0.114 blue) where the network sees grey. A network that sees
/// the middle of an image, as AlexNet sees 227 x 227 of 256 x 256, takes images of either size as they are.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// PNG, IDX, archive.safetensors, a run's folder, or a genome in JSON
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Classes to show for each image, the most likely first; with 1, each image takes one line
    #[arg(long, value_name = "K", default_value = "5", value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,

    /// Bring images of another size to the network's; without it they are refused
    #[arg(long, value_enum, value_name = "HOW")]
    resize: Option<Resize>,

    /// Exchange black and white first: MNIST's digits are bright on black, scans are dark on white
    #[arg(long)]
    invert: bool,

    /// Parts of an image to judge where the network sees a part: 1, the middle, or 10, the corners and the middle, each also
    /// mirrored [default: 1; of a run's elites those that the run judged]
    #[arg(long, value_name = "N", value_parser = crops)]
    crops: Option<u32>,

    /// Print JSON: an array with an object for each image
    #[arg(long)]
    json: bool,

    /// Where it runs: `auto`, `cpu`, or `cuda:N` for a GPU; the answer is the same
    #[arg(long, default_value = "auto")]
    device: Asked,

    #[command(flatten)]
    source: Source,

    #[command(flatten)]
    speed: Speed,
}

#[derive(Serialize)]
struct Report<'a> {
    image: &'a str,
    top: Vec<Label<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    elite: Option<EliteReport<'a>>,
}

#[derive(Serialize)]
struct Label<'a> {
    class: usize,
    name: &'a str,
    probability: f32,
}

/// An elite's niche, and whether the archive's record of it holds.
#[derive(Serialize)]
struct EliteReport<'a> {
    class: u32,
    name: &'a str,
    confidence: f32,
    recorded: f32,
    /// Whether all probabilities are those of the archive, bit for bit.
    identical: bool,
}

impl Args {
    /// Classifies.
    ///
    /// # Errors
    /// The first file that cannot be read or does not fit the network.
    pub fn run(self) -> Result<()> {
        let network = Arc::new(self.source.network()?);
        info!("network {}, weights SHA-256 {}", network.name, network.sha256);
        super::warn_of_random(&network);
        let fit = Fit { resize: self.resize, invert: self.invert };
        let crops = self.crops.and_then(Crops::of);
        let mut items = Vec::new();
        for file in &self.files {
            items.extend(read(file, &network, fit, crops)?);
        }
        let device = Chosen::choose(self.device, &network)?;
        info!("device {}", device.name());
        let run = || classify_on(&device, &network, self.speed.simd, &items);
        let probabilities = self.speed.pool()?.install(run)?;
        let reports: Vec<Report> = items
            .iter()
            .zip(&probabilities)
            .map(|(item, probabilities)| self.report(&network, item, probabilities))
            .collect();
        super::print(&if self.json { super::json(&reports)? } else { self.table(&reports) })
    }

    fn report<'a>(&self, network: &'a Network, item: &'a Item, probabilities: &[f32]) -> Report<'a> {
        let name = |class: usize| network.classes[class].as_str();
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        // Stable: of equals the lower class comes first.
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        order.truncate(self.top as usize);
        let label = |class| Label { class, name: name(class), probability: probabilities[class] };
        // An archive of a network with other classes has nothing to compare.
        let recorded = item.recorded.as_ref().filter(|recorded| recorded.probabilities.len() == probabilities.len());
        let elite = recorded.map(|recorded| {
            let class = recorded.class as usize;
            EliteReport {
                class: recorded.class,
                name: name(class),
                confidence: probabilities[class],
                recorded: recorded.probabilities[class],
                identical: probabilities.iter().zip(&recorded.probabilities).all(|(a, b)| a.to_bits() == b.to_bits()),
            }
        });
        Report { image: &item.name, top: order.into_iter().map(label).collect(), elite }
    }

    fn table(&self, reports: &[Report]) -> String {
        let mut text = String::new();
        let width = reports.iter().flat_map(|report| &report.top).map(|label| label.class.to_string().len()).max();
        let width = width.unwrap_or(1);
        for Report { image, top, elite } in reports {
            let elite = elite.as_ref().map_or(String::new(), |elite| {
                let verdict = if elite.identical { "as recorded" } else { "NOT as recorded" };
                let (now, then) = (confidence_text(elite.confidence), confidence_text(elite.recorded));
                let then = if elite.identical { String::new() } else { format!(", {then} then") };
                let class = elite.class.to_string();
                format!("  elite of {}: {now}{then}, {verdict}", named(&class, elite.name))
            });
            let line = |label: &Label| {
                let class = format!("{:>width$}", label.class);
                format!("{}  {}", confidence_text(label.probability), named(&class, label.name))
            };
            // Writing to a String cannot fail.
            _ = match top.as_slice() {
                [only] => writeln!(text, "{image}  {}{elite}", line(only)),
                several => {
                    let lines: String = several.iter().map(|label| format!("  {}\n", line(label))).collect();
                    write!(text, "{image}{elite}\n{lines}")
                }
            };
        }
        text
    }
}

/// Reads `1` or `10`.
pub(super) fn crops(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|&count| Crops::of(count).is_some()).ok_or_else(|| "wanted 1 or 10".into())
}

/// A class and its name, unless its number is its name.
fn named(class: &str, name: &str) -> String {
    if class.trim_start() == name { class.to_string() } else { format!("{class} {name}") }
}
