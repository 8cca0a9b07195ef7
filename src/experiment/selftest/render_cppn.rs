//! render_cppn: the images of `cppn::{Compiler, Renderer}`.

use super::cases::Extent;
use super::compile_cppn::HostPrograms;
use super::gpu::Gpu;
use super::graphs::{chain, chaotic, drifted, grown, late, odd, shuffled};
use super::tally::Tally;
use crate::backend::cuda::params::CppnRules;
use crate::backend::cuda::render_cppn::upload_planes;
use crate::error::Result;
use crate::genome::Canvas;
use crate::genome::cppn::{Compiler, Graph, InputPlanes, Renderer, Rules};
use crate::simd::Simd;

/// A byte that stands where no pixel was written.
const GUARD: u8 = 0xa5;

/// Genomes, and how they are drawn.
#[derive(Clone, Debug)]
pub struct Drawing {
    pub rules: Rules,
    pub canvas: Canvas,
    pub graphs: Vec<Graph>,
}

impl Drawing {
    /// The images of all genomes on the host.
    pub fn on_host(&self, simd: Simd) -> Vec<u8> {
        let planes = InputPlanes::new(self.canvas, self.rules.normalise);
        let (mut compiler, mut renderer) = (Compiler::default(), Renderer::default());
        let mut images = vec![0; self.graphs.len() * self.canvas.len()];
        for (graph, image) in self.graphs.iter().zip(images.chunks_exact_mut(self.canvas.len())) {
            renderer.render(simd, &planes, compiler.compile(simd, graph, self.rules.max_weight), image);
        }
        images
    }

    /// What it is called.
    pub fn name(&self) -> String {
        format!("{} genomes, {:?}, {:?}", self.graphs.len(), self.canvas, self.rules)
    }
}

/// Compares the images on both sides. The device draws programs that the host has made for it.
///
/// # Errors
/// The driver's, and those of [`HostPrograms::upload`].
pub fn compare(gpu: &Gpu, tally: &mut Tally, drawing: &Drawing) -> Result<()> {
    let Drawing { rules, canvas, graphs } = drawing;
    tally.case(graphs.len(), drawing.name());
    let want = drawing.on_host(Simd::detect());
    let crossing = CppnRules::new(rules, canvas.channels);
    let programs = HostPrograms::new(rules, graphs).upload(gpu, &crossing)?;
    let planes = upload_planes(gpu.launcher, &InputPlanes::new(*canvas, rules.normalise))?;
    let mut images = gpu.guarded(want.len(), GUARD)?;
    gpu.timed(tally, |launcher| launcher.render_cppn(&mut images, &programs, &planes, &crossing, graphs.len() as u32))?;
    let got = gpu.read(tally, "the images", &images, want.len(), GUARD)?;
    let images = want.chunks(canvas.len()).zip(got.chunks(canvas.len()));
    for (at, (want, got)) in images.enumerate() {
        tally.same(&format!("the image of genome {at}"), want, got);
    }
    Ok(())
}

/// A size of images.
pub const fn canvas(height: usize, width: usize, channels: usize) -> Canvas {
    Canvas { height, width, channels }
}

/// All that is drawn; MNIST's images come last.
pub fn drawings(extent: Extent) -> Vec<Drawing> {
    [both_flavours(extent), oddities(extent), long(extent), ordinary(extent)].concat()
}

/// Genomes of all ages, for images round a row of 32 pixels and a warp's five, and the 800 of a block.
fn ordinary(extent: Extent) -> Vec<Drawing> {
    let grey =
        [(1, 1), (5, 3), (1, 31), (4, 8), (3, 11), (1, 159), (10, 16), (7, 23), (31, 28), (25, 32), (3, 267), (28, 28)];
    let colour = [(1, 1), (2, 5), (9, 7), (31, 17)];
    let n = extent.number(4, 24, 60);
    let mut drawings = vec![Drawing { rules: Rules::faithful(), canvas: canvas(28, 28, 1), graphs: Vec::new() }];
    for rules in [Rules::faithful(), Rules::modern()] {
        let (greys, colours) = (drifted(&rules, 1, n), drifted(&rules, 3, n));
        let draw = |graphs: &[Graph], canvas| Drawing { rules: rules.clone(), canvas, graphs: graphs.to_vec() };
        drawings.extend(extent.of(colour.into(), 1, 4).into_iter().map(|(h, w)| draw(&colours, canvas(h, w, 3))));
        drawings.extend(extent.of(grey.into(), 1, 12).into_iter().map(|(h, w)| draw(&greys, canvas(h, w, 1))));
    }
    drawings
}

/// Small images of many genomes, some of which are cut off.
fn both_flavours(extent: Extent) -> Vec<Drawing> {
    let mut drawings = Vec::new();
    for (canvas, n) in [(canvas(3, 5, 1), extent.number(6, 200, 600)), (canvas(2, 4, 3), extent.number(3, 100, 300))] {
        for rules in [Rules::faithful(), Rules::modern()] {
            drawings.push(Drawing { graphs: drifted(&rules, canvas.channels, n), rules, canvas });
        }
    }
    drawings
}

/// What is cut off, doubled or dead; chains that no input feeds, cut off at every step; edges in any order.
fn oddities(extent: Extent) -> Vec<Drawing> {
    let graphs = extent.of(odd(), 6, usize::MAX);
    let shuffles: Vec<Graph> = graphs.iter().map(|graph| shuffled(graph, 4)).collect();
    let mut orphans = Vec::new();
    for n_orphans in [1, 2, 5, 6, 7, 20, 40] {
        for fed in [1, 2, 4, 5, 6, 19] {
            for more in [0, 1, 3] {
                let graph = late(n_orphans, fed, more);
                orphans.push(shuffled(&graph, 1));
                orphans.push(graph);
            }
        }
    }
    let orphans = extent.of(orphans, 6, usize::MAX);
    let mut drawings = vec![Drawing { rules: Rules::modern(), canvas: canvas(3, 13, 1), graphs: orphans }];
    for rules in [Rules::faithful(), Rules::modern()] {
        for graphs in [&graphs, &shuffles] {
            drawings.push(Drawing { rules: rules.clone(), canvas: canvas(7, 9, 1), graphs: graphs.clone() });
        }
    }
    drawings
}

/// Chains of any length up to capacity, a capacity that asks for more shared memory than a kernel has without asking (48 KiB),
/// and large images in colour.
fn long(extent: Extent) -> Vec<Drawing> {
    // Round the lengths at which a block's shared memory holds one row or warp less, and one where rows go one by one.
    let lengths = (0..=24).chain([33, 34, 35, 47, 65, 66, 67, 68, 69, 70, 71, 86, 110, 170, 250, 251]);
    let chains: Vec<Graph> = extent.of(lengths.collect(), 3, usize::MAX).into_iter().map(|n| chain(n, 1)).collect();
    let shuffles: Vec<Graph> = chains.iter().map(|graph| shuffled(graph, 2)).collect();
    let mut drawings = vec![
        Drawing { rules: Rules::faithful(), canvas: canvas(28, 28, 1), graphs: chains },
        Drawing { rules: Rules::modern(), canvas: canvas(28, 28, 1), graphs: shuffles },
    ];
    if extent == Extent::Quick {
        return drawings;
    }
    let rules = Rules::faithful();
    drawings.push(Drawing {
        rules: Rules::modern(),
        canvas: canvas(20, 20, 3),
        graphs: [0, 1, 12, 13, 249].map(|n| chain(n, 3)).into(),
    });
    drawings.push(Drawing {
        rules: Rules { max_nodes: 700, max_edges: 1500, ..Rules::faithful() },
        canvas: canvas(6, 7, 1),
        graphs: [chain(10, 1), chain(694, 1), chain(300, 1), late(300, 20, 2)].into(),
    });
    drawings.push(Drawing {
        canvas: canvas(256, 256, 3),
        graphs: vec![grown(&rules, 3, 4, 40), grown(&rules, 3, 5, 25)],
        rules,
    });
    drawings
}

/// Images in which a difference of rounding shows.
pub fn chaos() -> [Drawing; 2] {
    [Rules::modern(), Rules::faithful()].map(|rules| Drawing {
        rules,
        canvas: canvas(28, 28, 1),
        graphs: (1..=12).map(chaotic).collect(),
    })
}

/// The images of all [`drawings`], and of [`chaos`].
///
/// # Errors
/// Those of [`compare`].
pub fn render_cppn(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    drawings(extent).iter().chain(&chaos()).try_for_each(|drawing| compare(gpu, tally, drawing))
}
