//! Memory for vectors.

use std::ops::{Deref, DerefMut};

/// f32 values that start at a cache line. A vector of 64 bytes that straddles two lines costs two accesses.
#[derive(Debug, Default)]
pub struct Aligned {
    memory: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    const LINE: usize = 64;

    /// `len` zeros.
    pub fn zeros(len: usize) -> Aligned {
        let memory = vec![0.0f32; len + Self::LINE / size_of::<f32>() - 1];
        let start = memory.as_ptr().align_offset(Self::LINE);
        Aligned { memory, start, len }
    }

    /// Memory that `len` values take.
    pub fn bytes(len: usize) -> usize {
        len * size_of::<f32>() + Self::LINE - size_of::<f32>()
    }
}

impl Clone for Aligned {
    fn clone(&self) -> Aligned {
        let mut copy = Aligned::zeros(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..self.start + self.len]
    }
}
