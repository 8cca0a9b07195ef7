//! Timing: many short samples of every line, the lines in turns, so that a disturbance of the machine does not fall on one
//! line alone.
//!
//! A GPU's counter of energy moves in steps that are longer than a sample, so there a line has more of them at a time.

use crate::error::Result;
use std::time::Duration;

/// Times so many calls, one after the other; what prepares a call is left out.
pub type Timer = Box<dyn FnMut(u32) -> Result<Duration>>;

/// What looks on while lines are sampled.
pub trait Watch {
    /// Some samples of timer number `line` come next.
    fn begin(&mut self, line: usize);
    /// They are over.
    fn end(&mut self, line: usize);
}

/// Nobody looks.
impl Watch for () {
    fn begin(&mut self, _line: usize) {}
    fn end(&mut self, _line: usize) {}
}

/// Samples of a line, unless a single call takes too long for so many.
pub const MOST: usize = 21;
/// Samples of a line in any case.
const FEWEST: usize = 5;

/// What the samples of a line come to, in seconds a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub samples: usize,
}

impl Spread {
    /// Of at least one sample; of an even number the median is the mean of the two in the middle.
    fn of(mut seconds: Vec<f64>) -> Spread {
        seconds.sort_unstable_by(f64::total_cmp);
        let n = seconds.len();
        let median = (seconds[(n - 1) / 2] + seconds[n / 2]) / 2.0;
        Spread { median, min: seconds[0], max: seconds[n - 1], samples: n }
    }

    /// The same as rates, with `amount` a call: the shortest time gives the largest.
    pub fn rates(&self, amount: f64) -> Spread {
        Spread { median: amount / self.median, min: amount / self.max, max: amount / self.min, samples: self.samples }
    }
}

/// How a line is sampled.
struct Plan {
    /// Calls in a sample.
    repeats: u32,
    samples: usize,
}

impl Plan {
    /// Warms up, and finds out what fits into `seconds`.
    fn of(timer: &mut Timer, seconds: f64) -> Result<Plan> {
        let sample = seconds / MOST as f64;
        timer(1)?; // memory, caches, pages of code
        let mut repeats = 1_u32;
        let call = loop {
            let time = timer(repeats)?.as_secs_f64();
            if time >= sample / 2.0 || repeats >= 1 << 24 {
                break time / f64::from(repeats);
            }
            // What one call took says little of many: it grows in steps.
            repeats *= (sample / time.max(1e-9)).ceil().clamp(2.0, 16.0) as u32;
        };
        let repeats = (sample / call).ceil().clamp(1.0, f64::from(1 << 24)) as u32;
        let samples = (seconds / (call * f64::from(repeats))).round() as usize;
        Ok(Plan { repeats, samples: samples.clamp(FEWEST, MOST) })
    }
}

/// Samples each of `timers` for about `seconds`, in `turns` turns, at most [`MOST`]; `progress` is told how many samples of how many
/// are done.
///
/// # Errors
/// The first that a timer gives.
pub fn measure(
    timers: &mut [Timer],
    seconds: f64,
    turns: usize,
    watch: &mut dyn Watch,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<Spread>> {
    let plans = timers.iter_mut().map(|timer| Plan::of(timer, seconds)).collect::<Result<Vec<_>>>()?;
    let (mut done, all) = (0, plans.iter().map(|plan| plan.samples).sum());
    let mut seconds = vec![Vec::new(); timers.len()];
    for turn in 0..turns {
        for (line, ((timer, plan), seconds)) in timers.iter_mut().zip(&plans).zip(&mut seconds).enumerate() {
            let rounds = MOST * turn / turns..MOST * (turn + 1) / turns;
            // Lines with few samples have them spread over all rounds.
            let due = rounds.filter(|round| (round + 1) * plan.samples / MOST > round * plan.samples / MOST).count();
            if due == 0 {
                continue;
            }
            watch.begin(line);
            for _ in 0..due {
                seconds.push(timer(plan.repeats)?.as_secs_f64() / f64::from(plan.repeats));
                done += 1;
                progress(done, all);
            }
            watch.end(line);
        }
    }
    Ok(seconds.into_iter().map(Spread::of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[test]
    fn lines_take_turns_and_a_slow_one_gets_the_fewest_samples() {
        // Timers that claim what they took: no clock, so nothing here depends on the machine.
        let order = Rc::new(RefCell::new(String::new()));
        let timer = |name: char, call: f64| -> Timer {
            let order = Rc::clone(&order);
            Box::new(move |repeats| {
                order.borrow_mut().push(name);
                Ok(Duration::from_secs_f64(call * f64::from(repeats)))
            })
        };
        let mut timers = [timer('f', 1e-5), timer('s', 1.0), timer('m', 0.1)];
        let spreads = measure(&mut timers, 1.0, MOST, &mut (), |_, _| {}).unwrap();
        let samples: Vec<usize> = spreads.iter().map(|spread| spread.samples).collect();
        assert_eq!(samples, [MOST, FEWEST, 10]);
        for (spread, want) in spreads.iter().zip([1e-5, 1.0, 0.1]) {
            assert!((spread.median / want - 1.0).abs() < 1e-3, "{spread:?}");
        }
        let order = order.borrow();
        let rounds = &order[order.rfind("ff").map_or(0, |at| at + 1)..];
        let last_of_slow = order.rfind('s').unwrap();
        assert!(order.len() - last_of_slow <= 3, "the slow line is not spread over the rounds: {rounds}");
    }

    #[test]
    fn fewer_turns_give_as_many_samples_and_are_looked_on() {
        #[derive(Default)]
        struct Looks(Vec<(usize, bool)>);
        impl Watch for Looks {
            fn begin(&mut self, line: usize) {
                self.0.push((line, true));
            }
            fn end(&mut self, line: usize) {
                self.0.push((line, false));
            }
        }
        let claims =
            |call: f64| -> Timer { Box::new(move |repeats| Ok(Duration::from_secs_f64(call * f64::from(repeats)))) };
        let mut looks = Looks::default();
        let spreads = measure(&mut [claims(1e-5), claims(1.0)], 1.0, 3, &mut looks, |_, _| {}).unwrap();
        assert_eq!(spreads.iter().map(|spread| spread.samples).collect::<Vec<_>>(), [MOST, FEWEST]);
        let turn = [(0, true), (0, false), (1, true), (1, false)];
        assert_eq!(looks.0, [turn, turn, turn].concat());
    }

    #[test]
    fn spread_of_an_even_number_of_samples_and_as_rates() {
        let spread = Spread::of(vec![4.0, 1.0, 2.0, 3.0]);
        assert_eq!(spread, Spread { median: 2.5, min: 1.0, max: 4.0, samples: 4 });
        assert_eq!(spread.rates(20.0), Spread { median: 8.0, min: 5.0, max: 20.0, samples: 4 });
    }
}
