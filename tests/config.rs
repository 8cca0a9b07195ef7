//! The configuration: its layers, its keys, and what it refuses.

use pareidolia::error::Error;
use pareidolia::experiment::config::{
    Config, Flavour, KEYS, Key, Kind, NO_LIMIT, Preset, Setting, TARGET_CAP, parse_classes,
};
use pareidolia::experiment::request::StopOverrides;
use pareidolia::genome::direct::Crossover;
use toml::{Table, Value};

const PRESETS: [Preset; 4] = [Preset::MnistDirect, Preset::MnistCppn, Preset::ImagenetDirect, Preset::ImagenetCppn];
const FLAVOURS: [Flavour; 2] = [Flavour::Faithful, Flavour::Modern];

/// The configuration that `--set` makes of `assignments`.
fn set(assignments: &[&str]) -> Result<Config, Error> {
    let settings: Vec<Setting> = assignments.iter().map(|text| Setting::parse_assignment(text).unwrap()).collect();
    Config::resolve(&settings)
}

/// The one line that refuses `assignments`.
#[track_caller]
fn refusal(assignments: &[&str]) -> String {
    let error = set(assignments).expect_err(&format!("{assignments:?} was taken"));
    assert_eq!(error.exit_code(), 2, "{assignments:?}");
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text:?}");
    text
}

/// The value of `key` in `config`'s own TOML, or `None` if it has no such key.
fn value(config: &Config, key: &str) -> Option<Value> {
    let table: Table = config.to_toml().unwrap().parse().unwrap();
    key.split('.').try_fold(Value::Table(table), |value, part| value.get(part).cloned())
}

/// A preset that has `key`.
fn preset_for(key: &Key) -> &'static str {
    match key.name {
        "crops" => "preset=imagenet-cppn",
        name if name.starts_with("direct.") => "preset=mnist-direct",
        _ => "preset=mnist-cppn",
    }
}

/// Values that `key` takes, as one writes them after `--set`, and what they become.
fn good_values(key: &Key) -> Vec<(String, Value)> {
    let number = |text: &str, x: f64| (text.to_string(), Value::Float(x));
    match key.kind {
        // Capacities also have to hold the first genomes, 5 nodes and 4 edges.
        Kind::Whole(min, max) => {
            let min = if key.name.starts_with("cppn.max_") { 5 } else { min };
            [min, 77, max].map(|i| (i.to_string(), Value::Integer(i))).into()
        }
        Kind::Even(min, max) => [min, 34, max].map(|i| (i.to_string(), Value::Integer(i))).into(),
        Kind::OneOf(numbers) => numbers.iter().map(|&i| (i.to_string(), Value::Integer(i))).collect(),
        Kind::Probability => vec![number("0", 0.0), number("0.375", 0.375), number("1", 1.0), number("1e-3", 1e-3)],
        Kind::Positive(max) => vec![number("0.5", 0.5), number("3", 3.0), number(&max.to_string(), max)],
        // Keys of an ascent: tests/ascend.rs.
        Kind::Number(min, max) => vec![number(&min.to_string(), min), number(&max.to_string(), max)],
        Kind::NoneOr(min, max) => {
            vec![number("0", 0.0), number(&min.to_string(), min), number(&max.to_string(), max)]
        }
        Kind::Seconds => vec![number("0", 0.0), number("2.5", 2.5), number("10m", 600.0), number("\"1h 30s\"", 3630.0)],
        Kind::Switch => vec![("true".into(), Value::Boolean(true)), ("false".into(), Value::Boolean(false))],
        // The preset of the other encoding would take its keys away; see presets_and_flavours_can_be_set.
        Kind::Word(_) if key.name == "preset" => vec![("mnist-cppn".into(), "mnist-cppn".into())],
        Kind::Word(words) => words.iter().map(|&word| (word.to_string(), word.into())).collect(),
        // Keys of a retraining and of an ascent: tests/retrain.rs, tests/ascend_cppn.rs.
        Kind::Name | Kind::Path => vec![("\"a name\"".into(), "a name".into())],
        Kind::Classes => {
            let list = |classes: &[i64]| Value::Array(classes.iter().map(|&class| Value::Integer(class)).collect());
            vec![
                ("3,5-7".into(), list(&[3, 5, 6, 7])),
                ("[7, 3]".into(), list(&[3, 7])),
                ("4".into(), list(&[4])),
                ("[]".into(), list(&[])),
            ]
        }
    }
}

/// Values that `key` must refuse: other types, and the nearest ones out of range.
fn bad_values(key: &Key) -> Vec<String> {
    let mut bad: Vec<&str> = vec!["{ x = 1 }", "1979-05-27", ""];
    let mut edges = Vec::new();
    match key.kind {
        Kind::Whole(min, max) => {
            bad.extend(["1.5", "true", "many", "[1]", "1e3", "99999999999999999999"]);
            edges.extend([i128::from(min) - 1, i128::from(max) + 1]);
        }
        Kind::Even(min, max) => {
            bad.extend(["33", "2.0", "true", "many", "0"]);
            edges.extend([i128::from(min) - 2, i128::from(min) - 1, i128::from(max) + 2]);
        }
        Kind::OneOf(_) => bad.extend(["0", "2", "11", "1.0", "true", "ten"]),
        Kind::Probability => bad.extend(["-0.1", "1.0000000000000002", "nan", "inf", "true", "half", "[0.5]"]),
        Kind::Positive(_) => bad.extend(["0", "-1", "nan", "inf", "1e7", "true", "big"]),
        Kind::Number(..) | Kind::NoneOr(..) => bad.extend(["-1", "nan", "inf", "1e300", "true", "big"]),
        Kind::Seconds => bad.extend(["-1", "nan", "inf", "10 minuets", "true", "[1]"]),
        Kind::Switch => bad.extend(["1", "yes", "\"true\""]),
        Kind::Word(_) => bad.extend(["1", "true", "nonesuch"]),
        Kind::Name | Kind::Path => bad.extend(["\"\"", "1.5", "true"]),
        Kind::Classes => bad.extend([
            "70000",
            "3,3",
            "7-5",
            "-1",
            "[1, true]",
            "[-1]",
            "[70000]",
            "1.5",
            "three",
            "true",
            "[3, 3]",
            "1,,2",
        ]),
    }
    bad.into_iter().map(String::from).chain(edges.iter().map(i128::to_string)).collect()
}

#[test]
fn keys_are_those_of_the_configuration() {
    let mut known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    known.sort_unstable();
    let mut had = Vec::new();
    for preset in PRESETS {
        for (key, value) in Config::preset(preset, Flavour::Faithful).to_toml().unwrap().parse::<Table>().unwrap() {
            match value {
                Value::Table(group) => had.extend(group.keys().map(|inner| format!("{key}.{inner}"))),
                _ => had.push(key),
            }
        }
    }
    had.sort_unstable();
    had.dedup();
    assert_eq!(known, had);
}

#[test]
fn every_key_can_be_set() {
    for key in KEYS {
        for (text, want) in good_values(key) {
            let config = set(&[preset_for(key), &format!("{}={text}", key.name)])
                .unwrap_or_else(|error| panic!("{} = {text}: {error}", key.name));
            assert_eq!(value(&config, key.name), Some(want), "{} = {text}", key.name);
            config.check().unwrap_or_else(|error| panic!("{} = {text}: {error}", key.name));
            // The genomes have their own word on what they can be made with.
            config.cppn.iter().for_each(|rules| rules.validate(1).unwrap());
        }
    }
}

#[test]
fn values_out_of_type_or_range_are_refused_by_name() {
    for key in KEYS {
        for text in bad_values(key) {
            let line = refusal(&[preset_for(key), &format!("{}={text}", key.name)]);
            assert!(line.starts_with(&format!("--set: {}: got ", key.name)), "{line}");
            assert!(line.contains(", wanted "), "{line}");
        }
    }
}

#[test]
fn presets_and_flavours_can_be_set() {
    for preset in PRESETS {
        for flavour in FLAVOURS {
            let want = Config::preset(preset, flavour);
            let [preset, flavour] = ["preset", "flavour"].map(|key| format!("{key}={}", value(&want, key).unwrap()));
            assert_eq!(set(&[&preset, &flavour]).unwrap(), want);
            assert_eq!(set(&[&flavour, &preset]).unwrap(), want);
        }
    }
    assert_eq!(set(&[]).unwrap(), Config::preset(Preset::MnistCppn, Flavour::Faithful));
}

#[test]
fn presets_have_the_numbers_of_the_paper() {
    // Spec, section 6.
    let numbers = |config: &Config| (config.batch, config.generations, config.crops);
    let faithful = PRESETS.map(|preset| Config::preset(preset, Flavour::Faithful));
    let want = [(200, 1010, None), (200, 1001, None), (200, 5010, Some(10)), (400, 5001, Some(10))];
    assert_eq!(faithful.each_ref().map(numbers), want);
    let modern = PRESETS.map(|preset| Config::preset(preset, Flavour::Modern));
    assert_eq!(modern.each_ref().map(numbers), want);
    for (configs, crossover, normalise) in
        [(&faithful, Crossover::AsCoded, false), (&modern, Crossover::Repaired, true)]
    {
        for direct in [&configs[0], &configs[2]] {
            let rules = direct.direct.clone().unwrap();
            assert_eq!((rules.crossover, rules.halve_every, rules.mutation_eta), (crossover, 1000, 15));
            assert!(direct.cppn.is_none());
        }
        for cppn in [&configs[1], &configs[3]] {
            assert!(cppn.direct.is_none() && cppn.cppn.clone().unwrap().normalise == normalise);
        }
    }
}

#[test]
fn unknown_key_names_the_nearest_known_one() {
    for (misspelt, nearest) in [
        ("batches", "batch"),
        ("sed", "seed"),
        ("cppn.add_edge_rat", "cppn.add_edge_rate"),
        ("split_edge_rate", "cppn.split_edge_rate"),
        ("direct.crosover", "direct.crossover"),
        ("cppn.normalize", "cppn.normalise"),
        ("checkpoint-every", "checkpoint_every"),
    ] {
        let line = refusal(&[&format!("{misspelt}=1")]);
        assert_eq!(line, format!("--set: unknown key {misspelt:?}, the nearest one is {nearest:?}"));
    }
    assert!(refusal(&["cppn=1"]).starts_with("--set: cppn is a group of keys: weight_rate, "));
    assert!(Setting::parse_assignment("batch").is_err());
}

#[test]
fn keys_of_the_other_encoding_are_refused() {
    assert_eq!(
        refusal(&["preset=mnist-direct", "cppn.normalise=true"]),
        "--set: cppn.normalise is for CPPNs, mnist-direct is not"
    );
    assert_eq!(refusal(&["crops=1"]), "--set: crops is for networks that see a part of an image, mnist-cppn is not");
    assert_eq!(
        refusal(&["direct.crossover=none"]),
        "--set: direct.crossover is for the direct encoding, mnist-cppn is not"
    );
}

#[test]
fn capacity_holds_the_first_genomes() {
    assert_eq!(
        refusal(&["cppn.max_nodes=4"]),
        "--set: cppn.max_nodes: got 4, wanted at least 5: the inputs and outputs"
    );
    assert!(refusal(&["cppn.max_edges=3"]).contains("at least 4"));
}

#[test]
fn later_layers_win() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    std::fs::write(&path, "batch = 50\nseed = 3\n[cppn]\nadd_edge_rate = 0.25\nnormalise = true\n").unwrap();
    let mut settings = Setting::read_file(&path).unwrap();
    settings.push(Setting::parse_assignment("cppn.add_edge_rate = 0.75").unwrap());
    settings.push(Setting::parse_assignment("batch=60").unwrap());
    settings.push(Setting::parse("batch", "70", "--batch"));
    let config = Config::resolve(&settings).unwrap();
    let rules = config.cppn.unwrap();
    assert_eq!((config.batch, config.seed, rules.add_edge_rate, rules.normalise), (70, 3, 0.75, true));
}

#[test]
fn toml_round_trip_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    for preset in PRESETS {
        for flavour in FLAVOURS {
            let mut config = Config::preset(preset, flavour);
            config.seed = i64::MAX as u64;
            config.classes = vec![0, 9];
            config.time = 0.1;
            config.target = 0.9999;
            config.generations = NO_LIMIT;
            if let Some(rules) = &mut config.cppn {
                rules.max_weight = std::f32::consts::PI;
            }
            std::fs::write(&path, config.to_toml().unwrap()).unwrap();
            assert_eq!(Config::resolve(&Setting::read_file(&path).unwrap()).unwrap(), config);
        }
    }
}

#[test]
fn bad_files_are_named_with_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    let name = path.display().to_string();
    let read = |text: &[u8]| {
        std::fs::write(&path, text).unwrap();
        Setting::read_file(&path).and_then(|settings| Config::resolve(&settings)).unwrap_err()
    };
    let not_toml = read(b"batch = 50\nseed == 3\n");
    assert!(not_toml.to_string().starts_with(&format!("{name}: line 2: not TOML: ")), "{not_toml}");
    assert!(!not_toml.to_string().contains('\n'), "{not_toml}");
    assert_eq!(not_toml.exit_code(), 1);
    assert_eq!(
        read(b"batch = 51\n").to_string(),
        format!("{name}: batch: got 51, wanted an even number from 2 to 16777216")
    );
    assert_eq!(
        read(b"[cppn]\nseed = 1\n").to_string(),
        format!("{name}: unknown key \"cppn.seed\", the nearest one is \"seed\"")
    );
    assert_eq!(read(b"batch.size = 2\n").exit_code(), 2);
    assert_eq!(read(b"seed = \xff\n").exit_code(), 1);
    let missing = Setting::read_file(&folder.path().join("none.toml")).unwrap_err();
    assert!(matches!(missing, Error::Io { action: "read", .. }), "{missing}");
}

#[test]
fn contradicting_presets_are_refused() {
    let settings =
        [Setting::parse("preset", "mnist-cppn", "run.toml"), Setting::parse("preset", "mnist-direct", "PRESET")];
    assert_eq!(
        Config::resolve(&settings).unwrap_err().to_string(),
        r#"run.toml says preset = "mnist-cppn", PRESET says preset = "mnist-direct": choose one"#
    );
}

#[test]
fn check_refuses_what_resolve_refuses() {
    // A configuration out of a damaged checkpoint was never resolved.
    let good = Config::preset(Preset::MnistCppn, Flavour::Faithful);
    good.check().unwrap();
    let broken = |change: &dyn Fn(&mut Config)| {
        let mut config = good.clone();
        change(&mut config);
        config.check().unwrap_err().to_string()
    };
    assert_eq!(broken(&|c| c.batch = 0), "configuration: batch: got 0, wanted an even number from 2 to 16777216");
    assert!(broken(&|c| c.batch = 7).contains("batch: got 7"));
    assert!(broken(&|c| c.classes = vec![5, 3]).contains("classes: got 5 before 3"));
    assert!(broken(&|c| c.seed = u64::MAX).contains("configuration"));
    assert!(broken(&|c| c.target = f64::NAN).contains("target: got nan"));
    assert!(broken(&|c| c.cppn = None).contains("preset: got mnist-cppn"));
    assert!(broken(&|c| c.direct = Some(Default::default())).contains("preset: got mnist-cppn"));
    assert!(broken(&|c| c.preset = Preset::ImagenetCppn).contains("preset: got imagenet-cppn, wanted with crops"));
    assert!(broken(&|c| c.crops = Some(10)).contains("preset: got mnist-cppn, wanted without crops"));
    assert!(broken(&|c| c.preset = Preset::MnistDirect).contains("preset: got mnist-direct"));
    assert!(broken(&|c| c.cppn.as_mut().unwrap().max_weight = f32::INFINITY).contains("cppn.max_weight: got inf"));
    assert!(broken(&|c| c.cppn.as_mut().unwrap().max_nodes = 65_537).contains("cppn.max_nodes: got 65537"));
}

#[test]
fn generations_default_follows_the_other_stop_rules() {
    let generations = |assignments: &[&str]| set(assignments).unwrap().generations;
    assert_eq!(generations(&[]), 1001);
    assert_eq!(generations(&["preset=mnist-direct"]), 1010);
    assert_eq!(generations(&["target=0.9999"]), TARGET_CAP);
    assert_eq!(generations(&["time=10m"]), NO_LIMIT);
    assert_eq!(generations(&["evaluations=1000", "target=0.9999"]), NO_LIMIT);
    assert_eq!(generations(&["time=10m", "target=0.9999", "generations=7"]), 7);
    assert_eq!(generations(&["generations=0"]), 0);
}

#[test]
fn stop_overrides_replace_all_rules_or_none() {
    let stopped = set(&["time=10s", "generations=50"]).unwrap();
    let overridden = |assignments: &[&str]| {
        let settings: Vec<Setting> = assignments.iter().map(|text| Setting::parse_assignment(text).unwrap()).collect();
        let mut config = stopped.clone();
        StopOverrides::from_settings(&settings).unwrap().apply(&mut config);
        (config.generations, config.evaluations, config.time, config.target)
    };
    assert_eq!(overridden(&[]), (50, 0, 10.0, 0.0));
    assert_eq!(overridden(&["generations=90"]), (90, 0, 0.0, 0.0));
    assert_eq!(overridden(&["target=0.5"]), (TARGET_CAP, 0, 0.0, 0.5));
    assert_eq!(overridden(&["evaluations=5", "time=1m"]), (NO_LIMIT, 5, 60.0, 0.0));
}

#[test]
fn classes_are_numbers_ranges_and_names() {
    let names: Vec<String> = ["tench", "great white shark", "cd-player"].map(String::from).into();
    assert_eq!(parse_classes("5-7, 3", &[]), Ok(vec![3, 5, 6, 7]));
    assert_eq!(parse_classes("CD-player,Tench", &names), Ok(vec![0, 2]));
    for bad in ["", "3,", "7-5", "-1", "1-99999999999", "shark", "2-x"] {
        assert!(parse_classes(bad, &names).is_err(), "{bad:?} was taken");
    }
}
