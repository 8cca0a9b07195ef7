//! Layer lists: what is accepted has shapes, for any number of classes or an error, and the numbers that a network needs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pareidolia::network::list::List;
use pareidolia::network::{layer, shapes, weights};
use pareidolia_fuzz::memory::limits;

fuzz_target!(|text: &[u8]| {
    let Ok(text) = str::from_utf8(text) else { return };
    let list = match limits::LAYERS.hold(text.len(), || List::parse(text)) {
        Ok(list) => list,
        Err(reason) => return assert!(!reason.contains('\n') && reason.len() < 2000, "not one line: {reason:?}"),
    };
    assert!(list.crop <= list.image && list.classes > 0);
    assert!(list.scale.iter().all(|scale| *scale > 0.0 && scale.is_finite()));
    assert!(list.mean.iter().all(|mean| mean.is_finite()));
    for n_classes in [list.classes, 1, 2, 1 << 40] {
        let layers = list.layers(n_classes);
        let Ok(shapes) = shapes(list.input(), &layers) else {
            assert_ne!(n_classes, list.classes);
            continue;
        };
        assert_eq!(shapes.len(), layers.len() + 1);
        assert!(shapes.iter().all(|shape| (1..=layer::MAX_VALUES).contains(&shape.len())));
        for (_, shape) in weights(&layers, &shapes) {
            assert!((1..=layer::MAX_VALUES).contains(&shape.iter().product::<usize>()));
        }
    }
});
