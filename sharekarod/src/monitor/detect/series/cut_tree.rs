//! A random cut tree over points of one dimension count: cuts fall where the box of the points is long, so that a point
//! far from all others is separated near the root.
//!
//! After Guha, Mishra, Roy and Schrijvers, "Robust Random Cut Forest Based Anomaly Detection on Streams" (ICML 2016).
//! Every box holds exactly the points below it; inserting and removing keep that true. Slots are reused, nothing recurses.

use super::random::Random;

const NONE: usize = usize::MAX;

/// A leaf has no children: both are `NONE`. What is at most `cut` along `axis` stands on the left.
#[derive(Clone, Copy, Debug)]
struct Slot {
    parent: usize,
    left: usize,
    right: usize,
    axis: usize,
    cut: f32,
    mass: u32,
}

/// The box of a slot is `dims` pairs of low and high in `boxes`.
#[derive(Clone, Debug)]
pub(super) struct CutTree {
    dims: usize,
    root: usize,
    slots: Vec<Slot>,
    boxes: Vec<(f32, f32)>,
    free: Vec<usize>,
}

impl CutTree {
    pub(super) fn new(dims: usize) -> Self {
        Self { dims, root: NONE, slots: Vec::new(), boxes: Vec::new(), free: Vec::new() }
    }

    /// Adds a point of `dims` numbers; returns the leaf that holds it. Equal points share a leaf.
    pub(super) fn insert(&mut self, point: &[f32], random: &mut Random) -> usize {
        let mut at = self.root;
        if at == NONE {
            self.root = self.leaf(point, NONE);
            return self.root;
        }
        loop {
            let total = self.stretched(at, point).map(|(low, high)| high - low).sum::<f32>();
            if total <= 0.0 && self.is_leaf(at) {
                self.slots[at].mass += 1;
                return at;
            }
            let (axis, cut) = self.choose(at, point, random.unit() as f32 * total);
            if self.separates(at, point, axis, cut) {
                return self.split_above(at, point, axis, cut);
            }
            if self.is_leaf(at) {
                let (axis, cut) = self.between(at, point);
                return self.split_above(at, point, axis, cut);
            }
            self.include(at, point);
            at = self.towards(at, point);
        }
    }

    /// Takes one point out of a leaf that `insert` returned.
    pub(super) fn remove(&mut self, leaf: usize) {
        self.slots[leaf].mass -= 1;
        let mut up = self.slots[leaf].parent;
        if self.slots[leaf].mass == 0 {
            up = self.unlink(leaf);
        }
        while up != NONE {
            self.slots[up].mass -= 1;
            self.refit(up);
            up = self.slots[up].parent;
        }
    }

    /// How early a random cut would set this point apart: the mean of 1 / (depth + 1), between 0 and 1.
    pub(super) fn isolation(&self, point: &[f32]) -> f64 {
        let (mut at, mut depth, mut remaining, mut sum) = (self.root, 0u32, 1.0f64, 0.0f64);
        while at != NONE && remaining > 1e-6 {
            let (mut beyond, mut total) = (0.0f32, 0.0f32);
            for ((low, high), value) in self.cube(at).iter().zip(point) {
                beyond += (low - value).max(0.0) + (value - high).max(0.0);
                total += high.max(*value) - low.min(*value);
            }
            let apart = if total > 0.0 { f64::from(beyond / total) } else { 0.0 };
            sum += remaining * apart / f64::from(depth + 1);
            remaining *= 1.0 - apart;
            if self.is_leaf(at) {
                // A twin stands here already: the more of them, the deeper a further cut would have to go.
                sum += remaining / (f64::from(depth) + 1.0 + f64::from(self.slots[at].mass).log2());
                break;
            }
            at = self.towards(at, point);
            depth += 1;
        }
        sum
    }

    fn cube(&self, at: usize) -> &[(f32, f32)] {
        &self.boxes[at * self.dims..(at + 1) * self.dims]
    }

    fn is_leaf(&self, at: usize) -> bool {
        self.slots[at].left == NONE
    }

    fn towards(&self, at: usize, point: &[f32]) -> usize {
        let slot = self.slots[at];
        if point[slot.axis] <= slot.cut { slot.left } else { slot.right }
    }

    fn stretched<'a>(&'a self, at: usize, point: &'a [f32]) -> impl Iterator<Item = (f32, f32)> + 'a {
        self.cube(at).iter().zip(point).map(|((low, high), value)| (low.min(*value), high.max(*value)))
    }

    /// The axis and place of a cut that lies `along` the stretched edges laid end to end.
    fn choose(&self, at: usize, point: &[f32], along: f32) -> (usize, f32) {
        let (mut left, mut last) = (along, (0, 0.0));
        for (axis, (low, high)) in self.stretched(at, point).enumerate() {
            if high > low {
                last = (axis, low + left.min(high - low));
                if left < high - low {
                    break;
                }
                left -= high - low;
            }
        }
        last
    }

    fn separates(&self, at: usize, point: &[f32], axis: usize, cut: f32) -> bool {
        let ((low, high), value) = (self.cube(at)[axis], point[axis]);
        (value <= cut && cut < low) || (high <= cut && cut < value)
    }

    /// A cut between a leaf and a point that differs from it, for when rounding put the random one onto an end.
    fn between(&self, leaf: usize, point: &[f32]) -> (usize, f32) {
        let edges = self.cube(leaf).iter().zip(point).enumerate();
        let widest = edges.max_by(|a, b| (a.1.0.0 - a.1.1).abs().total_cmp(&(b.1.0.0 - b.1.1).abs()));
        widest.map_or((0, 0.0), |(axis, ((low, _), value))| (axis, low.min(*value)))
    }

    fn leaf(&mut self, point: &[f32], parent: usize) -> usize {
        let at = self.take(Slot { parent, left: NONE, right: NONE, axis: 0, cut: 0.0, mass: 1 });
        for (edge, value) in self.boxes[at * self.dims..(at + 1) * self.dims].iter_mut().zip(point) {
            *edge = (*value, *value);
        }
        at
    }

    fn take(&mut self, slot: Slot) -> usize {
        if let Some(at) = self.free.pop() {
            self.slots[at] = slot;
            return at;
        }
        self.slots.push(slot);
        self.boxes.resize(self.slots.len() * self.dims, (0.0, 0.0));
        self.slots.len() - 1
    }

    /// Puts a branch where `at` stands: `at` on one side of the cut, a new leaf on the other.
    fn split_above(&mut self, at: usize, point: &[f32], axis: usize, cut: f32) -> usize {
        let (parent, mass) = (self.slots[at].parent, self.slots[at].mass);
        let leaf = self.leaf(point, NONE);
        let (left, right) = if point[axis] <= cut { (leaf, at) } else { (at, leaf) };
        let branch = self.take(Slot { parent, left, right, axis, cut, mass: mass + 1 });
        self.replace(parent, at, branch);
        self.slots[at].parent = branch;
        self.slots[leaf].parent = branch;
        self.refit(branch);
        leaf
    }

    /// Removes an empty leaf and its branch; the other child takes the branch's place. Returns what stands above it.
    fn unlink(&mut self, leaf: usize) -> usize {
        let branch = self.slots[leaf].parent;
        self.free.push(leaf);
        if branch == NONE {
            self.root = NONE;
            return NONE;
        }
        let Slot { parent, left, right, .. } = self.slots[branch];
        let other = if left == leaf { right } else { left };
        self.replace(parent, branch, other);
        self.slots[other].parent = parent;
        self.free.push(branch);
        parent
    }

    fn replace(&mut self, parent: usize, old: usize, new: usize) {
        if parent == NONE {
            self.root = new;
        } else if self.slots[parent].left == old {
            self.slots[parent].left = new;
        } else {
            self.slots[parent].right = new;
        }
    }

    /// A point goes below `at`: its box and its mass grow.
    fn include(&mut self, at: usize, point: &[f32]) {
        self.slots[at].mass += 1;
        for (edge, value) in self.boxes[at * self.dims..(at + 1) * self.dims].iter_mut().zip(point) {
            *edge = (edge.0.min(*value), edge.1.max(*value));
        }
    }

    fn refit(&mut self, branch: usize) {
        let Slot { left, right, .. } = self.slots[branch];
        for axis in 0..self.dims {
            let (a, b) = (self.boxes[left * self.dims + axis], self.boxes[right * self.dims + axis]);
            self.boxes[branch * self.dims + axis] = (a.0.min(b.0), a.1.max(b.1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_box_and_mass_stays_exact_while_points_come_and_go() {
        let mut random = Random::new(3);
        let mut tree = CutTree::new(3);
        let mut held: Vec<(usize, Vec<f32>)> = Vec::new();

        for step in 0..2000 {
            if held.len() > 60 || (step % 7 == 0 && !held.is_empty()) {
                let (leaf, _) = held.swap_remove(random.below(held.len()));
                tree.remove(leaf);
            }
            let point: Vec<f32> = (0..3).map(|_| (random.unit() * 5.0).floor() as f32).collect();
            held.push((tree.insert(&point, &mut random), point));

            assert_eq!(tree.slots[tree.root].mass as usize, held.len());
            for (axis, edge) in tree.cube(tree.root).iter().enumerate() {
                let values = held.iter().map(|(_, p)| p[axis]);
                assert_eq!(*edge, (values.clone().fold(f32::MAX, f32::min), values.fold(f32::MIN, f32::max)));
            }
        }
        for (leaf, point) in &held {
            assert!(tree.cube(*leaf).iter().zip(point).all(|(edge, value)| edge.0 == *value && edge.1 == *value));
        }
    }

    #[test]
    fn a_far_point_is_isolated_earlier_than_one_in_the_crowd() {
        let mut random = Random::new(1);
        let mut tree = CutTree::new(2);
        for _ in 0..200 {
            tree.insert(&[random.unit() as f32, random.unit() as f32], &mut random);
        }

        assert!(tree.isolation(&[40.0, 0.5]) > 3.0 * tree.isolation(&[0.5, 0.5]));
    }
}
