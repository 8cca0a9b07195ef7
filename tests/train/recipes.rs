//! Recipes: rates, fillers, what is dropped, and numbers that cannot work.

use crate::layers::{RELU, SOFTMAX, conv2d, dense, max_pool_of};
use pareidolia::experiment::train::{Recipe, Schedule};
use pareidolia::network::list::List;
use pareidolia::network::{Layer, Shape};

#[test]
fn rates_follow_their_formulas() {
    let base = Recipe { iterations: 1000, gamma: 0.01, step_size: 30, ..Recipe::lenet(1) };
    for power in [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.75, 0.6, 1.1] {
        // Square roots and products are as good as f64; the others go by log2 and exp2 in f32.
        let limit = if power * 4.0 % 1.0 == 0.0 { 6.1e-8 } else { 2e-6 };
        for t in [0, 1, 29, 30, 500, 999] {
            let x = f64::from(t);
            for (schedule, want) in [
                (Schedule::Constant, 0.01),
                (Schedule::Inverse, 0.01 * (1.0 + 0.01 * x).powf(-power)),
                (Schedule::Step, 0.01 * 0.01_f64.powf((x / 30.0).floor())),
                (Schedule::Polynomial, 0.01 * (1.0 - x / 1000.0).powf(power)),
            ] {
                let got = f64::from(Recipe { schedule, power, ..base.clone() }.rate(t));
                // Steps become denormals: there the spacing of f32 counts.
                let error = (got - want).abs() / want.max(1e-37);
                assert!(error < limit, "{schedule:?}, power {power}, t {t}: {got:e}, want {want:e}");
            }
        }
    }
}

#[test]
fn caffes_networks_begin_as_in_their_prototxts() {
    // As many layers as CaffeNet has, but small.
    let convolutions = (1..=5).map(|i| conv2d(["conv1", "conv2", "conv3", "conv4", "conv5"][i - 1], 32, 3, 1, 1, 1));
    let layers: Vec<_> = convolutions
        .chain([max_pool_of(2, 2), dense("fc6", 100), RELU, dense("fc7", 200), RELU, dense("fc8", 50), SOFTMAX])
        .collect();
    let input = Shape { channels: 3, height: 10, width: 10 };
    for (name, bias) in [("caffenet", 1.0), ("bvlc-alexnet", 0.1)] {
        let parameters = Recipe::of(name, true, 3).initial_parameters(input, &Layer::chain(layers.clone()));
        let deviations = [0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01];
        let biases = [0.0, bias, 0.0, bias, bias, bias, bias, 0.0];
        assert_eq!(parameters.len(), 8);
        for (layer, (deviation, bias)) in parameters.iter().zip(deviations.into_iter().zip(biases)) {
            assert!(layer.bias.iter().all(|&got| got == bias), "{name}: a bias of {}, want {bias}", layer.bias[0]);
            let n = layer.weight.len() as f64;
            let moment = |power| layer.weight.iter().map(|&x| (f64::from(x) / deviation).powi(power)).sum::<f64>() / n;
            // Five standard deviations of each moment of a normal distribution: 1, 2, 96.
            assert!(moment(1).abs() < 5.0 / n.sqrt(), "{name}: mean {}", moment(1));
            assert!((moment(2) - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "{name}: variance {}", moment(2));
            assert!((moment(4) - 3.0).abs() < 5.0 * (96.0 / n).sqrt(), "{name}: fourth moment {}", moment(4));
        }
        assert_ne!(parameters[1].weight[..9], parameters[2].weight[..9], "layers have streams of their own");
    }
    let pytorch = Recipe::of("torchvision-alexnet", true, 3).initial_parameters(input, &Layer::chain(layers));
    let bound = (1.0 / 27.0_f32).sqrt();
    assert!(pytorch[0].bias.iter().chain(&pytorch[0].weight).all(|x| x.abs() <= bound));
    assert!(pytorch[0].bias.iter().any(|x| x.abs() > bound / 2.0), "its biases are drawn, too");
}

#[test]
fn dropout_stands_where_the_recipes_have_it() {
    let dropped = |name: &str, list: &str| -> Vec<String> {
        let layers = List::built_in(list).unwrap().layers(1000);
        let drops = Recipe::of(name, true, 1).dropout(&layers);
        drops.iter().map(|drop| format!("{} {}", layers[drop.value - 1].name, drop.ratio)).collect()
    };
    assert_eq!(dropped("caffenet", "caffenet"), ["relu6 0.5", "relu7 0.5"]);
    assert_eq!(dropped("bvlc-alexnet", "bvlc-alexnet"), ["relu6 0.5", "relu7 0.5"]);
    // torchvision drops before its dense layers: what the last pooling and the first rectifier of them give.
    let torchvision = dropped("torchvision-alexnet", "torchvision-alexnet");
    assert_eq!(torchvision.len(), 2, "{torchvision:?}");
    assert_eq!(dropped("squeezenet", "squeezenet").len(), 1);
    assert!(dropped("lenet", "lenet").is_empty());
    let layers = List::built_in("lenet").unwrap().layers(10);
    let drops = Recipe { dropout: 0.25, ..Recipe::lenet(1) }.dropout(&layers);
    assert_eq!(drops.iter().map(|drop| &layers[drop.value - 1].name[..]).collect::<Vec<_>>(), ["relu1"]);
}

#[test]
fn numbers_that_cannot_work_are_refused_by_the_name_of_their_option() {
    let lenet = || Recipe::lenet(1);
    for (recipe, words) in [
        (Recipe { base_rate: 0.0, ..lenet() }, "--rate 0"),
        (Recipe { base_rate: f64::NAN, ..lenet() }, "--rate NaN"),
        (Recipe { base_rate: f64::INFINITY, ..lenet() }, "--rate inf"),
        (Recipe { gamma: -1.0, ..lenet() }, "--gamma -1"),
        (Recipe { power: 17.0, ..lenet() }, "--power 17"),
        (Recipe { momentum: 1.0, ..lenet() }, "--momentum 1"),
        (Recipe { decay: -0.1, ..lenet() }, "--decay -0.1"),
        (Recipe { dropout: 1.0, ..lenet() }, "--dropout 1"),
        (Recipe { batch: 65_536, ..lenet() }, "--batch 65536"),
    ] {
        let error = recipe.check().unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().starts_with(words), "{error}, wanted {words}");
    }
    for name in List::names() {
        Recipe::of(name, true, 1).check().unwrap();
    }
}
