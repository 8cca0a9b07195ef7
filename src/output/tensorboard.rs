//! Event files, which TensorBoard shows: of a run its metrics as curves, the confidences of all niches as histograms, some elites as
//! a picture, and its configuration as text.
//!
//! A file is a row of records, each a little-endian u64 with the length of the message, the masked checksum of those eight bytes, the
//! message, and its masked checksum. The checksum is CRC-32C, rotated right by 15 and `0xa282ead8` added (TensorFlow,
//! `core/lib/io/record_writer.h`). A message is an `Event` in protobuf's wire format (`core/util/event.proto`,
//! `core/framework/summary.proto`), of which this module writes the few fields that it needs.
//!
//! What cannot be written after the start is said once, and no more is written: a run does not end for it.

use super::contact_sheet;
use super::pictures::{Image, encode_png, resized};
use super::{Checkpoint, Metrics};
use crate::error::{Error, Result};
use crate::genome::Canvas;
use fast_image_resize::{FilterType, ResizeAlg};
use png::Compression;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// CRC-32C, of Castagnoli.
const CHECKSUM: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);

/// Elites of the picture, and their longer side in pixels, at most.
const SHOWN: usize = 64;
const SIDE: usize = 64;

/// Bars of a histogram.
const BARS: usize = 50;

/// The events of one run, appended to a file of this process's own.
#[derive(Debug)]
pub struct EventFile {
    /// `None` once it could not be written.
    file: Option<File>,
    path: PathBuf,
}

impl EventFile {
    /// Makes a new file in the folder `folder`, which is made too. What earlier files there say of later generations than `after`, the
    /// one that the run goes on from, TensorBoard then leaves out.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(folder: &Path, after: Option<u32>, configuration: &str) -> Result<EventFile> {
        fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
        let (file, path) = new_file(folder)?;
        let mut events = EventFile { file: Some(file), path };
        let mut version = event(0);
        version.bytes(3, b"brain.Event:2");
        events.append(&version)?;
        let mut start = event(after.map_or(0, |after| u64::from(after) + 1));
        start.message(7, |session| session.varint(1, 1));
        events.append(&start)?;
        events.append(&summary(0, |values| {
            // As a code block of Markdown.
            let text = format!("    {}", configuration.trim_end().replace('\n', "\n    "));
            values.text("configuration", &text);
        }))?;
        Ok(events)
    }

    /// The curves' next points.
    pub fn metrics(&mut self, line: &Metrics) {
        self.write(&summary(u64::from(line.generation), |values| {
            for (tag, value) in [
                ("confidence/median", line.median),
                ("confidence/mean", line.mean),
                ("confidence/least", line.min),
                ("confidence/greatest", line.max),
                ("classes/at .99", line.over_99 as f64),
                ("classes/at .999", line.over_999 as f64),
                ("classes/at .9999", line.over_9999 as f64),
                ("run/niches replaced", f64::from(line.replaced)),
                ("run/evaluations", line.evaluations as f64),
                ("run/genomes a second", line.genomes_per_second),
            ] {
                values.scalar(tag, value);
            }
            let Some(gpu) = &line.gpu else { return };
            for (tag, value) in [
                ("gpu/power W", gpu.power_watts),
                ("gpu/clock MHz", gpu.sm_clock_mhz.map(f64::from)),
                ("gpu/temperature C", gpu.temperature_c.map(f64::from)),
                ("gpu/memory MiB", gpu.memory_used_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20))),
            ] {
                value.into_iter().for_each(|value| values.scalar(tag, value));
            }
        }));
    }

    /// The elites of a checkpoint.
    pub fn elites(&mut self, checkpoint: &Checkpoint) {
        let Checkpoint { archive, canvas, .. } = checkpoint;
        let images: Vec<&[u8]> = archive.elites.iter().map(|elite| &elite.image[..]).collect();
        let picture = mosaic(&images, *canvas);
        let mut png = Vec::new();
        encode_png(&mut png, picture.canvas, &picture.pixels, Compression::Balanced).expect("memory takes bytes");
        self.write(&summary(u64::from(archive.generation), |values| {
            values.histogram("confidence of the classes", &archive.fitness());
            values.image("elites", picture.canvas, &png);
        }));
    }

    fn write(&mut self, event: &Message) {
        if let Err(error) = self.append(event) {
            self.file = None;
            tracing::warn!("{error}; TensorBoard will see no more of this run, which goes on");
        }
    }

    fn append(&mut self, event: &Message) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        // In one piece, so that a reader meets whole records but for a torn last one.
        file.write_all(&record(&event.0)).map_err(Error::io("write", &self.path))
    }
}

/// A file whose name no other process has, and which sorts behind those before it.
fn new_file(folder: &Path) -> Result<(File, PathBuf)> {
    let seconds = now().as_secs();
    let process = std::process::id();
    for n in 0.. {
        let path = folder.join(format!("events.out.tfevents.{seconds:010}.pareidolia.{process}.{n}"));
        match OpenOptions::new().append(true).create_new(true).open(&path) {
            Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => {}
            file => return Ok((file.map_err(Error::io("make", &path))?, path)),
        }
    }
    unreachable!("there are more numbers than files")
}

/// Since 1970; nothing of a result depends on it.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn masked(bytes: &[u8]) -> [u8; 4] {
    CHECKSUM.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), message, &masked(message)].concat()
}

/// Some of the `images` of `canvas`, evenly spread over them, side by side.
fn mosaic(images: &[&[u8]], canvas: Canvas) -> Image {
    let n = images.len().min(SHOWN);
    let longer = canvas.height.max(canvas.width);
    let zoom = (SIDE / longer).max(1);
    let scaled = |side: usize| if longer > SIDE { (side * SIDE).div_ceil(longer) } else { side * zoom };
    let cell = Canvas { height: scaled(canvas.height), width: scaled(canvas.width), ..canvas };
    let how = if longer > SIDE { ResizeAlg::Convolution(FilterType::Box) } else { ResizeAlg::Nearest };
    let columns = contact_sheet::columns(n);
    const GAP: usize = 2;
    let sheet = Canvas {
        height: n.div_ceil(columns) * (cell.height + GAP) - GAP,
        width: columns * (cell.width + GAP) - GAP,
        ..canvas
    };
    let mut pixels = vec![128; sheet.len()];
    for at in 0..n {
        let small = resized(images[at * images.len() / n], canvas, cell, how);
        let (top, left) = (at / columns * (cell.height + GAP), at % columns * (cell.width + GAP));
        for (y, row) in small.chunks_exact(cell.width * cell.channels).enumerate() {
            pixels[((top + y) * sheet.width + left) * sheet.channels..][..row.len()].copy_from_slice(row);
        }
    }
    Image { canvas: sheet, pixels }
}

/// An `Event` of now and of `step`.
fn event(step: u64) -> Message {
    let mut event = Message::default();
    event.double(1, now().as_secs_f64());
    event.varint(2, step);
    event
}

/// An `Event` with a `Summary`, to which `fill` adds values.
fn summary(step: u64, fill: impl FnOnce(&mut Message)) -> Message {
    let mut event = event(step);
    event.message(5, fill);
    event
}

/// A message of protobuf, in its wire format: each field is a varint with its number and kind, and the value.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, kind: u64) {
        self.raw_varint(field << 3 | kind);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.raw_varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, 2);
        self.raw_varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn doubles(&mut self, field: u64, values: impl Iterator<Item = f64>) {
        self.bytes(field, &values.flat_map(f64::to_le_bytes).collect::<Vec<u8>>());
    }

    fn message(&mut self, field: u64, fill: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }

    // Of a `Summary`.

    fn value(&mut self, tag: &str, fill: impl FnOnce(&mut Message)) {
        self.message(1, |value| {
            value.bytes(1, tag.as_bytes());
            fill(value);
        });
    }

    fn scalar(&mut self, tag: &str, number: f64) {
        self.value(tag, |value| value.float(2, number as f32));
    }

    fn image(&mut self, tag: &str, canvas: Canvas, png: &[u8]) {
        self.value(tag, |value| {
            value.message(4, |image| {
                image.varint(1, canvas.height as u64);
                image.varint(2, canvas.width as u64);
                image.varint(3, canvas.channels as u64);
                image.bytes(4, png);
            });
        });
    }

    /// Confidences, in bars of equal width over 0 to 1.
    fn histogram(&mut self, tag: &str, confidences: &[f32]) {
        let mut bars = [0.0_f64; BARS];
        let numbers = || confidences.iter().map(|&confidence| f64::from(confidence));
        for confidence in numbers() {
            bars[((confidence * BARS as f64) as usize).min(BARS - 1)] += 1.0;
        }
        self.value(tag, |value| {
            value.message(5, |histogram| {
                histogram.double(1, numbers().fold(1.0, f64::min));
                histogram.double(2, numbers().fold(0.0, f64::max));
                histogram.double(3, confidences.len() as f64);
                histogram.double(4, numbers().sum());
                histogram.double(5, numbers().map(|confidence| confidence * confidence).sum());
                histogram.doubles(6, (1..=BARS).map(|bar| bar as f64 / BARS as f64));
                histogram.doubles(7, bars.into_iter());
            });
        });
    }

    fn text(&mut self, tag: &str, text: &str) {
        /// `DT_STRING`.
        const STRING: u64 = 7;
        self.value(tag, |value| {
            value.message(8, |tensor| {
                tensor.varint(1, STRING);
                tensor.message(2, |_| {}); // no dimensions: one string
                tensor.bytes(8, text.as_bytes());
            });
            value.message(9, |metadata| metadata.message(1, |plugin| plugin.bytes(1, b"text")));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_that_of_the_standard_and_masked_as_records_have_it() {
        // RFC 3720, B.4: 32 bytes of zeros have the CRC-32C 8a9136aa.
        assert_eq!(CHECKSUM.checksum(&[0; 32]), 0x8a91_36aa);
        // Rotated by hand: 6d551522; and the number of the format added.
        assert_eq!(masked(&[0; 32]), 0x6d55_1522_u32.wrapping_add(0xa282_ead8).to_le_bytes());
    }

    #[test]
    fn message_is_in_the_wire_format() {
        let mut message = Message::default();
        message.varint(2, 300);
        message.bytes(1, b"ab");
        message.float(16, 1.0);
        // As the encoding guide of protobuf has it: 300 is ac 02.
        assert_eq!(message.0, [0x10, 0xac, 0x02, 0x0a, 2, b'a', b'b', 0x85, 0x01, 0, 0, 0x80, 0x3f]);
    }

    #[test]
    fn mosaic_shows_elites_in_their_order_and_at_most_so_many() {
        let canvas = Canvas::MNIST;
        let images: Vec<Vec<u8>> = (0..200).map(|i| vec![i as u8; canvas.len()]).collect();
        let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
        let two = mosaic(&images[3..5], canvas);
        assert_eq!((two.canvas.height, two.canvas.width), (56, 56 + 2 + 56));
        assert_eq!((two.pixels[0], two.pixels[56], two.pixels[58]), (3, 128, 4));
        let all = mosaic(&images, canvas);
        assert_eq!((all.canvas.height + 2) / 58 * ((all.canvas.width + 2) / 58), 70);
        let large = Canvas { height: 256, width: 128, channels: 3 };
        let pixels = vec![9; large.len()];
        let small = mosaic(&[&pixels], large);
        assert_eq!(small.canvas, Canvas { height: 64, width: 32, channels: 3 });
        assert!(small.pixels.iter().all(|&pixel| pixel == 9));
    }
}
