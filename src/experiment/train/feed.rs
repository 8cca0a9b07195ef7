//! Batches, made ahead of the trainer.

use super::data::{Batch, Set, View};
use super::order::Order;
use super::recipe::Recipe;
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::sync::mpsc::sync_channel;

/// Batches that wait for the trainer at most, beside the one that is being made.
const AHEAD: usize = 2;

/// What the batches of a training are made of.
#[derive(Clone, Copy, Debug)]
pub struct Feed<'a> {
    pub set: &'a Set,
    pub view: View,
    pub recipe: &'a Recipe,
    /// The first iteration.
    pub first: u32,
    /// Threads that decode images.
    pub threads: usize,
}

impl Feed<'_> {
    /// Lets `train` call for the batches of one iteration after the other. Digits are taken from memory; images of a folder are decoded by
    /// threads of their own, two batches ahead. A batch is a function of its iteration, not of when it was made.
    ///
    /// # Errors
    /// What `train` says, to which a batch may be an error; [`Error::Refused`] if the system gives no threads.
    pub fn run<T>(self, train: impl FnOnce(&mut dyn FnMut() -> Result<Batch>) -> Result<T>) -> Result<T> {
        let Feed { set, recipe, first, threads, .. } = self;
        let mut order = Order::from(u64::from(first) * u64::from(recipe.batch), set.n_images(), recipe.seed);
        let mut iteration = first;
        let mut next = move || {
            let images: Vec<usize> = order.by_ref().take(recipe.batch as usize).collect();
            iteration += 1;
            (iteration - 1, images)
        };
        if let Set::Digits(_) = set {
            return train(&mut || {
                let (iteration, images) = next();
                self.batch(iteration, &images, false)
            });
        }
        let no_threads =
            |error: &dyn std::fmt::Display| Error::Refused(format!("cannot start {threads} threads: {error}"));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("images-{i}")).build();
        let pool = pool.map_err(|error| no_threads(&error))?;
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(AHEAD);
            let ahead = std::thread::Builder::new().name("batches".to_string());
            let make = move || {
                for iteration in first..recipe.iterations {
                    let (_, images) = next();
                    let batch = pool.install(|| self.batch(iteration, &images, true));
                    let is_last = batch.is_err();
                    // A trainer that has gone wants no more.
                    if sender.send(batch).is_err() || is_last {
                        return;
                    }
                }
            };
            ahead.spawn_scoped(scope, make).map_err(|error| no_threads(&error))?;
            let mut receive = || receiver.recv().expect("there is a batch for every iteration, or an error");
            let result = train(&mut receive);
            drop(receiver); // frees a sender that waits
            result
        })
    }

    /// The batch of `iteration`, which is of these `images`.
    fn batch(&self, iteration: u32, images: &[usize], parallel: bool) -> Result<Batch> {
        let Feed { set, view, recipe, .. } = *self;
        let len = view.seen.len();
        let mut batch = Batch { images: vec![0; images.len() * len], labels: vec![0; images.len()] };
        let image = |(slot, ((out, label), &index)): (usize, ((&mut [u8], &mut u32), &usize))| {
            *label = Batch::image(out, set, index, view, recipe, [iteration, slot as u32])?;
            Ok(())
        };
        let Batch { images: pixels, labels } = &mut batch;
        if parallel {
            pixels.par_chunks_exact_mut(len).zip(labels).zip(images).enumerate().try_for_each(image)?;
        } else {
            pixels.chunks_exact_mut(len).zip(labels).zip(images).enumerate().try_for_each(image)?;
        }
        Ok(batch)
    }
}
