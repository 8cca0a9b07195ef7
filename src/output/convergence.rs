//! `convergence.png`: how the confidences of a run grew.

use crate::genome::Canvas;
use crate::output::font::Weight;
use crate::output::{Image, Manifest, Metrics, preset_name};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

const WIDTH: usize = 1200;
const HEIGHT: usize = 900;

/// The plot is drawn this many times as large and then averaged: smooth lines, and text set to a third of a pixel.
const FINE: usize = 3;

const MEDIAN: RGBColor = RGBColor(0x1b, 0x4f, 0x8c);
const MEAN: RGBColor = RGBColor(0xc8, 0x55, 0x1b);
const BAND: RGBColor = RGBColor(0x1b, 0x4f, 0x8c);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GRID: RGBColor = RGBColor(0xe2, 0xe2, 0xe2);

/// Where a confidence of exactly 1 stands: above every other f32, the highest of which has 7.2 nines.
const ONE: f64 = 8.0;

/// Height of a confidence: the number of its nines, -log10(1 - confidence).
fn nines(confidence: f64) -> f64 {
    if confidence >= 1.0 { ONE } else { -(1.0 - confidence).log10() }
}

fn nines_label(nines: f64) -> String {
    match nines {
        n if n <= 0.0 => "0".to_owned(),
        n if n >= ONE => "1".to_owned(),
        n => format!("0.{:9<1$}", "", n as usize),
    }
}

/// Place of a generation: logarithmic, since most happens early, with room for generation 0.
fn place(generation: u32) -> f64 {
    (1.0 + f64::from(generation)).log10()
}

/// 0, 1, 2, 5, 10, 20, 50, ... up to `last`.
fn generation_ticks(last: u32) -> Vec<f64> {
    let ticks = (0..10).flat_map(|power| [1, 2, 5].map(|n| n * 10_u64.pow(power)));
    let ticks = ticks.filter_map(|tick| u32::try_from(tick).ok()).take_while(|&tick| tick <= last);
    std::iter::once(0).chain(ticks).map(place).collect()
}

/// A linear axis from 0 to `end` with these ticks.
#[derive(Clone)]
struct Axis {
    end: f64,
    ticks: Vec<f64>,
    label: fn(f64) -> String,
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range()).map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> std::ops::Range<f64> {
        0.0..self.end
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, &value: &f64) -> String {
        (self.label)(value)
    }
}

/// Draws the lines of metrics.jsonl.
pub fn draw(manifest: &Manifest, lines: &[Metrics]) -> Image {
    for (style, weight) in [(FontStyle::Normal, Weight::Regular), (FontStyle::Bold, Weight::Bold)] {
        assert!(register_font("sans-serif", style, weight.bytes()).is_ok(), "the embedded font is a font");
    }
    let mut fine = vec![255; WIDTH * FINE * HEIGHT * FINE * 3];
    let size = ((WIDTH * FINE) as u32, (HEIGHT * FINE) as u32);
    let area = BitMapBackend::with_buffer(&mut fine, size).into_drawing_area();
    plot(&area, manifest, &thin(lines)).expect("drawing into memory does not fail");
    drop(area);
    Image { canvas: Canvas { height: HEIGHT, width: WIDTH, channels: 3 }, pixels: average(&fine) }
}

/// Of lines that fall on the same place but for less than the plot can show, the last: elites never get worse.
fn thin(lines: &[Metrics]) -> Vec<&Metrics> {
    let width = place(lines.last().map_or(1, |line| line.generation));
    let column = |line: &Metrics| (place(line.generation) / width * WIDTH as f64) as usize;
    let mut thinned: Vec<&Metrics> = Vec::new();
    for line in lines {
        if thinned.last().is_some_and(|last| column(last) == column(line)) {
            thinned.pop();
        }
        thinned.push(line);
    }
    thinned
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn plot(area: &DrawingArea<BitMapBackend, Shift>, manifest: &Manifest, lines: &[&Metrics]) -> Drawn {
    let fine = FINE as i32;
    let font = |size: i32, style: FontStyle| ("sans-serif", size * fine).into_font().style(style).color(&INK);
    let title = format!("{}, seed {}", preset_name(manifest.configuration.preset), manifest.seed);
    area.fill(&WHITE)?;
    let area = area.margin(24 * fine, 24 * fine, 24 * fine, 40 * fine);
    area.draw_text(&title, &font(28, FontStyle::Bold), (100 * fine, 0))?;
    let (_, area) = area.split_vertically(50 * fine);
    let (upper, lower) = area.split_vertically(560 * fine);

    let last = lines.last().map_or(1, |line| line.generation).max(1);
    let label = |x| format!("{:.0}", 10_f64.powf(x) - 1.0);
    let generations = Axis { end: place(last), ticks: generation_ticks(last), label };
    let top = lines.iter().map(|line| nines(line.max)).fold(4.0, f64::max).ceil();
    let confidences = Axis { end: top, ticks: (0..=top as u32).map(f64::from).collect(), label: nines_label };
    let mut chart = ChartBuilder::on(&upper)
        .x_label_area_size(36 * fine)
        .y_label_area_size(124 * fine)
        .build_cartesian_2d(generations.clone(), confidences)?;
    chart
        .configure_mesh()
        .bold_line_style(GRID.stroke_width(FINE as u32))
        .axis_style(INK.stroke_width(FINE as u32))
        .label_style(font(17, FontStyle::Normal))
        .axis_desc_style(font(19, FontStyle::Normal))
        .y_desc("confidence")
        .draw()?;
    let points = |of: fn(&Metrics) -> f64| lines.iter().map(move |line| (place(line.generation), nines(of(line))));
    let band: Vec<_> = points(|m| m.max).chain(points(|m| m.min).rev()).collect();
    chart.draw_series(std::iter::once(Polygon::new(band, BAND.mix(0.15))))?.label("best to worst class").legend(
        move |(x, y)| Rectangle::new([(x, y - 6 * fine), (x + 30 * fine, y + 6 * fine)], BAND.mix(0.15).filled()),
    );
    for (name, of, colour, width) in [
        ("mean", (|m: &Metrics| m.mean) as fn(&Metrics) -> f64, MEAN, 2),
        ("median", |m: &Metrics| m.median, MEDIAN, 3),
    ] {
        let style = colour.stroke_width(width * FINE as u32);
        chart
            .draw_series(LineSeries::new(points(of), style))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 30 * fine, y)], style));
    }
    legend(&mut chart, font(17, FontStyle::Normal))?;

    let n_classes = manifest.classes.len();
    let ticks = [0, n_classes.div_ceil(2), n_classes].map(|n| n as f64).to_vec();
    let counts = Axis { end: n_classes as f64, ticks, label: |y| y.to_string() };
    let mut chart = ChartBuilder::on(&lower)
        .margin_top(14 * fine)
        .x_label_area_size(60 * fine)
        .y_label_area_size(124 * fine)
        .build_cartesian_2d(generations, counts)?;
    chart
        .configure_mesh()
        .bold_line_style(GRID.stroke_width(FINE as u32))
        .axis_style(INK.stroke_width(FINE as u32))
        .label_style(font(17, FontStyle::Normal))
        .axis_desc_style(font(19, FontStyle::Normal))
        .x_desc("generation")
        .y_desc("classes")
        .draw()?;
    for (name, of, strength) in [
        ("at least 0.99", (|m: &Metrics| m.over_99) as fn(&Metrics) -> usize, 0.35),
        ("at least 0.999", |m: &Metrics| m.over_999, 0.65),
        ("at least 0.9999", |m: &Metrics| m.over_9999, 1.0),
    ] {
        let style = MEDIAN.mix(strength).stroke_width(2 * FINE as u32);
        // A count holds until the next line: steps.
        let counts = lines.iter().map(|line| (place(line.generation), of(line) as f64));
        let steps = counts.clone().zip(counts.skip(1)).flat_map(|((_, before), (x, after))| [(x, before), (x, after)]);
        let start = lines.first().map(|line| (place(line.generation), of(line) as f64));
        chart
            .draw_series(LineSeries::new(start.into_iter().chain(steps), style))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 30 * fine, y)], style));
    }
    legend(&mut chart, font(17, FontStyle::Normal))?;
    Ok(())
}

fn legend<'a>(
    chart: &mut ChartContext<'a, BitMapBackend<'a>, Cartesian2d<Axis, Axis>>,
    font: TextStyle<'static>,
) -> Drawn {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .margin(14 * FINE as i32)
        .legend_area_size(38 * FINE as i32)
        .label_font(font)
        .background_style(WHITE.mix(0.85))
        .draw()?;
    Ok(())
}

/// The mean of each FINE x FINE block of an RGB image, rounded.
fn average(fine: &[u8]) -> Vec<u8> {
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
