//! The program as a user meets it: what it prints where, exit codes, and calls that cannot work.

mod common;

use clap::CommandFactory;
use pareidolia::cli::Cli;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The program, to be called in `folder`, away from what the environment may say.
fn pareidolia(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pareidolia"));
    command.args(args).current_dir(folder).stdin(Stdio::null()).env_remove("PAREIDOLIA_DATA").env_remove("NO_COLOR");
    command
}

fn call(folder: &TempDir, args: &[&str]) -> Output {
    pareidolia(folder.path(), args).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// What a call prints that must succeed.
#[track_caller]
fn done(folder: &TempDir, args: &[&str]) -> String {
    let output = call(folder, args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
    stdout(&output).to_string()
}

/// The one line that a call prints that must fail with `code`. Log lines may come before it.
#[track_caller]
fn refused(folder: &TempDir, code: i32, args: &[&str]) -> String {
    let output = call(folder, args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
    assert_eq!(stdout(&output), "", "{args:?}");
    let errors: Vec<&str> = stderr(&output).lines().filter(|line| !line.starts_with(" INFO")).collect();
    let [line] = errors[..] else { panic!("{args:?}: {errors:?}") };
    line.strip_prefix("error: ").unwrap_or_else(|| panic!("{args:?}: {line:?}")).to_string()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A run of a moment, in `run`.
const SMALL: [&str; 8] = ["evolve", "--generations", "3", "--batch", "40", "--out", "run", "--no-pictures"];

#[test]
fn help_describes_every_option() {
    let mut command = Cli::command();
    command.build();
    command.clone().debug_assert();
    let folder = folder();
    let mut commands: Vec<(Vec<String>, clap::Command)> = vec![(vec![], command.clone())];
    commands.extend(command.get_subcommands().map(|sub| (vec![sub.get_name().to_string()], sub.clone())));
    for (path, command) in commands.iter().filter(|(path, _)| path != &["help"]) {
        let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let help = done(&folder, &args);
        assert!(!command.get_about().unwrap().to_string().is_empty(), "{path:?}");
        for argument in command.get_arguments() {
            let name = argument.get_long().map_or_else(|| "[".to_string(), |long| format!("--{long}"));
            assert!(help.contains(&name), "{path:?} {name}");
            let text = argument.get_help().unwrap_or_else(|| panic!("{path:?}: {} has no help", argument.get_id()));
            assert!(!text.to_string().is_empty(), "{path:?}: {}", argument.get_id());
        }
    }
    let evolve = done(&folder, &["evolve", "--help"]);
    for key in pareidolia::experiment::config::KEYS {
        assert!(evolve.contains(key.name) && evolve.contains(key.meaning), "{}", key.name);
    }
}

/// Long options of `command` and of the commands below it.
fn long_options(command: &clap::Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_long()).map(String::from);
    own.chain(command.get_subcommands().flat_map(long_options)).collect()
}

#[test]
fn documents_lead_somewhere_and_show_what_there_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()).filter(is_page);
    let others = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "benches/README.md",
        "weights/README.md",
        "emulator/README.md",
    ];
    let pages: Vec<PathBuf> = others.iter().map(|name| root.join(name)).chain(docs).collect();
    let mut program = Cli::command();
    program.build();
    let mut calls = 0;
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        let page_name = page.strip_prefix(root).unwrap().display();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let is_there =
                target.is_empty() || target.starts_with("http") || page.parent().unwrap().join(target).exists();
            assert!(is_there, "{page_name}: a link to {target}, which is not there");
        }
        // A call ends with its line or its quotation; what a backslash or a loop leaves for the next line is not looked at.
        for call in text.split("pareidolia ").skip(1).filter_map(|rest| rest.split(['\n', '`', '#']).next()) {
            let mut words = call.split_whitespace();
            let Some(command) = words.next().and_then(|name| program.find_subcommand(name)) else { continue };
            calls += 1;
            let known = long_options(command);
            for option in words.filter_map(|word| word.strip_prefix("--")).filter(|option| !option.is_empty()) {
                let name = option.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap();
                assert!(known.iter().any(|known| known == name), "{page_name}: {} has no --{name}", command.get_name());
            }
        }
    }
    assert!(calls > 60, "{calls} calls were found");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        assert!(readme.contains(&format!("`{}", command.get_name())), "README.md: nothing of {}", command.get_name());
    }
}

#[test]
fn version_names_the_commit() {
    let version = done(&folder(), &["--version"]);
    assert_eq!(version, format!("pareidolia {}\n", pareidolia::version::LONG_VERSION));
}

#[test]
fn wrong_calls_exit_with_2() {
    let folder = folder();
    for args in [
        &[][..],
        &["evolv"],
        &["evolve", "--nonesuch"],
        &["evolve", "imagenet-mars"],
        &["evolve", "--threads", "0"],
        &["evolve", "--simd", "sse"],
        &["evolve", "--device", "tpu"],
        &["evolve", "--chunk", "3"],
        &["evolve", "--chunk", "0"],
        &["evolve", "--progress", "loud"],
        &["evolve", "--resume-or-start"],
        &["evolve", "--resume", "run", "--out", "other"],
        &["evolve", "--resume", "run", "--seed", "3"],
        &["evolve", "--resume", "run", "--set", "batch=2"],
        &["evolve", "--quiet", "--verbose"],
        &["classify"],
        &["classify", "x.png", "--top", "0"],
        &["classify", "x.png", "--resize", "lanczos"],
        &["render", "run", "--out", "x.png"],
        &["render", "run", "--all", "--class", "3", "--out", "x.png"],
        &["render", "run", "--all", "--size", "big", "--out", "x.png"],
    ] {
        let output = call(&folder, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{args:?}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "a wrong call left something behind");
}

#[test]
fn wrong_values_are_named_in_one_line() {
    let folder = folder();
    for (args, want) in [
        (&["--batch", "0"][..], "--batch: got 0, wanted an even number from 2 to 16777216"),
        (&["--batch", "7"], "--batch: got 7, wanted an even number from 2 to 16777216"),
        (&["--batch", "many"], "--batch: got \"many\", wanted an even number from 2 to 16777216"),
        (&["--batch", "33554432"], "--batch: got 33554432, wanted an even number from 2 to 16777216"),
        (&["--seed", "-1"], "--seed: got -1, wanted a whole number, 0 or more"),
        (&["--target", "1.5"], "--target: got 1.5, wanted a number from 0 to 1"),
        (&["--time", "soon"], "--time: got \"soon\", wanted seconds, or a time such as \"10m\""),
        (&["--generations", "1.5"], "--generations: got 1.5, wanted a whole number, 0 or more"),
        (&["--classes", "3,3"], "--classes: got 3 before 3, wanted each class once, ascending"),
        (&["--classes", "hen"], "--classes: \"hen\" is no class number, range such as 5-7, or name of a class"),
        (&["--set", "bach=4"], "--set: unknown key \"bach\", the nearest one is \"batch\""),
        (&["--set", "batch"], "--set: got \"batch\", wanted KEY=VALUE"),
        (&["--set", "cppn.normalise=7"], "--set: cppn.normalise: got 7, wanted true or false"),
        (&["--set", "direct.crossover=none"], "--set: direct.crossover is for the direct encoding, mnist-cppn is not"),
    ] {
        // Should one be taken by mistake, it does not evolve for ever.
        let args: Vec<&str> = ["evolve", "--dry-run"].iter().chain(args).copied().collect();
        assert_eq!(refused(&folder, 2, &args), want);
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "a wrong call left something behind");
}

#[test]
fn what_cannot_be_had_exits_with_1_and_one_line() {
    let folder = folder();
    fs::write(folder.path().join("file"), "neither picture nor network").unwrap();
    fs::write(folder.path().join("broken.toml"), "batch = = 3").unwrap();
    fs::create_dir(folder.path().join("full")).unwrap();
    fs::write(folder.path().join("full/mine.txt"), "do not touch").unwrap();
    for (args, want) in [
        (&["evolve", "--device", "cuda:4000"][..], "--device cuda:4000: "),
        (&["evolve", "--config", "none.toml"], "none.toml: cannot read"),
        (&["evolve", "--config", "broken.toml"], "broken.toml: line 1: not TOML"),
        (&["classify", "three.png", "--weights", "none.safetensors"], "none.safetensors: cannot "),
        (&["classify", "three.png", "--weights", "file"], "file: "),
        (&["evolve", "--out", "full"], "full: "),
        (&["evolve", "--out", "file"], "file: "),
        (&["evolve", "--out", "file/run"], "file"),
        (&["evolve", "--resume", "none"], "none"),
        (&["evolve", "--resume", "full"], "full"),
        (&["classify", "none.png"], "none.png: cannot open"),
        (&["classify", "file"], "file: neither a PNG, nor an IDX file"),
        (&["classify", "full"], "full/archive.safetensors: cannot read"),
        (&["render", "none", "--all", "--out", "pictures"], "none: cannot read"),
        (&["render", "file", "--all", "--out", "pictures"], "file: not a valid archive"),
    ] {
        let line = refused(&folder, 1, args);
        assert!(line.starts_with(want), "{args:?}: {line:?}");
    }
    assert_eq!(fs::read_dir(folder.path().join("full")).unwrap().count(), 1, "a folder was touched that is not ours");
}

#[test]
fn dry_run_prints_what_config_takes() {
    let folder = folder();
    for preset in ["mnist-direct", "mnist-cppn"] {
        for flavour in ["faithful", "modern"] {
            let options = ["--seed", "7", "--classes", "3,5-7", "--time", "10m", "--target", "0.9999"];
            let args: Vec<&str> =
                ["evolve", preset, "--flavour", flavour, "--dry-run"].into_iter().chain(options).collect();
            let printed = done(&folder, &args);
            fs::write(folder.path().join("run.toml"), &printed).unwrap();
            assert_eq!(done(&folder, &["evolve", "--config", "run.toml", "--dry-run"]), printed);
            let json: Value =
                serde_json::from_str(&done(&folder, &["evolve", "--config", "run.toml", "--dry-run", "--json"]))
                    .unwrap();
            assert_eq!(json["preset"], preset);
            assert_eq!(json["classes"], serde_json::json!([3, 5, 6, 7]));
        }
    }
    fs::remove_file(folder.path().join("run.toml")).unwrap();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "a dry run left something behind");
}

#[test]
fn seed_random_is_recorded_and_differs() {
    let folder = folder();
    let seed = || {
        let config: Value =
            serde_json::from_str(&done(&folder, &["evolve", "--seed", "random", "--dry-run", "--json"])).unwrap();
        config["seed"].as_u64().unwrap()
    };
    // Three equal draws of 32 bits: once in 2^64.
    assert!(seed() != seed() || seed() != seed());
}

#[test]
fn info_tells_what_the_kernels_take_or_how_to_get_them() {
    let folder = folder();
    let text = done(&folder, &["info", "--kernels"]);
    let json: Value = serde_json::from_str(&done(&folder, &["info", "--kernels", "--json"])).unwrap();
    let built = pareidolia::kernels::BUILT;
    assert!(text.starts_with(&format!("{built}\n")), "{text}");
    assert_eq!(json["built"], built);
    assert!(done(&folder, &["info"]).contains(built));
    match pareidolia::kernels::report() {
        None => assert!(json["kernels"].is_null() && built.starts_with("no kernels: "), "{built}"),
        Some(report) => {
            assert!(built.contains(&format!("driver {}", json["minimum_driver"].as_str().unwrap())));
            assert_eq!(json["kernels"].as_array().unwrap().len(), report.kernels.len());
            for one in &report.kernels {
                assert!(
                    text.lines().any(|line| line.starts_with(&one.kernel) && line.contains(&one.architecture)),
                    "{text}"
                );
            }
        }
    }
}

#[test]
fn info_speaks_as_text_and_as_json() {
    let folder = folder();
    let text = done(&folder, &["info"]);
    let json: Value = serde_json::from_str(&done(&folder, &["info", "--json"])).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["arithmetic_version"], pareidolia::archive::ARITHMETIC_VERSION);
    for key in ["version", "commit", "platform", "rustc", "simd"] {
        let value = json[key].as_str().unwrap();
        assert!(!value.is_empty() && text.contains(value), "{key} {value:?} in {text}");
    }
    assert_eq!(json["presets"].as_array().unwrap().len(), 8);
    let sha256 = json["networks"][0]["sha256"].as_str().unwrap();
    assert!(sha256.len() == 64 && text.contains(sha256), "{text}");
    assert!(json["simd_available"].as_array().unwrap().contains(&json["simd"]));
    assert_eq!(json["data"], Value::Null);
    let with_data = pareidolia(folder.path(), &["info"]).env("PAREIDOLIA_DATA", "nowhere").output().unwrap();
    assert!(stdout(&with_data).contains("nowhere (PAREIDOLIA_DATA) is not there"));
}

#[test]
fn closed_stdout_is_no_failure() {
    let folder = folder();
    for args in [&["info"][..], &["--help"], &["evolve", "--dry-run"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = pareidolia(folder.path(), args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{args:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn full_stdout_is_a_failure() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let folder = folder();
    let output = pareidolia(folder.path(), &["info"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("error: standard output: cannot write: "), "{}", stderr(&output));
}

#[test]
fn quiet_silences_the_log_and_a_log_file_has_no_colours() {
    let folder = folder();
    let quiet = call(&folder, &[&SMALL[..], &["--quiet"]].concat());
    assert_eq!((quiet.status.code(), stderr(&quiet)), (Some(0), ""));
    let verbose = call(&folder, &["evolve", "--generations", "0", "--out", "verbose", "--verbose"]);
    assert!(stderr(&verbose).contains("INFO"), "{}", stderr(&verbose));
    assert!(!stderr(&verbose).contains('\x1b'), "{}", stderr(&verbose));
}

#[test]
fn evolve_classify_render_go_together() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let run: Value =
        serde_json::from_str(&done(&folder, &["evolve", "--generations", "3", "--out", "run", "--json"])).unwrap();
    assert_eq!(run, serde_json::from_str::<Value>(&fs::read_to_string(path("run/run.json")).unwrap()).unwrap());
    let hash = run["archive_hash"].as_str().unwrap();

    // A run's summary, and a run that exists.
    let again = done(&folder, &["evolve", "--generations", "3", "--out", "again", "--no-pictures"]);
    assert!(again.contains(hash), "{again}");
    assert!(!path("again/contact_sheet.png").exists());
    let line = refused(&folder, 1, &["evolve", "--out", "run"]);
    assert!(line.starts_with("run: ") && line.contains("--resume run"), "{line}");
    assert!(done(&folder, &["evolve", "--resume", "run"]).contains(hash));
    assert!(!done(&folder, &["evolve", "--resume", "again", "--generations", "4"]).contains(hash));

    // What was recorded is what the network says, of the archive and of the pictures.
    let classified = |args: &[&str]| -> Vec<Value> {
        let args = [&["classify", "--json"], args].concat();
        serde_json::from_str(&done(&folder, &args)).unwrap()
    };
    let elites = classified(&["run"]);
    assert_eq!(elites.len(), 10);
    for (class, elite) in elites.iter().enumerate() {
        assert_eq!(elite["elite"]["class"], class);
        assert_eq!(elite["elite"]["identical"], true);
        let recorded = &run["classes"][class];
        assert_eq!(elite["elite"]["confidence"], recorded["confidence"]);
        let file = format!("run/{}", recorded["file"].as_str().unwrap());
        let picture = &classified(&[&file, "--top", "10"])[0];
        let label = picture["top"].as_array().unwrap().iter().find(|label| label["class"] == class).unwrap();
        assert_eq!(label["probability"], recorded["confidence"]);
    }
    assert_eq!(
        done(&folder, &["classify", "run/archive.safetensors", "--top", "1"]).matches(", as recorded").count(),
        10
    );

    // At the run's size render draws what was scored; elsewhere what it was asked for.
    done(&folder, &["render", "run", "--all", "--size", "28", "--out", "drawn"]);
    for recorded in run["classes"].as_array().unwrap() {
        let file = recorded["file"].as_str().unwrap();
        let drawn = path("drawn").join(Path::new(file).file_name().unwrap());
        let read = |path: &Path| pareidolia::output::pictures::read_png(path).unwrap();
        assert_eq!(read(&drawn), read(&path("run").join(file)), "{file}");
    }
    done(&folder, &["render", "run", "--class", "3", "--size", "60x40", "--out", "three.png"]);
    let picture = pareidolia::output::pictures::read_png(&path("three.png")).unwrap();
    assert_eq!((picture.canvas.width, picture.canvas.height), (60, 40));

    // Another size than the network's.
    let line = refused(&folder, 1, &["classify", "three.png"]);
    assert!(line.contains("is 60 x 40 pixels, lenet wants 28 x 28") && line.contains("--resize"), "{line}");
    for how in ["nearest", "bilinear"] {
        done(&folder, &["classify", "three.png", "--resize", how]);
    }

    // Nothing is overwritten, and nothing is drawn that is not there.
    let line = refused(&folder, 1, &["render", "run", "--class", "3", "--out", "three.png"]);
    assert!(line.contains("--force"), "{line}");
    done(&folder, &["render", "run", "--class", "3", "--size", "28", "--out", "three.png", "--force"]);
    done(&folder, &["evolve", "--generations", "0", "--classes", "3,7", "--out", "two", "--no-pictures"]);
    let line = refused(&folder, 2, &["render", "two", "--class", "4", "--out", "four.png"]);
    assert_eq!(line, "--class: the run has no class 4, only 3, 7");
    refused(&folder, 2, &["render", "two", "--all", "--out", "both.png"]);
    refused(&folder, 2, &["render", "two", "--class", "3", "--size", "0", "--out", "none.png"]);
    assert!(!path("four.png").exists() && !path("both.png").exists() && !path("none.png").exists());
}

#[test]
fn elites_of_another_network_are_not_as_recorded() {
    let Some(data) = common::data_dir() else { return };
    let folder = folder();
    done(&folder, &SMALL);
    let mean = data.join("mnist-mean.safetensors");
    let other = ["--mean", mean.to_str().unwrap(), "--json"];
    let elites: Vec<Value> =
        serde_json::from_str(&done(&folder, &[&["classify", "run"], &other[..]].concat())).unwrap();
    assert_eq!(elites.len(), 10);
    for elite in elites {
        assert_eq!(elite["elite"]["identical"], false);
        assert_ne!(elite["elite"]["confidence"], elite["elite"]["recorded"]);
    }
}

#[test]
fn test_digits_are_read_from_idx_and_from_png() {
    let Some(data) = common::data_dir() else { return };
    let folder = folder();
    let digits = data.join("mnist/t10k-images-idx3-ubyte.gz");
    let classified = |args: &[&str]| -> Vec<Value> {
        serde_json::from_str(&done(&folder, &[&["classify", "--json", "--top", "1"], args].concat())).unwrap()
    };
    let reports = classified(&[digits.to_str().unwrap()]);
    assert_eq!(reports.len(), 10_000);
    let labels = pareidolia::dataset::read_idx_labels(&data.join("mnist/t10k-labels-idx1-ubyte.gz")).unwrap().labels;
    let right = reports.iter().zip(labels).filter(|(report, label)| report["top"][0]["class"] == *label).count();
    assert!(right >= 9_900, "{right} of 10000 right: our network has at least 99.0 %");

    // The first digit as a scan would show it: dark on white, in colour.
    let images = pareidolia::dataset::read_idx_images(&digits).unwrap();
    let scan: Vec<u8> = images.pixels[..784].iter().flat_map(|&pixel| [255 - pixel; 3]).collect();
    let canvas = pareidolia::genome::Canvas { channels: 3, ..pareidolia::genome::Canvas::MNIST };
    pareidolia::output::pictures::write_png(&folder.path().join("scan.png"), canvas, &scan).unwrap();
    assert_eq!(classified(&["scan.png", "--invert"])[0]["top"], reports[0]["top"]);
    assert_ne!(classified(&["scan.png"])[0]["top"], reports[0]["top"]);
}

#[test]
#[cfg(unix)]
fn signals_stop_cleanly_with_their_codes() {
    let folder = folder();
    for (signal, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let run = format!("run{code}");
        let args = ["evolve", "--generations", "100000000", "--out", &run, "--no-pictures"];
        let child = pareidolia(folder.path(), &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let checkpoint = folder.path().join(&run).join("checkpoint");
        let start = Instant::now();
        while !checkpoint.exists() {
            assert!(start.elapsed() < Duration::from_secs(60), "no checkpoint after a minute");
            std::thread::sleep(Duration::from_millis(10));
        }
        // SAFETY: the process is our child and has not been waited for, so that the number is still its.
        assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, signal) }, 0);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        let last = stderr(&output).lines().last().unwrap().to_string();
        assert_eq!(last, format!("error: stopped by signal {signal}; continue with: pareidolia evolve --resume {run}"));
        assert!(!folder.path().join(&run).join("run.json").exists());
        done(&folder, &["evolve", "--resume", &run, "--generations", "0"]);
        assert!(folder.path().join(&run).join("run.json").exists());
    }
}
