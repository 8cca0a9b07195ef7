//! The page of a report: one file that opens from disk and asks for nothing. `README.md` beside this file says what its data are.

mod sheets;

pub use sheets::Sheets;

use crate::genome::Canvas;
use crate::output::transfer::AnswerLine;
use crate::output::{Metrics, pictures};
use png::Compression;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// What draws genomes: by itself, since the page's workers run it too.
const DRAWING: &str = concat!(include_str!("arithmetic.js"), "\n", include_str!("genome.js"));
const SCRIPT: &str = concat!(
    include_str!("layout.js"),
    "\n",
    include_str!("elements.js"),
    "\n",
    include_str!("painter.js"),
    "\n",
    include_str!("charts.js"),
    "\n",
    include_str!("tables.js"),
    "\n",
    include_str!("graph.js"),
    "\n",
    include_str!("elites.js"),
    "\n",
    include_str!("detail.js"),
    "\n",
    include_str!("page.js"),
);

/// All that a page shows.
#[derive(Clone, Debug, Serialize)]
pub struct Data {
    pub format: &'static str,
    pub version: u32,
    pub program: Program,
    pub runs: Vec<RunData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analyses: Option<Analyses>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transfers: Vec<Transfer>,
}

/// What wrote it.
#[derive(Clone, Debug, Serialize)]
pub struct Program {
    pub version: &'static str,
    pub commit: &'static str,
}

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct RunData {
    pub name: String,
    /// The content of run.json, without its classes.
    pub manifest: Value,
    pub canvas: CanvasText,
    /// Of all classes of the network.
    pub class_names: Vec<String>,
    pub elites: Vec<EliteData>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub individuals: Vec<Individual>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sheets: Option<Sheets>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct CanvasText {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
}

impl From<Canvas> for CanvasText {
    fn from(Canvas { height, width, channels }: Canvas) -> CanvasText {
        CanvasText { height, width, channels }
    }
}

/// An elite.
#[derive(Clone, Debug, Serialize)]
pub struct EliteData {
    pub class: u32,
    pub name: String,
    pub confidence: f32,
    pub born: (u32, u32),
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner_up: Option<RunnerUp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub genome: Option<Value>,
    /// A data URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lineage: Option<LineData>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<AncestorData>,
}

/// The class that the network finds most probable besides.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RunnerUp {
    pub class: u32,
    pub confidence: f32,
}

/// How long an elite's line is.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LineData {
    pub depth: usize,
    pub goal_switches: usize,
}

/// An individual on an elite's line.
#[derive(Clone, Debug, Serialize)]
pub struct AncestorData {
    pub generation: u32,
    pub candidate: u32,
    /// In the elite's class.
    pub confidence: f32,
    pub goal: u32,
    pub goal_switch: bool,
    /// Its place in [`RunData::individuals`]; `None` of an elite whose genome is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub individual: Option<usize>,
}

/// What an ancestor is shown by, once for all lines that it is on.
#[derive(Clone, Debug, Serialize)]
pub struct Individual {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub genome: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
}

/// metrics.jsonl, by column.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Curve {
    generation: Vec<u32>,
    evaluations: Vec<u64>,
    median: Vec<f64>,
    mean: Vec<f64>,
    min: Vec<f64>,
    max: Vec<f64>,
    over_99: Vec<usize>,
    over_999: Vec<usize>,
    over_9999: Vec<usize>,
}

impl Curve {
    /// `lines` by column; `None` if there are none.
    pub fn of(lines: &[Metrics]) -> Option<Curve> {
        let mut curve = Curve::default();
        for line in lines {
            curve.generation.push(line.generation);
            curve.evaluations.push(line.evaluations);
            curve.median.push(line.median);
            curve.mean.push(line.mean);
            curve.min.push(line.min);
            curve.max.push(line.max);
            curve.over_99.push(line.over_99);
            curve.over_999.push(line.over_999);
            curve.over_9999.push(line.over_9999);
        }
        (!lines.is_empty()).then_some(curve)
    }
}

/// What `analyse` wrote.
#[derive(Clone, Debug, Serialize)]
pub struct Analyses {
    /// The report's place of each of its runs, by the number that its files give it.
    pub runs: BTreeMap<usize, usize>,
    /// The content of each part's JSON file.
    #[serde(flatten)]
    pub parts: BTreeMap<String, Value>,
}

/// What `transfer` wrote.
#[derive(Clone, Debug, Serialize)]
pub struct Transfer {
    pub networks: Vec<String>,
    pub answers: Vec<Answers>,
}

/// What each network says of an elite.
#[derive(Clone, Debug, Serialize)]
pub struct Answers {
    pub run: usize,
    pub class: usize,
    pub answers: Vec<AnswerLine>,
}

/// The page that shows `data`.
pub fn page(data: &Data) -> String {
    let names: Vec<&str> = data.runs.iter().map(|run| &run.name[..]).collect();
    let title = escaped(&format!("{}: pareidolia", names.join(", ")));
    // In JSON only texts hold a <, and none may end the element.
    let data = serde_json::to_string(data).expect("these types have JSON forms").replace('<', "\\u003c");
    let mut page = String::with_capacity(PAGE.len() + STYLE.len() + DRAWING.len() + SCRIPT.len() + data.len());
    let mut rest = PAGE;
    while let Some((before, (place, after))) =
        rest.split_once("{{").and_then(|(before, from)| Some((before, from.split_once("}}")?)))
    {
        page.push_str(before);
        page.push_str(match place {
            "title" => &title,
            "style" => STYLE,
            "data" => &data,
            "drawing" => DRAWING,
            "script" => SCRIPT,
            other => unreachable!("page.html has no place {other:?}"),
        });
        rest = after;
    }
    page.push_str(rest);
    page
}

/// `text` in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A picture as a data URL.
pub fn picture(canvas: Canvas, pixels: &[u8]) -> String {
    let mut bytes = Vec::new();
    pictures::encode_png(&mut bytes, canvas, pixels, Compression::Balanced).expect("memory takes all that is written");
    format!("data:image/png;base64,{}", base64(&bytes))
}

/// `bytes` in base 64 (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = three.iter().enumerate().fold(0, |word, (at, &byte)| word | u32::from(byte) << (16 - 8 * at));
        for digit in 0..4 {
            let is_there = digit <= three.len();
            text.push(if is_there { DIGITS[(word >> (18 - 6 * digit) & 63) as usize] as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        let of = |text: &str| base64(text.as_bytes());
        assert_eq!(
            ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(of),
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]
        );
    }

    #[test]
    fn no_text_ends_an_element_of_the_page() {
        for script in [DRAWING, SCRIPT] {
            assert!(!script.contains("</script"), "it would end there");
        }
        assert!(!STYLE.contains("</style"));
        let name = "</script><img src=x>".to_owned();
        let run = RunData {
            name: name.clone(),
            manifest: Value::Null,
            canvas: Canvas::MNIST.into(),
            class_names: vec![name],
            individuals: Vec::new(),
            elites: Vec::new(),
            sheets: None,
            curve: None,
        };
        let program = Program { version: "0", commit: "0" };
        let data = Data {
            format: "pareidolia report",
            version: 1,
            program,
            runs: vec![run],
            analyses: None,
            transfers: Vec::new(),
        };
        let page = page(&data);
        assert!(!page.contains("<img src=x"), "a name became an element");
        assert_eq!(page.matches("</script>").count(), PAGE.matches("</script>").count());
        assert!(!page.contains("{{data}}") && !page.contains("{{script}}"));
    }
}
