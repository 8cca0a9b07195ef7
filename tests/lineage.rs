//! `evolve --lineage` and `lineage`: what is kept, what comes of it, and what is refused.

#[path = "common/program.rs"]
mod program;

use pareidolia::archive::{Archive, mix};
use pareidolia::backend::cpu::{CpuBackend, Options};
use pareidolia::backend::{Backend, Insertion, Job};
use pareidolia::experiment::config::Config;
use pareidolia::experiment::lineage::replay::{Birth, Painter, Parents, Replay};
use pareidolia::experiment::selftest::runs::{RECORDED, job};
use pareidolia::genome::cppn::Scratch;
use pareidolia::genome::{Encoding, Genome, direct};
use pareidolia::output::lineage::{Identity, Log};
use pareidolia::output::{Checkpoint, Manifest, archive_file};
use pareidolia::rng::Philox;
use pareidolia::simd::Simd;
use program::{fails, names, pareidolia, run};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

/// Generations of the runs below, after the random one.
const GENERATIONS: u32 = 40;
const BATCH: u32 = 30;

/// All that lived in a small run, kept by a loop that knows nothing of lineages.
struct Lived {
    job: Job,
    /// `(generations, batch)`
    genomes: Vec<Vec<Genome>>,
    images: Vec<Vec<u8>>,
    /// After each generation.
    archives: Vec<Archive>,
    insertions: Vec<Insertion>,
}

impl Lived {
    fn of(config: &Config, seed: u64) -> Lived {
        let job = Job { lineage: true, ..job(&Config { batch: BATCH, ..config.clone() }, &[seed]).unwrap() };
        let mut backend = CpuBackend::new(job.clone(), Options { simd: Simd::detect(), chunk: BATCH }).unwrap();
        let (mut genomes, mut images, mut archives) = (Vec::new(), Vec::new(), Vec::new());
        let mut insertions = Vec::new();
        for generation in 0..=GENERATIONS {
            if generation == 0 {
                backend.randomise(0..BATCH).unwrap();
            } else {
                backend.select(0..BATCH).unwrap();
                backend.vary(0..BATCH).unwrap();
            }
            genomes.push((0..BATCH as usize).map(|at| backend.genome(at)).collect::<Vec<_>>());
            backend.render(0..BATCH).unwrap();
            images.push(backend.images().to_vec());
            backend.classify(0..BATCH).unwrap();
            backend.niche_argmax(0..BATCH).unwrap();
            backend.insert().unwrap();
            archives.push(backend.archive(0).unwrap());
            if generation % 7 == 3 {
                insertions.extend(backend.insertions(0).unwrap());
            }
        }
        insertions.extend(backend.insertions(0).unwrap());
        assert!(backend.insertions(0).unwrap().is_empty(), "each is given once");
        Lived { job, genomes, images, archives, insertions }
    }

    fn genome(&self, (generation, candidate): Birth) -> &Genome {
        &self.genomes[generation as usize][candidate as usize]
    }

    /// What each archive has that the one before had not.
    fn changes(&self) -> Vec<Insertion> {
        let mut changes = Vec::new();
        for (generation, archive) in self.archives.iter().enumerate() {
            for (niche, (elite, fitness)) in archive.elites.iter().zip(archive.fitness()).enumerate() {
                if elite.born.0 == generation as u32 {
                    let (generation, candidate) = elite.born;
                    changes.push(Insertion { generation, candidate, niche: niche as u32, fitness });
                }
            }
        }
        changes
    }

    /// The child that the rules make of these parents, as candidate `birth`.
    fn child(&self, birth: Birth, parents: Parents) -> Genome {
        let (philox, simd, (generation, candidate)) = (Philox::new(self.job.seeds[0]), Simd::Plain, birth);
        let genes = |of: Birth| self.genome(of).genes().unwrap();
        match (&self.job.encoding, parents) {
            (Encoding::Cppn(rules), Parents::Copied(parent)) => {
                let mut graph = self.genome(parent.birth).graph().unwrap().clone();
                graph.vary(rules, &philox, candidate, generation, &mut Scratch::default());
                Genome::Cppn(graph)
            }
            (Encoding::Direct(rules), Parents::Copied(parent)) => {
                let mut child = genes(parent.birth).to_vec();
                direct::mutate(simd, &mut child, rules, &philox, candidate, generation);
                Genome::Direct(child)
            }
            (Encoding::Direct(rules), Parents::Crossed([a, b])) => {
                let mut pair = [vec![0.0; self.job.canvas.len()], vec![0.0; self.job.canvas.len()]];
                let [first, second] = &mut pair;
                let parents = [genes(a.birth), genes(b.birth)];
                direct::cross(simd, [first, second], parents, rules, &philox, candidate & !1, generation);
                let mut child = pair[(candidate % 2) as usize].clone();
                direct::mutate(simd, &mut child, rules, &philox, candidate, generation);
                Genome::Direct(child)
            }
            other => panic!("no parents of a candidate of generation {generation}: {:?}", other.1),
        }
    }
}

#[test]
fn every_candidate_comes_out_of_the_replay_with_its_true_parents() {
    for config in RECORDED.map(|recorded| recorded.config()) {
        let lived = Lived::of(&config, 3);
        let case = format!("{:?} {:?}", config.preset, config.flavour);
        assert!(lived.insertions == lived.changes(), "{case}: what is kept is what the archives show");
        let replay = Replay::new(&lived.job, Arc::default(), &lived.insertions, Simd::detect());
        let (mut crossed, mut exchanged) = (0, 0);
        for generation in 1..=GENERATIONS {
            let before = &lived.archives[generation as usize - 1];
            for candidate in 0..BATCH {
                let birth = (generation, candidate);
                let parents = replay.parents(birth);
                for parent in parents.all() {
                    assert_eq!(before.elites[parent.niche as usize].born, parent.birth, "{case} {birth:?}");
                }
                assert!(lived.child(birth, parents) == *lived.genome(birth), "{case} {birth:?}: {parents:?}");
                // Filed under the parent that the other child of its pair has, as the paper's program did, it would be another.
                match (parents, replay.parents((generation, candidate ^ 1))) {
                    (Parents::Copied(own), Parents::Copied(other)) if own.birth != other.birth => {
                        assert!(lived.child(birth, Parents::Copied(other)) != *lived.genome(birth));
                        exchanged += 1;
                    }
                    (Parents::Crossed(_), _) => crossed += 1,
                    _ => {}
                }
            }
        }
        assert!(exchanged > 100, "{case}: {exchanged}");
        assert_eq!(crossed > 100, config.direct.is_some(), "{case}: {crossed}");

        // All at once, each once, the oldest first; and some by themselves.
        let all = (0..=GENERATIONS).flat_map(|generation| (0..BATCH).map(move |candidate| (generation, candidate)));
        let (mut last, mut n) = (None, 0);
        let painter = Painter::new(&lived.job, Simd::detect());
        let made: Result<(), ()> = replay.rebuild(all, |born| {
            assert!(last < Some(born.birth));
            (last, n) = (Some(born.birth), n + 1);
            assert!(*born.genome == *lived.genome(born.birth), "{case} {:?}", born.birth);
            let image = painter.draw(&born.genome);
            let images = &lived.images[born.birth.0 as usize];
            assert!(image == images[born.birth.1 as usize * image.len()..][..image.len()], "{case} {:?}", born.birth);
            Ok(())
        });
        made.unwrap();
        assert_eq!(n, (GENERATIONS + 1) * BATCH);
        for birth in [(GENERATIONS, 0), (GENERATIONS, BATCH - 1), (17, 5), (0, 3)] {
            assert!(replay.genome(birth) == *lived.genome(birth), "{case} {birth:?}");
        }
        let last = &lived.archives[GENERATIONS as usize];
        replay.verify(last).unwrap();
        let mut other = last.clone();
        let elite = std::sync::Arc::make_mut(&mut other.elites[4]);
        elite.genome = lived.genome((0, 1)).clone();
        assert!(replay.verify(&other).unwrap_err().contains("the elite of class 4"));
    }
}

/// A short evolution into `folder`.
fn evolve(folder: &Path, more: &[&str]) -> Command {
    let mut command = pareidolia(&["evolve", "--no-pictures", "--device", "cpu"]);
    command.args(["--batch", "20", "--seed", "5", "--out"]).arg(folder).args(more);
    command
}

fn resume(folder: &Path, more: &[&str]) -> Command {
    let mut command = pareidolia(&["evolve", "--no-pictures", "--device", "cpu", "--resume"]);
    command.arg(folder).args(more);
    command
}

fn lineage(folder: &Path, more: &[&str]) -> Command {
    let mut command = pareidolia(&["lineage", "--device", "cpu"]);
    command.arg(folder).args(more);
    command
}

fn log(folder: &Path) -> PathBuf {
    folder.join("lineage")
}

fn bytes(folder: &Path) -> Vec<u8> {
    fs::read(log(folder)).unwrap()
}

fn manifest(folder: &Path) -> Manifest {
    Manifest::read(&folder.join("run.json")).unwrap()
}

/// What `lineage` says of a run, as JSON.
#[track_caller]
fn report(folder: &Path, more: &[&str]) -> Value {
    let (stdout, _) = run(lineage(folder, &[&["--json"], more].concat()), 0);
    serde_json::from_str(&stdout).unwrap()
}

/// A finished run with a lineage, which each test makes for itself.
fn a_run(scratch: &TempDir) -> PathBuf {
    let folder = scratch.path().join("run");
    run(evolve(&folder, &["--lineage", "--generations", "30"]), 0);
    folder
}

/// The header, by itself, and the records: a reading of the format of its own.
fn parse(bytes: &[u8]) -> (String, Vec<[u32; 4]>) {
    let header = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).unwrap().0 + 1;
    let word = |record: &[u8], at: usize| u32::from_le_bytes(record[4 * at..][..4].try_into().unwrap());
    let records = bytes[header..].chunks_exact(20).map(|record| [0, 1, 2, 3].map(|at| word(record, at))).collect();
    (String::from_utf8(bytes[..header].to_vec()).unwrap(), records)
}

/// A file of a header whose JSON is `json`, and of `records`, all sealed as the format says.
fn sealed(json: &str, records: &[[u32; 4]]) -> Vec<u8> {
    let lines = format!("pareidolia lineage 1\n{json}\n");
    let digest = Sha256::digest(lines.as_bytes());
    let text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut bytes = format!("{lines}{text}\n").into_bytes();
    let mut h = u64::from_le_bytes(digest[..8].try_into().unwrap());
    for &[generation, candidate, niche, fitness] in records {
        h = mix(mix(h ^ (u64::from(generation) << 32 | u64::from(candidate)))
            ^ (u64::from(niche) << 32 | u64::from(fitness)));
        for word in [generation, candidate, niche, fitness, h as u32] {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes
}

#[test]
fn lineage_changes_no_other_file_and_run_json_tells_of_it() {
    let scratch = TempDir::new().unwrap();
    let (with, without) = (a_run(&scratch), scratch.path().join("without"));
    run(evolve(&without, &["--generations", "30"]), 0);
    let (kept, plain) = (manifest(&with), manifest(&without));
    assert_eq!(kept.archive_hash, plain.archive_hash);
    let archive = |folder: &Path| fs::read(folder.join("archive.safetensors")).unwrap();
    assert!(archive(&with) == archive(&without));
    let checkpoint = |folder: &Path| Checkpoint::read(&folder.join("checkpoint")).unwrap();
    assert!(
        checkpoint(&with).archive == checkpoint(&without).archive
            && checkpoint(&with).config == checkpoint(&without).config
    );
    let mut more = names(&without);
    more.insert("lineage".into());
    assert_eq!(names(&with), more);

    let (header, records) = parse(&bytes(&with));
    let json = header.lines().nth(1).unwrap();
    assert!(bytes(&with) == sealed(json, &records), "the format is as it is written down");
    assert_eq!((kept.lineage_insertions, plain.lineage_insertions), (Some(records.len() as u64), None));
    assert!(!fs::read_to_string(without.join("run.json")).unwrap().contains("lineage"));
    // Each niche is there in generation 0, and ends with its elite.
    for (niche, class) in kept.classes.iter().enumerate() {
        let of_niche: Vec<_> = records.iter().filter(|record| record[2] == niche as u32).collect();
        assert_eq!(of_niche[0][0], 0);
        let last = of_niche[of_niche.len() - 1];
        assert_eq!(((last[0], last[1]), last[3]), (class.born, class.confidence.to_bits()));
    }
}

#[test]
fn lineage_is_the_same_file_whatever_the_threads_chunks_and_interruptions() {
    let scratch = TempDir::new().unwrap();
    let want = bytes(&a_run(&scratch));
    let at = |name: &str| scratch.path().join(name);
    let stop = ["--lineage", "--generations", "30"];
    for (number, how) in [
        &["--threads", "1"][..],
        &["--threads", "3", "--chunk", "6"],
        &["--simd", "plain", "--set", "checkpoint_every=1"],
    ]
    .into_iter()
    .enumerate()
    {
        let folder = at(&number.to_string());
        run(evolve(&folder, &[&stop[..], how].concat()), 0);
        assert!(bytes(&folder) == want, "{how:?}");
    }

    // Stopped three times; a run that keeps its lineage keeps it without being told.
    let parts = at("parts");
    run(evolve(&parts, &["--lineage", "--generations", "4"]), 0);
    run(resume(&parts, &["--generations", "5"]), 0);
    run(evolve(&parts, &["--resume-or-start", "--generations", "17"]), 0);
    run(resume(&parts, &["--lineage", "--generations", "17"]), 0);
    let until_17 = bytes(&parts);
    assert!(want.starts_with(&until_17) && until_17.len() < want.len());
    // A sudden end: records after the checkpoint, the last of them torn, or zeros that never became one.
    for more in [&want[until_17.len()..want.len() - 7], &[0; 27]] {
        fs::write(log(&parts), [&until_17, more].concat()).unwrap();
        fs::remove_file(parts.join("run.json")).unwrap();
        // Looked at before it goes on: what the checkpoint has.
        assert_eq!(report(&parts, &[])["generation"], 17);
        run(resume(&parts, &["--generations", "17", "--time", "1h"]), 0);
        run(resume(&parts, &["--generations", "19"]), 0);
        assert!(want.starts_with(&bytes(&parts)));
        run(resume(&parts, &["--generations", "30"]), 0);
        assert!(bytes(&parts) == want);
        assert_eq!(manifest(&parts).lineage_insertions, manifest(&at("0")).lineage_insertions);
        fs::remove_dir_all(&parts).unwrap();
        run(evolve(&parts, &["--lineage", "--generations", "17"]), 0);
    }

    // Killed before its first checkpoint: begun anew.
    let barely = at("barely");
    fs::create_dir(&barely).unwrap();
    let (header, records) = parse(&want);
    let generation_0: Vec<_> = records.into_iter().filter(|record| record[0] == 0).collect();
    fs::write(log(&barely), sealed(header.lines().nth(1).unwrap(), &generation_0)).unwrap();
    run(evolve(&barely, &stop), 0);
    assert!(bytes(&barely) == want);
}

#[test]
fn runs_of_a_series_have_the_lineages_of_the_runs_by_themselves() {
    let scratch = TempDir::new().unwrap();
    let (alone, series) = (a_run(&scratch), scratch.path().join("series"));
    run(evolve(&series, &["--runs", "3", "--lineage", "--generations", "12"]), 0);
    fs::remove_dir_all(series.join("seed6")).unwrap(); // one that was never begun, when the series goes on
    run(resume(&series, &["--generations", "30"]), 0);
    assert!(bytes(&series.join("seed5")) == bytes(&alone));
    let sixth = scratch.path().join("sixth");
    let mut command =
        pareidolia(&["evolve", "--no-pictures", "--device", "cpu", "--batch", "20", "--seed", "6", "--lineage"]);
    command.args(["--generations", "30", "--out"]).arg(&sixth);
    run(command, 0);
    assert!(bytes(&series.join("seed6")) == bytes(&sixth));
    assert_eq!(report(&series.join("seed7"), &[])["seed"], 7);
    fails(lineage(&series, &[]), 1, "name the folder of one, such as");
    // A log of another run.
    fs::copy(log(&sixth), log(&series.join("seed5"))).unwrap();
    fails(lineage(&series.join("seed5"), &[]), 1, "is the lineage of another run: seed is 6 there and 5 here");
    fails(resume(&series, &["--generations", "31"]), 1, "seed is 6 there and 5 here");
}

#[test]
fn run_begun_without_a_lineage_cannot_get_one() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("run");
    run(evolve(&folder, &["--generations", "3"]), 0);
    fails(lineage(&folder, &[]), 1, "the run keeps no lineage: it was begun without --lineage");
    for command in [
        resume(&folder, &["--lineage", "--generations", "5"]),
        evolve(&folder, &["--lineage", "--resume-or-start", "--generations", "5"]),
    ] {
        fails(command, 1, "was begun without --lineage");
    }
    run(resume(&folder, &["--generations", "5"]), 0);
    assert!(!log(&folder).exists());
    let series = scratch.path().join("series");
    run(evolve(&series, &["--runs", "2", "--generations", "3"]), 0);
    fails(resume(&series, &["--lineage", "--generations", "5"]), 1, "seed5: was begun without --lineage");
    fails(lineage(scratch.path(), &[]), 1, "is not the folder of a run");
    fails(lineage(&scratch.path().join("nothing"), &[]), 1, "is not the folder of a run");
}

#[test]
fn folder_has_lines_from_generation_0_to_every_elite_and_their_tree() {
    let scratch = TempDir::new().unwrap();
    let (folder, out) = (a_run(&scratch), scratch.path().join("far/out"));
    let before = names(&folder);
    let (stdout, _) = run(lineage(&folder, &["--out", out.to_str().unwrap()]), 0);
    assert_eq!(names(&folder), before, "the run's folder is left alone");
    let mut want: Vec<String> = (0..10).map(|class| format!("{class}_{class}_ancestors.png")).collect();
    want.extend(["lineage.json", "tree.graphml", "tree.nwk", "tree.svg"].map(String::from));
    assert!(names(&out).into_iter().eq(want), "{:?}", names(&out));
    let text = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    let json: Value = serde_json::from_str(&text("lineage.json")).unwrap();
    assert_eq!(json, report(&folder, &["--threads", "1", "--simd", "plain"]), "whatever the threads");

    let (_, records) = parse(&bytes(&folder));
    let (archive, _) = archive_file::read(&folder.join("archive.safetensors")).unwrap();
    let int = |value: &Value| value.as_u64().unwrap() as u32;
    let mut births = std::collections::BTreeSet::new();
    let mut switches = 0;
    for (class, elite) in json["elites"].as_array().unwrap().iter().enumerate() {
        let line = elite["line"].as_array().unwrap();
        assert_eq!(elite["depth"], line.len() - 1);
        assert_eq!(line[0]["generation"], 0);
        let last = &line[line.len() - 1];
        assert_eq!((int(&last["generation"]), int(&last["candidate"])), archive.elites[class].born);
        assert_eq!((int(&last["goal"]), &last["confidence"]), (class as u32, &elite["confidence"]));
        for pair in line.windows(2) {
            let (parent, child) = (&pair[0], &pair[1]);
            assert!(int(&parent["generation"]) < int(&child["generation"]));
            // Who stood for a class held it, as the log has it; a child of another class is a change of goal.
            let held: Vec<u32> = parent["held"].as_array().unwrap().iter().map(|held| int(&held["class"])).collect();
            let until = int(&child["generation"]) - 1;
            let holder = |niche: u32| {
                let won = records.iter().rfind(|record| record[2] == niche && record[0] <= until).unwrap();
                (won[0], won[1])
            };
            let birth = (int(&parent["generation"]), int(&parent["candidate"]));
            assert_eq!(held, (0..10).filter(|&niche| holder(niche) == birth).collect::<Vec<_>>());
            assert!(held.contains(&int(&parent["goal"])));
            assert_eq!(child["goal_switch"], !held.contains(&int(&child["goal"])));
            switches += u32::from(child["goal_switch"] == true);
        }
        births.extend(line.iter().map(|entry| (int(&entry["generation"]), int(&entry["candidate"]))));
        assert_eq!(elite["goal_switches"], line.iter().filter(|entry| entry["goal_switch"] == true).count());
    }
    assert!(switches > 0, "{stdout}");
    assert_eq!(json["relatives"]["pairs"], 45);
    assert_eq!(json["relatives"]["last_common_ancestors"].as_array().unwrap().len(), 45);

    // The shares, counted here by the records alone: whose parents held what.
    let (won, by_others) = (int(&json["niches_won"]["won"]), int(&json["niches_won"]["by_children_of_others"]));
    assert_eq!(won as usize, records.len() - 10);
    assert!(0 < by_others && by_others < won);
    let spans = json["niches_won"]["over_time"].as_array().unwrap();
    assert_eq!(spans.iter().map(|span| int(&span["won"])).sum::<u32>(), won);
    assert_eq!(spans.iter().map(|span| int(&span["by_children_of_others"])).sum::<u32>(), by_others);

    let graphml = text("tree.graphml");
    assert_eq!(graphml.matches("<node ").count(), births.len());
    assert_eq!(graphml.matches("<edge ").count(), births.iter().filter(|birth| birth.0 > 0).count());
    let newick = text("tree.nwk");
    assert_eq!(newick.matches('(').count(), newick.matches(')').count());
    assert!((0..10).all(|class| newick.matches(&format!("'{class}':")).count() == 1), "{newick}");
    for name in ["tree.graphml", "tree.svg"] {
        assert_well_formed(&text(name));
    }
    assert!(
        stdout.contains("10 elites of generation 30 descend from") && stdout.contains("by children of other niches")
    );

    // What is there is never overwritten.
    fs::remove_file(out.join("tree.svg")).unwrap();
    fails(lineage(&folder, &["--out", out.to_str().unwrap()]), 1, "is not empty, and nothing is ever overwritten");
    assert!(!out.join("tree.svg").exists());
    // Some classes.
    let some = report(&folder, &["--classes", "7,2-3"]);
    let classes: Vec<u32> = some["elites"].as_array().unwrap().iter().map(|elite| int(&elite["class"])).collect();
    assert_eq!(classes, [2, 3, 7]);
    assert_eq!(some["niches_won"], json["niches_won"]);
    fails(lineage(&folder, &["--classes", "10"]), 2, "--classes: got 10");
    fails(lineage(&folder, &["--classes", "seven"]), 2, "--classes");
}

/// Every tag is closed, in order, and no `<` or `&` stands by itself.
fn assert_well_formed(text: &str) {
    let mut open = Vec::new();
    for part in text.split('<').skip(1) {
        let (tag, content) = part.split_once('>').unwrap();
        let name = tag.trim_matches('/').split(' ').next().unwrap();
        match (tag.starts_with('/'), tag.ends_with('/'), tag.starts_with('?')) {
            (true, ..) => assert_eq!(open.pop(), Some(name)),
            (_, true, _) | (.., true) => {}
            _ => open.push(name),
        }
        for entity in content.split('&').skip(1) {
            assert!(["amp;", "lt;", "gt;", "quot;"].iter().any(|known| entity.starts_with(known)), "{content}");
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn pixels_with_two_parents_and_networks_that_judge_together_have_lineages_too() {
    let scratch = TempDir::new().unwrap();
    let direct = scratch.path().join("direct");
    run(
        pareidolia(&[
            "evolve",
            "mnist-direct",
            "--no-pictures",
            "--device",
            "cpu",
            "--batch",
            "20",
            "--generations",
            "60",
            "--lineage",
            "--out",
            direct.to_str().unwrap(),
        ]),
        0,
    );
    let json = report(&direct, &["--out", scratch.path().join("out").to_str().unwrap()]);
    let entries = json["elites"].as_array().unwrap().iter().flat_map(|elite| elite["line"].as_array().unwrap());
    assert!(entries.filter(|entry| entry["other_parent"].is_array()).count() > 10);
    assert_well_formed(&fs::read_to_string(scratch.path().join("out/tree.graphml")).unwrap());

    let together = scratch.path().join("together");
    let second = concat!(env!("CARGO_MANIFEST_DIR"), "/weights/lenet-mnist-2.safetensors");
    run(
        evolve(
            &together,
            &["--lineage", "--generations", "20", "--weights", "built-in", "--weights", second, "--combine", "min"],
        ),
        0,
    );
    // The networks are those of the run, without a word.
    assert_eq!(report(&together, &[])["elites"].as_array().unwrap().len(), 10);
    fails(lineage(&together, &["--weights", second]), 1, "name the run's own with --weights");
}

#[test]
fn lines_of_a_run_that_started_from_genomes_end_at_those() {
    let scratch = TempDir::new().unwrap();
    let first = a_run(&scratch);
    let folder = scratch.path().join("second");
    run(evolve(&folder, &["--lineage", "--generations", "10", "--start", first.to_str().unwrap()]), 0);
    let told = report(&folder, &[]);
    let start = folder.join("start_genomes");
    let n_start = fs::read_to_string(&start).unwrap().lines().count() as u64 - 2;
    let roots: Vec<u64> = told["elites"]
        .as_array()
        .unwrap()
        .iter()
        .map(|elite| elite["line"][0]["candidate"].as_u64().unwrap())
        .collect();
    assert!(roots.iter().any(|&root| root < n_start), "{roots:?} of {n_start}");
    fs::remove_file(&start).unwrap();
    fails(lineage(&folder, &[]), 1, "start_genomes: cannot read");
}

#[test]
fn archive_or_checkpoint_is_enough_and_neither_is_not() {
    let scratch = TempDir::new().unwrap();
    let folder = a_run(&scratch);
    let want = report(&folder, &[]);
    let aside = |name: &str| fs::rename(folder.join(name), scratch.path().join(name)).unwrap();
    let back = |name: &str| fs::rename(scratch.path().join(name), folder.join(name)).unwrap();
    for missing in [&["checkpoint"][..], &["run.json"], &["archive.safetensors"], &["run.json", "archive.safetensors"]]
    {
        missing.iter().for_each(|name| aside(name));
        assert_eq!(report(&folder, &[]), want, "without {missing:?}");
        missing.iter().for_each(|name| back(name));
    }
    aside("checkpoint");
    aside("archive.safetensors");
    fails(lineage(&folder, &[]), 1, "neither run.json with archive.safetensors nor a checkpoint");
    aside("run.json");
    fails(lineage(&folder, &[]), 1, "neither run.json with archive.safetensors nor a checkpoint");
}

#[test]
fn damage_is_refused_in_a_line_that_says_what_is_wrong() {
    let scratch = TempDir::new().unwrap();
    let folder = a_run(&scratch);
    let whole = bytes(&folder);
    let (header, records) = parse(&whole);
    let json = header.lines().nth(1).unwrap();
    let checkpoint = folder.join("checkpoint");
    #[track_caller]
    fn refused(folder: &Path, bytes: &[u8], what: &str) {
        fs::write(log(folder), bytes).unwrap();
        fails(lineage(folder, &[]), 1, what);
    }
    // Of a finished run every byte counts.
    refused(&folder, &whole[..whole.len() - 3], "records class");
    refused(&folder, &[&whole[..], &[1, 2, 3]].concat(), "with 3 bytes behind them");
    refused(&folder, &[&whole[..], &whole[whole.len() - 20..]].concat(), "with 20 bytes behind them");
    let middle = header.len() + 20 * (records.len() / 2);
    refused(&folder, &whole[..middle], "records are missing, or are of another run");
    refused(&folder, &whole[..middle + 11], "records are missing, or are of another run");
    let number = records.len() / 2 + 1;
    refused(
        &folder,
        &[&whole[..middle], &whole[middle + 20..]].concat(),
        &format!("record {number} does not fit its check"),
    );
    let mut flipped = whole.clone();
    flipped[middle + 5] ^= 16;
    refused(&folder, &flipped, &format!("record {number} does not fit its check"));
    // An unfinished run goes on with none of these.
    for damaged in [&whole[..middle], &flipped] {
        fs::write(log(&folder), damaged).unwrap();
        fails(resume(&folder, &["--generations", "31"]), 1, "this lineage is damaged");
        assert!(bytes(&folder) == damaged && checkpoint.exists(), "left as it is");
    }

    let mut flipped = whole.clone();
    flipped[40] ^= 1;
    refused(&folder, &flipped, "its header does not fit its SHA-256");
    refused(&folder, &whole[..40], "its header does not fit its SHA-256");
    refused(&folder, b"", "its header does not fit its SHA-256");
    let other = json.replace("\"arithmetic_version\":1", "\"arithmetic_version\":2");
    refused(&folder, &sealed(&other, &records), "made with arithmetic version 2, this program has 1");
    let other = json.replace("\"weights_sha256\":\"", "\"weights_sha256\":\"f");
    refused(&folder, &sealed(&other, &records), "of another run: the SHA-256 of the weights is f");
    let other = json.replace("\"batch\":20", "\"batch\":40");
    refused(&folder, &sealed(&other, &records), "of another run: batch is 40 there and 20 here");
    refused(&folder, &sealed("{}", &records), "not a lineage: its header: missing field");

    // Well sealed, and wrong all the same.
    let with = |at: usize, record: [u32; 4]| {
        let mut records = records.clone();
        records[at] = record;
        sealed(json, &records)
    };
    let [generation, candidate, niche, fitness] = records[20];
    refused(&folder, &with(20, [generation, candidate, 10, fitness]), "record 21: niche 10, the run has niches 0 to 9");
    refused(&folder, &with(20, [generation, 20, niche, fitness]), "record 21: candidate 20, the run has batches of 20");
    refused(&folder, &with(20, [0, candidate, niche, fitness]), "comes after a later one");
    refused(&folder, &with(20, [generation, candidate, niche, f32::NAN.to_bits()]), "a confidence of NaN did not win");
    refused(&folder, &with(20, [generation, candidate, niche, 0.0_f32.to_bits()]), "a confidence of 0 did not win");
    refused(&folder, &sealed(json, &records[1..]), "did not win niche 0");
    // A winner that was another: its children are not those of the archive, or its confidence is not what the network says.
    let ancestor = an_ancestor(&folder, &whole);
    let at = records.iter().position(|record| (record[0], record[1]) == ancestor).unwrap();
    let mut changed = records.clone();
    changed.iter_mut().filter(|record| (record[0], record[1]) == ancestor).for_each(|record| record[1] ^= 1);
    refused(&folder, &sealed(json, &changed), "is not what its lineage makes");
    let mut changed = records.clone();
    changed[at][3] = f32::from_bits(changed[at][3]).next_down().to_bits();
    refused(&folder, &sealed(json, &changed), "the network gives it");
    fs::write(log(&folder), &whole).unwrap();
    run(lineage(&folder, &[]), 0);
}

/// An individual of a line that is no elite any more, of the folder whose lineage is to be `whole`.
fn an_ancestor(folder: &Path, whole: &[u8]) -> Birth {
    fs::write(log(folder), whole).unwrap();
    let elites: Vec<Birth> = manifest(folder).classes.iter().map(|class| class.born).collect();
    let json = report(folder, &[]);
    let lines = json["elites"].as_array().unwrap().iter().flat_map(|elite| elite["line"].as_array().unwrap());
    let number = |entry: &Value, key: &str| entry[key].as_u64().unwrap() as u32;
    let births = lines.map(|entry| (number(entry, "generation"), number(entry, "candidate")));
    births.filter(|birth| birth.0 > 0).find(|birth| !elites.contains(birth)).unwrap()
}

#[test]
fn no_cut_and_no_flipped_bit_goes_unnoticed() {
    let scratch = TempDir::new().unwrap();
    let folder = a_run(&scratch);
    let Checkpoint { config, weights_sha256, canvas, archive, .. } =
        Checkpoint::read(&folder.join("checkpoint")).unwrap();
    let identity = Identity::new(&config, &weights_sha256, canvas);
    let (whole, path) = (bytes(&folder), scratch.path().join("log"));
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Log::read(&path, &identity, config.batch, &archive)
    };
    let insertions = read(&whole).unwrap().insertions;
    assert_eq!(insertions.len(), parse(&whole).1.len());
    for length in 0..whole.len() {
        assert!(read(&whole[..length]).is_err(), "cut to {length} of {} bytes", whole.len());
    }
    for bit in (0..8 * whole.len()).step_by(3) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&flipped).is_err(), "bit {bit} of {}", 8 * whole.len());
    }
}

#[test]
fn run_of_another_arithmetic_version_is_refused() {
    let scratch = TempDir::new().unwrap();
    let folder = a_run(&scratch);
    let path = folder.join("run.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"arithmetic_version\": 1", "\"arithmetic_version\": 7")).unwrap();
    fails(lineage(&folder, &[]), 1, "made with arithmetic version 7, this program has 1");
}

#[test]
fn plan_counts_what_a_lineage_takes() {
    let plan = |more: &[&str]| -> Value {
        let mut command = pareidolia(&["plan", "--device", "cpu", "--json"]);
        command.args(more);
        serde_json::from_str(&run(command, 0).0).unwrap()
    };
    let (with, without) = (plan(&["--lineage"]), plan(&[]));
    let bytes = |plan: &Value| plan["memory"]["total_bytes"].as_u64().unwrap();
    assert!(bytes(&with) > bytes(&without));
    let files = |plan: &Value| -> Vec<String> {
        plan["output"]["files"].as_array().unwrap().iter().map(|file| file["what"].as_str().unwrap().into()).collect()
    };
    assert!(files(&with).contains(&"lineage".into()) && !files(&without).contains(&"lineage".into()));
}
