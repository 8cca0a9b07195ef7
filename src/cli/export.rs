//! `pareidolia export`: elites of a run as files for other programs.

use crate::error::{Error, Result};
use crate::experiment::config::{name_of, parse_classes};
use crate::experiment::specimens::{Contents, Elites};
use crate::genome::exchange::{Specimen, dot, glsl, json, python, svg};
use crate::output::{atomic, confidence_text, pictures};
use std::io::Write;
use std::path::{Path, PathBuf};
use tracing::info;

/// What a genome is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// All of the genome: comes back bit for bit (`render`, `classify`, `evolve --start` read it)
    Json,
    /// The graph of a CPPN, for Graphviz
    Dot,
    /// The graph of a CPPN as a picture
    Svg,
    /// A CPPN as a fragment shader, which runs on shadertoy.com
    Glsl,
    /// A CPPN as a Python program that needs nothing but Python
    Python,
}

impl Format {
    /// Extensions of its files; the first is written.
    fn extensions(self) -> &'static [&'static str] {
        match self {
            Format::Json => &["json"],
            Format::Dot => &["dot", "gv"],
            Format::Svg => &["svg"],
            Format::Glsl => &["glsl", "frag"],
            Format::Python => &["py"],
        }
    }

    /// That of files with the extension of `path`.
    fn of(path: &Path) -> Option<Format> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        let all = [Format::Json, Format::Dot, Format::Svg, Format::Glsl, Format::Python];
        all.into_iter().find(|format| format.extensions().contains(&&extension[..]))
    }

    fn text(self, specimen: &Specimen) -> Result<String, String> {
        match self {
            Format::Json => json::text(specimen),
            Format::Dot => dot::text(specimen),
            Format::Svg => svg::text(specimen),
            Format::Glsl => glsl::text(specimen),
            Format::Python => python::text(specimen),
        }
    }
}

/// Write elites of a run as JSON, graph, shader or Python program
///
/// JSON holds all of a genome, and comes back bit for bit: `render` and `classify` read it, and `evolve --start` begins with it. Its schema is
/// docs/genome.schema.json.
///
/// A directly encoded genome is a value for each pixel, so JSON is all there is of it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run's folder, its archive.safetensors or its checkpoint; or a genome in JSON, to be turned into something else
    #[arg(value_name = "RUN")]
    run: PathBuf,

    /// A class to write, by number or name; may be repeated [default: all]
    #[arg(long, value_name = "C")]
    class: Vec<String>,

    /// Classes to write: numbers, ranges or names, such as `3,5-7` [default: all]
    #[arg(long, value_name = "LIST", conflicts_with = "class")]
    classes: Option<String>,

    /// What to write [default: what the extension of --out says, else json]
    #[arg(long, value_enum)]
    format: Option<Format>,

    /// The file to write, for one genome (.json, .dot, .svg, .glsl, .py); or the folder to put them in, named as the run's pictures are
    #[arg(long, value_name = "PATH")]
    out: PathBuf,

    /// Overwrite files that are there
    #[arg(long)]
    force: bool,
}

impl Args {
    /// Writes.
    ///
    /// # Errors
    /// [`Error::Usage`] for a class that the run has not; whatever kept the run from being read or a file from being written.
    pub fn run(self) -> Result<()> {
        let named = Format::of(&self.out);
        let format = self.format.or(named).unwrap_or(Format::Json);
        if let Some(named) = named.filter(|&named| named != format) {
            return Err(Error::Usage(format!(
                "--out {}: names a file of the format {}, --format is {}",
                self.out.display(),
                name_of(named),
                name_of(format)
            )));
        }
        let mut specimens = Vec::new();
        match Contents::read(&self.run)? {
            Contents::Genome(specimen) => {
                if !self.class.is_empty() || self.classes.is_some() {
                    let run = self.run.display();
                    return Err(Error::Usage(format!(
                        "{run}: is one genome and no run; leave --class and --classes out"
                    )));
                }
                let stem = self.run.file_stem().unwrap_or_default();
                specimens.push((PathBuf::from(stem), *specimen));
            }
            Contents::Run(run) => {
                for niche in self.niches(&run)? {
                    let (class, names) = (run.archive.classes[niche], &run.about.class_names);
                    let confidence = run.archive.elites[niche].probabilities[class as usize];
                    let picture = pictures::elite_file(class, names.len(), &names[class as usize], confidence);
                    let name = Path::new(&picture).file_stem().expect("an elite's picture has a name");
                    specimens.push((PathBuf::from(name), run.specimen(niche)));
                }
            }
        }
        let is_file = named.is_some();
        if is_file && specimens.len() > 1 {
            return Err(Error::Usage(format!(
                "--out {}: one file for {} genomes; name a folder, or one --class",
                self.out.display(),
                specimens.len()
            )));
        }
        let mut files = Vec::new();
        for (name, specimen) in &specimens {
            let path = if is_file {
                self.out.clone()
            } else {
                let mut name = name.clone().into_os_string();
                name.push(format!(".{}", format.extensions()[0]));
                self.out.join(name)
            };
            if path.exists() && !self.force {
                return Err(Error::Refused(format!("{} is there already; overwrite it with --force", path.display())));
            }
            let text = format.text(specimen).map_err(|reason| {
                Error::Refused(format!("{}: --format {}: {reason}", self.run.display(), name_of(format)))
            })?;
            files.push((path, text));
        }
        if !is_file {
            std::fs::create_dir_all(&self.out).map_err(Error::io("create", &self.out))?;
        }
        for ((path, text), (_, specimen)) in files.iter().zip(&specimens) {
            atomic::write(path, |file| file.write_all(text.as_bytes()))?;
            match &specimen.origin {
                Some(origin) => {
                    let confidence = confidence_text(origin.confidence);
                    info!("class {}, confidence {confidence}: {}", origin.class, path.display());
                }
                None => info!("{}", path.display()),
            }
        }
        Ok(())
    }

    /// The niches to write, ascending.
    fn niches(&self, run: &Elites) -> Result<Vec<usize>> {
        let (option, list) = match &self.classes {
            Some(list) => ("--classes", list.clone()),
            None if self.class.is_empty() => return Ok((0..run.archive.classes.len()).collect()),
            None => ("--class", self.class.join(",")),
        };
        let classes = parse_classes(&list, &run.about.class_names)
            .map_err(|reason| Error::Usage(format!("{option}: {reason}")))?;
        let mut niches = classes.into_iter().map(|class| run.niche(class, option)).collect::<Result<Vec<_>>>()?;
        niches.dedup();
        Ok(niches)
    }
}
