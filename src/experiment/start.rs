//! Genomes that a run starts from: the first candidates of its generation 0. The others are random, each the one that it is without them.

use super::config::{Config, name_of};
use super::specimens::read_all;
use crate::error::{Error, Result};
use crate::genome::cppn::{Edge, Graph};
use crate::genome::exchange::{Settings, Specimen};
use crate::genome::{Canvas, Encoding, Genome};
use crate::output::start_file;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a configuration says of the genomes that its runs start from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartedFrom {
    pub genomes: u32,
    /// Of how many there are, and of each in order: 0, the number of its genes and their bits, or 1 and the words of
    /// [`Graph::words`]; all as little-endian u32. Hexadecimal.
    pub sha256: String,
}

/// Genomes to start from, in the order of their candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    specimens: Vec<Specimen>,
    /// Where each comes from, for people.
    labels: Vec<String>,
}

impl Start {
    /// Those of `paths`, one after the other: see [`read_all`].
    ///
    /// # Errors
    /// As [`read_all`].
    pub fn read(paths: &[PathBuf]) -> Result<Start> {
        let (mut specimens, mut labels) = (Vec::new(), Vec::new());
        for path in paths {
            for (at, specimen) in read_all(path)?.into_iter().enumerate() {
                labels.push(if path.is_file() {
                    path.display().to_string()
                } else {
                    format!("{}#{at}", path.display())
                });
                specimens.push(specimen);
            }
        }
        Ok(Start { specimens, labels })
    }

    /// Those of the file `path`, which must be the ones that `wanted` says.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::File`] if they are others.
    pub fn read_file(path: &Path, wanted: &StartedFrom) -> Result<Start> {
        let specimens = start_file::read(path)?;
        let labels = (0..specimens.len()).map(|at| format!("{}#{at}", path.display())).collect();
        let start = Start { specimens, labels };
        if start.record() != *wanted {
            return Err(Error::file(
                path,
                "holds other genomes than those that the runs start from; start again in another folder",
            ));
        }
        Ok(start)
    }

    /// Writes the file `path`, atomically.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_file(&self, path: &Path) -> Result<()> {
        start_file::write(path, &self.specimens)
    }

    /// What a configuration says of them.
    pub fn record(&self) -> StartedFrom {
        let mut digest = Sha256::new();
        let mut word = |word: u32| digest.update(word.to_le_bytes());
        word(self.specimens.len() as u32);
        for specimen in &self.specimens {
            match &specimen.genome {
                Genome::Direct(genes) => {
                    word(0);
                    word(genes.len() as u32);
                    genes.iter().for_each(|gene| word(gene.to_bits()));
                }
                Genome::Cppn(graph) => {
                    word(1);
                    graph.words(&mut word);
                }
            }
        }
        let sha256 = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        StartedFrom { genomes: self.specimens.len() as u32, sha256 }
    }

    /// The genomes, by candidate.
    pub fn genomes(&self) -> Arc<[Genome]> {
        self.specimens.iter().map(|specimen| specimen.genome.clone()).collect()
    }

    /// Bytes that they take: as read, and as a backend has them.
    pub fn bytes(&self) -> u64 {
        let of = |specimen: &Specimen| match &specimen.genome {
            Genome::Direct(genes) => genes.len() * size_of::<f32>(),
            Genome::Cppn(graph) => graph.n_nodes() + graph.edges.len() * size_of::<Edge>(),
        };
        self.specimens.iter().map(|specimen| 2 * (of(specimen) + size_of::<Specimen>()) as u64).sum()
    }

    /// Whether runs of `config` that draw on `canvas` can start from them.
    ///
    /// # Errors
    /// [`Error::Refused`], naming the first genome that cannot be one of theirs, and why; or that there are more than candidates.
    pub fn check(&self, config: &Config, canvas: Canvas) -> Result<()> {
        let (n, batch) = (self.specimens.len(), config.batch as usize);
        if n > batch {
            return Err(Error::Refused(format!(
                "--start: {n} genomes, a generation has {batch} candidates; raise --batch to {}, or start from fewer (`pareidolia export RUN \
                 --classes LIST --out FOLDER`, then --start FOLDER)",
                n.next_multiple_of(2)
            )));
        }
        let encoding = config.encoding();
        for (specimen, label) in self.specimens.iter().zip(&self.labels) {
            let refused = |why: String| Err(Error::Refused(format!("--start: {label}: {why}")));
            let Canvas { height, width, channels } = specimen.canvas;
            let preset = name_of(config.preset);
            let rules = match (&specimen.genome, &encoding) {
                (Genome::Direct(_), Encoding::Direct(_)) => None,
                (Genome::Cppn(_), Encoding::Cppn(rules)) => Some(rules),
                (Genome::Direct(_), _) => return refused(format!("is a direct genome, {preset} evolves CPPNs")),
                (Genome::Cppn(_), _) => return refused(format!("is a CPPN, {preset} evolves direct genomes")),
            };
            if channels != canvas.channels {
                let colours = |channels| if channels == 1 { "grey" } else { "colour" };
                return refused(format!("draws in {}, {preset} in {}", colours(channels), colours(canvas.channels)));
            }
            let is_other_size = (height, width) != (canvas.height, canvas.width);
            let (Some(rules), Genome::Cppn(graph), Some(own)) = (rules, &specimen.genome, specimen.settings) else {
                if is_other_size {
                    return refused(format!(
                        "is of {width}x{height} pixels, the run draws {}x{}: a direct genome has a size of its own",
                        canvas.width, canvas.height
                    ));
                }
                continue;
            };
            let Graph { edges, .. } = graph;
            for (what, got, most) in
                [("nodes", graph.n_nodes(), rules.max_nodes), ("edges", edges.len(), rules.max_edges)]
            {
                if got > most as usize {
                    return refused(format!(
                        "has {got} {what}, the run has room for {most}; --set cppn.max_{what}={got}"
                    ));
                }
            }
            let Settings { normalise, max_weight } = Settings::from(rules);
            if own.normalise != normalise {
                return refused(format!(
                    "was drawn with cppn.normalise={}, the run has {normalise} and would draw another picture; --set cppn.normalise={}",
                    own.normalise, own.normalise
                ));
            }
            if own.max_weight != max_weight {
                return refused(format!(
                    "was drawn with cppn.max_weight={}, the run has {max_weight} and would draw another picture; --set cppn.max_weight={}",
                    own.max_weight, own.max_weight
                ));
            }
            if is_other_size {
                tracing::warn!(
                    "--start: {label}: was drawn on {width}x{height} pixels, the run draws {}x{}: the same function, seen at other points",
                    canvas.width,
                    canvas.height
                );
            }
        }
        Ok(())
    }
}
