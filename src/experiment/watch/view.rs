//! What the terminal shows: a row for each class, the elites as half-block cells, the median's curve. The same state gives the same frame.

use super::follow::{Elites, RunState};
use super::{State, device_text, line_text};
use crate::genome::Canvas;
use crate::output::{confidence_text, cut, pictures};
use fast_image_resize::{FilterType, ResizeAlg};
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Sparkline, Wrap};
use std::path::Path;

/// Confidence on the axis of bars and curve: the nines after the point, up to this many.
const NINES: f32 = 4.0;

/// Columns and rows of a thumbnail.
const THUMBNAIL: (u16, u16) = (14, 7);

/// The order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Class,
    Weakest,
    Strongest,
    Youngest,
}

/// What the user has chosen.
#[derive(Clone, Debug)]
pub struct Ui {
    name: String,
    /// Whether there are 24-bit colours; else the 256 of most terminals.
    all_colours: bool,
    pub order: Order,
    /// The run that is shown, and the row that is.
    pub run: usize,
    pub row: usize,
    /// Rows that fit.
    pub page: usize,
}

impl Ui {
    /// For what is called `name`.
    pub fn new(name: String, all_colours: bool) -> Ui {
        Ui { name, all_colours, order: Order::Class, run: 0, row: 0, page: 1 }
    }

    /// Keeps what is chosen within what there is.
    pub fn settle(&mut self, state: &State) {
        self.run = self.run.min(state.runs.len().saturating_sub(1));
        let n = state.runs.get(self.run).and_then(|run| run.elites.as_ref()).map_or(0, |elites| elites.fitness.len());
        self.row = self.row.min(n.saturating_sub(1));
    }
}

/// The last part of a path, as people know a run.
pub fn name_of(path: &Path) -> String {
    let whole = || path.canonicalize().ok()?.file_name().map(|name| name.to_string_lossy().into_owned());
    let last = path.file_name().map(|name| name.to_string_lossy().into_owned());
    last.or_else(whole).unwrap_or_else(|| path.display().to_string())
}

/// Draws `state`.
pub fn draw(frame: &mut Frame, state: &State, ui: &mut Ui) {
    let area = frame.area();
    let Some(run) = state.runs.get(ui.run) else { return };
    if area.height < 8 || area.width < 24 {
        return frame.render_widget(Paragraph::new(line_text(state)), area);
    }
    let curve = if area.height >= 22 && run.medians.len() > 1 { 5 } else { 0 };
    let [header, body, below, footer] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Min(3),
        Constraint::Length(curve),
        Constraint::Length(if area.height >= 14 { 2 } else { 1 }),
    ])
    .areas(area);
    draw_header(frame, header, state, run, ui);
    match &run.elites {
        Some(elites) => draw_elites(frame, body, elites, ui),
        None => {
            let text = run.trouble.clone().unwrap_or_else(|| "no checkpoint yet".into());
            frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), body);
        }
    }
    if curve > 0 {
        draw_curve(frame, below, run);
    }
    let mut keys = "q leave  ↑↓ class  s sort".to_string();
    if state.runs.len() > 1 {
        keys += "  ←→ run";
    }
    let mut lines = vec![Line::from(keys.dim())];
    if footer.height > 1 {
        lines.insert(0, Line::from(device_text(state)));
    }
    frame.render_widget(Paragraph::new(lines), footer);
}

fn draw_header(frame: &mut Frame, area: Rect, state: &State, run: &RunState, ui: &Ui) {
    let mut first = vec![Span::from(ui.name.clone()).bold(), "  ".into(), Span::from(state.standing())];
    if let Some(elites) = &run.elites {
        let config = &elites.config;
        let target = match state.runs.len() {
            1 => format!("  {}, seed {}", crate::experiment::config::name_of(config.preset), config.seed),
            n => format!("  run {} of {n}, seed {}", ui.run + 1, config.seed),
        };
        first.push(Span::from(target).dim());
    }
    let mut lines = vec![Line::from(first), Line::from(line_text(state))];
    if let (true, Some(last)) = (state.runs.len() > 1, &run.last) {
        lines.push(Line::from(format!(
            "this run: generation {}  median {}  {} at .9999",
            last.generation,
            confidence_text(last.median as f32),
            last.over_9999
        )));
    } else if let Some(trouble) = &run.trouble {
        lines.push(Line::from(trouble.clone().italic()));
    }
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }), area);
}

/// The niches in the order that is chosen; of equals the lower class comes first.
fn rows(elites: &Elites, order: Order) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..elites.fitness.len()).collect();
    match order {
        Order::Class => {}
        Order::Weakest => rows.sort_by(|&a, &b| elites.fitness[a].total_cmp(&elites.fitness[b])),
        Order::Strongest => rows.sort_by(|&a, &b| elites.fitness[b].total_cmp(&elites.fitness[a])),
        Order::Youngest => rows.sort_by_key(|&row| std::cmp::Reverse(elites.archive.elites[row].born.0)),
    }
    rows
}

fn draw_elites(frame: &mut Frame, area: Rect, elites: &Elites, ui: &mut Ui) {
    let rows = rows(elites, ui.order);
    let list_width = if area.width < 64 { area.width } else { (area.width / 2).clamp(40, 64) };
    let [list, images] = Layout::horizontal([Constraint::Length(list_width), Constraint::Min(0)]).areas(area);
    draw_list(frame, list, elites, &rows, ui);
    if images.width >= 8 && images.height >= 4 {
        let images = Rect { x: images.x + 2, width: images.width - 2, ..images };
        draw_images(frame.buffer_mut(), images, elites, &rows, ui);
    }
}

fn draw_list(frame: &mut Frame, area: Rect, elites: &Elites, rows: &[usize], ui: &mut Ui) {
    let width = usize::from(area.width);
    let named = elites.names.iter().zip(&elites.archive.classes).any(|(name, class)| *name != class.to_string());
    // Number, confidence, spaces between; the rest is for name and bar.
    let rest = width.saturating_sub(5 + 9);
    let name_width = if named { (rest / 2).min(22) } else { 0 };
    let bar_width = rest.saturating_sub(name_width + 1);
    let order = match ui.order {
        Order::Class => "by class",
        Order::Weakest => "weakest first",
        Order::Strongest => "strongest first",
        Order::Youngest => "youngest first",
    };
    let before = width - bar_width;
    let mut head = format!("{order:<before$}");
    if bar_width >= 16 {
        head += &axis(bar_width);
    }
    ui.page = usize::from(area.height.saturating_sub(1)).max(1);
    let first = ui.row / ui.page * ui.page;
    let mut lines = vec![Line::from(head.dim())];
    for (at, &row) in rows.iter().enumerate().skip(first).take(ui.page) {
        let (class, confidence) = (elites.archive.classes[row], elites.fitness[row]);
        let name = cut(&elites.names[row], name_width.max(1));
        let text = match named {
            true => format!("{class:>4} {name:<name_width$} {:>7}  ", confidence_text(confidence)),
            false => format!("{class:>4} {:>7}  ", confidence_text(confidence)),
        };
        let style = if at == ui.row { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        // A full bar is the sign; the colour says it again.
        let colour = if confidence >= 0.9999 { Color::Yellow } else { Color::Blue };
        lines.push(Line::from(vec![Span::styled(text, style), Span::from(bar(confidence, bar_width)).fg(colour)]));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// Where `confidence` is on the axis, 0 to 1.
fn nines(confidence: f32) -> f32 {
    // As certain as single precision can be is past the end.
    let nines = -(1.0 - confidence.clamp(0.0, 1.0)).log10();
    if confidence >= 0.9999 { 1.0 } else { (nines / NINES).clamp(0.0, 1.0) }
}

fn bar(confidence: f32, width: usize) -> String {
    let halves = (nines(confidence) * (width * 2) as f32) as usize;
    "━".repeat(halves / 2) + if halves % 2 == 1 { "╸" } else { "" }
}

/// The marks above the bars, each ending where its confidence is.
fn axis(width: usize) -> String {
    let mut text = String::new();
    for (at, mark) in [".9", ".99", ".999", ".9999"].into_iter().enumerate() {
        let end = width * (at + 1) / 4;
        let room = end.saturating_sub(text.chars().count());
        if room > mark.len() || (room == mark.len() && text.is_empty()) {
            text += &format!("{mark:>room$}");
        }
    }
    text
}

/// The elite of the row that is chosen, as large as there is room, and those of the rows from the page's first on below it.
fn draw_images(buffer: &mut Buffer, area: Rect, elites: &Elites, rows: &[usize], ui: &Ui) {
    let Some(&chosen) = rows.get(ui.row) else { return };
    let (columns, cell_rows) = THUMBNAIL;
    let per_line = (area.width + 1) / (columns + 1);
    let below = area.height >= 2 * (cell_rows + 2) + 4 && rows.len() > 1 && per_line > 0;
    let large = Rect { height: if below { area.height * 3 / 5 } else { area.height - 1 }, ..area };
    let size = image(buffer, large, elites.canvas, &elites.archive.elites[chosen].image, ui.all_colours);
    let born = elites.archive.elites[chosen].born.0;
    let class = elites.archive.classes[chosen];
    let name = &elites.names[chosen];
    let name = if *name == class.to_string() { String::new() } else { format!(" {name}") };
    let caption = format!("{class}{name}  {}  born in generation {born}", confidence_text(elites.fitness[chosen]));
    buffer.set_stringn(area.x, large.y + size.height, caption, usize::from(area.width), Style::new().bold());

    let top = large.y + size.height + 2;
    let lines = if below { area.bottom().saturating_sub(top) / (cell_rows + 2) } else { 0 };
    let first = ui.row / ui.page * ui.page;
    let shown = rows[first..].iter().take(usize::from(lines * per_line));
    for (at, &row) in shown.enumerate() {
        let at = at as u16;
        let place = Rect {
            x: area.x + at % per_line * (columns + 1),
            y: top + at / per_line * (cell_rows + 2),
            width: columns,
            height: cell_rows,
        };
        let size = image(buffer, place, elites.canvas, &elites.archive.elites[row].image, ui.all_colours);
        let text = format!("{} {}", elites.archive.classes[row], confidence_text(elites.fitness[row]));
        buffer.set_stringn(place.x, place.y + size.height, text, usize::from(columns), Style::new().dim());
    }
}

/// Draws `pixels`, two a cell, one above the other, as large as `area` lets it; returns where it is.
fn image(buffer: &mut Buffer, area: Rect, canvas: Canvas, pixels: &[u8], all_colours: bool) -> Rect {
    let (across, down) = (usize::from(area.width), 2 * usize::from(area.height));
    let Canvas { width, height, channels } = canvas;
    let zoom = (across / width).min(down / height);
    let to = if zoom > 0 {
        Canvas { width: width * zoom, height: height * zoom, channels }
    } else {
        let longest = (across as f64 / width as f64).min(down as f64 / height as f64);
        let smaller = |side: usize| ((side as f64 * longest) as usize).max(1);
        Canvas { width: smaller(width), height: smaller(height), channels }
    };
    let how = if zoom > 0 { ResizeAlg::Nearest } else { ResizeAlg::Convolution(FilterType::Box) };
    let pixels = pictures::resized(pixels, canvas, to, how);
    let colour = |x: usize, y: usize| {
        let pixel = &pixels[(y.min(to.height - 1) * to.width + x) * channels..][..channels];
        let [red, green, blue] = [pixel[0], pixel[channels / 2], pixel[channels - 1]];
        if all_colours { Color::Rgb(red, green, blue) } else { Color::Indexed(nearest([red, green, blue])) }
    };
    let drawn = Rect { width: to.width as u16, height: to.height.div_ceil(2) as u16, ..area };
    for y in 0..drawn.height {
        for x in 0..drawn.width {
            let (column, row) = (usize::from(x), 2 * usize::from(y));
            let below = if row + 1 < to.height { colour(column, row + 1) } else { Color::Reset };
            buffer[(drawn.x + x, drawn.y + y)].set_symbol("▀").set_fg(colour(column, row)).set_bg(below);
        }
    }
    drawn
}

/// Of the 256 colours of most terminals the one of grey or of the cube that is nearest.
fn nearest(rgb: [u8; 3]) -> u8 {
    if rgb[0] == rgb[1] && rgb[1] == rgb[2] {
        // 24 greys, 8, 18, ... 238, and black and white of the cube.
        return match rgb[0] {
            0..=3 => 16,
            247.. => 231,
            grey => 232 + ((grey - 3) / 10).min(23),
        };
    }
    let level = |value: u8| match value {
        0..=47 => 0,
        48..=114 => 1,
        _ => (value - 35) / 40,
    };
    let [red, green, blue] = rgb.map(level);
    16 + 36 * red + 6 * green + blue
}

fn draw_curve(frame: &mut Frame, area: Rect, run: &RunState) {
    let width = usize::from(area.width).max(1);
    let n = run.medians.len();
    let points = (0..width).map(|x| {
        let (_, median) = run.medians[(x * (n - 1)) / (width - 1).max(1)];
        (nines(median) * 1000.0) as u64
    });
    let last = run.medians[n - 1].0;
    let title = format!("median, generation {} to {last} (full height: .9999)", run.medians[0].0);
    let block = Block::new().borders(Borders::TOP).title(title).dim();
    let points: Vec<u64> = points.collect();
    frame.render_widget(Sparkline::default().block(block).data(&points).max(1000).fg(Color::Blue), area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Archive, Elite};
    use crate::experiment::config::{Config, Flavour, Preset};
    use crate::genome::Genome;
    use crate::output::Metrics;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::sync::Arc;

    fn state(n: usize, canvas: Canvas) -> State {
        let fitness: Vec<f32> = (0..n).map(|i| if i == 3 { 0.99995 } else { i as f32 / n as f32 }).collect();
        let elites = fitness.iter().enumerate().map(|(i, &confidence)| {
            let mut probabilities = vec![0.0; n];
            probabilities[i] = confidence;
            // White above, black below.
            let image = (0..canvas.len()).map(|at| if at < canvas.len() / 2 { 255 } else { 0 }).collect();
            let genome = Genome::Direct(Vec::new());
            Arc::new(Elite { probabilities, image, genome, born: (i as u32, 0), content_hash: 0 })
        });
        let archive = Archive { generation: 7, classes: (0..n as u32).collect(), elites: elites.collect() };
        let statistics = crate::archive::Statistics::of(&fitness);
        let names = (0..n).map(|i| format!("a name that is long {i}")).collect();
        let config = Config::preset(Preset::MnistCppn, Flavour::Faithful);
        let last = Metrics::new(7, 1600, &statistics, 2, 12345.0, 5);
        let elites = Elites { config, canvas, fitness, archive, names, evaluations: 1600, elapsed: 1.0 };
        let run = RunState {
            path: "runs/a".into(),
            last: Some(last),
            medians: (0..50).map(|i| (i, i as f32 / 50.0)).collect(),
            elites: Some(Arc::new(elites)),
            changed: Some(std::time::SystemTime::now()),
            ..RunState::default()
        };
        State { runs: vec![run] }
    }

    fn screen(state: &State, ui: &mut Ui, width: u16, height: u16) -> (Vec<String>, Buffer) {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        ui.settle(state);
        terminal.draw(|frame| draw(frame, state, ui)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        ((0..height).map(row).collect(), buffer)
    }

    #[test]
    fn forty_columns_show_every_class_with_its_bar() {
        let state = state(10, Canvas::MNIST);
        let mut ui = Ui::new("a".into(), true);
        let (rows, _) = screen(&state, &mut ui, 40, 20);
        assert!(rows[0].starts_with("a  running"), "{rows:?}");
        assert!(rows[1].contains("generation 7"), "{rows:?}");
        let row = |class: usize| rows.iter().find(|row| row.starts_with(&format!("   {class} "))).unwrap();
        assert!(row(3).contains("0.99995") && row(3).contains("━━━━━━━━"), "{rows:?}");
        assert!(row(9).contains("0.90000") && !row(9).contains("━━━━━"), "{rows:?}");
        assert!((0..10).all(|class| row(class).chars().count() <= 40));
    }

    #[test]
    fn wide_terminal_shows_the_elite_of_the_chosen_class_upper_half_above_lower() {
        let state = state(10, Canvas::MNIST);
        let mut ui = Ui::new("a".into(), true);
        ui.row = 9;
        let (rows, buffer) = screen(&state, &mut ui, 120, 50);
        let caption =
            rows.iter().position(|row| row.contains("9 a name that is long 9  0.90000  born in generation 9"));
        assert!(caption.is_some(), "{rows:#?}");
        let x = (0..120).find(|&x| buffer[(x, 3)].symbol() == "▀").unwrap();
        assert_eq!(buffer[(x, 3)].fg, Color::Rgb(255, 255, 255));
        let bottom = (3..50).take_while(|&y| buffer[(x, y)].symbol() == "▀").last().unwrap();
        assert_eq!(buffer[(x, bottom)].bg, Color::Rgb(0, 0, 0));
        // As wide as high: a row is two pixels.
        let right = (x..120).take_while(|&x| buffer[(x, 3)].symbol() == "▀").last().unwrap();
        assert_eq!(right - x + 1, 2 * (bottom - 3 + 1));
    }

    #[test]
    fn no_size_of_the_terminal_and_no_choice_breaks_it() {
        for (n, canvas) in [(1, Canvas::MNIST), (1000, Canvas { height: 33, width: 17, channels: 3 })] {
            let state = state(n, canvas);
            for width in (1..140).step_by(7) {
                for height in (1..70).step_by(5) {
                    let mut ui = Ui::new("a name of a run that is rather long".into(), width % 2 == 0);
                    (ui.row, ui.order) = (usize::MAX, Order::Youngest);
                    screen(&state, &mut ui, width, height);
                }
            }
        }
        screen(&State::default(), &mut Ui::new("a".into(), true), 80, 24);
        let empty = State { runs: vec![RunState::default(), RunState::default()] };
        let (rows, _) = screen(&empty, &mut Ui::new("a".into(), true), 80, 24);
        assert!(rows[0].contains("not begun yet") && rows.iter().any(|row| row.contains("no checkpoint yet")));
    }

    #[test]
    fn orders_are_what_they_say() {
        let state = state(10, Canvas::MNIST);
        let elites = state.runs[0].elites.as_ref().unwrap();
        assert_eq!(rows(elites, Order::Strongest)[..3], [3, 9, 8]);
        assert_eq!(rows(elites, Order::Weakest)[..3], [0, 1, 2]);
        assert_eq!(rows(elites, Order::Youngest)[..3], [9, 8, 7]);
    }

    #[test]
    fn nearest_colours_are_near() {
        assert_eq!([[0; 3], [255; 3], [8; 3], [238; 3]].map(nearest), [16, 231, 232, 255]);
        assert_eq!([[255, 0, 0], [0, 95, 135], [10, 250, 3]].map(nearest), [196, 24, 46]);
        // Greys that the table has come back as themselves.
        for (step, grey) in (8..=238).step_by(10).enumerate() {
            assert_eq!(nearest([grey; 3]), 232 + step as u8);
        }
    }
}
