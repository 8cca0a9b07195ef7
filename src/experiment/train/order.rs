//! Which image is used when.

use crate::rng::{Draws, Philox, Purpose, below};

/// Which image is used when: epoch after epoch, each image once an epoch, in an order that seed and epoch decide. Batches
/// run on across epochs.
#[derive(Clone, Debug)]
pub struct Order {
    philox: Philox,
    epoch: u32,
    images: Vec<u32>,
    next: usize,
}

impl Order {
    /// The order of `images` images, at least one.
    pub fn new(images: usize, seed: u64) -> Order {
        Order::from(0, images, seed)
    }

    /// The same without the first `used` uses.
    pub fn from(used: u64, images: usize, seed: u64) -> Order {
        assert!(images > 0, "there is an image to use");
        let n = images as u64;
        let images = (0..images as u32).collect();
        let mut order = Order { philox: Philox::new(seed), epoch: (used / n) as u32, images, next: 0 };
        order.shuffle();
        order.next = (used % n) as usize;
        order
    }

    /// Fisher and Yates' shuffle of 0, 1, 2, ..., from the last place down: place `i` takes the place that word `i` of
    /// the epoch chooses among `0..=i`.
    fn shuffle(&mut self) {
        let draws: Draws = self.philox.draws(Purpose::TrainOrder, 0, self.epoch);
        for (place, image) in self.images.iter_mut().enumerate() {
            *image = place as u32;
        }
        for place in (1..self.images.len()).rev() {
            let other = below(draws.word(place as u32), place as u32 + 1);
            self.images.swap(place, other as usize);
        }
        self.next = 0;
    }
}

impl Iterator for Order {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.next == self.images.len() {
            self.epoch += 1;
            self.shuffle();
        }
        self.next += 1;
        Some(self.images[self.next - 1] as usize)
    }
}
