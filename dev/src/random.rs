//! Pseudo-random numbers that are the same in every run.

use std::collections::BTreeSet;

/// A generator (SplitMix64 by Steele, Lea and Flood, 2014).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mixed = mixed ^ (mixed >> 31);
        usize::try_from(mixed % bound as u64).unwrap()
    }

    /// At least one of the customers `c0`, `c1`, … below `count`.
    pub fn subset(&mut self, count: usize) -> BTreeSet<String> {
        let size = 1 + self.below(count);
        (0..size)
            .map(|_| format!("c{}", self.below(count)))
            .collect()
    }
}
