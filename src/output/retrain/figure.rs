//! What people look at: the confidences of each round (the paper's Figure 11), and what a run of each came to.

use super::{EvolutionRow, Part, Round, SheetRow, Spread};
use crate::genome::Canvas;
use crate::output::contact_sheet::{SUBTITLE, TITLE};
use crate::output::convergence::{
    BAND, Chart, Drawn, FINE, HEADING, HEIGHT, MEAN, MEDIAN, OVER_99, Panel, WIDTH, average, nines, nines_label,
};
use crate::output::font::{Style, Weight};
use crate::output::{Image, confidence_text, pictures};
use fast_image_resize::{FilterType, ResizeAlg};
use plotters::prelude::*;

const GREY: RGBColor = RGBColor(0x8a, 0x8a, 0x8a);

/// A share of the images of a round, if it has one.
type Share<'a> = &'a dyn Fn(&Round) -> Option<f64>;

/// Boxes of the confidences over the rounds, and shares below.
pub fn confidences(title: &str, rounds: &[Round]) -> Image {
    let n = rounds.len().max(1) as f64;
    let y_end = rounds.iter().map(|round| nines(round.evolution.spread.max).ceil()).fold(4.0, f64::max);
    let upper = Panel { top: 150, height: 430, x_end: n, y_end };
    let lower = Panel { top: 666, height: 116, x_end: n, y_end: 1.0 };
    let y_ticks: Vec<_> = (0..=y_end as u32).map(|n| (f64::from(n), nines_label(n))).collect();
    let share_ticks = [(0.0, "0".to_string()), (0.5, "50 %".to_string()), (1.0, "100 %".to_string())];
    // Every name where there is room for it.
    let every = rounds.len().div_ceil(15).max(1);
    let x_ticks: Vec<(f64, String)> =
        (0..rounds.len()).step_by(every).map(|i| (i as f64 + 0.5, rounds[i].network.name.clone())).collect();

    let mut fine = vec![255; WIDTH * FINE * HEIGHT * FINE * 3];
    let mut plot = || -> Drawn {
        let root = BitMapBackend::with_buffer(&mut fine, ((WIDTH * FINE) as u32, (HEIGHT * FINE) as u32));
        let root = root.into_drawing_area();
        let places = |ticks: &[(f64, String)]| ticks.iter().map(|tick| tick.0).collect::<Vec<_>>();
        let mut chart = upper.chart(&root, &[], &places(&y_ticks))?;
        boxes(&mut chart, rounds)?;
        let mut chart = lower.chart(&root, &[], &places(&share_ticks))?;
        let shares: [(Share, RGBColor); 3] = [
            (&|round| Some(round.evolution.share_over_99), OVER_99),
            (&|round| Some(round.evolution.share_over_9999), MEDIAN),
            (&|round| round.taken.map(|taken| Part::share(taken.last_generation)), MEAN),
        ];
        for (share, colour) in shares {
            let points = || rounds.iter().enumerate().filter_map(|(i, round)| Some((i as f64 + 0.5, share(round)?)));
            chart.draw_series(LineSeries::new(points(), colour.stroke_width(2 * FINE as u32)))?;
            chart.draw_series(points().map(|point| Circle::new(point, 4 * FINE as i32, colour.filled())))?;
        }
        Ok(())
    };
    plot().expect("drawing into memory does not fail");

    let canvas = Canvas { height: HEIGHT, width: WIDTH, channels: 3 };
    let mut image = Image { canvas, pixels: average(&fine) };
    TITLE.draw(&mut image, Panel::LEFT as f32, 58.0, title);
    let subtitle = rounds.last().map_or(String::new(), |Round { evolution, .. }| {
        let EvolutionRow { runs, generations, confidences, .. } = evolution;
        match rounds[0].evolution.runs {
            first if first == *runs => {
                format!("{runs} runs of {generations} generations against each network, {confidences} confidences")
            }
            first => format!(
                "{first} runs of {generations} generations against the first network, {runs} against each later one"
            ),
        }
    });
    SUBTITLE.draw(&mut image, Panel::LEFT as f32, 90.0, &subtitle);
    upper.label(&mut image, &[], &y_ticks);
    let key = [("median", MEDIAN, 4), ("quartiles", BAND, 14), ("least to greatest", GREY, 2)];
    upper.head(&mut image, "confidence at the end", &key);
    lower.label(&mut image, &x_ticks, &share_ticks);
    let key = [("at or above 0.99", OVER_99, 3), ("0.9999", MEDIAN, 3), ("taken for fooling images", MEAN, 3)];
    lower.head(&mut image, "share of images", &key);
    let heading = "network";
    HEADING.draw(
        &mut image,
        (Panel::LEFT + Panel::WIDTH / 2) as f32 - HEADING.width(heading) / 2.0,
        (HEIGHT - 20) as f32,
        heading,
    );
    image
}

/// A box a round: quartiles, with the median across it and a line from the least to the greatest.
fn boxes(chart: &mut Chart, rounds: &[Round]) -> Drawn {
    // Parts of the room that a round has.
    let (half, cap) = (0.28_f64, 0.1_f64);
    for (i, round) in rounds.iter().enumerate() {
        let middle = i as f64 + 0.5;
        let Spread { min, quartile_1, median, quartile_3, max } = round.evolution.spread;
        let [min, low, median, high, max] = [min, quartile_1, median, quartile_3, max].map(nines);
        let line = |ends: [(f64, f64); 2], colour: RGBColor, width: usize| {
            PathElement::new(ends, colour.stroke_width((width * FINE) as u32))
        };
        chart.draw_series([
            line([(middle, min), (middle, max)], GREY, 2),
            line([(middle - cap, min), (middle + cap, min)], GREY, 2),
            line([(middle - cap, max), (middle + cap, max)], GREY, 2),
        ])?;
        chart.draw_series([Rectangle::new([(middle - half, low), (middle + half, high)], BAND.filled())])?;
        chart.draw_series([line([(middle - half, median), (middle + half, median)], MEDIAN, 4)])?;
    }
    Ok(())
}

const NAME: Style = Style { size: 22.0, weight: Weight::Bold, colour: [0x22, 0x22, 0x22] };
const TEXT: Style = Style { size: 16.0, weight: Weight::Regular, colour: [0x6a, 0x6a, 0x6a] };
const NUMBER: Style = Style { size: 16.0, weight: Weight::Bold, colour: [0x22, 0x22, 0x22] };
const CONFIDENCE: Style = Style { size: 15.0, weight: Weight::Regular, colour: [0x22, 0x22, 0x22] };
const FRAME: [u8; 3] = [0xc4, 0xc4, 0xc4];

// Lengths in pixels.
const MARGIN: usize = 44;
const GAP: usize = 16;
const HEADER: usize = 92;
const LABEL: usize = 210;
const CAPTION: usize = 26;
/// An image is enlarged by the greatest whole factor that keeps it within this, or made this large.
const SIDE: usize = 112;

/// A row a round: the images of a run.
pub fn sheet(title: &str, rows: &[SheetRow]) -> Image {
    let columns = rows.iter().map(|row| row.cells.len()).max().unwrap_or(0).max(1);
    let pitch = SIDE + CAPTION + GAP;
    let grid = LABEL + columns * (SIDE + GAP) - GAP;
    let canvas = Canvas {
        height: MARGIN + HEADER + rows.len().max(1) * pitch - GAP + MARGIN,
        width: grid.max(TITLE.width(title).ceil() as usize) + 2 * MARGIN,
        channels: 3,
    };
    let mut sheet = Image { canvas, pixels: vec![255; canvas.len()] };
    TITLE.draw(&mut sheet, MARGIN as f32, MARGIN as f32 + 26.0, title);
    let subtitle = "what one run came to against each network: class and confidence";
    SUBTITLE.draw(&mut sheet, MARGIN as f32, MARGIN as f32 + 60.0, subtitle);
    for (index, row) in rows.iter().enumerate() {
        let top = MARGIN + HEADER + index * pitch;
        NAME.draw(&mut sheet, MARGIN as f32, top as f32 + 24.0, &row.name);
        for (line, text) in row.text.iter().enumerate() {
            let text = TEXT.fit(text, (LABEL - 12) as f32);
            TEXT.draw(&mut sheet, MARGIN as f32, top as f32 + 50.0 + 22.0 * line as f32, &text);
        }
        for (column, (class, confidence, pixels)) in row.cells.iter().enumerate() {
            let left = MARGIN + LABEL + column * (SIDE + GAP);
            let (small, pixels) = fitted(row.canvas, pixels);
            sheet.fill(left - 1, top - 1, small.width + 2, small.height + 2, |_, _| FRAME);
            sheet.fill(left, top, small.width, small.height, |x, y| {
                let pixel = (y * small.width + x) * small.channels;
                let channel = |c: usize| pixels[pixel + c.min(small.channels - 1)];
                [channel(0), channel(1), channel(2)]
            });
            let confidence = confidence_text(*confidence);
            let baseline = (top + SIDE) as f32 + 19.0;
            NUMBER.draw(&mut sheet, left as f32, baseline, &class.to_string());
            let right = (left + SIDE) as f32 - CONFIDENCE.width(&confidence);
            CONFIDENCE.draw(&mut sheet, right, baseline, &confidence);
        }
    }
    sheet
}

/// `pixels` as large as they stand on the sheet.
fn fitted(from: Canvas, pixels: &[u8]) -> (Canvas, Vec<u8>) {
    let longer = from.height.max(from.width);
    let (scaled, how) = if longer <= SIDE {
        let zoom = SIDE / longer;
        (Canvas { height: from.height * zoom, width: from.width * zoom, ..from }, ResizeAlg::Nearest)
    } else {
        let smaller = |side: usize| (side * SIDE / longer).max(1);
        let how = ResizeAlg::Convolution(FilterType::CatmullRom);
        (Canvas { height: smaller(from.height), width: smaller(from.width), ..from }, how)
    };
    (scaled, pictures::resized(pixels, from, scaled, how))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::retrain::{EvolutionRow, ImagesRow, NetworkRow};

    fn round(number: u32, spread: Spread) -> Round {
        Round {
            round: number,
            network: NetworkRow {
                name: format!("DNN_{number}"),
                outputs: 10,
                seed: None,
                iterations: None,
                images: None,
                fooling_images: 0,
                correct: None,
                accuracy: None,
                seconds: 0.0,
            },
            evolution: EvolutionRow {
                first_seed: 1,
                runs: 1,
                generations: 1,
                evaluations: 1,
                seconds: 0.0,
                confidences: 10,
                spread,
                over_9: 0,
                over_99: 0,
                over_999: 0,
                over_9999: 0,
                share_over_9: 0.0,
                share_over_99: 0.0,
                share_over_999: 0.0,
                share_over_9999: 0.0,
                median_of_generation_0: 0.0,
                classes: Vec::new(),
            },
            taken: None,
            images: ImagesRow { of: 0, sampled: 0, sampled_of_generation_0: 0, sampled_of_last_generation: 0 },
            files: Default::default(),
        }
    }

    #[test]
    fn boxes_stand_where_the_quartiles_say() {
        // Quartiles of 1 and 3 nines, a median of 2, on an axis of four.
        let spread = Spread { min: 0.0, quartile_1: 0.9, median: 0.99, quartile_3: 0.999, max: 0.9998 };
        let image = confidences("title", &[round(1, spread), round(2, spread)]);
        let at = |x: usize, y: usize| -> [u8; 3] { image.pixels[(y * WIDTH + x) * 3..][..3].try_into().unwrap() };
        let rgb = |RGBColor(r, g, b): RGBColor| [r, g, b];
        let y = |nines: f64| 150 + ((4.0 - nines) * 430.0 / 4.0) as usize;
        for middle in [1, 3].map(|quarter| Panel::LEFT + quarter * Panel::WIDTH / 4) {
            assert_eq!(at(middle + 40, y(2.0)), rgb(MEDIAN), "the median");
            for nines in [1.2, 2.8] {
                assert_eq!(at(middle + 40, y(nines)), rgb(BAND), "within the quartiles");
            }
            for nines in [0.8, 3.2] {
                assert_eq!(at(middle + 40, y(nines)), [255; 3], "beyond the quartiles");
                assert_eq!(at(middle, y(nines)), rgb(GREY), "the whiskers");
            }
        }
    }

    #[test]
    fn no_round_and_certainty_can_be_drawn() {
        let certain = Spread::of([1.0]);
        assert_eq!(confidences("t", &[]).pixels.len(), WIDTH * HEIGHT * 3);
        assert_eq!(confidences("t", &[round(1, certain)]).pixels.len(), WIDTH * HEIGHT * 3);
        assert!(!sheet("t", &[]).pixels.is_empty());
    }

    #[test]
    fn an_image_stands_enlarged_beside_its_name() {
        let (canvas, pixels) = (Canvas::MNIST, (0..784).map(|i| i as u8).collect::<Vec<u8>>());
        let row = SheetRow {
            name: "DNN_1".into(),
            text: vec![],
            canvas,
            cells: vec![(0, 0.5, vec![7; 784]), (1, 0.5, pixels.clone())],
        };
        let page = sheet("t", &[row.clone(), row]);
        let (left, top) = (MARGIN + LABEL + SIDE + GAP, MARGIN + HEADER + SIDE + CAPTION + GAP);
        for (y, x) in [(0, 0), (5, 20), (27, 27)] {
            let at = ((top + 4 * y + 3) * page.canvas.width + left + 4 * x + 2) * 3;
            assert_eq!(page.pixels[at..at + 3], [pixels[y * 28 + x]; 3], "{y} {x}");
        }
    }
}
