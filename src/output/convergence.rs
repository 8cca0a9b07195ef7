//! `convergence.png`: how the confidences of a run grew.

use crate::genome::Canvas;
use crate::output::contact_sheet::{SUBTITLE, TITLE, subtitle, title};
use crate::output::font::{Style, Weight};
use crate::output::{Image, Manifest, Metrics};
use plotters::coord::Shift;
use plotters::prelude::*;

pub(super) const WIDTH: usize = 1200;
pub(super) const HEIGHT: usize = 860;

/// Lines are drawn this many times as large and then averaged, which makes them smooth.
pub(super) const FINE: usize = 3;

const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GRID: RGBColor = RGBColor(0xe2, 0xe2, 0xe2);
pub(super) const MEDIAN: RGBColor = RGBColor(0x1b, 0x4f, 0x8c);
pub(super) const MEAN: RGBColor = RGBColor(0xd0, 0x5a, 0x1e);
/// What [`BAND_STRENGTH`] of [`MEDIAN`] looks like on white.
pub(super) const BAND: RGBColor = RGBColor(0xdf, 0xe6, 0xef);
const BAND_STRENGTH: f64 = 0.14;
pub(super) const OVER_99: RGBColor = RGBColor(0xa9, 0xc0, 0xdc);
const OVER_999: RGBColor = RGBColor(0x5f, 0x8a, 0xbd);
const OVER_9999: RGBColor = MEDIAN;

const TICK: Style = Style { size: 16.0, weight: Weight::Regular, colour: [0x22, 0x22, 0x22] };
pub(super) const HEADING: Style = Style { size: 18.0, weight: Weight::Bold, colour: [0x22, 0x22, 0x22] };

/// The part of the picture within a pair of axes, which start at 0. Lengths in pixels.
pub(super) struct Panel {
    pub top: usize,
    pub height: usize,
    pub x_end: f64,
    pub y_end: f64,
}

impl Panel {
    pub const LEFT: usize = 140;
    pub const WIDTH: usize = WIDTH - Panel::LEFT - 44;

    /// Draws grid and axes; series can then be drawn on what is returned.
    pub fn chart<'a>(
        &self,
        root: &DrawingArea<BitMapBackend<'a>, Shift>,
        x_ticks: &[f64],
        y_ticks: &[f64],
    ) -> Drawn<Chart<'a>> {
        let bottom = HEIGHT - self.top - self.height;
        let [top, bottom, left, right] =
            [self.top, bottom, Panel::LEFT, WIDTH - Panel::LEFT - Panel::WIDTH].map(|length| (length * FINE) as u32);
        let area = root.margin(top, bottom, left, right);
        let mut chart = ChartBuilder::on(&area).build_cartesian_2d(0.0..self.x_end, 0.0..self.y_end)?;
        let line = |ends: [(f64, f64); 2], colour: RGBColor| PathElement::new(ends, colour.stroke_width(FINE as u32));
        chart.draw_series(x_ticks.iter().map(|&x| line([(x, 0.0), (x, self.y_end)], GRID)))?;
        chart.draw_series(y_ticks.iter().map(|&y| line([(0.0, y), (self.x_end, y)], GRID)))?;
        let axes = [[(0.0, 0.0), (0.0, self.y_end)], [(0.0, 0.0), (self.x_end, 0.0)]];
        chart.draw_series(axes.map(|ends| line(ends, INK)))?;
        Ok(chart)
    }

    /// Writes the labels of ticks beside the axes.
    pub fn label(&self, image: &mut Image, x_ticks: &[(f64, String)], y_ticks: &[(f64, String)]) {
        let (left, bottom) = (Panel::LEFT as f32, (self.top + self.height) as f32);
        for (x, text) in x_ticks {
            let centre = left + (x / self.x_end) as f32 * Panel::WIDTH as f32;
            TICK.draw(image, centre - TICK.width(text) / 2.0, bottom + 22.0, text);
        }
        for (y, text) in y_ticks {
            let middle = bottom - (y / self.y_end) as f32 * self.height as f32;
            TICK.draw(image, left - 10.0 - TICK.width(text), middle + 0.36 * TICK.size, text);
        }
    }

    /// Writes what the panel shows above it, with a key to its colours.
    pub fn head(&self, image: &mut Image, heading: &str, key: &[(&str, RGBColor, usize)]) {
        let baseline = self.top - 16;
        let mut x = Panel::LEFT as f32;
        HEADING.draw(image, x, baseline as f32, heading);
        x += HEADING.width(heading) + 30.0;
        for &(name, RGBColor(r, g, b), height) in key {
            image.fill(x as usize, baseline - 6 - height / 2, 30, height, |_, _| [r, g, b]);
            TICK.draw(image, x + 38.0, baseline as f32, name);
            x += 38.0 + TICK.width(name) + 28.0;
        }
    }
}

type Range = plotters::coord::types::RangedCoordf64;

pub(super) type Chart<'a> = ChartContext<'a, BitMapBackend<'a>, Cartesian2d<Range, Range>>;

pub(super) type Drawn<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Where a confidence of exactly 1 stands: above every other f32, the highest of which has 7.2 nines.
const ONE: f64 = 8.0;

/// Height of a confidence: the number of its nines, -log10(1 - confidence).
pub(super) fn nines(confidence: f64) -> f64 {
    if confidence >= 1.0 { ONE } else { -(1.0 - confidence).log10() }
}

pub(super) fn nines_label(nines: u32) -> String {
    match nines {
        0 => "0".to_owned(),
        n if f64::from(n) >= ONE => "1".to_owned(),
        n => format!("0.{}", "9".repeat(n as usize)),
    }
}

/// Place of a generation: logarithmic, since most happens early, with room for generation 0.
fn place(generation: u32) -> f64 {
    (1.0 + f64::from(generation)).log10()
}

/// 0, 1, 2, 5, 10, 20, 50, ... up to `last`; of long runs the powers of ten alone.
fn generation_ticks(last: u32) -> Vec<(f64, String)> {
    let digits: &[u32] = if last < 50_000 { &[1, 2, 5] } else { &[1] };
    let ticks = (0..=9).flat_map(|power| digits.iter().filter_map(move |&digit| digit.checked_mul(10_u32.pow(power))));
    std::iter::once(0)
        .chain(ticks.take_while(|&tick| tick <= last))
        .map(|tick| (place(tick), tick.to_string()))
        .collect()
}

/// Lines of metrics.jsonl, thinned to what can be seen: of those that fall on the same column of pixels the last. Elites
/// never get worse, so nothing is lost to the eye.
pub struct Thinned {
    x_end: f64,
    lines: Vec<Metrics>,
}

impl Thinned {
    /// None yet of a run whose last line is that of `generation`.
    pub fn new(generation: u32) -> Thinned {
        Thinned { x_end: place(generation.max(1)), lines: Vec::new() }
    }

    /// Takes the next line.
    pub fn push(&mut self, line: Metrics) {
        let column = |line: &Metrics| (place(line.generation) / self.x_end * Panel::WIDTH as f64) as usize;
        match self.lines.last_mut() {
            Some(last) if column(last) == column(&line) => *last = line,
            _ => self.lines.push(line),
        }
    }

    /// The lines that are left.
    pub fn lines(&self) -> &[Metrics] {
        &self.lines
    }
}

/// Most bytes of the plot while it is drawn and written: its fine pixels, their sums, its own pixels, and as many for the PNG.
pub const MOST_BYTES: usize = WIDTH * HEIGHT * 3 * (FINE * FINE + size_of::<u32>() + 1 + 1);

/// What stands in a plot beside its curves.
pub(super) struct Words {
    pub title: String,
    pub subtitle: String,
    /// What a line is of: `generation`.
    pub step: &'static str,
    /// What confidences are of, one and many: `class` and `classes`.
    pub one: &'static str,
    pub many: &'static str,
}

/// Draws lines of metrics.jsonl, [`Thinned`] or all.
pub fn draw(manifest: &Manifest, lines: &[Metrics]) -> Image {
    let (title, subtitle) = (title(manifest), subtitle(manifest));
    let words = Words { title, subtitle, step: "generation", one: "class", many: "classes" };
    draw_with(&words, manifest.classes.len(), lines)
}

/// Draws lines, of `n_classes` confidences each.
pub(super) fn draw_with(words: &Words, n_classes: usize, lines: &[Metrics]) -> Image {
    let last = lines.last().map_or(0, |line| line.generation).max(1);
    let x_end = place(last);
    // Room for four nines at least: runs that got nowhere shall look like it.
    let y_end = lines.iter().map(|line| nines(line.max).ceil()).fold(4.0, f64::max);
    let confidence = Panel { top: 150, height: 430, x_end, y_end };
    let count = Panel { top: 666, height: 116, x_end, y_end: n_classes as f64 };
    let x_ticks = generation_ticks(last);
    let confidence_ticks: Vec<_> = (0..=y_end as u32).map(|n| (f64::from(n), nines_label(n))).collect();
    let middle = (n_classes >= 100).then_some(n_classes / 2);
    let count_ticks: Vec<_> =
        [Some(0), middle, Some(n_classes)].into_iter().flatten().map(|n| (n as f64, n.to_string())).collect();

    let mut fine = vec![255; WIDTH * FINE * HEIGHT * FINE * 3];
    let mut plot = || -> Drawn {
        let root = BitMapBackend::with_buffer(&mut fine, ((WIDTH * FINE) as u32, (HEIGHT * FINE) as u32));
        let root = root.into_drawing_area();
        let places = |ticks: &[(f64, String)]| ticks.iter().map(|tick| tick.0).collect::<Vec<_>>();
        let mut chart = confidence.chart(&root, &places(&x_ticks), &places(&confidence_ticks))?;
        plot_confidences(&mut chart, lines)?;
        let mut chart = count.chart(&root, &places(&x_ticks), &places(&count_ticks))?;
        plot_counts(&mut chart, lines)
    };
    plot().expect("drawing into memory does not fail");

    let canvas = Canvas { height: HEIGHT, width: WIDTH, channels: 3 };
    let mut image = Image { canvas, pixels: average(&fine) };
    TITLE.draw(&mut image, Panel::LEFT as f32, 58.0, &words.title);
    SUBTITLE.draw(&mut image, Panel::LEFT as f32, 90.0, &words.subtitle);
    confidence.label(&mut image, &x_ticks, &confidence_ticks);
    let band = format!("from the worst {} to the best", words.one);
    let key = [("median", MEDIAN, 4), ("mean", MEAN, 3), (&band[..], BAND, 14)];
    confidence.head(&mut image, "confidence", &key);
    count.label(&mut image, &x_ticks, &count_ticks);
    let key = [("0.99", OVER_99, 3), ("0.999", OVER_999, 3), ("0.9999", OVER_9999, 3)];
    count.head(&mut image, &format!("{} at or above", words.many), &key);
    let middle = (Panel::LEFT + Panel::WIDTH / 2) as f32 - HEADING.width(words.step) / 2.0;
    HEADING.draw(&mut image, middle, (HEIGHT - 26) as f32, words.step);
    image
}

fn plot_confidences(chart: &mut Chart, lines: &[Metrics]) -> Drawn {
    let points = |of: fn(&Metrics) -> f64| lines.iter().map(move |line| (place(line.generation), nines(of(line))));
    let band: Vec<_> = points(|m| m.max).chain(points(|m| m.min).rev()).collect();
    chart.draw_series([Polygon::new(band, MEDIAN.mix(BAND_STRENGTH))])?; // the grid shows through
    chart.draw_series(LineSeries::new(points(|m| m.mean), MEAN.stroke_width(2 * FINE as u32)))?;
    chart.draw_series(LineSeries::new(points(|m| m.median), MEDIAN.stroke_width(3 * FINE as u32)))?;
    Ok(())
}

fn plot_counts(chart: &mut Chart, lines: &[Metrics]) -> Drawn {
    let counts: [fn(&Metrics) -> usize; 3] = [|m| m.over_99, |m| m.over_999, |m| m.over_9999];
    for (of, colour) in counts.into_iter().zip([OVER_99, OVER_999, OVER_9999]) {
        let points = lines.iter().map(|line| (place(line.generation), of(line) as f64));
        // A count holds until the next line: steps.
        let steps =
            points.clone().zip(points.clone().skip(1)).flat_map(|((_, before), (x, after))| [(x, before), (x, after)]);
        chart
            .draw_series(LineSeries::new(points.clone().take(1).chain(steps), colour.stroke_width(2 * FINE as u32)))?;
    }
    Ok(())
}

/// The mean of each FINE x FINE block of an RGB image, rounded.
pub(super) fn average(fine: &[u8]) -> Vec<u8> {
    let mut sums = vec![0_u32; WIDTH * HEIGHT * 3];
    for (y, row) in fine.chunks_exact(WIDTH * FINE * 3).enumerate() {
        let sums = &mut sums[y / FINE * WIDTH * 3..][..WIDTH * 3];
        for (x, pixel) in row.chunks_exact(3).enumerate() {
            let sums = &mut sums[x / FINE * 3..][..3];
            sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += u32::from(value));
        }
    }
    let n = (FINE * FINE) as u32;
    sums.into_iter().map(|sum| ((sum + n / 2) / n) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Statistics;
    use crate::experiment::config::{Config, Flavour, Preset};
    use crate::output::{ClassResult, Stop};
    use std::time::SystemTime;

    fn manifest() -> Manifest {
        let class =
            ClassResult { class: 0, name: "0".into(), confidence: 0.9, born: (0, 0), file: "elites/0.png".into() };
        Manifest {
            version: String::new(),
            commit: String::new(),
            arithmetic_version: 1,
            seed: 0,
            configuration: Config::preset(Preset::MnistCppn, Flavour::Faithful),
            device: String::new(),
            device_reason: String::new(),
            threads: 1,
            simd: String::new(),
            network: String::new(),
            weights: String::new(),
            weights_sha256: String::new(),
            random_weights: None,
            start: SystemTime::UNIX_EPOCH,
            end: SystemTime::UNIX_EPOCH,
            seconds: 0.0,
            stopped_by: Stop::Generations,
            generation: 99,
            evaluations: 0,
            genomes_per_second: 0.0,
            statistics: Statistics::of(&[0.9]),
            distinct_genomes: 1,
            operators_skipped_at_capacity: 0,
            lineage_insertions: None,
            planned_memory_bytes: 0,
            planned_device_memory_bytes: None,
            peak_memory_bytes: None,
            gpu: None,
            archive_hash: 0,
            merged: Vec::new(),
            classes: vec![class; 2],
        }
    }

    fn line(generation: u32, fitness: &[f32]) -> Metrics {
        Metrics::new(generation, 0, &Statistics::of(fitness), 0, 0.0, 0)
    }

    fn pixel(image: &Image, x: usize, y: usize) -> [u8; 3] {
        image.pixels[(y * WIDTH + x) * 3..][..3].try_into().unwrap()
    }

    fn rgb(RGBColor(r, g, b): RGBColor) -> [u8; 3] {
        [r, g, b]
    }

    #[test]
    fn curves_stand_where_their_confidences_say() {
        // Three nines all the time, over axes of 2 decades of generations and 4 nines.
        let lines: Vec<Metrics> = (0..100).map(|generation| line(generation, &[0.999, 0.999])).collect();
        let image = draw(&manifest(), &lines);
        let y = 150 + 430 / 4; // of Panel `confidence`
        for x in [Panel::LEFT + 30, Panel::LEFT + Panel::WIDTH / 3, Panel::LEFT + Panel::WIDTH - 30] {
            assert_eq!(pixel(&image, x, y), rgb(MEDIAN), "median at {x}");
            assert_eq!(pixel(&image, x, y - 9), [255; 3], "above at {x}");
        }
        // All classes are above 0.999 and none above 0.9999.
        let x = Panel::LEFT + Panel::WIDTH / 3;
        assert_eq!(pixel(&image, x, 666), rgb(OVER_999));
        assert_eq!(pixel(&image, x, 666 + 116), rgb(OVER_9999));
    }

    #[test]
    fn runs_of_no_line_one_line_and_certainty_can_be_drawn() {
        for lines in [vec![], vec![line(0, &[0.1, 0.2])], vec![line(0, &[0.0, 0.5]), line(4_000_000_000, &[1.0, 1.0])]]
        {
            let image = draw(&manifest(), &lines);
            assert_eq!(image.pixels.len(), WIDTH * HEIGHT * 3);
        }
    }

    #[test]
    fn scale_counts_nines() {
        assert_eq!([0, 1, 4, 8].map(nines_label), ["0", "0.9", "0.9999", "1"]);
        assert_eq!((nines(0.0), nines(1.0)), (0.0, ONE));
        assert!((nines(0.999) - 3.0).abs() < 1e-9);
        assert!(nines(1.0_f32.next_down().into()) < ONE);
        let labels = |last| generation_ticks(last).into_iter().map(|tick| tick.1).collect::<Vec<_>>().join(" ");
        assert_eq!(labels(12), "0 1 2 5 10");
        assert_eq!(labels(u32::MAX), "0 1 10 100 1000 10000 100000 1000000 10000000 100000000 1000000000");
    }

    #[test]
    fn thinning_keeps_the_last_line_of_each_column() {
        let mut thinned = Thinned::new(99_999);
        (0..100_000).for_each(|generation| thinned.push(line(generation, &[0.5])));
        let lines = thinned.lines();
        assert!(lines.len() <= Panel::WIDTH + 1);
        assert_eq!((lines[0].generation, lines.last().unwrap().generation), (0, 99_999));
    }
}
