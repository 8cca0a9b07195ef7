//! Lines of ancestors, and what they say.

use super::replay::{Birth, Parents, Replay};
use crate::archive::Archive;
use crate::backend::Insertion;
use serde::Serialize;
use std::collections::HashMap;

/// An individual on the line from generation 0 to an elite.
#[derive(Clone, Debug, PartialEq)]
pub struct Ancestor {
    pub birth: Birth,
    /// The niche by which the line goes on: as whose holder it was chosen to be a parent; of the elite, the niche whose elite it is.
    pub goal: u32,
    /// What it held when its child on the line was born; of the elite, what it holds. By niche.
    pub held: Vec<Insertion>,
    /// Whether its goal is a niche that its parent on the line did not hold when it was born.
    pub switched: bool,
    /// The other one of two parents whose genes were mixed.
    pub other_parent: Option<Birth>,
}

/// The line of the elite of `niche` in the archive after `generation`, the oldest first. Where genes of two parents were mixed, it goes on
/// with the one that `nearer` says, the first where it does not.
pub fn line(
    replay: &Replay,
    nearer: &HashMap<Birth, usize>,
    elite: Birth,
    niche: u32,
    generation: u32,
) -> Vec<Ancestor> {
    let mut line = Vec::new();
    let (mut birth, mut goal, mut until) = (elite, niche, generation);
    loop {
        let held = replay.still_held(birth, until).copied().collect();
        let (parent, other_parent) = match replay.parents(birth) {
            Parents::None => {
                line.push(Ancestor { birth, goal, held, switched: false, other_parent: None });
                line.reverse();
                return line;
            }
            Parents::Copied(parent) => (parent, None),
            Parents::Crossed(parents) => {
                let at = nearer.get(&birth).copied().unwrap_or(0);
                (parents[at], Some(parents[1 - at].birth))
            }
        };
        let before = birth.0 - 1;
        let switched = !replay.held(parent.birth, goal, before);
        line.push(Ancestor { birth, goal, held, switched, other_parent });
        (birth, goal, until) = (parent.birth, parent.niche, before);
    }
}

/// Niches won after generation 0, and how many of them by children of individuals none of whom held them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Won {
    pub won: u64,
    pub by_children_of_others: u64,
    /// `None` where none was won.
    pub share: Option<f64>,
}

impl Won {
    fn count(&mut self, by_other: bool) {
        self.won += 1;
        self.by_children_of_others += u64::from(by_other);
        self.share = Some(self.by_children_of_others as f64 / self.won as f64);
    }
}

/// [`Won`], in all and over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NichesWon {
    #[serde(flatten)]
    pub all: Won,
    pub over_time: Vec<Span>,
}

/// [`Won`] in some generations, both ends included.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    pub from: u32,
    pub to: u32,
    #[serde(flatten)]
    pub won: Won,
}

/// Counts the niches won in a run of so many generations. Spans of time are those between 1, 2, 5, 10, 20, 50 and so on.
pub fn niches_won(replay: &Replay, insertions: &[Insertion], generations: u32) -> NichesWon {
    let mut niches = NichesWon { over_time: spans(generations), ..NichesWon::default() };
    for insertion in insertions.iter().filter(|insertion| insertion.generation > 0) {
        let Insertion { generation, candidate, niche, .. } = *insertion;
        let parents = replay.parents((generation, candidate));
        let by_other = !parents.all().iter().any(|parent| replay.held(parent.birth, niche, generation - 1));
        niches.all.count(by_other);
        let at = niches.over_time.partition_point(|span| span.to < generation);
        niches.over_time[at].won.count(by_other);
    }
    niches
}

fn spans(generations: u32) -> Vec<Span> {
    let ends = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)));
    let starts: Vec<u32> = ends.take_while(|&end| end <= u64::from(generations)).map(|end| end as u32).collect();
    let to = |at: usize| starts.get(at + 1).map_or(generations, |next| next - 1);
    starts.iter().enumerate().map(|(at, &from)| Span { from, to: to(at), won: Won::default() }).collect()
}

/// The last individual from which two lines descend, by the place in both; `None` if they have nobody in common.
pub fn last_common(a: &[Ancestor], b: &[Ancestor]) -> Option<usize> {
    a.iter().zip(b).take_while(|(a, b)| a.birth == b.birth).count().checked_sub(1)
}

/// The elites of `archive` as births, by niche.
pub fn elites(archive: &Archive) -> impl Iterator<Item = (u32, Birth)> {
    (0..).zip(archive.elites.iter().map(|elite| elite.born))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_cover_all_generations_once() {
        for generations in [1, 2, 3, 9, 10, 11, 1000, 1001, u32::MAX] {
            let spans = spans(generations);
            assert_eq!((spans[0].from, spans[spans.len() - 1].to), (1, generations));
            assert!(spans.windows(2).all(|pair| pair[0].to + 1 == pair[1].from), "{spans:?}");
            assert!(spans.iter().all(|span| span.from <= span.to));
        }
        assert!(spans(0).is_empty());
    }

    #[test]
    fn last_common_ancestor_is_where_lines_part() {
        let line = |births: &[u32]| -> Vec<Ancestor> {
            let ancestor = |&generation: &u32| Ancestor {
                birth: (generation, 0),
                goal: 0,
                held: Vec::new(),
                switched: false,
                other_parent: None,
            };
            births.iter().map(ancestor).collect()
        };
        let a = line(&[0, 3, 7, 9]);
        assert_eq!(last_common(&a, &line(&[0, 3, 8])), Some(1));
        assert_eq!(last_common(&a, &a), Some(3));
        assert_eq!(last_common(&a, &line(&[0, 3])), Some(1));
        assert_eq!(last_common(&a, &line(&[1, 3, 7, 9])), None);
    }
}
