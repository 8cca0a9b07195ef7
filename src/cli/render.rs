//! `pareidolia render`: elites drawn again, at any size.

use super::Speed;
use crate::error::{Error, Result};
use crate::experiment::config::parse_classes;
use crate::experiment::render::Drawing;
use crate::experiment::specimens::{Contents, as_elite};
use crate::output::{confidence_text, pictures};
use std::path::{Path, PathBuf};
use tracing::info;

/// Draw elites of a run at any size
///
/// A CPPN draws at every scale: the picture is sharp at any size, and shows between the pixels what the network never saw.
/// Of a directly encoded image each pixel becomes a rectangle. At the run's own size both are exactly what was scored.
///
/// Large pictures are drawn in bands, so that 16384 pixels a side take little memory.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run's folder, its archive.safetensors or its checkpoint; or a genome in JSON, as `export` writes it
    #[arg(value_name = "RUN")]
    run: PathBuf,

    /// Classes to draw: numbers, ranges or names, such as `3,5-7`; a run needs this or --all
    #[arg(long, value_name = "LIST", conflicts_with = "all")]
    class: Option<String>,

    /// Draw every class
    #[arg(long)]
    all: bool,

    /// Width and height in pixels: `512` or `640x480`
    #[arg(long, value_name = "WxH", default_value = "512", value_parser = size)]
    size: (usize, usize),

    /// The picture to write (.png); for several classes, the folder to put them in, named as in the run's elites
    #[arg(long, value_name = "PATH")]
    out: PathBuf,

    /// Overwrite pictures that are there
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    speed: Speed,
}

impl Args {
    /// Draws.
    ///
    /// # Errors
    /// [`Error::Usage`] for a class that the run has not; whatever kept the archive from being read or a picture from
    /// being written.
    pub fn run(self) -> Result<()> {
        let (width, height) = self.size;
        let refuse_there = |path: &Path| match path.exists() && !self.force {
            true => Err(Error::Refused(format!("{} is there already; overwrite it with --force", path.display()))),
            false => Ok(()),
        };
        if self.class.is_none() && !self.all && !self.run.is_file() {
            return Err(no_classes());
        }
        let contents = Contents::read(&self.run)?;
        // A genome by itself is drawn as an elite is.
        let alone;
        let mut drawings = Vec::new();
        match &contents {
            Contents::Genome(specimen) => {
                if self.class.is_some() || self.all {
                    let run = self.run.display();
                    return Err(Error::Usage(format!("{run}: is one genome and no run; leave --class and --all out")));
                }
                let name = self.run.file_stem().unwrap_or_default();
                let file = || PathBuf::from(name).into_os_string().into_string().map(|name| name + ".png");
                let path = match (self.is_picture(), file()) {
                    (true, _) => self.out.clone(),
                    (false, Ok(file)) => self.out.join(file),
                    (false, Err(_)) => return Err(Error::Usage("--out: wanted a picture (.png)".into())),
                };
                refuse_there(&path)?;
                let label = specimen.title();
                alone = as_elite(specimen, self.speed.simd);
                drawings.push((label, path, Drawing::new(&alone.0, &alone.1, height, width, self.speed.simd)?));
            }
            Contents::Run(run) => {
                let (archive, about) = (&run.archive, &run.about);
                let wanted = match &self.class {
                    Some(list) => parse_classes(list, &about.class_names)
                        .map_err(|reason| Error::Usage(format!("--class: {reason}")))?,
                    None if self.all => archive.classes.clone(),
                    None => return Err(no_classes()),
                };
                for class in wanted {
                    let elite = &archive.elites[run.niche(class, "--class")?];
                    let confidence = elite.probabilities[class as usize];
                    let path = if self.class.is_some() && self.is_picture() {
                        self.out.clone()
                    } else {
                        let name = &about.class_names[class as usize];
                        let file =
                            PathBuf::from(pictures::elite_file(class, about.class_names.len(), name, confidence));
                        self.out.join(file.file_name().expect("an elite's picture has a name"))
                    };
                    refuse_there(&path)?;
                    let label = format!("class {class}, confidence {}", confidence_text(confidence));
                    drawings.push((label, path, Drawing::new(about, elite, height, width, self.speed.simd)?));
                }
            }
        }
        if self.is_picture() && drawings.len() > 1 {
            let reason =
                format!("--out {}: one picture for {} classes; name a folder", self.out.display(), drawings.len());
            return Err(Error::Usage(reason));
        }
        if !self.is_picture() {
            std::fs::create_dir_all(&self.out).map_err(Error::io("create", &self.out))?;
        }
        let pool = self.speed.pool()?;
        for (label, path, drawing) in drawings {
            pool.install(|| drawing.write_png(&path))?;
            info!("{label}: {}", path.display());
        }
        Ok(())
    }

    /// Whether `--out` names a picture; otherwise it names a folder.
    fn is_picture(&self) -> bool {
        self.out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"))
    }
}

/// What is wrong with a call that draws a run, but not which classes.
fn no_classes() -> Error {
    Error::Usage("wanted the classes to draw: --class LIST, or --all".into())
}

/// Reads `512` or `640x480`.
fn size(text: &str) -> Result<(usize, usize), String> {
    let (width, height) = text.split_once('x').unwrap_or((text, text));
    match (width.parse(), height.parse()) {
        (Ok(width), Ok(height)) => Ok((width, height)),
        _ => Err("wanted pixels a side such as 512, or WIDTHxHEIGHT such as 640x480".into()),
    }
}
