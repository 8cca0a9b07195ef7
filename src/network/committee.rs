//! Networks that judge together: what several say of an image becomes one row of probabilities.
//!
//! The rows are joined one after the other, in the order of the networks, in single precision: see [`Combine::join`]. The row of one network
//! alone stays what it is.

use super::{Network, Shape};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// How what several networks say of a class becomes one number. Its variants' texts stand in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Combine {
    /// The mean of their probabilities
    Mean,
    /// The least of their probabilities
    Min,
}

impl fmt::Display for Combine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Combine::Mean => "mean",
            Combine::Min => "min",
        })
    }
}

impl Combine {
    /// Joins what the next network says to what those before say `together`. The least: `next < together ? next : together`, NaN if one
    /// is. The mean: `(together + next) / divisor`, each operation rounded to f32; the [divisor](Combine::divisor) is 1 but for the last
    /// network, so that this is the sum in the order of the networks, divided once by their number. NaN is the one NaN 0x7fc00000.
    #[inline]
    pub fn join(self, together: f32, next: f32, divisor: f32) -> f32 {
        let joined = match self {
            Combine::Mean => (together + next) / divisor,
            Combine::Min if next < together || next.is_nan() => next,
            Combine::Min => together,
        };
        if joined.is_nan() { f32::from_bits(0x7fc0_0000) } else { joined }
    }

    /// What the sum is divided by when the network `place` of `n`, counted from 0, has joined.
    #[inline]
    pub fn divisor(self, place: usize, n: usize) -> f32 {
        if self == Combine::Mean && place + 1 == n { n as f32 } else { 1.0 }
    }
}

/// The networks that judge with another one, and how.
#[derive(Clone, Debug)]
pub struct Committee {
    /// Those after the first, in order; they have no committees of their own.
    pub others: Vec<Arc<Network>>,
    pub rule: Combine,
}

impl Network {
    /// The first of `networks`, judging together with the others. Alone it stays as it is.
    ///
    /// Its name and [`Network::sha256`] are then those of all, in their order, with the rule: `a + b, mean`. Its class names are those of the
    /// first one that has some which are not numbers.
    ///
    /// # Errors
    /// [`Error::Refused`] if they have not the same classes or are for images of other sizes; [`Error::Usage`] if two are the same.
    ///
    /// # Panics
    /// If there is none.
    pub fn together(networks: Vec<Network>, rule: Combine) -> Result<Network> {
        let mut networks = networks.into_iter();
        let mut first = networks.next().expect("a network");
        let others: Vec<Network> = networks.collect();
        if others.is_empty() {
            return Ok(first);
        }
        for (place, other) in others.iter().enumerate() {
            if let Some(same) = std::iter::once(&first)
                .chain(&others[..place])
                .position(|n| !n.sha256.is_empty() && n.sha256 == other.sha256)
            {
                return Err(Error::Usage(format!(
                    "--weights: network {} ({}) is the same as network {}: name it once",
                    place + 2,
                    other.name,
                    same + 1
                )));
            }
            if let Some(why) = classes_differ(&first, other)
                .or_else(|| others[..place].iter().find_map(|before| classes_differ(before, other)))
            {
                return Err(Error::Refused(format!("the networks cannot judge together: {why}")));
            }
            if first.image != other.image {
                return Err(Error::Refused(format!(
                    "the networks cannot judge together: {} is for images of {}, {} for {}",
                    first.name,
                    size(first.image),
                    other.name,
                    size(other.image)
                )));
            }
        }
        if let Some(named) =
            others.iter().find(|other| !are_numbers(&other.classes)).filter(|_| are_numbers(&first.classes))
        {
            first.classes.clone_from(&named.classes);
        }
        let all = |of: fn(&Network) -> &str| {
            let texts: Vec<&str> = std::iter::once(of(&first)).chain(others.iter().map(of)).collect();
            format!("{}, {rule}", texts.join(" + "))
        };
        (first.name, first.sha256) = (all(|network| &network.name), all(|network| &network.sha256));
        let random = others.iter().find_map(|other| other.random.clone());
        first.random = first.random.or(random);
        first.committee = Some(Committee { others: others.into_iter().map(Arc::new).collect(), rule });
        Ok(first)
    }

    /// The networks that judge, in their order: itself, and those of its committee.
    pub fn judges(&self) -> impl Iterator<Item = &Network> {
        std::iter::once(self)
            .chain(self.committee.iter().flat_map(|committee| committee.others.iter().map(|other| &**other)))
    }
}

/// The size of images, for people.
pub fn size(Shape { channels, height, width }: Shape) -> String {
    format!("{width} x {height} {}", if channels == 1 { "grey" } else { "colour" })
}

/// How the classes of two networks differ, if they do. Names that are nothing but numbers are those of any network with as many classes.
fn classes_differ(a: &Network, b: &Network) -> Option<String> {
    if a.classes.len() != b.classes.len() {
        return Some(format!("{} has {} classes, {} has {}", a.name, a.classes.len(), b.name, b.classes.len()));
    }
    names_differ(&b.classes, &a.name, &a.classes).map(|why| format!("{why} ({})", b.name))
}

/// Whether the names are nothing but the classes' numbers.
pub fn are_numbers(names: &[String]) -> bool {
    names.iter().enumerate().all(|(class, name)| *name == class.to_string())
}

/// Where `names` are not those that `label` has, unless either are nothing but numbers; they are as many.
pub fn names_differ(names: &[String], label: &str, wanted: &[String]) -> Option<String> {
    if are_numbers(names) || are_numbers(wanted) {
        return None;
    }
    let class = (0..names.len()).find(|&class| names[class] != wanted[class])?;
    Some(format!("class {class} is {:?}, {:?} in {label}", names[class], wanted[class]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the program joins them.
    fn joined(rule: Combine, probabilities: &[f32]) -> f32 {
        let rest = probabilities.iter().enumerate().skip(1);
        rest.fold(probabilities[0], |together, (place, &next)| {
            rule.join(together, next, rule.divisor(place, probabilities.len()))
        })
    }

    #[test]
    fn rows_are_joined_in_single_precision_in_their_order() {
        assert_eq!(joined(Combine::Min, &[0.5, 0.25, 0.75]), 0.25);
        let mean = |p: [f32; 3]| joined(Combine::Mean, &p);
        assert_eq!(mean([0.1, 0.7, 0.3]), ((0.1_f32 + 0.7) + 0.3) / 3.0);
        // What is small is lost in a sum that is large: the order counts.
        let small = f32::EPSILON / 2.0;
        assert_eq!(mean([1.0, small, small]), 1.0_f32 / 3.0);
        assert_ne!(mean([small, small, 1.0]), 1.0_f32 / 3.0);
        assert_eq!(mean([1.0; 3]), 1.0);
        for rule in [Combine::Mean, Combine::Min] {
            assert_eq!(joined(rule, &[0.3]), 0.3, "one alone");
            for nan in 0..3 {
                let mut p = [0.5, 0.25, 0.125];
                p[nan] = -f32::NAN;
                assert_eq!(joined(rule, &p).to_bits(), 0x7fc0_0000, "{rule}");
            }
        }
    }
}
