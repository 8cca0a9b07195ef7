//! Genomes out and in: as JSON, which comes back bit for bit, and as graphs and programs for others.
//!
//! A [`Specimen`] is a genome with all that drawing it takes. [`json`] writes and reads it; a [`Net`] is the same of a CPPN, worked out for
//! those who draw it their own way: which value each node has at which step, and what its place in a picture of the graph is. [`dot`],
//! [`svg`], [`glsl`] and [`python`] write that down.

pub mod dot;
pub mod glsl;
pub mod json;
mod net;
pub mod python;
pub mod svg;

pub use net::{Net, Operand, Value};

use super::cppn::{Compiler, Graph, InputPlanes, Renderer, Rules};
use super::{Canvas, Encoding, Genome, direct};
use crate::simd::Simd;

/// Longest side of a canvas that is read, in pixels.
pub const MAX_SIDE: usize = 4096;

/// What of a run's settings decides how its CPPNs draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Whether x and y run over [-1, 1] instead of being pixel indices.
    pub normalise: bool,
    /// Weights lie in [-max_weight, max_weight].
    pub max_weight: f32,
}

impl From<&Rules> for Settings {
    fn from(rules: &Rules) -> Settings {
        Settings { normalise: rules.normalise, max_weight: rules.max_weight }
    }
}

/// Where a genome comes from. It changes nothing of what the genome draws.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// Of the archive that held it.
    pub archive_hash: u64,
    /// The class whose elite it was, a number of its network and that network's name for it.
    pub class: u32,
    pub class_name: String,
    /// The network's probability of that class.
    pub confidence: f32,
    /// Generation and index within its batch at which it was born.
    pub born: (u32, u32),
    /// Parts of the image that were judged: 1 or 10.
    pub crops: u32,
    /// The network's name and the SHA-256 of its weights, where the run said them.
    pub network: Option<String>,
    pub weights_sha256: Option<String>,
}

/// A genome by itself: with all that drawing it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Specimen {
    pub canvas: Canvas,
    pub genome: Genome,
    /// Of a CPPN.
    pub settings: Option<Settings>,
    pub origin: Option<Origin>,
}

impl Specimen {
    /// Its graph and how that draws.
    ///
    /// # Errors
    /// If it is no CPPN, what to do instead of turning it into a `what`.
    pub fn cppn(&self, what: &str) -> Result<(&Graph, Settings), String> {
        match (&self.genome, self.settings) {
            (Genome::Cppn(graph), Some(settings)) => Ok((graph, settings)),
            _ => Err(format!(
                "a direct genome is a value per pixel and no graph: there is no {what} of it; json holds it"
            )),
        }
    }

    /// Its encoding, with rules that any genome fits: those of drawing are its own.
    pub fn encoding(&self) -> Encoding {
        match self.settings {
            None => Encoding::Direct(direct::Rules::default()),
            Some(Settings { normalise, max_weight }) => {
                Encoding::Cppn(Rules { normalise, max_weight, ..json::roomy_rules() })
            }
        }
    }

    /// What it draws at its own size, `(height, width, channels)`.
    pub fn image(&self, simd: Simd) -> Vec<u8> {
        let mut image = vec![0; self.canvas.len()];
        match (&self.genome, self.settings) {
            (Genome::Cppn(graph), Some(Settings { normalise, max_weight })) => {
                let planes = InputPlanes::new(self.canvas, normalise);
                let mut compiler = Compiler::default();
                Renderer::default().render(simd, &planes, compiler.compile(simd, graph, max_weight), &mut image);
            }
            (Genome::Direct(genes), _) => direct::render(simd, self.canvas.channels, &mut image, genes),
            (Genome::Cppn(_), None) => unreachable!("a CPPN comes with its settings"),
        }
        image
    }

    /// What it is, in one line of printable characters, for the head of a file.
    pub fn title(&self) -> String {
        let Some(Origin { class, class_name, confidence, born, .. }) = &self.origin else {
            return "a genome of nobody's".to_owned();
        };
        let number = class.to_string();
        let name = if *class_name == number { String::new() } else { format!(" ({})", plain(class_name)) };
        format!("class {number}{name}, confidence {confidence}, born in generation {} as candidate {}", born.0, born.1)
    }
}

/// What a node is called: inputs and outputs by what they are, hidden nodes by their numbers.
pub fn node_name(graph: &Graph, node: usize) -> String {
    const INPUTS: [&str; 4] = ["x", "y", "distance", "one"];
    const COLOUR: [&str; 3] = ["hue", "lightness", "saturation"];
    match node.checked_sub(INPUTS.len()) {
        None => INPUTS[node].to_owned(),
        Some(0) if graph.n_outputs == 1 => "grey".to_owned(),
        Some(output) if output < graph.n_outputs && graph.n_outputs == COLOUR.len() => COLOUR[output].to_owned(),
        _ => node.to_string(),
    }
}

/// `text` for a comment in a program, whatever it is: one line of ASCII that ends no comment and continues none.
fn plain(text: &str) -> String {
    const MOST: usize = 100;
    let safe = |c: char| if (' '..='~').contains(&c) && !r#"\"'*<>&"#.contains(c) { c } else { '?' };
    text.chars().take(MOST).map(safe).collect()
}

/// A weight as programs write it: the shortest decimal that names the f32, with a point or an exponent.
fn number(value: f32) -> String {
    format!("{value:?}")
}
