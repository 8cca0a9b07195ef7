//! The way back through networks on the device: each kernel against its formula, and whole networks, layer by layer.

use crate::harness::{self, assert_bits, passes};
use crate::network::shrunk;
use pareidolia::backend::cuda::arena::Place;
use pareidolia::backend::cuda::backward::{BackwardNetwork, Event, Wanted, no_events};
use pareidolia::experiment::selftest::backward::{branches, compare, gradients, run};
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::layers::numbers;
use pareidolia::experiment::selftest::{
    add, conv2d_backward, depth_to_space, lrn_backward, network, pool_backward, relu_backward, softmax_backward,
};
use pareidolia::network::list::List;

#[test]
fn relu_backward_gives_the_bits_of_the_rule() {
    passes(|gpu, tally| relu_backward::relu_backward(gpu, Extent::Full, tally));
}

#[test]
fn pool_backward_gives_the_bits_of_the_rule() {
    passes(|gpu, tally| {
        pool_backward::max_pool(gpu, Extent::Full, tally)?;
        pool_backward::average_pool(gpu, Extent::Full, tally)
    });
}

#[test]
fn lrn_backward_gives_the_bits_of_the_rule() {
    passes(|gpu, tally| lrn_backward::lrn_backward(gpu, Extent::Full, tally));
}

#[test]
fn softmax_backward_gives_the_bits_of_the_rule() {
    passes(|gpu, tally| softmax_backward::softmax_backward(gpu, Extent::Full, tally));
}

#[test]
fn conv2d_backward_gives_the_bits_of_the_rule() {
    passes(|gpu, tally| conv2d_backward::conv2d_backward(gpu, Extent::Full, tally));
}

#[test]
fn depth_to_space_moves_every_value() {
    passes(|gpu, tally| depth_to_space::depth_to_space(gpu, Extent::Full, tally));
}

#[test]
fn add_gives_sums() {
    passes(|gpu, tally| add::add(gpu, Extent::Full, tally));
}

#[test]
fn whole_networks_give_the_gradients_of_the_rules() {
    passes(|gpu, tally| run(gpu, Extent::Full, tally));
}

#[test]
fn built_in_networks_give_the_gradients_of_the_rules() {
    // Narrower, and of inputs of which a little is left before the last layers.
    for (name, part, side) in
        [("lenet", 4, 28), ("caffenet", 16, 79), ("squeezenet", 8, 63), ("torchvision-alexnet", 16, 79)]
    {
        let list = List::built_in(name).unwrap();
        let network = shrunk(&list, part, side, 6, 86_000);
        passes(|gpu, tally| compare(gpu, tally, &network, 2, 2));
    }
}

#[test]
fn each_layer_with_weights_is_told_what_it_took_and_its_gradient() {
    let Some(launcher) = harness::launcher() else { return };
    for network in [network::network(), branches()] {
        let wanted = Wanted { weights: true, ..Wanted::default() };
        let (batch, len, shapes) = (3, network.input.len(), network.shapes());
        let mut device = BackwardNetwork::new(launcher, &network, &wanted, batch).unwrap();
        assert!(device.input_gradient.is_none());
        let images: Vec<f32> = numbers(9610, batch * len);
        let of_logits: Vec<f32> = numbers(9611, batch * network.classes.len());
        for (at, image) in images.chunks(len).enumerate() {
            launcher.upload_part(&mut device.arena, device.input.start + at * device.input.image, image).unwrap();
        }
        launcher.forward(&mut device, batch, &mut no_events).unwrap();
        let to = device.logits_gradient;
        for (at, row) in of_logits.chunks(network.classes.len()).enumerate() {
            launcher.upload_part(&mut device.arena, to.start + at * to.image, row).unwrap();
        }
        let mut told = Vec::new();
        launcher
            .backward(&mut device, batch, &mut |launcher, arena, event| {
                let Event::Weights { layer, input, gradient } = event else { panic!("{event:?}") };
                let arena = launcher.download(arena)?;
                let read = |place: Place, len: usize| -> Vec<f32> {
                    (0..batch).flat_map(|at| &arena[place.start + at * place.image..][..len]).copied().collect()
                };
                let input_len = shapes[network.layers[layer].inputs[0]].len();
                told.push((layer, read(input, input_len), read(gradient, shapes[layer + 1].len())));
                Ok(())
            })
            .unwrap();
        let with_weights = network.layers.iter().enumerate().rev().filter(|(_, layer)| layer.operation.has_weights());
        let want: Vec<usize> = with_weights.map(|(index, _)| index).collect();
        assert_eq!(told.iter().map(|(layer, ..)| *layer).collect::<Vec<_>>(), want, "the last layer first");
        let on_host: Vec<_> = images
            .chunks(len)
            .zip(of_logits.chunks(network.classes.len()))
            .map(|(image, of_logits)| {
                let values = network::values(&network, image.to_vec());
                let gradients = gradients(&network, &values, of_logits.to_vec());
                (values, gradients)
            })
            .collect();
        for (layer, input, gradient) in told {
            let taken = network.layers[layer].inputs[0];
            let want: Vec<f32> = on_host.iter().flat_map(|(values, _)| values[taken].iter().copied()).collect();
            assert_bits(&want, &input, &format!("{}, what layer {layer} took", network.name));
            let want: Vec<f32> = on_host.iter().flat_map(|(_, g)| g[layer + 1].iter().copied()).collect();
            assert_bits(&want, &gradient, &format!("{}, the gradient of what layer {layer} gave", network.name));
        }
    }
}

#[test]
fn network_there_and_back_takes_the_memory_that_it_says_and_no_more_images_than_it_has_room_for() {
    for network in [network::network(), branches()] {
        for wanted in [Wanted { input: true, ..Wanted::default() }, Wanted { weights: true, ..Wanted::default() }] {
            let Some(launcher) = harness::own_launcher() else { return };
            let mut device = BackwardNetwork::new(&launcher, &network, &wanted, 3).unwrap();
            let want = BackwardNetwork::bytes(&network, &wanted) + 3 * BackwardNetwork::image_bytes(&network, &wanted);
            assert_eq!(launcher.allocated(), want as u64, "{wanted:?}");
            let refused = launcher.forward(&mut device, 4, &mut no_events).unwrap_err().to_string();
            assert!(refused.contains("a batch of images has 4 elements, wanted 3"), "{refused}");
        }
    }
}
