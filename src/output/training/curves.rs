//! `loss.png` and `accuracy.png`: how a training went.

use super::Line;
use crate::genome::Canvas;
use crate::output::Image;
use crate::output::contact_sheet::{SUBTITLE, TITLE};
use crate::output::convergence::{Chart, Drawn, FINE, HEADING, HEIGHT, MEAN, MEDIAN, Panel, WIDTH, average};
use plotters::prelude::*;

/// What a series of points looks like, and what it is called.
struct Series<'a> {
    name: &'a str,
    colour: RGBColor,
    width: usize,
    /// Ascending in x.
    points: Vec<(f64, f64)>,
}

/// The loss in training, and of the validation images; over a logarithmic axis, since it falls through decades.
pub fn loss(lines: &[Line], title: &str, subtitle: &str) -> Image {
    let of_training = lines.iter().map(|line| (f64::from(line.iteration), line.loss));
    let of_validation = lines.iter().filter_map(|line| Some((f64::from(line.iteration), line.validation_loss?)));
    let values = of_training.clone().chain(of_validation.clone()).map(|(_, loss)| loss).filter(|&loss| loss > 0.0);
    let (least, most) = values.fold((1.0_f64, 1.0_f64), |(least, most), loss| (least.min(loss), most.max(loss)));
    // Whole decades; ten of them at most.
    let top = most.log10().ceil().max(0.0);
    let bottom = least.log10().floor().max(top - 10.0).min(top - 1.0);
    let height = |loss: f64| if loss > 0.0 { (loss.log10() - bottom).max(0.0) } else { 0.0 };
    let y_ticks: Vec<(f64, String)> = (bottom as i32..=top as i32)
        .map(|power| {
            let decimals = usize::try_from(-power).unwrap_or(0);
            (f64::from(power) - bottom, format!("{:.decimals$}", 10_f64.powi(power)))
        })
        .collect();
    let place = |points: Vec<(f64, f64)>| points.into_iter().map(|(x, loss)| (x, height(loss))).collect();
    let series = [
        Series { name: "training", colour: MEDIAN, width: 2, points: place(of_training.collect()) },
        Series { name: "validation", colour: MEAN, width: 3, points: place(of_validation.collect()) },
    ];
    draw(title, subtitle, "cross entropy", &series, &y_ticks, top - bottom)
}

/// The share of the validation images that is right; `None` where none were ever tried.
pub fn accuracy(lines: &[Line], title: &str, subtitle: &str) -> Option<Image> {
    let points: Vec<(f64, f64)> =
        lines.iter().filter_map(|line| Some((f64::from(line.iteration), 100.0 * line.accuracy?))).collect();
    let least = points.iter().map(|point| point.1).reduce(f64::min)?;
    let bottom = [99.0, 98.0, 95.0, 90.0, 80.0, 50.0].into_iter().find(|&bottom| bottom <= least).unwrap_or(0.0);
    let step = (100.0 - bottom) / 5.0;
    let decimals = usize::from(step < 1.0);
    let y_ticks: Vec<(f64, String)> =
        (0..=5).map(|i| f64::from(i) * step).map(|y| (y, format!("{:.decimals$} %", bottom + y))).collect();
    let points = points.into_iter().map(|(x, y)| (x, y - bottom)).collect();
    let series = [Series { name: "validation", colour: MEDIAN, width: 3, points }];
    Some(draw(title, subtitle, "images right", &series, &y_ticks, 100.0 - bottom))
}

/// About five round numbers from 0 up to `last`.
fn iteration_ticks(last: u32) -> Vec<(f64, String)> {
    let wanted = f64::from(last) / 5.0;
    let power = 10_f64.powf(wanted.max(1.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|&step| step >= wanted);
    let step = step.unwrap_or(10.0 * power) as u64;
    (0..)
        .map(|i| i * step)
        .take_while(|&tick| tick <= u64::from(last))
        .map(|tick| (tick as f64, tick.to_string()))
        .collect()
}

fn draw(title: &str, subtitle: &str, heading: &str, series: &[Series], y_ticks: &[(f64, String)], y_end: f64) -> Image {
    let last = series.iter().filter_map(|series| series.points.last()).fold(1.0, |last: f64, point| last.max(point.0));
    let panel = Panel { top: 150, height: HEIGHT - 150 - 80, x_end: last, y_end };
    let x_ticks = iteration_ticks(last as u32);
    let mut fine = vec![255; WIDTH * FINE * HEIGHT * FINE * 3];
    let mut plot = || -> Drawn {
        let root = BitMapBackend::with_buffer(&mut fine, ((WIDTH * FINE) as u32, (HEIGHT * FINE) as u32));
        let root = root.into_drawing_area();
        let places = |ticks: &[(f64, String)]| ticks.iter().map(|tick| tick.0).collect::<Vec<_>>();
        let mut chart: Chart = panel.chart(&root, &places(&x_ticks), &places(y_ticks))?;
        for Series { colour, width, points, .. } in series {
            chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width((width * FINE) as u32)))?;
            // A line of one point is none.
            if let [point] = points.as_slice() {
                chart.draw_series([Circle::new(*point, (2 * width * FINE) as i32, colour.filled())])?;
            }
        }
        Ok(())
    };
    plot().expect("drawing into memory does not fail");
    let canvas = Canvas { height: HEIGHT, width: WIDTH, channels: 3 };
    let mut image = Image { canvas, pixels: average(&fine) };
    TITLE.draw(&mut image, Panel::LEFT as f32, 58.0, title);
    SUBTITLE.draw(&mut image, Panel::LEFT as f32, 90.0, subtitle);
    panel.label(&mut image, &x_ticks, y_ticks);
    let shown = series.iter().filter(|series| !series.points.is_empty());
    let key: Vec<(&str, RGBColor, usize)> =
        shown.map(|series| (series.name, series.colour, series.width + 1)).collect();
    panel.head(&mut image, heading, &key);
    let middle = (Panel::LEFT + Panel::WIDTH / 2) as f32 - HEADING.width("iteration") / 2.0;
    HEADING.draw(&mut image, middle, (HEIGHT - 20) as f32, "iteration");
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(iteration: u32, loss: f64, accuracy: Option<f64>) -> Line {
        let validation_loss = accuracy.map(|_| loss);
        Line { iteration, epoch: 0.0, rate: 0.0, loss, accuracy, validation_loss, images_per_second: 0.0 }
    }

    fn is_coloured(image: &Image, colour: RGBColor, x: usize, y: usize) -> bool {
        image.pixels[(y * WIDTH + x) * 3..][..3] == [colour.0, colour.1, colour.2]
    }

    #[test]
    fn curves_stand_where_their_numbers_say() {
        // A loss of 0.1 on an axis of two decades, 1 to 0.01: in the middle of the panel. 99.5 % of 99 to 100: there, too.
        let mut lines: Vec<Line> = (1..=100).map(|i| line(i, 0.1, Some(0.995))).collect();
        lines.push(line(101, 0.01, None));
        let middle = 150 + (HEIGHT - 230) / 2;
        let image = loss(&lines, "title", "subtitle");
        assert!(is_coloured(&image, MEAN, Panel::LEFT + Panel::WIDTH / 2, middle), "validation over training");
        assert!(!is_coloured(&image, MEAN, Panel::LEFT + Panel::WIDTH / 2, middle - 12));
        let image = accuracy(&lines, "title", "subtitle").unwrap();
        assert!(is_coloured(&image, MEDIAN, Panel::LEFT + Panel::WIDTH / 2, middle));
    }

    #[test]
    fn trainings_of_no_line_one_line_and_no_loss_can_be_drawn() {
        for lines in [vec![], vec![line(1, 2.3, None)], vec![line(1, 0.0, Some(0.0)), line(u32::MAX, 1e30, Some(1.0))]]
        {
            let images = [Some(loss(&lines, "", "")), accuracy(&lines, "", "")];
            assert!(images.iter().flatten().all(|image| image.pixels.len() == WIDTH * HEIGHT * 3));
            assert_eq!(images[1].is_some(), lines.len() == 2, "an accuracy only where there is one");
        }
    }

    #[test]
    fn ticks_are_round_numbers() {
        let labels = |last| iteration_ticks(last).into_iter().map(|tick| tick.1).collect::<Vec<_>>().join(" ");
        assert_eq!(labels(10_000), "0 2000 4000 6000 8000 10000");
        assert_eq!(labels(3), "0 1 2 3");
        assert_eq!(labels(450_000), "0 100000 200000 300000 400000");
    }
}
