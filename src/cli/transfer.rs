//! `pareidolia transfer`: what images made against one network are to others.

use super::{Sources, Speed};
use crate::error::Result;
use crate::experiment::classify::Resize;
use crate::experiment::device::Asked;
use crate::experiment::progress::ProgressMode;
use crate::experiment::transfer::matrix::{ByClass, ClassMeasures, Matrix, Measures, PicturesRow, Row};
use crate::experiment::transfer::{self, TransferRequest};
use crate::network::Crops;
use crate::output::confidence_text;
use crate::output::contact_sheet::round_down;
use crate::output::transfer::percent;
use std::path::{Path, PathBuf};

/// Show images that fool one network to others
///
/// Takes the folders of runs of `evolve`, of series of them, and of `ascend`. What network their images were made against, the folders
/// say; images of several runs against the same network, made in the same way, are taken together. The same 8-bit images are shown to each
/// network of --weights, each with its own preprocessing.
///
/// For each source and network: on how many images both give the same label (the most probable class); on how many of all they do so with
/// .9999 or more, both; the mean probability that the network gives to the class that an image was made for; and, of the images with equal
/// labels, on how many the network is less confident than the source.
///
/// Also takes folders of PNG files, PNG and IDX files. Of those nobody says what they were made against: they have only what each
/// network says by itself, its mean confidence and the share of images on which that is .9999 or more.
///
/// The result goes to a new folder: matrix.json, heat_map.png, images.jsonl with every answer, and run.json with all that is needed to do
/// it again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders of runs, series of runs or ascents; pictures, and folders of them
    #[arg(value_name = "RUN|FILE", required = true)]
    inputs: Vec<PathBuf>,

    #[command(flatten)]
    networks: Sources,

    /// Compare networks that have other classes, on those that they share by name; images made for others are left out
    #[arg(long)]
    shared_classes: bool,

    /// Bring pictures of another size to the networks'; images of runs are never changed
    #[arg(long, value_enum, value_name = "HOW")]
    resize: Option<Resize>,

    /// Parts of a picture to judge where a network sees a part: 1, the middle, or 10, the corners and the middle, each also mirrored; of
    /// runs those that the run judged
    #[arg(long, value_name = "N", default_value = "1", value_parser = super::classify::crops)]
    crops: u32,

    /// The folder for the result, which must not exist yet [default: a new one in `runs`]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Print the contents of matrix.json instead of tables
    #[arg(long)]
    json: bool,

    /// Where it runs: `auto`, `cpu`, or `cuda:N` for a GPU; the result is the same
    #[arg(long, default_value = "auto")]
    device: Asked,

    /// How progress is shown: a bar on a terminal, lines, or nothing
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto")]
    progress: ProgressMode,

    #[command(flatten)]
    speed: Speed,
}

impl Args {
    /// Makes the matrix.
    ///
    /// # Errors
    /// Whatever is wrong with an input or a network, or kept the folder from being written.
    pub fn run(self, quiet: bool) -> Result<()> {
        let request = TransferRequest {
            networks: self.networks.files()?,
            inputs: self.inputs,
            shared_classes: self.shared_classes,
            resize: self.resize,
            crops: Crops::of(self.crops).expect("clap has seen to it"),
            out: self.out,
            device: self.device,
            threads: self.speed.threads(),
            simd: self.speed.simd,
            progress: if quiet { ProgressMode::None } else { self.progress },
        };
        let (matrix, folder) = transfer::run(&request)?;
        super::print(&if self.json { matrix.to_json() } else { text(&matrix, &folder) })
    }
}

/// Classes that are listed one by one.
const LISTED: usize = 20;

/// What a person wants to know.
fn text(matrix: &Matrix, folder: &Path) -> String {
    let mut text = String::new();
    if matrix.shared_classes {
        text.push_str(&format!("compared on {} classes shared by name\n\n", matrix.classes.len()));
    }
    if !matrix.rows.is_empty() {
        text.push_str(&rows_text(&matrix.rows));
    }
    if matrix.classes.len() <= LISTED {
        for by_class in &matrix.by_class {
            text.push('\n');
            text.push_str(&class_text(by_class));
        }
    }
    if !matrix.pictures.is_empty() {
        if !matrix.rows.is_empty() {
            text.push('\n');
        }
        text.push_str(&pictures_text(&matrix.pictures));
    }
    text.push_str(&format!("\n{}\n", folder.display()));
    text
}

/// A mean probability, cut: only 1 reads 1.00000.
fn mean_text(mean: f64) -> String {
    confidence_text(round_down(mean))
}

fn rows_text(rows: &[Row]) -> String {
    let mut table =
        Table::new("against  |made by |>images |shown to  |>equal % |>and .9999 % |>class p |>less confident %");
    for Row { source, method, crops, images, cells, .. } in rows {
        let method = if *crops > 1 { format!("{} {crops} crops", method.name()) } else { method.name().to_owned() };
        for (index, cell) in cells.iter().enumerate() {
            let first = |text: &str| if index == 0 { text.to_owned() } else { String::new() };
            let Measures { equal_share, equal_9999_share, mean_class_probability, less_confident_share, .. } =
                cell.measures;
            table.row(vec![
                first(source),
                first(&method),
                first(&images.to_string()),
                if cell.own { format!("{} (its own)", cell.network) } else { cell.network.clone() },
                percent(equal_share),
                percent(equal_9999_share),
                mean_text(mean_class_probability),
                less_confident_share.map_or("-".to_owned(), percent),
            ]);
        }
    }
    table.text()
}

fn class_text(ByClass { method, classes }: &ByClass) -> String {
    let mut table = Table::new(&format!(
        "{}, for class |>images |>equal % |>and .9999 % |>class p |>less confident % |>taken for it by both %",
        method.name()
    ));
    for ClassMeasures { class, name, measures } in classes {
        let Measures {
            images,
            equal_share,
            equal_9999_share,
            mean_class_probability,
            less_confident_share,
            fooled_share,
            ..
        } = *measures;
        let number = class.to_string();
        table.row(vec![
            if number == *name { number } else { format!("{number} {name}") },
            images.to_string(),
            percent(equal_share),
            percent(equal_9999_share),
            mean_text(mean_class_probability),
            less_confident_share.map_or("-".to_owned(), percent),
            percent(fooled_share),
        ]);
    }
    // Stable: of equals the lower class comes first.
    let mut best: Vec<&ClassMeasures> = classes.iter().collect();
    let key = |class: &ClassMeasures| (class.measures.equal_9999_share, class.measures.fooled_share);
    best.sort_by(|a, b| {
        let ((a, a_fooled), (b, b_fooled)) = (key(a), key(b));
        b.total_cmp(&a).then(b_fooled.total_cmp(&a_fooled))
    });
    let best: Vec<&str> = best.iter().take(3).map(|class| &class.name[..]).collect();
    format!("{}on other networks than their own; most often at .9999 on both: {}\n", table.text(), best.join(", "))
}

fn pictures_text(rows: &[PicturesRow]) -> String {
    let mut table = Table::new("images of nobody's |>images |shown to |>mean confidence |>at .9999 %");
    for PicturesRow { source, images, cells } in rows {
        for (index, cell) in cells.iter().enumerate() {
            let first = |text: &str| if index == 0 { text.to_owned() } else { String::new() };
            table.row(vec![
                first(source),
                first(&images.to_string()),
                cell.network.clone(),
                mean_text(cell.mean_confidence),
                percent(cell.over_9999_share),
            ]);
        }
    }
    table.text()
}

/// Columns of text.
pub(super) struct Table {
    /// Whether each column is aligned to the right.
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With the heads of columns in `heads`, separated by `|`; one of a column aligned to the right begins with `>`.
    pub(super) fn new(heads: &str) -> Table {
        let heads: Vec<&str> = heads.split('|').map(str::trim).collect();
        let right = heads.iter().map(|head| head.starts_with('>')).collect();
        Table { right, rows: vec![heads.iter().map(|head| head.trim_start_matches('>').to_owned()).collect()] }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(super) fn text(&self) -> String {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).zip(&self.right).map(|((cell, &width), right)| {
                if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}
