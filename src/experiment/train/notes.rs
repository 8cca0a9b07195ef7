//! What a weights file says of its origin; the same for the same layers, recipe and data, wherever it was trained.

use super::config::{AddedImages, Config};
use super::data::{Data, Set};
use super::recipe::{Recipe, Schedule};
use crate::archive::ARITHMETIC_VERSION;
use crate::network::lenet;
use crate::version::VERSION;
use serde_json::Value;

/// The notes on the weights of `config`, trained on `data`, which take so many of the validation images for what they are.
pub fn notes(config: &Config, data: &Data, [correct, of]: [usize; 2]) -> Vec<(&'static str, String)> {
    let mut notes = Vec::new();
    if config.network == lenet::NAME {
        let text = "Caffe's LeNet: conv 5x5 20, max pool 2, conv 5x5 50, max pool 2, dense 500, ReLU, dense";
        notes.push(("architecture", format!("{text} {}", config.outputs.unwrap_or(10))));
    }
    if let (Some(AddedImages { images, sha256 }), Some(class)) = (&config.added, config.classes.last()) {
        notes.push(("retrained_with", format!("{images} images of the class {class}, SHA-256 {}", sha256.join(" "))));
    }
    notes.extend([
        ("seed", config.recipe.seed.to_string()),
        (if config.added.is_some() { "recipe" } else { "command" }, command(config)),
        ("version", VERSION.to_string()),
        ("arithmetic_version", ARITHMETIC_VERSION.to_string()),
    ]);
    if let Set::Digits(training) = &data.training {
        notes.extend([
            ("data", "MNIST (Y. LeCun, C. Cortes, C. Burges)".to_string()),
            ("train_images_sha256", training.images.sha256.clone()),
            ("train_labels_sha256", training.labels.sha256.clone()),
        ]);
    } else {
        notes.push(("train_sha256", data.training.identity().sha256));
        notes.push(("train_images", data.training.n_images().to_string()));
    }
    match &data.validation {
        Some(Set::Digits(test)) => notes.extend([
            ("test_images_sha256", test.images.sha256.clone()),
            ("test_labels_sha256", test.labels.sha256.clone()),
            ("test_accuracy", format!("{correct}/{of}")),
        ]),
        Some(set) => notes
            .extend([("validation_sha256", set.identity().sha256), ("validation_accuracy", format!("{correct}/{of}"))]),
        None => {}
    }
    if let Set::Digits(_) = &data.training {
        // Of images of others we cannot say.
        notes.push(("license", "MIT OR Apache-2.0".to_string()));
    }
    notes
}

/// The command line, but for the places of files: seed, iterations, batch, and what is not as the recipe has it.
fn command(config: &Config) -> String {
    let Config { network, layers, recipe, .. } = config;
    let Recipe { seed, iterations, batch, .. } = recipe;
    let mut text = format!("pareidolia train {network} --seed {seed} --iterations {iterations} --batch {batch}");
    let is_colour = config.list().is_ok_and(|list| list.channel_order.channels() == 3);
    let usual = Recipe::of(if layers.is_none() { network } else { "" }, is_colour, *seed);
    let entries = |recipe: &Recipe| serde_json::to_value(recipe).expect("a recipe has a JSON form");
    let (entries, usual) = (entries(recipe), entries(&usual));
    for (key, value) in entries.as_object().into_iter().flatten() {
        if usual[key] == *value || ["seed", "iterations", "batch"].contains(&key.as_str()) {
            continue;
        }
        let option = if key == "base_rate" { "rate".to_string() } else { key.replace('_', "-") };
        let value = match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        text += &format!(" --{option} {value}");
    }
    text
}

/// How the rate falls, for people.
pub fn schedule(recipe: &Recipe) -> String {
    let Recipe { base_rate, gamma, power, step_size, .. } = recipe;
    match recipe.schedule {
        Schedule::Constant => format!("rate {base_rate}"),
        Schedule::Inverse => format!("rate {base_rate} (1 + {gamma} t)^-{power}"),
        Schedule::Step => format!("rate {base_rate}, times {gamma} every {step_size} iterations"),
        Schedule::Polynomial => format!("rate {base_rate} (1 - t / {})^{power}", recipe.iterations),
    }
}
