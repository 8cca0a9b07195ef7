//! Gradient ascent in the weights of CPPNs on the CPU: the rules of [`crate::backend::ascent`], images and bands of images in parallel.
//!
//! The network's forward pass and way back are [`InputGradients`]', drawing and its way back
//! [`Gradients`]'; what is between goes pixel by pixel.

use super::ascent::CpuAscent;
use super::backward::InputGradients;
use super::backward::network::TwoWay;
use super::preprocess::byte_of_channel;
use crate::backend::ascent::{Ascent, CppnRule, Seen};
use crate::backend::climber::{Climber, Size};
use crate::error::Result;
use crate::genome::Canvas;
use crate::genome::cppn::{BAND, Canvases, Differentiable, Gradients, Graph, Rules};
use crate::network::{Crop, Network, Shape, crops};
use crate::simd::Simd;
use rayon::prelude::*;
use std::sync::Mutex;

/// CPPNs on their way up on this machine's processor, on rayon's current pool.
pub struct CpuCppnAscent {
    simd: Simd,
    /// For `at_once` crops.
    back: InputGradients,
    at_once: usize,
    eye: Eye,
    rule: CppnRule,
    canvas: Canvases,
    climbers: Vec<Climber>,
    /// The class of each crop of each image.
    classes: Vec<u32>,
    n_classes: usize,
    /// `(images, channels, pixels)`: what is drawn, then what the network tells it.
    drawings: Vec<f32>,
    /// `(images, crops, channels, height, width)` each: what the first layer takes, and the gradients.
    inputs: Vec<f32>,
    gradients: Vec<f32>,
    /// `(images, crops, n_classes)`
    probabilities: Vec<f32>,
    scratch: Mutex<Vec<Gradients>>,
}

impl CpuCppnAscent {
    /// The `graphs`, of `rules`, each for the class of `classes` at its place, on the canvas of what `network` [is
    /// given](Network::given).
    ///
    /// # Errors
    /// Those of [`InputGradients::new`].
    ///
    /// # Panics
    /// If there is not a graph a class, or none, or the network lacks a class, or a graph has not an output a channel.
    pub fn new(
        network: &Network,
        rule: CppnRule,
        rules: &Rules,
        classes: &[u32],
        graphs: Vec<Graph>,
        simd: Simd,
    ) -> Result<CpuCppnAscent> {
        let at_once = CpuAscent::at_once(network, classes.len() * network.n_crops(), simd);
        CpuCppnAscent::in_parts(network, rule, rules, classes, graphs, simd, at_once)
    }

    /// [`CpuCppnAscent::new`] with so many crops in the network at once, which changes no bit.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there; also if `at_once` is 0 or more than there are crops.
    pub fn in_parts(
        network: &Network,
        rule: CppnRule,
        rules: &Rules,
        classes: &[u32],
        graphs: Vec<Graph>,
        simd: Simd,
        at_once: usize,
    ) -> Result<CpuCppnAscent> {
        assert!(!classes.is_empty() && graphs.len() == classes.len(), "a graph a class");
        let (n_classes, n_crops) = (network.classes.len(), network.n_crops());
        let rows = classes.len() * n_crops;
        assert!((1..=rows).contains(&at_once), "a part of the crops");
        assert!(classes.iter().all(|&class| (class as usize) < n_classes), "classes of the network");
        let canvas = Canvas::of(network);
        assert!(graphs.iter().all(|graph| graph.n_outputs == canvas.channels), "an output a channel");
        let climbers = Climber::all(graphs, classes, &rule, rules, simd);
        let values = rows * network.input.len();
        Ok(CpuCppnAscent {
            simd,
            back: InputGradients::new(network, at_once, simd)?,
            at_once,
            eye: Eye::new(network),
            rule,
            canvas: Canvases::new(canvas, rules.normalise),
            climbers,
            classes: classes.iter().flat_map(|&class| std::iter::repeat_n(class, n_crops)).collect(),
            n_classes,
            drawings: vec![0.0; classes.len() * canvas.len()],
            inputs: vec![0.0; values],
            gradients: vec![0.0; values],
            probabilities: vec![0.0; rows * n_classes],
            scratch: Mutex::new(Vec::new()),
        })
    }

    /// The most bytes that the ascent of `graphs` takes on `threads` threads.
    pub fn bytes(network: &Network, graphs: &[Graph], rules: &Rules, simd: Simd, threads: usize) -> u64 {
        let (canvas, n_crops) = (Canvas::of(network), network.n_crops());
        let rows = graphs.len() * n_crops;
        let lanes = CpuAscent::at_once(network, rows, simd).next_multiple_of(simd.width());
        let passing = lanes * CpuAscent::passing_bytes(network) + TwoWay::weight_bytes(network, true);
        let row = (2 * network.input.len() + network.classes.len() + 1) * size_of::<f32>();
        let image = n_crops * row + canvas.len() * size_of::<f32>();
        // Values of the instructions and sums of the terms, those of the largest; each band's gradients of the terms.
        let (mut own, mut largest, mut bands) = (0, (0, 0), 0);
        for Size { bytes, instructions, terms } in Size::all(graphs, rules, simd) {
            own += bytes;
            largest = (largest.0.max(instructions), largest.1.max(terms));
            bands = bands.max(terms * canvas.pixels().div_ceil(BAND) * size_of::<f32>());
        }
        let thread = Gradients::bytes(largest.0, largest.1) + bands;
        let mean = network.input.len() * size_of::<f32>();
        (passing + graphs.len() * image + own + threads * thread + mean + Canvases::bytes(canvas)) as u64
    }
}

impl Ascent for CpuCppnAscent {
    fn describe(&self) -> String {
        format!("cpu, {} threads, {}", rayon::current_num_threads(), self.simd)
    }

    fn step(&mut self, last: bool) -> Result<Vec<Seen>> {
        let CpuCppnAscent {
            simd,
            back,
            at_once,
            eye,
            rule,
            canvas,
            climbers,
            classes,
            n_classes,
            scratch,
            probabilities,
            ..
        } = self;
        let (simd, n_classes, at_once) = (*simd, *n_classes, *at_once);
        let brush = Brush { simd, canvas, scratch };
        let (image_len, row_len) = (canvas.len(), eye.input.len());
        let n_crops = eye.crops.len();
        let images = self.drawings.par_chunks_exact_mut(image_len);
        let images = images.zip(self.inputs.par_chunks_exact_mut(n_crops * row_len)).zip(climbers.par_iter_mut());
        images.with_max_len(1).filter(|(_, climber)| !climber.has_stopped()).for_each(
            |((drawing, inputs), climber)| {
                brush.draw(climber.with_tried(), drawing);
                eye.look(drawing, inputs);
            },
        );
        // The last part ends with the last crop; what it has in common with the one before comes out as it did there.
        let rows = classes.len();
        for first in (0..rows).step_by(at_once).map(|first| first.min(rows - at_once)) {
            let part = first..first + at_once;
            let values = part.start * row_len..part.end * row_len;
            let (inputs, gradients) = (&self.inputs[values.clone()], &mut self.gradients[values]);
            let answers = &mut probabilities[part.start * n_classes..part.end * n_classes];
            back.run(inputs, &classes[part], answers, gradients);
        }
        let images = self.drawings.par_chunks_exact_mut(image_len);
        let images = images.zip(self.gradients.par_chunks_exact(n_crops * row_len));
        let images = images.zip(probabilities.par_chunks_exact(n_crops * n_classes)).zip(climbers.par_iter_mut());
        let seen = images.with_max_len(1).map(|(((pixels, gradients), probabilities), climber)| {
            let mean = |class: usize| crops::mean(probabilities.chunks_exact(n_classes).map(|row| row[class]));
            let best = || {
                let best = (1..n_classes).fold((0, mean(0)), |best, class| {
                    let p = mean(class);
                    if p > best.1 { (class, p) } else { best }
                });
                best.0 as u32
            };
            let p = mean(climber.class());
            climber.step(rule, last, p, best, |drawn| {
                eye.gather(gradients, pixels);
                brush.gene_gradient(drawn, pixels)
            })
        });
        Ok(seen.collect())
    }

    fn images(&mut self) -> Result<Vec<f32>> {
        let CpuCppnAscent { simd, canvas, climbers, scratch, drawings, .. } = self;
        draw_standing(&Brush { simd: *simd, canvas, scratch }, climbers, drawings);
        Ok(drawings.clone())
    }

    fn graphs(&mut self) -> Result<Vec<Graph>> {
        Ok(self.climbers.iter().map(|climber| climber.graph().clone()).collect())
    }
}

/// What `climbers` draw with the genes that stand, `(climbers, channels, pixels)`.
pub fn drawings(simd: Simd, canvas: &Canvases, climbers: &mut [Climber]) -> Vec<f32> {
    let mut drawings = vec![0.0; climbers.len() * canvas.len()];
    draw_standing(&Brush { simd, canvas, scratch: &Mutex::default() }, climbers, &mut drawings);
    drawings
}

fn draw_standing(brush: &Brush, climbers: &mut [Climber], drawings: &mut [f32]) {
    let drawings = drawings.par_chunks_exact_mut(brush.canvas.len());
    drawings.zip(climbers.par_iter_mut()).for_each(|(drawing, climber)| brush.draw(climber.with_standing(), drawing));
}

/// What draws, and goes back through drawings.
struct Brush<'a> {
    simd: Simd,
    canvas: &'a Canvases,
    scratch: &'a Mutex<Vec<Gradients>>,
}

impl Brush<'_> {
    fn with<R>(&self, work: impl FnOnce(&mut Gradients) -> R) -> R {
        let spare = self.scratch.lock().expect("no panic while held").pop();
        let mut own = spare.unwrap_or_default();
        let result = work(&mut own);
        self.scratch.lock().expect("no panic while held").push(own);
        result
    }

    /// Draws all of `graph` on `drawing`, `(channels, pixels)`.
    fn draw(&self, graph: &Differentiable, drawing: &mut [f32]) {
        let n_pixels = self.canvas.band(self.canvas.n_bands() - 1).end;
        let mut channels = drawing.chunks_exact_mut(n_pixels).map(|channel| channel.chunks_mut(BAND));
        let mut channels = [channels.next(), channels.next(), channels.next()];
        let bands: Vec<[&mut [f32]; 3]> = (0..self.canvas.n_bands())
            .map(|_| channels.each_mut().map(|bands| bands.as_mut().and_then(Iterator::next).unwrap_or_default()))
            .collect();
        bands.into_par_iter().enumerate().for_each(|(band, drawing)| {
            self.with(|own| own.draw(self.simd, self.canvas, graph, band, drawing));
        });
    }

    /// What `gradient`, of the pixels, tells the genes of `graph`.
    fn gene_gradient(&self, graph: &Differentiable, gradient: &[f32]) -> Vec<f32> {
        if graph.n_terms() == 0 {
            return graph.gene_gradient(&[]);
        }
        let mut bands = vec![0.0; self.canvas.n_bands() * graph.n_terms()];
        bands.par_chunks_exact_mut(graph.n_terms()).enumerate().for_each(|(band, terms)| {
            self.with(|own| own.differentiate(self.simd, self.canvas, graph, band, gradient, terms));
        });
        graph.gene_gradient(&bands)
    }
}

/// What a network sees of a drawing.
#[derive(Clone, Debug)]
struct Eye {
    /// Of a drawing, and of what the network sees.
    canvas: Canvas,
    input: Shape,
    crops: Vec<Crop>,
    /// For each of the network's channels the drawing's.
    channels: Vec<usize>,
    /// `(channels, height, width)`, or empty.
    mean: Vec<f32>,
    scale: [f32; 3],
}

impl Eye {
    fn new(network: &Network) -> Eye {
        let (input, preprocess) = (network.input, &network.preprocess);
        let channel = |channel| byte_of_channel(preprocess.channel_order, channel, input.channels);
        Eye {
            canvas: Canvas::of(network),
            input,
            crops: if network.crops.is_empty() { vec![Crop::default()] } else { network.crops.clone() },
            channels: (0..input.channels).map(channel).collect(),
            mean: preprocess.mean.clone(),
            scale: preprocess.scale,
        }
    }

    /// Where the drawing has the pixels of row `y` of `channel` of `crop`, first to last, unless it is mirrored.
    fn row(&self, crop: Crop, channel: usize, y: usize) -> std::ops::Range<usize> {
        let start = (self.channels[channel] * self.canvas.height + crop.y + y) * self.canvas.width + crop.x;
        start..start + self.input.width
    }

    /// Point 1 of the rules: `inputs`, `(crops, channels, height, width)`, of `drawing`, `(channels, pixels)`.
    fn look(&self, drawing: &[f32], inputs: &mut [f32]) {
        let Shape { channels, height, width } = self.input;
        for (&crop, input) in self.crops.iter().zip(inputs.chunks_exact_mut(self.input.len())) {
            for (at, values) in input.chunks_exact_mut(width).enumerate() {
                let (channel, y) = (at / height, at % height);
                debug_assert!(channel < channels);
                values.copy_from_slice(&drawing[self.row(crop, channel, y)]);
                if crop.mirror {
                    values.reverse();
                }
                let scale = self.scale[channel];
                match self.mean.get(at * width..(at + 1) * width) {
                    Some(mean) => values.iter_mut().zip(mean).for_each(|(v, mean)| *v = (*v - mean) * scale),
                    None => values.iter_mut().for_each(|v| *v *= scale),
                }
            }
        }
    }

    /// The way back: `pixels`, `(channels, pixels)`, from `gradients` of the inputs.
    fn gather(&self, gradients: &[f32], pixels: &mut [f32]) {
        let Shape { height, width, .. } = self.input;
        pixels.fill(0.0);
        for (&crop, gradient) in self.crops.iter().zip(gradients.chunks_exact(self.input.len())) {
            for (at, values) in gradient.chunks_exact(width).enumerate() {
                let (channel, y) = (at / height, at % height);
                let (sums, scale) = (&mut pixels[self.row(crop, channel, y)], self.scale[channel]);
                let add = |(sum, &g): (&mut f32, &f32)| *sum = g.mul_add(scale, *sum);
                if crop.mirror {
                    sums.iter_mut().zip(values.iter().rev()).for_each(add);
                } else {
                    sums.iter_mut().zip(values).for_each(add);
                }
            }
        }
        if self.crops.len() > 1 {
            pixels.iter_mut().for_each(|sum| *sum /= self.crops.len() as f32);
        }
    }
}
