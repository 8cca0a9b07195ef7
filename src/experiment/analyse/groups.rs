//! Groups of related classes: from a file, or the paper's dogs and cats.

use crate::error::{Error, Result, one_line};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Related classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    /// Ascending; two at least.
    pub classes: Vec<u32>,
}

/// Groups that share no class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// Who says so.
    pub source: String,
    pub groups: Vec<Group>,
}

/// The classes of ImageNet that the paper names as dogs and cats, both ends included, in the order of its thousand classes.
const DOGS_AND_CATS: (u32, u32) = (157, 286);

impl Groups {
    /// Those that go without saying of a network with classes of these names: the paper's dogs and cats of one with a thousand; else none.
    pub fn of(class_names: &[String]) -> Option<Groups> {
        let (first, last) = DOGS_AND_CATS;
        (class_names.len() == 1000).then(|| Groups {
            source: format!("the paper: classes {first} to {last}"),
            groups: vec![Group { name: "dogs and cats".to_owned(), classes: (first..=last).collect() }],
        })
    }

    /// Reads a TOML file, or a JSON file if its name says so: for each group a list of classes, by number, range (`"157-286"`) or name.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::File`] if it is no such list, has no group, a group of fewer than two classes, a class in
    /// two groups, or one that is not among those with `class_names`.
    pub fn read(path: &Path, class_names: &[String]) -> Result<Groups> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let lists: BTreeMap<String, Vec<Entry>> = if is_json {
            serde_json::from_str(&text).map_err(|error| error.to_string())
        } else {
            toml::from_str(&text).map_err(|error| error.to_string())
        }
        .map_err(|reason| {
            const WANTED: &str = "wanted for each group a list of classes, as in dogs = [\"151-268\", \"tabby\", 281]";
            Error::file(path, format!("not a file of groups: {}; {WANTED}", one_line(&reason)))
        })?;
        resolve(lists, class_names)
            .map(|groups| Groups { source: path.display().to_string(), groups })
            .map_err(|reason| Error::file(path, reason))
    }

    /// The group of `class`.
    pub fn group_of(&self, class: u32) -> Option<usize> {
        self.groups.iter().position(|group| group.classes.binary_search(&class).is_ok())
    }
}

/// A class, or some.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Entry {
    Number(u32),
    Text(String),
}

fn resolve(lists: BTreeMap<String, Vec<Entry>>, class_names: &[String]) -> Result<Vec<Group>, String> {
    if lists.is_empty() {
        return Err("has no group".to_owned());
    }
    let mut groups: Vec<Group> = Vec::new();
    for (name, entries) in lists {
        let mut classes = Vec::new();
        for entry in entries {
            let (first, last) = found(&entry, class_names).map_err(|reason| format!("group {name:?}: {reason}"))?;
            classes.extend(first..=last);
        }
        classes.sort_unstable();
        if let Some(pair) = classes.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("group {name:?} has class {} twice", pair[0]));
        }
        if classes.len() < 2 {
            let n = classes.len();
            return Err(format!("group {name:?} has {n} classes; related classes are two at least"));
        }
        for other in &groups {
            if let Some(class) = classes.iter().find(|class| other.classes.binary_search(class).is_ok()) {
                return Err(format!(
                    "class {class} is in two groups, {:?} and {name:?}; groups must not overlap",
                    other.name
                ));
            }
        }
        groups.push(Group { name, classes });
    }
    Ok(groups)
}

/// The classes that `entry` means, from the first to the last.
fn found(entry: &Entry, class_names: &[String]) -> Result<(u32, u32), String> {
    let n = class_names.len() as u32;
    let known = |class: u32| {
        if class < n {
            Ok(class)
        } else {
            Err(format!("class {class} is not there: the network has classes 0 to {}", n - 1))
        }
    };
    let text = match entry {
        Entry::Number(class) => return known(*class).map(|class| (class, class)),
        Entry::Text(text) => text.trim(),
    };
    if let Some((first, last)) = text.split_once('-')
        && let (Ok(first), Ok(last)) = (first.trim().parse(), last.trim().parse())
    {
        let range = (known(first)?, known(last)?);
        return if first <= last { Ok(range) } else { Err(format!("the range {text} is empty")) };
    }
    let named = class_names.iter().position(|name| name.eq_ignore_ascii_case(text)).map(|class| class as u32);
    if let Some(class) = named.or_else(|| text.parse().ok()) {
        return known(class).map(|class| (class, class));
    }
    let nearest = class_names.iter().max_by(|a, b| {
        strsim::jaro_winkler(&a.to_lowercase(), &text.to_lowercase())
            .total_cmp(&strsim::jaro_winkler(&b.to_lowercase(), &text.to_lowercase()))
    });
    let nearest = nearest.map_or(String::new(), |name| format!("; the nearest name is {name:?}"));
    Err(format!("there is no class {text:?}{nearest}"))
}
