//! Training on folders of images: what is read, what is refused, and that threads and time change nothing.

use crate::pareidolia;
use crate::sets::{self, SMALL, jpeg, png_head};
use pareidolia::experiment::train::data::{Batch, Set, View};
use pareidolia::experiment::train::folder::{Broken, Folder};
use pareidolia::experiment::train::{Identity, Recipe};
use pareidolia::genome::Canvas;
use pareidolia::rng::{Philox, Purpose, below};
use std::fs;
use std::path::Path;

fn canvas(height: usize, width: usize, channels: usize) -> Canvas {
    Canvas { height, width, channels }
}

#[test]
fn jpegs_of_every_kind_are_decoded_as_by_others() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    let names = ["rgb", "progressive", "grey", "cmyk"];
    for name in names {
        fs::create_dir(root.join(name)).unwrap();
        // By its content, whatever its name says; ImageNet has such files.
        fs::write(root.join(name).join("a.PNG"), jpeg(&format!("{name}.jpg"))).unwrap();
    }
    let folder = Folder::scan(root, Some(&names.map(String::from)), Broken::Refuse).unwrap();
    let own = View { shown: canvas(30, 40, 3), seen: canvas(30, 40, 3) };
    // What Pillow makes of them at (row, column) (3, 4), (15, 20), (27, 36).
    let want = [
        [[27, 25, 26], [130, 132, 129], [233, 238, 234]],
        [[25, 27, 26], [130, 131, 133], [233, 237, 236]],
        [[26, 26, 26], [131, 131, 131], [236, 236, 236]],
        [[26, 26, 26], [131, 131, 131], [235, 237, 236]],
    ];
    for (index, want) in want.iter().enumerate() {
        let picture = folder.picture(index, own).unwrap();
        assert_eq!((picture.class as usize, picture.pixels.len()), (index, 30 * 40 * 3));
        for ((y, x), want) in [(3, 4), (15, 20), (27, 36)].into_iter().zip(want) {
            for (got, want) in picture.pixels[(y * 40 + x) * 3..][..3].iter().zip(want) {
                // Decoders may round otherwise, and smooth colours that are stored at half the size.
                assert!((i32::from(*got) - want).abs() <= 4, "{} ({y}, {x}): {got}, want {want}", names[index]);
            }
        }
    }
    // A grey network sees grey; another size is another number of pixels.
    let small = View { shown: canvas(9, 9, 1), seen: canvas(9, 9, 1) };
    let pixels = folder.picture(0, small).unwrap().pixels;
    assert_eq!(pixels.len(), 81);
    assert!(pixels[0] < 40 && pixels[80] > 215 && pixels.windows(2).take(8).all(|pair| pair[0] < pair[1]));
}

#[test]
fn crops_and_mirrors_are_those_of_their_draws() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("set");
    sets::write(&root, &["a", "b", "c"], 1, 1);
    let set = Set::Folder(Folder::scan(&root, None, Broken::Refuse).unwrap());
    let view = View { shown: canvas(14, 16, 3), seen: canvas(12, 12, 3) };
    let whole = sets::image(1, 1001);
    let (mut mirrored, mut places) = (0, std::collections::HashSet::new());
    for mirror in [true, false] {
        let recipe = Recipe { mirror, ..Recipe::lenet(9) };
        for iteration in 0..20 {
            for slot in 0..4 {
                let mut got = vec![0; 12 * 12 * 3];
                let class = Batch::image(&mut got, &set, 1, view, &recipe, [iteration, slot]).unwrap();
                let draws = Philox::new(9).draws(Purpose::TrainCrop, slot, iteration);
                let (top, left) = (below(draws.word(0), 3) as usize, below(draws.word(1), 5) as usize);
                let is_mirrored = mirror && draws.word(2) % 2 == 1;
                let at = |y: usize, x: usize, c: usize| {
                    let x = if is_mirrored { 11 - x } else { x };
                    whole[((top + y) * 16 + left + x) * 3 + c]
                };
                let want: Vec<u8> = (0..12)
                    .flat_map(|y| (0..12).flat_map(move |x| (0..3).map(move |c| (y, x, c))))
                    .map(|(y, x, c)| at(y, x, c))
                    .collect();
                assert_eq!((class, got), (1, want), "iteration {iteration}, slot {slot}");
                mirrored += usize::from(is_mirrored);
                places.insert((top, left));
            }
        }
    }
    assert!((20..60).contains(&mirrored), "{mirrored} of 80 mirrored");
    assert_eq!(places.len(), 15, "every place is used");
}

/// A scratch folder with `set` and `val`, 12 and 4 images of three classes.
fn scratch() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    sets::write(&scratch.path().join("set"), &["blue", "green", "red"], 12, 1);
    sets::write(&scratch.path().join("val"), &["blue", "green", "red"], 4, 500);
    scratch
}

const TRAIN: [&str; 8] = ["train", "small.toml", "--data", "set", "--iterations", "40", "--batch", "8"];

fn weights(root: &Path, run: &str) -> Vec<u8> {
    fs::read(root.join(run).join("weights.safetensors")).unwrap()
}

#[test]
fn a_folder_trains_a_network_the_same_with_any_threads_and_fills_its_run_folder() {
    let scratch = scratch();
    let root = scratch.path();
    for (threads, run) in [("1", "one"), ("2", "two"), ("5", "five")] {
        let args = [
            &TRAIN[..],
            &["--val", "val", "--threads", threads, "--run", run, "--val-every", "10", "--log-every", "5"],
        ];
        let output = pareidolia(&args.concat(), root);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("small: 12 of 12 test images right (100.00 %); 40 iterations of 8 images"), "{text}");
        assert!(text.ends_with(&format!("{run}\n")), "{text}");
    }
    assert!(weights(root, "one") == weights(root, "two") && weights(root, "one") == weights(root, "five"));
    let mut names: Vec<_> =
        root.join("one").read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let want = ["accuracy.png", "checkpoint", "lock", "loss.png", "metrics.jsonl", "run.json", "weights.safetensors"];
    assert_eq!(names, want);
    let metrics = fs::read_to_string(root.join("one/metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let iterations: Vec<u64> = lines.iter().map(|line| line["iteration"].as_u64().unwrap()).collect();
    assert_eq!(iterations, [5, 10, 15, 20, 25, 30, 35, 40]);
    assert_eq!(lines.iter().filter(|line| line["accuracy"].is_number()).count(), 4);
    assert!(lines[7]["loss"].as_f64().unwrap() < 0.3 * lines[0]["loss"].as_f64().unwrap(), "{metrics}");
    assert_eq!(lines[3]["epoch"], 20.0 * 8.0 / 36.0);
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(root.join("one/run.json")).unwrap()).unwrap();
    assert_eq!(manifest["correct"], 12);
    assert_eq!(manifest["configuration"]["recipe"]["batch"], 8);
    assert_eq!(manifest["training"]["images"], 36);
    // The weights are of use elsewhere, with their list.
    let weights = ["--weights", "one/weights.safetensors", "--network", "small.toml", "--resize", "bilinear"];
    let output = pareidolia(&[&["classify", "val/green/01.png"], &weights[..]].concat(), root);
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 green"), "{output:?}");
    // Another seed, and no mirrors, are other weights.
    for (option, value) in [("--seed", "2"), ("--mirror", "false"), ("--momentum", "0.5"), ("--schedule", "constant")] {
        let output = pareidolia(&[&TRAIN[..], &[option, value, "--run", &option[2..]]].concat(), root);
        assert!(output.status.success(), "{output:?}");
        assert!(self::weights(root, &option[2..]) != self::weights(root, "one"), "{option}");
    }
}

#[test]
fn classes_stand_in_the_order_of_their_names_or_of_a_file() {
    let scratch = scratch();
    let root = scratch.path();
    fs::write(root.join("names"), "red\nblue\ngreen\n").unwrap();
    let output =
        pareidolia(&[&TRAIN[..], &["--class-names", "names", "--val", "val", "--run", "named"]].concat(), root);
    assert!(output.status.success(), "{output:?}");
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(root.join("named/run.json")).unwrap()).unwrap();
    assert_eq!(manifest["configuration"]["classes"], serde_json::json!(["red", "blue", "green"]));
    assert_eq!(manifest["accuracy"], 1.0);
    for (names, words) in [
        ("red\nblue\n", "\"green\""),
        ("red\nblue\ngreen\nyellow\n", "\"yellow\""),
        ("red\nblue\nred\n", "line 3"),
        ("red\n\nblue\n", "line 2"),
    ] {
        fs::write(root.join("names"), names).unwrap();
        refused(root, &[&TRAIN[..], &["--class-names", "names"]].concat(), 1, &[words]);
    }
}

/// Runs `args`, which must fail so and say `words`, in a line, and leave no run behind.
#[track_caller]
fn refused(root: &Path, args: &[&str], code: i32, words: &[&str]) {
    let output = pareidolia(args, root);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    let error = stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{args:?}: {stderr}"));
    for word in words {
        assert!(error.contains(word), "{args:?}: no {word:?} in: {error}");
    }
    assert!(!root.join("runs").exists() && !root.join("run").exists(), "{args:?}: nothing is left behind");
}

#[test]
fn folders_that_are_none_to_train_on_are_refused() {
    let scratch = scratch();
    let root = scratch.path();
    fs::create_dir(root.join("empty")).unwrap();
    fs::create_dir_all(root.join("one/cats")).unwrap();
    fs::copy(root.join("set/red/00.png"), root.join("one/cats/a.png")).unwrap();
    fs::create_dir_all(root.join("hollow/cats")).unwrap();
    fs::create_dir_all(root.join("hollow/dogs")).unwrap();
    fs::copy(root.join("set/red/00.png"), root.join("hollow/cats/a.png")).unwrap();
    sets::write(&root.join("four"), &["a", "b", "c", "d"], 2, 1);
    sets::write(&root.join("two"), &["blue", "red"], 8, 1);
    let with = |data: &'static str| ["train", "small.toml", "--data", data, "--iterations", "4", "--batch", "4"];
    refused(root, &with("empty"), 1, &["empty", "CLASS/IMAGE.jpg", "--data"]);
    refused(root, &with("one"), 1, &["one class, \"cats\"", "two or more"]);
    refused(root, &with("hollow"), 1, &["dogs", "no image"]);
    refused(root, &with("four"), 2, &["4 classes", "small has 3", "labels 3 to 3", "classes = 4"]);
    refused(root, &with("small.toml"), 1, &["small.toml"]);
    refused(root, &[&with("set")[..], &["--val", "two"]].concat(), 1, &["two", "\"green\""]);
    refused(root, &[&with("set")[..], &["--batch", "37"]].concat(), 2, &["--batch"]);
    refused(root, &["train", "small.toml", "--data", "set", "--batch", "37"], 2, &["--batch 37", "36 images"]);
    refused(root, &[&with("set")[..], &["--out", "none/w"]].concat(), 1, &["none"]);
    refused(root, &[&with("set")[..], &["--out", "small.toml"]].concat(), 1, &["small.toml", "already", "--out"]);
    refused(root, &[&with("set")[..], &["--run", "val"]].concat(), 1, &["val", "not empty", "--run"]);
    refused(root, &[&with("set")[..], &["--run", "small.toml"]].concat(), 1, &["small.toml", "--run"]);
    refused(root, &[&with("set")[..], &["--device", "cuda:0"]].concat(), 1, &["cuda:0"]);
    refused(root, &["train", "nonet", "--data", "set"], 2, &["nonet", "lenet"]);
    refused(root, &[&with("set")[..], &["--rate", "nan"]].concat(), 2, &["--rate NaN"]);
    // Folders in which two classes of the list have no images are a network with outputs that nothing teaches.
    let output = pareidolia(&[&with("two")[..], &["--run", "fewer"]].concat(), root);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn broken_and_huge_images_are_named_or_skipped_and_counted() {
    let scratch = scratch();
    let root = scratch.path();
    let clean = pareidolia(&[&TRAIN[..], &["--val", "val", "--run", "clean"]].concat(), root);
    assert!(clean.status.success(), "{clean:?}");
    let red = root.join("set/red");
    let cut = |bytes: Vec<u8>, n: usize| bytes[..n].to_vec();
    for (name, bytes, reason) in [
        ("a-empty.jpg", Vec::new(), "an empty file"),
        ("b-text.png", b"not an image".to_vec(), "neither a JPEG nor a PNG"),
        ("c-huge.png", png_head(100_000, 100_000), "100000 x 100000 pixels are more than"),
        ("d-nothing.png", png_head(0, 5), "no pixels"),
        ("e-head.jpg", cut(jpeg("rgb.jpg"), 100), "not a readable JPEG"),
    ] {
        fs::write(red.join(name), bytes).unwrap();
        refused(root, &TRAIN, 1, &["set", &format!("1 image cannot be used: red/{name}"), reason, "--broken skip"]);
        // Left out before the training begins, it is as if it had never been there.
        let run = format!("run-{name}");
        let args = [&TRAIN[..], &["--val", "val", "--broken", "skip", "--run", &run]].concat();
        let output = pareidolia(&args, root);
        assert!(output.status.success(), "{output:?}");
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(stdout.contains("\n1 files of images could not be used\n"), "{stdout}");
        assert!(stderr.contains(name) && stderr.contains(reason), "{stderr}");
        let values = |run: &str| crate::safetensors_values(&weights(root, run));
        assert!(values("clean") == values(&run), "{name}");
        fs::remove_file(red.join(name)).unwrap();
    }

    // What only decoding shows: cut off behind the head.
    let whole = jpeg("rgb.jpg");
    fs::write(red.join("late.jpg"), cut(whole.clone(), whole.len() - 100)).unwrap();
    let output = pareidolia(&[&TRAIN[..], &["--run", "late"]].concat(), root);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for word in ["red/late.jpg: ", "--broken skip", "--resume"] {
        assert!(stderr.contains(word), "{stderr}");
    }
    let skip = |run: &str, threads: &str| {
        let args = [&TRAIN[..], &["--val", "set", "--broken", "skip", "--run", run, "--threads", threads]].concat();
        let output = pareidolia(&args, root);
        assert!(output.status.success(), "{output:?}");
        // The validation images have it too.
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("36 of 36 test images") && text.contains("\n2 files of images could not be used\n"),
            "{text}"
        );
        weights(root, run)
    };
    assert!(skip("skip-1", "1") == skip("skip-2", "2"), "what takes its place does not depend on threads");
    // Mended, the training that it stopped goes on.
    fs::write(red.join("late.jpg"), &whole).unwrap();
    let output = pareidolia(&["train", "--resume", "late"], root);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "of another size it is another file: {stderr}");
    assert!(stderr.contains("what it is trained on"), "{stderr}");
}

#[test]
fn sets_are_told_apart_by_names_and_sizes() {
    let scratch = scratch();
    let identity = |broken| -> Identity {
        Set::Folder(Folder::scan(&scratch.path().join("set"), None, broken).unwrap()).identity()
    };
    let before = identity(Broken::Refuse);
    assert_eq!(before, identity(Broken::Refuse));
    fs::write(scratch.path().join("set/red/notes.txt"), "not looked at").unwrap();
    assert_eq!(before, identity(Broken::Refuse));
    fs::write(scratch.path().join("set/red/x.png"), "broken").unwrap();
    assert_eq!(before, identity(Broken::Skip));
    fs::rename(scratch.path().join("set/red/00.png"), scratch.path().join("set/red/0.png")).unwrap();
    assert_ne!(before, identity(Broken::Skip));
    assert!(SMALL.contains("small"));
}
