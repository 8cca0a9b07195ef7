//! cross_entropy, dropout, sgd_update and turn_weights against their rules.

use crate::harness::{self, passes};
use pareidolia::backend::cuda::arena::Place;
use pareidolia::backend::cuda::params::TrainingStep;
use pareidolia::backend::cuda::sgd_update::Layout;
use pareidolia::backend::training::{Dropout, Sgd};
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::{cross_entropy, dropout, sgd_update, turn_weights};

#[test]
fn cross_entropy_gives_the_bits_of_the_rule() {
    passes(|gpu, tally| cross_entropy::cross_entropy(gpu, Extent::Full, tally));
}

#[test]
fn dropout_drops_what_the_rule_says() {
    passes(|gpu, tally| dropout::dropout(gpu, Extent::Full, tally));
    let all: Vec<f32> = vec![1.0; 100_000];
    let left = dropout::on_host(&all, 1000, &Dropout { value: 3, ratio: 0.25 }, 5, 6);
    let dropped = left.iter().filter(|&&x| x == 0.0).count();
    assert!((24_000..26_000).contains(&dropped), "{dropped}");
    assert!(left.iter().all(|&x| x == 0.0 || x == 1.0 / 0.75));
}

#[test]
fn sgd_update_gives_the_bits_of_the_rule() {
    passes(|gpu, tally| sgd_update::sgd_update(gpu, Extent::Full, tally));
}

#[test]
fn turn_weights_gives_what_the_way_back_would_be_brought_with() {
    passes(|gpu, tally| turn_weights::turn_weights(gpu, Extent::Full, tally));
}

#[test]
fn steps_of_training_refuse_buffers_that_are_too_short() {
    let Some(launcher) = harness::launcher() else { return };
    let place = |start, image| Place { start, image };
    let mut arena = launcher.zeros::<f32>(2 * 4 * 10).unwrap();
    let labels = launcher.upload(&[1_u32, 2, 3]).unwrap();
    let mut run = |gradient, logits, n_labels, n_probabilities| {
        let mut probabilities = launcher.zeros(n_probabilities).unwrap();
        let labels = labels.slice(..n_labels);
        launcher.cross_entropy(&mut arena, gradient, &mut probabilities, logits, &labels, 10, 3, 4)
    };
    run(place(0, 10), place(40, 10), 3, 3).unwrap();
    let mut refused = |gradient, logits, n_labels, n| run(gradient, logits, n_labels, n).unwrap_err().to_string();
    assert!(refused(place(0, 9), place(40, 10), 3, 3).contains("the gradient of logits"));
    assert!(refused(place(0, 10), place(41, 10), 3, 3).contains("logits"));
    assert!(refused(place(0, 10), place(40, 10), 2, 3).contains("labels"));
    assert!(refused(place(0, 10), place(40, 10), 3, 2).contains("the probabilities of labels"));

    let step = launcher.upload(&[TrainingStep { iteration: 0, rate: 0.1 }]).unwrap();
    let dropout = Dropout { value: 1, ratio: 0.5 };
    let refused = launcher.dropout(&mut arena, place(1, 20), 20, 4, &dropout, 1, &step.slice(..)).unwrap_err();
    assert!(refused.to_string().contains("values to drop"), "{refused}");

    let layout = Layout { groups: 2, outputs: 3, k: 5, padded_k: 8 };
    let sgd = Sgd { momentum: 0.9, decay: 0.1, bias_rate: 2.0, bias_decay: 1.0 };
    let lens = [2 * 8 * 4, 6, 2 * 6 * 4, 16 * 2 * 6 * 4];
    let run = |lens: [usize; 4]| {
        let [mut weights, mut bias, mut velocity, gradients] = lens.map(|len| launcher.zeros::<f32>(len).unwrap());
        let step = step.slice(..);
        launcher.sgd_update(&mut weights, &mut bias, &mut velocity, &gradients, &step, layout, 16, &sgd)
    };
    run(lens).unwrap();
    for (at, what) in ["weights", "biases", "velocities", "gradients of weights"].into_iter().enumerate() {
        let mut short = lens;
        short[at] -= 1;
        assert!(run(short).unwrap_err().to_string().contains(what), "{what}");
    }
    launcher.synchronise().unwrap();
}
