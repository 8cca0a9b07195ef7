//! The memory of a run by purpose, known before it is taken.

use crate::error::{Error, Result};

/// Memory for one purpose, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub purpose: &'static str,
    /// Whatever the chunk.
    pub fixed: u64,
    /// For each candidate of a chunk.
    pub per_candidate: u64,
}

impl Part {
    /// A part that does not depend on the chunk.
    pub fn fixed(purpose: &'static str, bytes: u64) -> Part {
        Part { purpose, fixed: bytes, per_candidate: 0 }
    }

    /// A part of so many bytes a candidate.
    pub fn per_candidate(purpose: &'static str, bytes: u64) -> Part {
        Part { purpose, fixed: 0, per_candidate: bytes }
    }

    /// With a chunk of `chunk` candidates.
    pub fn bytes(&self, chunk: u32) -> u64 {
        self.fixed + u64::from(chunk) * self.per_candidate
    }
}

/// Whose memory it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    #[default]
    Host,
    Gpu,
}

/// All memory of a run: an upper bound, each buffer that grows counted at its capacity.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    pub owner: Owner,
    pub parts: Vec<Part>,
}

impl Memory {
    /// With a chunk of `chunk` candidates.
    pub fn total(&self, chunk: u32) -> u64 {
        self.parts.iter().map(|part| part.bytes(chunk)).sum()
    }

    /// The largest chunk, an even number, that fits into `usable` bytes; `None` if not even 2 candidates do.
    pub fn largest_chunk(&self, usable: u64) -> Option<u32> {
        let per_candidate: u64 = self.parts.iter().map(|part| part.per_candidate).sum();
        let chunk = usable.checked_sub(self.total(0))?.checked_div(per_candidate)?;
        let chunk = u32::try_from(chunk).unwrap_or(u32::MAX) & !1;
        (chunk >= 2).then_some(chunk)
    }

    /// Whether a chunk of `chunk` candidates fits into `usable` bytes.
    ///
    /// # Errors
    /// [`Error::Refused`], naming the largest chunk and batch that do fit.
    pub fn check(&self, chunk: u32, usable: u64) -> Result<()> {
        let total = self.total(chunk);
        if total <= usable {
            return Ok(());
        }
        let room = bytes_text(usable);
        let (memory, host_only) = match self.owner {
            Owner::Host => ("memory", "--no-pictures, fewer --threads and "),
            Owner::Gpu => ("the GPU's memory", ""),
        };
        Err(Error::Refused(match self.largest_chunk(usable) {
            Some(fits) => format!(
                "a chunk of {chunk} candidates may take {} of {memory}, {room} can be used; use --chunk {fits} or less, which \
                 changes no result, or --batch {fits} or less",
                bytes_text(total)
            ),
            None => {
                let most = self.parts.iter().max_by_key(|part| part.bytes(2)).expect("a run has parts");
                format!(
                    "even a chunk of 2 candidates may take {} of {memory}, {room} can be used; most is for {}, {}; \
                     {host_only}smaller genomes (cppn.max_nodes, cppn.max_edges) take less",
                    bytes_text(self.total(2)),
                    most.purpose,
                    bytes_text(most.bytes(2))
                )
            }
        }))
    }
}

/// `bytes` for people, in the largest binary unit of which there is one.
pub fn bytes_text(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = "bytes";
    for larger in units {
        // 1023.95 would read 1024.0.
        if value < 1023.95 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn largest_chunk_fits_and_the_next_one_does_not() {
        let memory = Memory {
            owner: Owner::Host,
            parts: vec![
                Part::fixed("a", 1000),
                Part::per_candidate("b", 7),
                Part { purpose: "c", fixed: 5, per_candidate: 3 },
            ],
        };
        for usable in 1000..1300 {
            match memory.largest_chunk(usable) {
                Some(chunk) => {
                    assert!(chunk >= 2 && chunk % 2 == 0 && memory.total(chunk) <= usable, "{usable}: {chunk}");
                    assert!(memory.total(chunk + 2) > usable, "{usable}: {chunk}");
                    assert!(memory.check(chunk, usable).is_ok());
                    let refusal = memory.check(chunk + 2, usable).unwrap_err().to_string();
                    assert!(refusal.contains(&format!("--chunk {chunk} or less")), "{refusal}");
                }
                None => {
                    assert!(memory.total(2) > usable, "{usable}");
                    let refusal = memory.check(2, usable).unwrap_err().to_string();
                    assert!(refusal.contains("most is for a, 1000 bytes"), "{refusal}");
                }
            }
        }
        assert_eq!(memory.largest_chunk(u64::MAX), Some(u32::MAX - 1));
    }

    #[test]
    fn bytes_are_written_in_the_largest_unit() {
        let texts = [0, 1023, 1024, (1 << 20) - 1, 1 << 20, 3 << 29, u64::MAX].map(bytes_text);
        assert_eq!(texts, ["0 bytes", "1023 bytes", "1.0 KiB", "1.0 MiB", "1.0 MiB", "1.5 GiB", "16.0 EiB"]);
    }
}
