//! The classes on which networks are compared.

use crate::error::{Error, Result};
use crate::network::committee::{are_numbers, names_differ};
use std::collections::{HashMap, HashSet};

/// What one network says of an image, on the classes that are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The most probable class, by its place among those compared; of equals the first.
    pub label: usize,
    /// Its probability.
    pub confidence: f32,
    /// Probability of the class that the image was made for, if it was made for one.
    pub of_class: Option<f32>,
}

impl Answer {
    /// Of `probabilities`, `(n_classes)` of the network, of which those of `map` are compared. `class` is a place in `map`.
    pub fn of(probabilities: &[f32], map: &[usize], class: Option<usize>) -> Answer {
        let p = |place: usize| probabilities[map[place]];
        let label = (0..map.len()).fold(0, |best, place| if p(place) > p(best) { place } else { best });
        Answer { label, confidence: p(label), of_class: class.map(p) }
    }
}

/// The classes that are compared: all, or those that networks share by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Classes {
    pub names: Vec<String>,
    /// Of each class, its number in the first network.
    pub numbers: Vec<usize>,
    /// Of each network, which of its classes each one is.
    pub of: Vec<Vec<usize>>,
    /// Whether they are those shared by name.
    pub are_shared: bool,
}

impl Classes {
    /// Those of networks, each a name for people and the names of its classes. Names that are nothing but the classes' numbers are
    /// those of any network with as many classes.
    ///
    /// Of `shared` classes only names count, and those that a network has twice do not.
    ///
    /// # Errors
    /// [`Error::Refused`] if the networks have not the same classes, or share none.
    pub fn of(networks: &[(&str, &[String])], shared: bool) -> Result<Classes> {
        let (first_label, first) = networks[0];
        if shared {
            let unique: Vec<HashMap<&str, usize>> = networks.iter().map(|(_, names)| places(names)).collect();
            let numbers: Vec<usize> = (0..first.len())
                .filter(|&class| unique[0].get(&first[class][..]) == Some(&class))
                .filter(|&class| unique.iter().all(|places| places.contains_key(&first[class][..])))
                .collect();
            if numbers.is_empty() {
                let labels: Vec<&str> = networks.iter().map(|(label, _)| *label).collect();
                return Err(Error::Refused(format!(
                    "the networks {} share no class by name; give names with --class-names",
                    labels.join(", ")
                )));
            }
            let names: Vec<String> = numbers.iter().map(|&class| first[class].clone()).collect();
            let of = unique.iter().map(|places| names.iter().map(|name| places[&name[..]]).collect()).collect();
            return Ok(Classes { names, numbers, of, are_shared: true });
        }
        // Names that say something are compared, whichever network comes first.
        let (named_label, names) =
            networks.iter().find(|(_, names)| !are_numbers(names)).copied().unwrap_or((first_label, first));
        for &(label, others) in networks {
            let why = if others.len() == first.len() { names_differ(others, named_label, names) } else { None };
            let why = match why {
                None if others.len() == first.len() => continue,
                None => format!("{first_label} has {}, {label} has {}", first.len(), others.len()),
                Some(why) => why,
            };
            return Err(Error::Refused(format!(
                "the networks have other classes: {why}; --shared-classes compares them on those that they share by name"
            )));
        }
        let all: Vec<usize> = (0..first.len()).collect();
        Ok(Classes { names: names.to_vec(), numbers: all.clone(), of: vec![all; networks.len()], are_shared: false })
    }

    /// Which of the classes `names` of a run each class is; `run` is for people.
    ///
    /// # Errors
    /// [`Error::Refused`] if the run's classes are others.
    pub fn map(&self, run: &str, names: &[String]) -> Result<Vec<usize>> {
        if self.are_shared {
            let places = places(names);
            let place = |name: &String| {
                places.get(&name[..]).copied().ok_or_else(|| {
                    Error::Refused(format!(
                        "{run}: its network has no class {name:?}, which the networks share; name its network with --weights too"
                    ))
                })
            };
            return self.names.iter().map(place).collect();
        }
        let n = self.names.len();
        let why = if names.len() == n {
            names_differ(names, "the networks", &self.names)
        } else {
            Some(format!("it has {}, the networks have {n}", names.len()))
        };
        match why {
            None => Ok((0..n).collect()),
            Some(why) => Err(Error::Refused(format!(
                "{run}: is of a network with other classes: {why}; --shared-classes compares on those that are shared by name"
            ))),
        }
    }
}

/// The number of each class whose name no other has.
fn places(names: &[String]) -> HashMap<&str, usize> {
    let (mut places, mut seen) = (HashMap::new(), HashSet::new());
    for (class, name) in names.iter().enumerate() {
        if seen.insert(&name[..]) {
            places.insert(&name[..], class);
        } else {
            places.remove(&name[..]);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(String::from).collect()
    }

    #[test]
    fn the_most_probable_class_is_the_first_of_equals_among_those_compared() {
        let probabilities = [0.5, 0.2, 0.2, 0.1];
        let all = Answer::of(&probabilities, &[0, 1, 2, 3], Some(3));
        assert_eq!(all, Answer { label: 0, confidence: 0.5, of_class: Some(0.1) });
        let some = Answer::of(&probabilities, &[2, 1], Some(0));
        assert_eq!(some, Answer { label: 0, confidence: 0.2, of_class: Some(0.2) });
    }

    #[test]
    fn classes_are_the_same_or_only_numbered() {
        let (abc, abd, numbers) = (names("a b c"), names("a b d"), names("0 1 2"));
        let of = |networks: &[(&str, &[String])]| Classes::of(networks, false);
        let same = of(&[("A", &numbers), ("B", &abc), ("C", &abc)]).unwrap();
        assert_eq!((same.names, same.of), (abc.clone(), vec![vec![0, 1, 2]; 3]));
        let error = of(&[("A", &abc), ("B", &abd)]).unwrap_err().to_string();
        assert!(error.contains("class 2 is \"d\", \"c\" in A; --shared-classes"), "{error}");
        let error = of(&[("A", &numbers), ("B", &abd), ("C", &abc)]).unwrap_err().to_string();
        assert!(error.contains("class 2 is \"c\", \"d\" in B"), "{error}");
        let error = of(&[("A", &abc), ("B", &names("a b"))]).unwrap_err().to_string();
        assert!(error.contains("A has 3, B has 2"), "{error}");
    }

    #[test]
    fn shared_classes_are_those_that_each_network_has_once() {
        let (one, two) = (names("crane dog cat crane eel"), names("eel cat crane fly"));
        let classes = Classes::of(&[("A", &one), ("B", &two)], true).unwrap();
        assert_eq!(classes.names, ["cat", "eel"]);
        assert_eq!((classes.numbers, &classes.of[..]), (vec![2, 4], &[vec![2, 4], vec![1, 0]][..]));
        let classes = Classes::of(&[("A", &one), ("B", &two)], true).unwrap();
        assert_eq!(classes.map("run", &names("x eel cat")).unwrap(), [2, 1]);
        let error = classes.map("run", &names("x eel")).unwrap_err().to_string();
        assert!(error.contains("run: its network has no class \"cat\""), "{error}");
        assert!(Classes::of(&[("A", &one), ("B", &names("0 1"))], true).is_err());
    }
}
