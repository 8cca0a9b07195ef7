//! `report`: the page of runs, by its data; in a browser, `tests/report/browser.js`, which is run where there are Node.js, playwright-core and a
//! Chromium (`scripts/get-browser`).

#[path = "common/left_out.rs"]
mod left_out;
#[path = "common/program.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod program;

use left_out::left_out;
use program::{fails, pareidolia, run};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Evolves a little into the folder `name`.
fn evolve(scratch: &TempDir, name: &str, more: &[&str]) {
    let mut command = pareidolia(&["evolve", "--batch", "40", "--quiet", "--out", name]);
    command.args(more).current_dir(scratch);
    run(command, 0);
}

fn call(scratch: &TempDir, words: &[&str]) -> Command {
    let mut command = pareidolia(words);
    command.current_dir(scratch);
    command
}

/// The data of a page.
fn data(page: &Path) -> Value {
    let page = fs::read_to_string(page).unwrap();
    let (_, from) = page.split_once(r#"id="report-data">"#).unwrap();
    let (text, _) = from.split_once("</script>").unwrap();
    assert!(!text.contains('<'), "a < in the data could end its element");
    serde_json::from_str(text).unwrap()
}

/// The genes of a genome's edges, in their texts.
fn genes(genome: &Value) -> Vec<String> {
    genome["edges"].as_array().unwrap().iter().map(|edge| edge["gene"].to_string()).collect()
}

#[test]
fn page_has_what_run_analysis_and_transfer_say() {
    let scratch = TempDir::new().unwrap();
    evolve(&scratch, "kept", &["--generations", "25", "--lineage"]);
    evolve(&scratch, "plain", &["--generations", "10", "--seed", "2"]);
    run(call(&scratch, &["analyse", "kept", "plain", "--out", "analysis", "--quiet"]), 0);
    run(call(&scratch, &["transfer", "plain", "kept", "--out", "transfer", "--quiet"]), 0);
    run(call(&scratch, &["export", "kept", "--out", "genomes", "--quiet"]), 0);
    let words = ["report", "kept", "plain", "--analyses", "analysis", "--transfer", "transfer", "--out", "page.html"];
    let (said, _) = run(call(&scratch, &words), 0);
    assert!(said.starts_with("page.html (20 elites of 2 runs, "), "{said}");

    let data = data(&scratch.path().join("page.html"));
    let manifest: Value =
        serde_json::from_str(&fs::read_to_string(scratch.path().join("kept/run.json")).unwrap()).unwrap();
    let kept = &data["runs"][0];
    assert_eq!((&kept["name"], &kept["manifest"]["archive_hash"]), (&Value::from("kept"), &manifest["archive_hash"]));
    assert_eq!(kept["manifest"].get("classes"), None);
    assert_eq!(kept["curve"]["generation"].as_array().unwrap().last(), Some(&Value::from(25)));
    let mut named = Vec::new();
    for (elite, class) in kept["elites"].as_array().unwrap().iter().zip(manifest["classes"].as_array().unwrap()) {
        for key in ["class", "name", "confidence", "born"] {
            assert_eq!(elite[key], class[key], "{key}");
        }
        let file = class["file"].as_str().unwrap().replace("elites/", "genomes/").replace(".png", ".json");
        let genome: Value = serde_json::from_str(&fs::read_to_string(scratch.path().join(file)).unwrap()).unwrap();
        assert_eq!(genes(&elite["genome"]), genes(&genome));
        assert!(elite["picture"].as_str().unwrap().starts_with("data:image/png;base64,iVBOR"));
        let runner_up = &elite["runner_up"];
        assert!(runner_up["class"] != elite["class"]);
        assert!(runner_up["confidence"].as_f64().unwrap() <= 1.0 - elite["confidence"].as_f64().unwrap() + 1e-5);

        let line = elite["ancestors"].as_array().unwrap();
        let (first, last) = (&line[0], &line[line.len() - 1]);
        let individuals = kept["individuals"].as_array().unwrap();
        assert_eq!((&first["generation"], &first["goal_switch"]), (&Value::from(0), &Value::from(false)));
        assert_eq!(last["confidence"], elite["confidence"]);
        assert_eq!(last.get("individual"), None, "a line ends with its elite");
        let of = |ancestor: &Value| &individuals[ancestor["individual"].as_u64().unwrap() as usize]["genome"];
        assert!(line[..line.len() - 1].iter().all(|ancestor| of(ancestor).is_object()));
        named.extend(line.iter().filter_map(|ancestor| ancestor.get("individual")).cloned());
    }
    assert_eq!(data["runs"][1]["elites"][0].get("ancestors"), None, "it keeps no lineage");
    // Nobody is there twice, or for nothing, though many are on several lines.
    let (n_named, n) = (named.len(), kept["individuals"].as_array().unwrap().len());
    named.sort_by_key(|individual| individual.as_u64());
    named.dedup();
    assert!(named == (0..n).map(Value::from).collect::<Vec<_>>() && n < n_named, "{n} individuals, {n_named} named");
    assert_eq!(data["analyses"]["runs"], serde_json::json!({"0": 0, "1": 1}));
    assert_eq!(data["analyses"]["blame"]["elites"].as_array().unwrap().len(), 20);
    let answers = data["transfers"][0]["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 20);
    let of = |run: u64, class: u64| {
        answers.iter().find(|answer| answer["run"] == run && answer["class"] == class).unwrap()["answers"][0].clone()
    };
    assert_eq!(of(0, 3)["class_probability"], kept["elites"][3]["confidence"], "not that of the other run");
}

#[test]
fn direct_genomes_are_pictures_and_a_series_is_its_runs() {
    let scratch = TempDir::new().unwrap();
    evolve(&scratch, "series", &["mnist-direct", "--generations", "3", "--runs", "2", "--lineage"]);
    run(call(&scratch, &["report", "series", "--out", "page.html"]), 0);
    let data = data(&scratch.path().join("page.html"));
    assert_eq!(data["runs"].as_array().unwrap().len(), 2);
    let elite = &data["runs"][1]["elites"][7];
    assert_eq!(elite.get("genome"), None);
    assert!(elite["picture"].is_string());
    let first = elite["ancestors"][0]["individual"].as_u64().unwrap() as usize;
    assert!(data["runs"][1]["individuals"][first]["picture"].is_string());
}

#[test]
fn what_cannot_be_shown_is_refused() {
    let scratch = TempDir::new().unwrap();
    evolve(&scratch, "run", &["--generations", "2", "--lineage"]);
    let report = |words: &[&str]| call(&scratch, &[&["report"], words].concat());
    fs::write(scratch.path().join("there.html"), "mine").unwrap();
    fails(report(&["run", "--out", "there.html"]), 1, "there.html is there already; overwrite it with --force");
    assert_eq!(fs::read_to_string(scratch.path().join("there.html")).unwrap(), "mine");
    run(report(&["run", "--out", "there.html", "--force"]), 0);

    fails(report(&["nowhere", "--out", "page.html"]), 1, "it has no run.json");
    fails(report(&["run", "--out", "page.html", "--analyses", "run"]), 1, "analyse.json");
    fails(report(&["run", "--out", "page.html", "--transfer", "run"]), 1, "not a manifest of a transfer");
    fails(report(&["--out", "page.html"]), 2, "required arguments were not provided");

    let file = scratch.path().join("run/run.json");
    let manifest = fs::read_to_string(&file).unwrap();
    fs::write(&file, manifest.replace(r#""arithmetic_version": "#, r#""arithmetic_version": 9"#)).unwrap();
    fails(report(&["run", "--out", "page.html"]), 1, "made with arithmetic version 9");
    fs::write(&file, &manifest[..manifest.len() / 2]).unwrap();
    fails(report(&["run", "--out", "page.html"]), 1, "not a manifest of a run");
    fs::remove_file(&file).unwrap();
    fails(report(&["run", "--out", "page.html"]), 1, "the run is not finished");
    fs::write(&file, &manifest).unwrap();
    let lineage = scratch.path().join("run/lineage");
    let mut bytes = fs::read(&lineage).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&lineage, bytes).unwrap();
    fails(report(&["run", "--out", "page.html"]), 1, "lineage");
    run(report(&["run", "--out", "page.html", "--no-lineage"]), 0);
}

/// The page itself, in Chromium: it opens from the disk without an error or a request, sorts, filters, draws what the run drew.
#[test]
fn page_works_in_a_browser() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report");
    let chromium = std::env::var("PAREIDOLIA_CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    let probe = Command::new("node").args(["-e", "require('playwright-core')"]).current_dir(&folder).output();
    if !probe.is_ok_and(|output| output.status.success()) || !Path::new(&chromium).is_file() {
        let wanted = "it takes Node.js, and playwright-core and /usr/bin/chromium (or PAREIDOLIA_CHROMIUM), as `scripts/get-browser` installs them";
        assert!(std::env::var_os("PAREIDOLIA_REQUIRE_BROWSER").is_none(), "{wanted}");
        left_out(&format!("the page in a browser: {wanted}"));
        return;
    }
    let mut command = Command::new("node");
    command.arg(folder.join("browser.js")).args([
        "--program",
        env!("CARGO_BIN_EXE_pareidolia"),
        "--browser",
        &chromium,
    ]);
    run(command, 0);
}
