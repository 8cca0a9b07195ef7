//! `pareidolia render`: elites drawn again, at any size.

use super::Speed;
use crate::error::{Error, Result};
use crate::experiment::config::parse_classes;
use crate::experiment::render::Drawing;
use crate::output::{archive_file, confidence_text, pictures, run_folder};
use std::path::PathBuf;
use tracing::info;

/// Draw elites of a run at any size
///
/// A CPPN draws at every scale: the picture is sharp at any size, and shows between the pixels what the network never saw.
/// Of a directly encoded image each pixel becomes a rectangle. At the run's own size both are exactly what was scored.
///
/// Large pictures are drawn in bands, so that 16384 pixels a side take little memory.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run's folder, or its archive.safetensors
    #[arg(value_name = "RUN")]
    run: PathBuf,

    /// Classes to draw: numbers, ranges or names, such as `3,5-7`
    #[arg(long, value_name = "LIST", required_unless_present = "all", conflicts_with = "all")]
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
        let (archive, about) = archive_file::read(&run_folder::archive_of(&self.run))?;
        let wanted = match &self.class {
            Some(list) => {
                parse_classes(list, &about.class_names).map_err(|reason| Error::Usage(format!("--class: {reason}")))?
            }
            None => archive.classes.clone(),
        };
        let (width, height) = self.size;
        let mut drawings = Vec::new();
        for class in wanted {
            let niche = archive.classes.iter().position(|&niche| niche == class).ok_or_else(|| {
                let classes: Vec<String> = archive.classes.iter().map(u32::to_string).collect();
                Error::Usage(format!("--class: the run has no class {class}, only {}", classes.join(", ")))
            })?;
            let elite = &archive.elites[niche];
            let confidence = elite.probabilities[class as usize];
            let path = if self.class.is_some() && self.is_picture() {
                self.out.clone()
            } else {
                let name = &about.class_names[class as usize];
                let file = PathBuf::from(pictures::elite_file(class, about.class_names.len(), name, confidence));
                self.out.join(file.file_name().expect("an elite's picture has a name"))
            };
            if path.exists() && !self.force {
                return Err(Error::Refused(format!("{} is there already; overwrite it with --force", path.display())));
            }
            drawings.push((class, confidence, path, Drawing::new(&about, elite, height, width, self.speed.simd)?));
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
        for (class, confidence, path, drawing) in drawings {
            pool.install(|| drawing.write_png(&path))?;
            info!("class {class}, confidence {}: {}", confidence_text(confidence), path.display());
        }
        Ok(())
    }

    /// Whether `--out` names a picture; otherwise it names a folder.
    fn is_picture(&self) -> bool {
        self.out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"))
    }
}

/// Reads `512` or `640x480`.
fn size(text: &str) -> Result<(usize, usize), String> {
    let (width, height) = text.split_once('x').unwrap_or((text, text));
    match (width.parse(), height.parse()) {
        (Ok(width), Ok(height)) => Ok((width, height)),
        _ => Err("wanted pixels a side such as 512, or WIDTHxHEIGHT such as 640x480".into()),
    }
}
