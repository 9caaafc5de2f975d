//! A forest of random cut trees over the latest values of a series: how strange is the shape of the last minutes?
//!
//! Each tree keeps its own sample of earlier shapes; a new shape replaces a random old one, so that a sample is as old as
//! the memory, in the mean. The score is near 1 for the usual and grows with strangeness.

use std::collections::VecDeque;

use super::{cut_tree::CutTree, random::Random};

/// Values that make a shape.
const SHAPE: usize = 20;
/// Trees: the score's noise falls with their root; 50 are as good as 100 within it.
const TREES: usize = 50;
/// Shapes that a tree keeps.
const SAMPLE: usize = 256;
/// The share of new shapes that a full tree takes: it forgets in SAMPLE / SHARE values.
const SHARE: f64 = 0.1;
/// Values kept exactly in f32 differences: larger ones are compressed by the caller.
const SEED: u64 = 47_810;

#[derive(Clone, Debug)]
struct Member {
    tree: CutTree,
    leaves: Vec<usize>,
}

/// Feeds on one value at a time; the same values give the same scores.
#[derive(Clone, Debug)]
pub(super) struct Forest {
    members: Vec<Member>,
    recent: VecDeque<f32>,
    seen: u64,
    random: Random,
}

impl Forest {
    pub(super) fn new() -> Self {
        let member = Member { tree: CutTree::new(SHAPE), leaves: Vec::new() };
        Self { members: vec![member; TREES], recent: VecDeque::with_capacity(SHAPE + 1), seen: 0, random: Random::new(SEED) }
    }

    /// The strangeness of the shape that ends with this value, before it is learnt; `None` until there is one to compare with.
    pub(super) fn push(&mut self, value: f64) -> Option<f64> {
        self.recent.push_back(value as f32);
        if self.recent.len() < SHAPE {
            return None;
        }
        if self.recent.len() > SHAPE {
            self.recent.pop_front();
        }
        let shape: Vec<f32> = self.recent.iter().copied().collect();
        let sum: f64 = self.members.iter().map(|member| member.tree.isolation(&shape)).sum();
        let score = sum / TREES as f64 * (SAMPLE as f64).log2();
        self.learn(&shape);
        (self.seen > SAMPLE as u64).then_some(score)
    }

    fn learn(&mut self, shape: &[f32]) {
        self.seen += 1;
        let share = (SAMPLE as f64 / self.seen as f64).max(SHARE);
        for member in &mut self.members {
            if member.leaves.len() < SAMPLE {
                member.leaves.push(member.tree.insert(shape, &mut self.random));
            } else if self.random.unit() < share {
                let old = self.random.below(SAMPLE);
                member.tree.remove(member.leaves[old]);
                member.leaves[old] = member.tree.insert(shape, &mut self.random);
            }
        }
    }
}
