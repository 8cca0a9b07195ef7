//! Gradient ascent on the device: each kernel against its formula, and whole ascents, one number at a time.

use crate::harness::{self, passes, passes_alone};
use pareidolia::backend::ascent::{Ascent, AscentRule};
use pareidolia::backend::cuda::ascent::CudaAscent;
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::{ascent, backward, blur, climb, clip, look, network, zero_pixels};
use pareidolia::network::list::List;
use pareidolia::network::{Layer, Network, Operation};
use std::sync::Arc;

#[test]
fn clip_gives_the_bits_of_the_formula() {
    passes(|gpu, tally| clip::clip(gpu, Extent::Full, tally));
}

#[test]
fn look_gives_the_bits_of_the_formula() {
    passes(|gpu, tally| look::look(gpu, Extent::Full, tally));
}

#[test]
fn climb_gives_the_bits_of_the_formula() {
    passes(|gpu, tally| climb::climb(gpu, Extent::Full, tally));
}

#[test]
fn blur_gives_the_bits_of_the_formula() {
    passes(|gpu, tally| blur::blur(gpu, Extent::Full, tally));
}

#[test]
fn zero_pixels_gives_the_bits_of_the_formula() {
    passes(|gpu, tally| zero_pixels::zero_pixels(gpu, Extent::Full, tally));
}

#[test]
fn whole_ascents_give_the_bits_of_the_rules() {
    passes_alone(|gpu, tally| ascent::run(gpu, Extent::Full, tally));
}

#[test]
fn images_that_cannot_climb_any_further_stop_where_they_are() {
    let plain = ascent::rules()[3];
    let classes = [0, 1, 2, 3, 4, 5, 6];
    let mut n_stopped = [0; 3];
    let mut tried = |network: Network, rule: &AscentRule| {
        let network = Arc::new(network);
        let Some(seen) = passes_alone(|gpu, tally| ascent::compare(gpu, tally, &network, rule, &classes, 3, 4)) else {
            return false;
        };
        for at in 0..classes.len() {
            let first = seen.iter().position(|seen| seen[at].stopped);
            n_stopped[first.map_or(2, |step| step.min(1))] += 1;
            let stands = &seen[first.unwrap_or(seen.len())..];
            assert!(stands.windows(2).all(|pair| pair[0][at] == pair[1][at]), "{seen:#?}");
        }
        true
    };
    // So sure that all other probabilities are 0, and with them every derivative: of some images at once, of others never.
    for sureness in [3.0, 200.0] {
        let mut network = network::network();
        network.parameters.last_mut().unwrap().weight.iter_mut().for_each(|weight| *weight *= sureness);
        if !tried(network, &AscentRule { small_norm: 5.0, ..plain }) {
            return;
        }
    }
    // No neuron answers to black, which is what the first step makes of an image of which nothing stays.
    let list = List::built_in("lenet").unwrap();
    let layers = [
        ("fc1", Operation::Dense { out_features: 8 }),
        ("relu", Operation::Relu),
        ("fc2", Operation::Dense { out_features: classes.len() }),
        ("prob", Operation::Softmax),
    ];
    let network = network::random(&list, Layer::chain(layers), classes.len(), list.input(), 87_000).unwrap();
    let mut dead = ascent::without_mean(network);
    dead.parameters[0].bias.fill(-0.1);
    tried(dead, &AscentRule { decay: 1.0, ..plain });
    assert!(n_stopped.iter().all(|&n| n > 0), "{n_stopped:?} at once, later, never");
}

#[test]
fn ascent_takes_the_memory_that_it_says_and_is_refused_what_is_not_there() {
    let network = Arc::new(backward::branches());
    for rule in ascent::rules() {
        let [once, image, at_once] = CudaAscent::bytes(&network, &rule).map(|bytes| bytes as u64);
        for n in [1, 5] {
            let room = |at_once_n: u64| once + n as u64 * image + at_once_n * at_once;
            let fits = |usable| CudaAscent::at_once(&network, &rule, n, usable);
            assert_eq!(fits(u64::MAX).unwrap(), n);
            assert_eq!(fits(room(1)).unwrap(), 1);
            assert_eq!(fits(room(2) - 1).unwrap(), 1);
            let refused = fits(room(1) - 1).unwrap_err();
            assert_eq!(refused.exit_code(), 1);
            assert!(
                refused.to_string().contains(&format!("the ascent of {n} images against \"branches\" takes")),
                "{refused}"
            );
        }
        let Some(launcher) = harness::own_launcher() else { return };
        let launcher = Arc::new(launcher);
        let (classes, start) = ([1, 2, 3], vec![0.5; 3 * network.input.len()]);
        let mut ascent =
            CudaAscent::in_parts(Arc::clone(&launcher), "one".into(), &network, rule, (&classes, &start), 2).unwrap();
        assert_eq!(launcher.allocated(), once + 3 * image + 2 * at_once);
        ascent.step(false).unwrap();
        ascent.step(true).unwrap();
        assert_eq!(launcher.allocated(), once + 3 * image + 2 * at_once, "a step takes nothing");
        assert_eq!((ascent.describe(), ascent.images().unwrap().len()), ("one".to_string(), start.len()));
    }
}
