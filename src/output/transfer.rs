//! What a transfer leaves behind: its folder, manifest, records of images, matrix, and a heat map of that.

use crate::error::{Error, Result};
use crate::experiment::transfer::classes::{Answer, Classes};
use crate::experiment::transfer::matrix::{Cell, Judged, Matrix, Method, Origin, PicturesCell};
use crate::experiment::transfer::sources::Input;
use crate::genome::Canvas;
use crate::network::weights::Files;
use crate::output::contact_sheet::{SUBTITLE, TITLE, round_down, thousands};
use crate::output::font::{Colour, Style, Weight};
use crate::output::locked_folder::{self, LockedFolder};
use crate::output::{Image, atomic, confidence_text, pictures, rfc3339};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const HEAT_MAP: &str = "heat_map.png";
const IMAGES: &str = "images.jsonl";
const MANIFEST: &str = "run.json";
const MATRIX: &str = "matrix.json";

/// The content of `run.json`: all that is needed to do it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransferManifest {
    /// Of this program.
    pub version: String,
    /// Of its sources, where it was built from a repository.
    pub commit: String,
    pub arithmetic_version: u32,
    pub networks: Vec<TransferNetwork>,
    pub inputs: Vec<Input>,
    pub shared_classes: bool,
    pub compared_classes: usize,
    /// Images made for classes that are not compared.
    pub left_out: usize,
    /// How pictures were brought to the networks' size, and how many parts of them were judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<String>,
    pub picture_crops: u32,
    /// What it ran on, and why on that.
    pub device: String,
    pub device_reason: String,
    pub threads: usize,
    /// The instruction set.
    pub simd: String,
    #[serde(with = "rfc3339")]
    pub start: SystemTime,
    #[serde(with = "rfc3339")]
    pub end: SystemTime,
    pub seconds: f64,
    pub images: usize,
}

/// A network that images were shown to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransferNetwork {
    /// What it is called in the matrix.
    pub label: String,
    pub network: String,
    /// As the call names them, but absolute; without `weights`, or with `built-in`, it is the network built in.
    #[serde(flatten)]
    pub files: NamedFiles,
    pub weights_sha256: String,
    /// How the weights were drawn, if nobody trained them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_weights: Option<String>,
    pub classes: usize,
}

/// [`Files`] beside a field `network` that is a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedFiles {
    pub weights: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_names: Option<PathBuf>,
}

impl From<&Files> for NamedFiles {
    fn from(files: &Files) -> NamedFiles {
        let Files { weights, mean, network, class_names, .. } = files.clone();
        NamedFiles { weights, mean, layers: network, class_names }
    }
}

impl TransferManifest {
    /// Reads the file `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::File`] if it is no manifest.
    pub fn read(path: &Path) -> Result<TransferManifest> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        serde_json::from_str(&text)
            .map_err(|source| Error::file(path, format!("not a manifest of a transfer: {source}")))
    }

    /// The text of the file, for people as well as for programs.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a manifest has a JSON form") + "\n"
    }
}

/// One line of `images.jsonl`: an image, and what each network says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageLine {
    /// The folder or file that it comes from, as the call names it.
    pub input: String,
    /// Its file, or its class.
    pub image: String,
    pub method: Method,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// What it was made for, a class of the first network, and against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<AnswerLine>,
    /// One a network, in the order of the matrix.
    pub answers: Vec<AnswerLine>,
}

/// What a network says of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerLine {
    /// Its most probable class, a number of the first network, and the probability of that.
    pub label: usize,
    pub confidence: f32,
    /// Probability of the class that the image was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_probability: Option<f32>,
}

/// The folder of a transfer, locked for this process as long as this value lives.
#[derive(Debug)]
pub struct TransferFolder {
    folder: LockedFolder,
}

/// Where transfers go unless told otherwise.
pub fn default_path() -> PathBuf {
    Path::new("runs").join("transfer")
}

impl TransferFolder {
    /// Refuses `path` where [`TransferFolder::create`] would, before the work. It makes nothing.
    ///
    /// # Errors
    /// As there.
    pub fn refuse_occupied(path: &Path) -> Result<()> {
        locked_folder::refuse_occupied(path, "--out")
    }

    /// Makes the folder `path`, and those above it; an empty one will do.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is anything in it, or another process is at it; [`Error::Io`] if it cannot be made.
    pub fn create(path: &Path) -> Result<TransferFolder> {
        Ok(TransferFolder { folder: LockedFolder::create(path, |_| false, || None, "--out")? })
    }

    /// Makes the folder `path`, or if that is there `path` with `-2`, `-3`, ... after its name.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made.
    pub fn create_numbered(path: &Path) -> Result<TransferFolder> {
        Ok(TransferFolder { folder: LockedFolder::create_numbered(path)? })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes `images.jsonl`, `matrix.json`, `heat_map.png` and last of all `run.json`: where that is, all is there. `paths` are those of
    /// the runs of `images`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] if the folder was removed or replaced.
    pub fn finish(
        &self,
        manifest: &TransferManifest,
        matrix: &Matrix,
        classes: &Classes,
        origins: &[Origin],
        paths: &[&Path],
        images: &[Judged],
    ) -> Result<()> {
        let own = |name: &str| self.folder.own(name);
        let answer = |answer: &Answer| AnswerLine {
            label: classes.numbers[answer.label],
            confidence: answer.confidence,
            class_probability: answer.of_class,
        };
        atomic::write(&own(IMAGES)?, |file| {
            images.iter().try_for_each(|image| {
                let origin = &origins[image.origin];
                let line = ImageLine {
                    input: paths[image.run].display().to_string(),
                    image: image.name.clone(),
                    method: origin.method,
                    seed: image.seed,
                    class: image.class.map(|class| classes.numbers[class]),
                    source: image.own.map(|_| origin.source.clone()),
                    own: image.own.as_ref().map(answer),
                    answers: image.answers.iter().map(answer).collect(),
                };
                let mut text = serde_json::to_vec(&line)?;
                text.push(b'\n');
                file.write_all(&text)
            })
        })?;
        atomic::write(&own(MATRIX)?, |file| file.write_all(matrix.to_json().as_bytes()))?;
        let Image { canvas, pixels } = heat_map(matrix);
        pictures::write_png(&own(HEAT_MAP)?, canvas, &pixels)?;
        atomic::write(&own(MANIFEST)?, |file| file.write_all(manifest.to_json().as_bytes()))
    }
}

/// A share as people read it: percent with one decimal, cut and not rounded, so that only all of them read 100.0.
pub fn percent(share: f64) -> String {
    // What is cut is the shortest decimal that names the share: 0.29 is 29.0, although 100 times it is a hair below.
    let tenths = ((share * 1000.0 * (1.0 + f64::EPSILON)).floor()).min(if share < 1.0 { 999.0 } else { 1000.0 }) as u64;
    format!("{}.{}", tenths / 10, tenths % 10)
}

const INK: Colour = [0x22, 0x22, 0x22];
const FAINT: Colour = [0x6a, 0x6a, 0x6a];
const NONE: Colour = [0xee, 0xee, 0xee];
const FRAME: Colour = [0xc4, 0xc4, 0xc4];
/// Of the source's own network; seen on every value's colour.
const OWN: Colour = [0xd0, 0x5a, 0x1e];
/// The colours of 0 and 1; between them, all channels go evenly.
const COLD: [f64; 3] = [247.0, 250.0, 255.0];
const WARM: [f64; 3] = [8.0, 48.0, 107.0];

const HEADING: Style = Style { size: 18.0, weight: Weight::Bold, colour: INK };
const LABEL: Style = Style { size: 16.0, weight: Weight::Regular, colour: INK };
const NUMBER: Style = Style { size: 16.0, weight: Weight::Bold, colour: FAINT };
const VALUE: Style = Style { size: 16.0, weight: Weight::Regular, colour: INK };

// Lengths in pixels.
const MARGIN: usize = 44;
const HEADER: usize = 92;
const CELL: [usize; 2] = [86, 48];
/// Cells of more networks, or more sources, are smaller and have no text.
const ROOMY: [usize; 2] = [12, 60];
const PANEL_GAP: usize = 40;
/// Height of a group's heading and of its panels' headings, with the columns' numbers.
const GROUP: usize = 38;
const PANEL_HEAD: usize = 58;
const GROUP_GAP: usize = 34;
const LABEL_WIDTH: f32 = 320.0;

/// What a panel shows of a cell.
struct Measure<C> {
    name: &'static str,
    value: fn(&C) -> Option<f64>,
    text: fn(f64) -> String,
}

const MEASURES: [Measure<Cell>; 4] = [
    Measure { name: "equal label, %", value: |cell| Some(cell.measures.equal_share), text: percent },
    Measure { name: "equal, both at .9999, %", value: |cell| Some(cell.measures.equal_9999_share), text: percent },
    Measure {
        name: "mean probability of the class",
        value: |cell| Some(cell.measures.mean_class_probability),
        text: |mean| confidence_text(round_down(mean)),
    },
    Measure { name: "less confident, % of equal", value: |cell| cell.measures.less_confident_share, text: percent },
];

const OF_PICTURES: [Measure<PicturesCell>; 2] = [
    Measure {
        name: "mean confidence",
        value: |cell| Some(cell.mean_confidence),
        text: |mean| confidence_text(round_down(mean)),
    },
    Measure { name: "at .9999, %", value: |cell| Some(cell.over_9999_share), text: percent },
];

/// A group of panels: rows with their labels, and for each panel its name and for each row and network a value with its text.
struct Group {
    heading: String,
    /// Each with the place of its own network, which gets a frame.
    rows: Vec<(String, Option<usize>)>,
    panels: Vec<(&'static str, Vec<Vec<Value>>)>,
}

/// A number with its text, where there is one.
type Value = Option<(f64, String)>;

impl Group {
    fn of<C>(heading: String, rows: Vec<(String, Option<usize>, &[C])>, measures: &[Measure<C>]) -> Group {
        let value = |measure: &Measure<C>, cell: &C| (measure.value)(cell).map(|value| (value, (measure.text)(value)));
        let panels = measures.iter().map(|measure| {
            let values = rows.iter().map(|(_, _, cells)| cells.iter().map(|cell| value(measure, cell)).collect());
            (measure.name, values.collect())
        });
        let panels = panels.collect();
        Group { heading, rows: rows.into_iter().map(|(label, own, _)| (label, own)).collect(), panels }
    }
}

/// The groups of `matrix`: one for each way in which images were made.
fn groups(matrix: &Matrix) -> Vec<Group> {
    let mut groups = Vec::new();
    for method in [Method::Direct, Method::Cppn, Method::Ascent] {
        let rows: Vec<_> = matrix.rows.iter().filter(|row| row.method == method).collect();
        if rows.is_empty() {
            continue;
        }
        let heading = match method {
            Method::Direct => "direct encoding, images made against",
            Method::Cppn => "CPPN encoding, images made against",
            _ => "gradient ascent, images made against",
        };
        let rows = rows.into_iter().map(|row| {
            let crops = if row.crops > 1 { format!(", {} crops", row.crops) } else { String::new() };
            let label = format!("{}{crops} ({})", row.source, thousands(row.images as u64));
            (label, row.cells.iter().position(|cell| cell.own), &row.cells[..])
        });
        groups.push(Group::of(heading.to_owned(), rows.collect(), &MEASURES));
    }
    if !matrix.pictures.is_empty() {
        let rows = matrix.pictures.iter();
        let rows = rows.map(|row| (format!("{} ({})", row.source, row.images), None, &row.cells[..]));
        groups.push(Group::of("images that nobody says anything of".to_owned(), rows.collect(), &OF_PICTURES));
    }
    groups
}

/// Draws `matrix`: for each way in which images were made a panel a measure, a row a source, a column a network.
pub fn heat_map(matrix: &Matrix) -> Image {
    let groups = groups(matrix);
    let n_networks = matrix.networks.len();
    let n_rows = groups.iter().map(|group| group.rows.len()).sum::<usize>();
    let roomy = n_networks <= ROOMY[0] && n_rows <= ROOMY[1];
    let [cell_width, cell_height] =
        if roomy { CELL } else { [(CELL[0] * ROOMY[0] / n_networks).clamp(6, CELL[0]), 22] };
    let labels = || groups.iter().flat_map(|group| &group.rows).map(|(label, _)| LABEL.width(label));
    let label_width = labels().fold(0.0, f32::max).min(LABEL_WIDTH).ceil() as usize;
    let left = MARGIN + label_width + 14;
    let panel = |name: &str| (n_networks * cell_width).max(HEADING.width(name).ceil() as usize);
    let width_of = |group: &Group| group.panels.iter().map(|(name, _)| panel(name) + PANEL_GAP).sum::<usize>();

    let images = matrix.rows.iter().map(|row| row.images).chain(matrix.pictures.iter().map(|row| row.images));
    let subtitle = format!(
        "{} images  ·  {} networks{}",
        thousands(images.sum::<usize>() as u64),
        n_networks,
        if matrix.shared_classes { format!("  ·  {} shared classes", matrix.classes.len()) } else { String::new() }
    );
    let legend: Vec<String> =
        matrix.networks.iter().enumerate().map(|(place, name)| format!("{}  {name}", place + 1)).collect();
    let widest = legend.iter().map(|entry| LABEL.width(entry)).fold(0.0, f32::max).ceil() as usize;
    let grid = groups.iter().map(width_of).max().unwrap_or(0).saturating_sub(PANEL_GAP);
    let width = (left + grid).max(MARGIN + widest).max(MARGIN + SUBTITLE.width(&subtitle).ceil() as usize) + MARGIN;
    let columns = ((width - 2 * MARGIN) / (widest + 36)).max(1);
    let legend_height = legend.len().div_ceil(columns) * 26;
    let body: usize = groups.iter().map(|group| GROUP + PANEL_HEAD + group.rows.len() * cell_height + GROUP_GAP).sum();
    let canvas = Canvas { height: MARGIN + HEADER + body + 40 + legend_height + 50 + MARGIN, width, channels: 3 };
    let mut image = Image { canvas, pixels: vec![255; canvas.len()] };
    TITLE.draw(&mut image, MARGIN as f32, MARGIN as f32 + 26.0, "transfer");
    SUBTITLE.draw(&mut image, MARGIN as f32, MARGIN as f32 + 60.0, &subtitle);

    let mut top = MARGIN + HEADER;
    for group in &groups {
        HEADING.draw(&mut image, MARGIN as f32, top as f32 + 18.0, &group.heading);
        let rows_top = top + GROUP + PANEL_HEAD;
        for (index, (label, _)) in group.rows.iter().enumerate() {
            let middle = (rows_top + index * cell_height) as f32 + cell_height as f32 / 2.0;
            let label = LABEL.fit(label, label_width as f32);
            let x = left as f32 - 14.0 - LABEL.width(&label);
            LABEL.draw(&mut image, x, middle + 0.36 * LABEL.size, &label);
        }
        let mut x = left;
        for (name, values) in &group.panels {
            HEADING.draw(&mut image, x as f32, (top + GROUP) as f32 + 18.0, name);
            let numbers = 0..n_networks;
            for column in numbers.filter(|column| roomy || column % n_networks.div_ceil(20) == 0) {
                let number = (column + 1).to_string();
                let centre = (x + column * cell_width) as f32 + cell_width as f32 / 2.0;
                NUMBER.draw(&mut image, centre - NUMBER.width(&number) / 2.0, rows_top as f32 - 10.0, &number);
            }
            for (index, row) in values.iter().enumerate() {
                for (column, value) in row.iter().enumerate() {
                    let own = group.rows[index].1 == Some(column);
                    let place = [x + column * cell_width, rows_top + index * cell_height];
                    draw_cell(&mut image, place, [cell_width, cell_height], value.as_ref(), own, roomy);
                }
            }
            x += panel(name) + PANEL_GAP;
        }
        top = rows_top + group.rows.len() * cell_height + GROUP_GAP;
    }
    HEADING.draw(&mut image, MARGIN as f32, top as f32 + 18.0, "columns: the network that the images are shown to");
    for (place, entry) in legend.iter().enumerate() {
        let x = MARGIN + place % columns * (widest + 36);
        LABEL.draw(&mut image, x as f32, (top + 48 + place / columns * 26) as f32, entry);
    }
    let key_top = top + 40 + legend_height + 14;
    LABEL.draw(&mut image, MARGIN as f32, key_top as f32 + 17.0, "0");
    image.fill(MARGIN + 18, key_top, 200, 22, |x, _| colour(x as f64 / 199.0));
    let text = "1 (100 %)    framed: the network that the images were made against    grey: no equal label";
    LABEL.draw(&mut image, (MARGIN + 228) as f32, key_top as f32 + 17.0, text);
    image
}

/// Draws a value; of the source's own network with a frame.
fn draw_cell(
    image: &mut Image,
    [x, y]: [usize; 2],
    [width, height]: [usize; 2],
    value: Option<&(f64, String)>,
    own: bool,
    with_text: bool,
) {
    let ground = value.map_or(NONE, |(value, _)| colour(*value));
    image.fill(x, y, width, height, |_, _| FRAME);
    let frame = if own && width > 12 { 3 } else { 0 };
    if frame > 0 {
        image.fill(x, y, width, height, |_, _| OWN);
    }
    let inner = frame.max(usize::from(width > 12));
    image.fill(x + inner, y + inner, width - 2 * inner, height - 2 * inner, |_, _| ground);
    if let (true, Some((value, text))) = (with_text, value) {
        let colour = if *value > 0.55 { [255; 3] } else { INK };
        let style = Style { colour, ..VALUE };
        let centre = x as f32 + width as f32 / 2.0;
        style.draw(image, centre - style.width(text) / 2.0, y as f32 + height as f32 / 2.0 + 0.36 * style.size, text);
    }
}

/// The colour of a value in [0, 1].
pub(super) fn colour(value: f64) -> Colour {
    let value = value.clamp(0.0, 1.0);
    std::array::from_fn(|c| (COLD[c] + (WARM[c] - COLD[c]) * value).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::transfer::matrix::{Measures, Row};

    #[test]
    fn percents_are_cut() {
        assert_eq!([0.0, 0.29, 0.9999, 1.0, 1.0 / 3.0].map(percent), ["0.0", "29.0", "99.9", "100.0", "33.3"]);
        for n in 0..=1000 {
            assert_eq!(percent(n as f64 / 1000.0), format!("{}.{}", n / 10, n % 10), "{n}");
        }
    }

    fn matrix(n_networks: usize, shares: impl Fn(usize, usize) -> f64) -> Matrix {
        let networks: Vec<String> = (0..n_networks).map(|n| format!("network {n}")).collect();
        let cell = |row: usize, column: usize| Cell {
            network: networks[column].clone(),
            own: row == column,
            measures: Measures {
                images: 10,
                equal: 0,
                equal_9999: 0,
                less_confident: 0,
                fooled: 0,
                equal_share: shares(row, column),
                equal_9999_share: 0.0,
                mean_class_probability: 1.0,
                less_confident_share: None,
                fooled_share: 0.0,
            },
            classes: Vec::new(),
        };
        let rows = (0..n_networks).map(|row| Row {
            source: networks[row].clone(),
            weights_sha256: String::new(),
            method: Method::Cppn,
            crops: 1,
            runs: 1,
            images: 10,
            cells: (0..n_networks).map(|column| cell(row, column)).collect(),
        });
        Matrix {
            networks: networks.clone(),
            shared_classes: false,
            classes: Vec::new(),
            rows: rows.collect(),
            pictures: Vec::new(),
            by_class: Vec::new(),
        }
    }

    #[test]
    fn cells_have_the_colours_of_their_values() {
        let image = heat_map(&matrix(2, |row, column| if row == column { 1.0 } else { 0.0 }));
        let at = |x: usize, y: usize| -> [u8; 3] {
            image.pixels[(y * image.canvas.width + x) * 3..][..3].try_into().unwrap()
        };
        let label = (0..2).map(|n| LABEL.width(&format!("network {n} (10)"))).fold(0.0, f32::max).ceil() as usize;
        let (left, top) = (MARGIN + label + 14, MARGIN + HEADER + GROUP + PANEL_HEAD);
        let [width, height] = CELL;
        // Near a corner, away from text.
        let corner = |row: usize, column: usize| at(left + column * width + 6, top + row * height + 6);
        assert_eq!([corner(0, 0), corner(0, 1)], [colour(1.0), colour(0.0)]);
        assert_eq!([corner(1, 0), corner(1, 1)], [colour(0.0), colour(1.0)]);
        assert_eq!(at(left + 1, top + 1), OWN, "the frame of the own network");
        assert_ne!(at(left + width + 1, top + 1), OWN);
    }

    #[test]
    fn many_networks_have_smaller_cells() {
        let image = heat_map(&matrix(70, |row, column| (row * column) as f64 / 4900.0));
        assert_eq!(image.pixels.len(), image.canvas.len());
        assert!(image.canvas.width < 8000, "{}", image.canvas.width);
    }
}
