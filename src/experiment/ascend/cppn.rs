//! Ascent in the weights of CPPNs: where they start, on which canvas, and the archive that they leave.

use super::Climber;
use super::config::Config;
use crate::archive::{Archive, Elite, content_hash};
use crate::error::{Error, Result};
use crate::genome::cppn::{Compiler, Graph, InputPlanes, Renderer, Rules, Scratch};
use crate::genome::{Canvas, Encoding, Genome};
use crate::network::{Crops, Network};
use crate::output::{About, archive_file, run_folder};
use crate::rng::Philox;
use crate::simd::Simd;
use rayon::prelude::*;
use std::sync::Arc;

/// CPPNs before their first step.
pub struct Starts {
    pub climbers: Vec<Climber>,
    /// One a climber.
    pub graphs: Vec<Graph>,
    pub rules: Rules,
    pub crops: Crops,
}

impl Starts {
    /// Those of `config` against `network`, and the network as they are shown to it: with the crops that it judges.
    ///
    /// # Errors
    /// [`Error::Usage`] for a class that the network or the run has not, or crops that the network has not; what keeps the archive
    /// of a run from being read; [`Error::File`] if its elites are no CPPNs, or of another size than the network's images.
    pub fn new(config: &Config, network: Network) -> Result<(Starts, Network)> {
        let asked = config.crops.map(|count| Crops::of(count).expect("KEYS lists the counts"));
        let Some(run) = &config.from else {
            let (rules, crops) = (Rules::modern(), asked.unwrap_or(Crops::One));
            let network = network.judging(crops)?;
            let climbers = super::climbers(config, &network)?;
            let channels = Canvas::of(&network).channels;
            let (growth, spread) = (config.growth.expect("without a run"), config.spread.expect("without a run"));
            let graphs = climbers.iter().map(|climber| random(channels, &rules, climber.seed, growth, spread));
            return Ok((Starts { graphs: graphs.collect(), climbers, rules, crops }, network));
        };
        let path = run_folder::archive_of(run);
        let (archive, about) = archive_file::read(&path)?;
        let Encoding::Cppn(rules) = about.encoding else {
            let reason =
                "its elites are lists of pixels, whose ascent is that of the other presets; --from wants CPPNs";
            return Err(Error::file(&path, reason));
        };
        let crops = asked.unwrap_or(if network.image == network.input { Crops::One } else { about.crops });
        let network = network.judging(crops)?;
        let (has, wants) = (about.canvas, Canvas::of(&network));
        if has != wants {
            let text = |canvas: Canvas| {
                let Canvas { height, width, channels } = canvas;
                format!("{width}x{height} in {}", if channels == 1 { "grey" } else { "colour" })
            };
            let (has, wants, name) = (text(has), text(wants), &network.name);
            return Err(Error::file(&path, format!("its images are {has}, those of the network {name:?} {wants}")));
        }
        let classes = match &config.classes[..] {
            [] => Config { classes: archive.classes.clone(), ..config.clone() }.classes_of(&network)?,
            _ => config.classes_of(&network)?,
        };
        let elite = |&class: &u32| {
            let niche = archive.classes.iter().position(|&niche| niche == class).ok_or_else(|| {
                let there: Vec<String> = archive.classes.iter().map(u32::to_string).collect();
                Error::Usage(format!("classes: got {class}, {} has only {}", run.display(), there.join(", ")))
            })?;
            Ok(archive.elites[niche].genome.graph().expect("an archive of CPPNs").clone())
        };
        let graphs = classes.iter().map(elite).collect::<Result<_>>()?;
        let climbers = classes.iter().map(|&class| Climber { class, seed: 0 }).collect();
        Ok((Starts { climbers, graphs, rules, crops }, network))
    }

    /// The ordinary drawings of `graphs`, `(graphs, height, width, channels)`.
    pub fn draw(&self, simd: Simd, canvas: Canvas, graphs: &[Graph]) -> Vec<u8> {
        let planes = InputPlanes::new(canvas, self.rules.normalise);
        let mut images = vec![0; graphs.len() * canvas.len()];
        images.par_chunks_exact_mut(canvas.len()).zip(graphs).for_each_init(Default::default, |own, (image, graph)| {
            let (compiler, renderer): &mut (Compiler, Renderer) = own;
            renderer.render(simd, &planes, compiler.compile(simd, graph, self.rules.max_weight), image);
        });
        images
    }

    /// The archive of `graphs`, with what the network says of their `images` in `answers`: of each class the graph whose image has the
    /// highest confidence, of equals the first. It is of generation 0, and a graph born as the candidate of its number.
    pub fn archive(
        &self,
        network: &Network,
        graphs: &[Graph],
        images: &[u8],
        answers: &[Vec<f32>],
    ) -> (Archive, About) {
        let canvas = Canvas::of(network);
        let mut archive = Archive { generation: 0, classes: Vec::new(), elites: Vec::new() };
        let mut best: Vec<(u32, usize)> = Vec::new();
        for (at, climber) in self.climbers.iter().enumerate() {
            let class = climber.class;
            match best.last_mut() {
                Some((last, one)) if *last == class => {
                    if answers[at][class as usize] > answers[*one][class as usize] {
                        *one = at;
                    }
                }
                _ => best.push((class, at)),
            }
        }
        for (class, at) in best {
            let image = images[at * canvas.len()..][..canvas.len()].to_vec();
            let (probabilities, genome) = (answers[at].clone(), Genome::Cppn(graphs[at].clone()));
            let content_hash = content_hash(&probabilities, &image, &genome);
            archive.classes.push(class);
            archive.elites.push(Arc::new(Elite { probabilities, image, genome, born: (0, at as u32), content_hash }));
        }
        let encoding = Encoding::Cppn(self.rules.clone());
        (archive, About { canvas, encoding, crops: self.crops, class_names: network.classes.clone() })
    }
}

/// The random graph of `seed`: that of candidate 0 of an evolution of this seed in generation 0, then in generations 1 to `growth` an
/// edge more each and one that is split, by the operators of an evolution in their order, then every gene
/// `fma(spread, gene - 0.5, 0.5)` in f32: weights are of that share of their range.
pub fn random(channels: usize, rules: &Rules, seed: u64, growth: u32, spread: f64) -> Graph {
    let philox = Philox::new(seed);
    let mut graph = Graph::random(channels, &philox, 0);
    let growing = Rules {
        weight_rate: 0.0,
        activation_rate: 0.0,
        add_edge_rate: 1.0,
        delete_edge_rate: 0.0,
        split_edge_rate: 1.0,
        delete_node_rate: 0.0,
        ..rules.clone()
    };
    let mut scratch = Scratch::default();
    for generation in 1..=growth {
        graph.vary(&growing, &philox, 0, generation, &mut scratch);
    }
    for edge in &mut graph.edges {
        edge.gene = (spread as f32).mul_add(edge.gene - 0.5, 0.5);
    }
    graph
}
