//! `report`: what runs found, on one page.

use super::device::Asked;
use super::lineage::replay::{Birth, Replay};
use super::lineage::report::LineEntry;
use super::lineage::{self, Kept, LineageRequest};
use super::specimens::{Contents, Elites};
use super::transfer::sources::Input;
use crate::archive::ARITHMETIC_VERSION;
use crate::error::{Error, Result, one_line};
use crate::genome::exchange::{Specimen, json};
use crate::genome::{Encoding, Genome};
use crate::network::weights::Files;
use crate::output::analyse::AnalyseManifest;
use crate::output::convergence::Thinned;
use crate::output::report::{
    Analyses, AncestorData, Answers, Curve, Data, EliteData, Individual, LineData, Program, RunData, RunnerUp, Sheets,
    Transfer, page, picture,
};
use crate::output::transfer::{ImageLine, TransferManifest};
use crate::output::{Manifest, atomic, hash_text, metrics, run_folder, series};
use crate::simd::Simd;
use crate::version::{COMMIT, VERSION};
use rayon::prelude::*;
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

/// One call of `report`, checked.
#[derive(Clone, Debug)]
pub struct ReportRequest {
    /// Folders of finished runs, and of series of them.
    pub runs: Vec<PathBuf>,
    /// The file to write.
    pub out: PathBuf,
    /// Whether one that is there is replaced.
    pub force: bool,
    /// The folder of an analysis.
    pub analyses: Option<PathBuf>,
    /// Folders of transfers.
    pub transfers: Vec<PathBuf>,
    /// Whether runs that keep their lineage show their ancestors.
    pub lineage: bool,
    pub threads: usize,
    pub simd: Simd,
}

/// What was written.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    pub runs: usize,
    pub elites: usize,
    pub bytes: usize,
}

/// Bytes of the images of a run that go into the page as they are, at most.
const PICTURES: usize = 2 << 20;

/// CPPNs of so many bytes of images in all also come as pictures, which are there before any is drawn.
const SMALL: usize = 64 << 10;

/// Individuals that are shown of a run, those that are on most lines, beside both ends of each line; and of a line, at most.
const ANCESTORS: usize = 2000;
const MOST: usize = 40;

/// Writes the page.
///
/// # Errors
/// [`Error::Refused`] if the file is there, a run is not finished or its archive is another; [`Error::File`] for what is not what it should
/// be; [`Error::Io`].
pub fn run(request: &ReportRequest) -> Result<Written> {
    if request.out.exists() && !request.force {
        return Err(Error::Refused(format!("{} is there already; overwrite it with --force", request.out.display())));
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(request.threads)
        .build()
        .map_err(|source| Error::Refused(format!("cannot start {} threads: {source}", request.threads)))?;
    pool.install(|| run_on_pool(request))
}

fn run_on_pool(request: &ReportRequest) -> Result<Written> {
    let mut runs = Vec::new();
    for path in folders(&request.runs)? {
        runs.push(read_run(request, &path)?);
    }
    let hashes: Vec<String> = runs.iter().map(|(_, hash)| hash_text(*hash)).collect();
    let place = |hash: &str| hashes.iter().position(|other| other == hash);
    let analyses = request.analyses.as_deref().map(|folder| read_analyses(folder, place)).transpose()?;
    let transfers = request.transfers.iter().map(|folder| read_transfer(folder, place)).collect::<Result<_>>()?;
    let runs: Vec<RunData> = runs.into_iter().map(|(run, _)| run).collect();
    let elites = runs.iter().map(|run| run.elites.len()).sum();
    let program = Program { version: VERSION, commit: COMMIT };
    let data = Data { format: "pareidolia report", version: 1, program, runs, analyses, transfers };
    let text = page(&data);
    atomic::write(&request.out, |file| file.write_all(text.as_bytes()))?;
    Ok(Written { runs: data.runs.len(), elites, bytes: text.len() })
}

/// The folders of all runs: of a series, those of its runs.
fn folders(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for path in named {
        match series::is_series(path) {
            true => folders.extend(series::runs(path)?),
            false => folders.push(path.clone()),
        }
    }
    Ok(folders)
}

/// A run, and its archive's hash.
fn read_run(request: &ReportRequest, path: &Path) -> Result<(RunData, u64)> {
    let file = path.join(run_folder::MANIFEST);
    if !file.is_file() {
        let text = if run_folder::has_checkpoint(path) {
            "the run is not finished; continue it with `evolve --resume`"
        } else {
            "is not the folder of a finished run: it has no run.json"
        };
        return Err(Error::file(path, text));
    }
    let manifest = Manifest::read(&file)?;
    if manifest.arithmetic_version != ARITHMETIC_VERSION {
        let text = format!(
            "made with arithmetic version {}, this program has {ARITHMETIC_VERSION}: the page would draw other pictures; use the program \
             that made it",
            manifest.arithmetic_version
        );
        return Err(Error::file(&file, text));
    }
    let Contents::Run(elites) = Contents::read(path)? else { unreachable!("a folder is a run") };
    if elites.archive.hash() != manifest.archive_hash {
        let text = "is not the archive that run.json tells of; restore both from a copy";
        return Err(Error::file(&path.join(run_folder::ARCHIVE), text));
    }
    let canvas = elites.about.canvas;
    let n_niches = elites.archive.classes.len();
    let is_cppn = matches!(elites.about.encoding, Encoding::Cppn(_));
    let has_lines = request.lineage && run_folder::has_lineage(path);
    let (mut lines, individuals) = if has_lines { read_lines(request, path, is_cppn)? } else { Lines::default() };
    let has_pictures = n_niches * canvas.len() <= if is_cppn { SMALL } else { PICTURES };
    let each: Vec<EliteData> = (0..n_niches)
        .into_par_iter()
        .map(|niche| elite(&elites, niche, is_cppn, has_pictures))
        .collect::<Result<_>>()?;
    let images: Vec<&[u8]> = elites.archive.elites.iter().map(|elite| &elite.image[..]).collect();
    let each = each.into_iter().map(|elite| with_line(elite, &mut lines)).collect();
    // As the file has it: an f32 that became a JSON value on its way would be one of f64, with all its digits.
    let mut value: Value = read_json(&file, "a manifest of a run")?;
    value.as_object_mut().expect("a manifest is an object").shift_remove("classes");
    let data = RunData {
        name: name_of_folder(path),
        manifest: value,
        canvas: canvas.into(),
        class_names: elites.about.class_names.clone(),
        elites: each,
        individuals,
        sheets: (!is_cppn && !has_pictures).then(|| Sheets::of(canvas, &images)),
        curve: read_curve(path, manifest.generation)?,
    };
    Ok((data, manifest.archive_hash))
}

/// What a run is called on the page: the last part of its path.
fn name_of_folder(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    absolute.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn elite(elites: &Elites, niche: usize, is_cppn: bool, has_picture: bool) -> Result<EliteData> {
    let Elites { archive, about, .. } = elites;
    let (class, elite) = (archive.classes[niche], &archive.elites[niche]);
    let genome = if is_cppn { Some(genome_value(&elites.specimen(niche))?) } else { None };
    Ok(EliteData {
        class,
        name: about.class_names[class as usize].clone(),
        confidence: elite.probabilities[class as usize],
        born: elite.born,
        runner_up: runner_up(&elite.probabilities, class),
        genome,
        picture: has_picture.then(|| picture(about.canvas, &elite.image)),
        lineage: None,
        ancestors: Vec::new(),
    })
}

/// The most probable of the other classes, of several the lowest.
fn runner_up(probabilities: &[f32], class: u32) -> Option<RunnerUp> {
    let others = probabilities.iter().enumerate().filter(|(other, _)| *other != class as usize);
    let best = others.reduce(|best, other| if other.1 > best.1 { other } else { best })?;
    Some(RunnerUp { class: best.0 as u32, confidence: *best.1 })
}

/// A genome as the page wants it: as `export` writes it, without what follows from the rest.
fn genome_value(specimen: &Specimen) -> Result<Value> {
    let text = json::line(specimen).map_err(Error::Refused)?;
    let mut value: Value = serde_json::from_str(&text).expect("what this program writes is JSON");
    let object = value.as_object_mut().expect("a genome is an object");
    object.shift_remove("origin");
    object.shift_remove("steps");
    for (list, key) in [("nodes", "role"), ("edges", "weight")] {
        let items = object.get_mut(list).and_then(Value::as_array_mut);
        for item in items.into_iter().flatten().filter_map(Value::as_object_mut) {
            item.shift_remove(key);
        }
    }
    Ok(value)
}

/// metrics.jsonl, thinned to what can be seen; `None` where there is none, as of a merged archive.
fn read_curve(path: &Path, generation: u32) -> Result<Option<Curve>> {
    let file = path.join(run_folder::METRICS);
    if !file.is_file() {
        return Ok(None);
    }
    let mut thinned = Thinned::new(generation);
    metrics::read(&file, |line| thinned.push(line))?;
    Ok(Curve::of(thinned.lines()))
}

/// By class, how an elite's line went; and those who are on the lines.
type Lines = (HashMap<u32, (LineData, Vec<AncestorData>)>, Vec<Individual>);

fn with_line(mut elite: EliteData, lines: &mut HashMap<u32, (LineData, Vec<AncestorData>)>) -> EliteData {
    if let Some((line, ancestors)) = lines.remove(&elite.class) {
        (elite.lineage, elite.ancestors) = (Some(line), ancestors);
    }
    elite
}

/// The lines of all elites of the run in the folder `path`, of which those are left that [`shown`] chooses.
fn read_lines(request: &ReportRequest, path: &Path, is_cppn: bool) -> Result<Lines> {
    let asked = LineageRequest {
        run: path.to_path_buf(),
        classes: None,
        files: Files::default(),
        out: None,
        device: Asked::Cpu,
        threads: request.threads,
        simd: request.simd,
    };
    let elites = lineage::run_on_pool(&asked)?.elites;
    let births: Vec<Vec<Birth>> = elites.iter().map(|elite| elite.line.iter().map(birth).collect()).collect();
    let shown = shown(&births, ANCESTORS, MOST);
    // An elite's genome is there already; of a directly encoded one the page may have no more than a small picture.
    let is_drawn = |line: usize, at: usize| !is_cppn || at + 1 < births[line].len();
    let of_line = |line: usize| shown[line].iter().filter(move |&&at| is_drawn(line, at)).map(move |&at| (line, at));
    let mut wanted: Vec<Birth> = (0..elites.len()).flat_map(of_line).map(|(line, at)| births[line][at]).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let specimens = ancestors(path, request.simd, &wanted)?;
    let individual = |birth: &Birth| match specimens.get(birth) {
        Some(specimen) => drawn(specimen, request.simd),
        None => Ok(Individual { genome: None, picture: None }),
    };
    let individuals = wanted.par_iter().map(individual).collect::<Result<Vec<_>>>()?;
    let lines = elites.iter().enumerate().map(|(line, elite)| {
        let of = |&at: &usize| {
            let entry = &elite.line[at];
            AncestorData {
                generation: entry.generation,
                candidate: entry.candidate,
                confidence: entry.confidence,
                goal: entry.goal,
                goal_switch: entry.goal_switch,
                individual: is_drawn(line, at).then(|| wanted.binary_search(&births[line][at]).expect("it is wanted")),
            }
        };
        let data = LineData { depth: elite.depth, goal_switches: elite.goal_switches };
        (elite.class, (data, shown[line].iter().map(of).collect()))
    });
    Ok((lines.collect(), individuals))
}

fn birth(of: &LineEntry) -> Birth {
    (of.generation, of.candidate)
}

/// Of each line, which places are shown: both ends, and those of the `budget` individuals that are on most lines, of equals the oldest;
/// evenly no more than `most` of a line.
fn shown(lines: &[Vec<Birth>], budget: usize, most: usize) -> Vec<Vec<usize>> {
    let mut counts: HashMap<Birth, usize> = HashMap::new();
    for line in lines {
        line.iter().for_each(|&birth| *counts.entry(birth).or_default() += 1);
    }
    let mut births: Vec<Birth> = counts.keys().copied().collect();
    births.sort_unstable_by_key(|birth| (Reverse(counts[birth]), *birth));
    births.truncate(budget);
    let chosen: HashSet<Birth> = births.into_iter().collect();
    let of_line = |line: &Vec<Birth>| {
        let last = line.len().saturating_sub(1);
        let among: Vec<usize> =
            (0..line.len()).filter(|&at| at == 0 || at == last || chosen.contains(&line[at])).collect();
        thin(among.len(), most).into_iter().map(|at| among[at]).collect()
    };
    lines.iter().map(of_line).collect()
}

/// At most `most` of `n` places, evenly, the first and the last among them.
fn thin(n: usize, most: usize) -> Vec<usize> {
    if n <= most { (0..n).collect() } else { (0..most).map(|i| i * (n - 1) / (most - 1)).collect() }
}

/// What the page shows an ancestor by: its genome, or of a directly encoded one its picture.
fn drawn(specimen: &Specimen, simd: Simd) -> Result<Individual> {
    Ok(match specimen.genome {
        Genome::Cppn(_) => Individual { genome: Some(genome_value(specimen)?), picture: None },
        Genome::Direct(_) => {
            Individual { genome: None, picture: Some(picture(specimen.canvas, &specimen.image(simd))) }
        }
    })
}

/// The genomes of `wanted` individuals of the run in the folder `path`, made again.
fn ancestors(path: &Path, simd: Simd, wanted: &[Birth]) -> Result<HashMap<Birth, Specimen>> {
    let kept = Kept::read(path)?;
    let network = kept.network(&Files::default())?;
    let job = kept.job(&network)?;
    let replay = Replay::new(&job, kept.start(path)?, &kept.insertions, simd);
    let settings = match &job.encoding {
        Encoding::Cppn(rules) => Some(rules.into()),
        Encoding::Direct(_) => None,
    };
    let mut found = HashMap::new();
    replay.rebuild(wanted.iter().copied(), |born| -> Result<()> {
        if wanted.binary_search(&born.birth).is_ok() {
            let genome = Genome::clone(&born.genome);
            found.insert(born.birth, Specimen { canvas: job.canvas, genome, settings, origin: None });
        }
        Ok(())
    })?;
    Ok(found)
}

/// What `analyse` wrote into `folder`; `place` says which run of the report has an archive's hash.
fn read_analyses(folder: &Path, place: impl Fn(&str) -> Option<usize>) -> Result<Analyses> {
    let manifest: AnalyseManifest = read_json(&folder.join("analyse.json"), "the record of an analysis")?;
    let of = |part: String| {
        let value = read_json(&folder.join(format!("{part}.json")), "a part of an analysis")?;
        Ok((part, value))
    };
    let runs = manifest.runs.iter().filter_map(|run| Some((run.run, place(&run.archive_hash)?))).collect();
    Ok(Analyses { runs, parts: manifest.parts.into_iter().map(of).collect::<Result<_>>()? })
}

/// What `transfer` wrote into `folder` of the runs of the report.
fn read_transfer(folder: &Path, place: impl Fn(&str) -> Option<usize>) -> Result<Transfer> {
    let manifest = TransferManifest::read(&folder.join("run.json"))?;
    let file = folder.join("images.jsonl");
    let text = fs::read_to_string(&file).map_err(Error::io("read", &file))?;
    let (mut answers, mut places) = (Vec::new(), HashMap::new());
    for (at, line) in text.lines().enumerate() {
        let line: ImageLine = serde_json::from_str(line).map_err(|source| {
            Error::file(
                &file,
                format!("line {}: not what is said of an image: {}", at + 1, one_line(&source.to_string())),
            )
        })?;
        let input = places.entry(line.input.clone()).or_insert_with(|| place(input_of(&manifest.inputs, &line.input)?));
        if let (&mut Some(run), Some(class)) = (input, line.class) {
            answers.push(Answers { run, class, answers: line.answers });
        }
    }
    Ok(Transfer { networks: manifest.networks.into_iter().map(|network| network.label).collect(), answers })
}

/// The archive's hash of the input that was called `name`, which its record names absolutely. Of several that end so the shortest is meant: it
/// is the one that was named from where the others were.
fn input_of<'a>(inputs: &'a [Input], name: &str) -> Option<&'a str> {
    let is_up = |part: &Component| matches!(part, Component::CurDir | Component::ParentDir);
    let end: PathBuf = Path::new(name).components().skip_while(is_up).collect();
    let ending = inputs.iter().filter(|input| input.path.ends_with(&end));
    ending.min_by_key(|input| input.path.components().count())?.hash.as_deref()
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    serde_json::from_str(&text)
        .map_err(|source| Error::file(path, format!("not {what}: {}", one_line(&source.to_string()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_shown_and_between_them_those_on_most_lines() {
        let line = |births: &[u32]| births.iter().map(|&generation| (generation, 0)).collect::<Vec<Birth>>();
        let lines = [line(&[0, 1, 2, 3, 9]), line(&[0, 1, 2, 4, 5, 8]), line(&[0, 1, 6])];
        assert_eq!(shown(&lines, 99, 40), [vec![0, 1, 2, 3, 4], vec![0, 1, 2, 3, 4, 5], vec![0, 1, 2]]);
        // 0 and 1 are on three lines, 2 on two; of the others the earliest, 3.
        assert_eq!(shown(&lines, 3, 40), [vec![0, 1, 2, 4], vec![0, 1, 2, 5], vec![0, 1, 2]]);
        assert_eq!(shown(&lines, 4, 40), [vec![0, 1, 2, 3, 4], vec![0, 1, 2, 5], vec![0, 1, 2]]);
        assert_eq!(shown(&lines, 0, 40), [vec![0, 4], vec![0, 5], vec![0, 2]]);
        assert_eq!(shown(&lines, 99, 3), [vec![0, 2, 4], vec![0, 2, 5], vec![0, 1, 2]]);
        assert_eq!(shown(&[line(&[7])], 9, 2), [vec![0]]);
    }
}
