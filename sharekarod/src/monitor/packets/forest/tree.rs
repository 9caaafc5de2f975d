//! The trees, flat in memory, and the score.

/// Samples of each tree: more blur what is unlike (the paper's section 3.1).
const SAMPLES: usize = 256;

/// Trees: the score's spread is small from here on (the paper's figure 8).
const TREES: usize = 100;

/// Euler's constant.
const EULER: f64 = 0.577_215_664_901_532_9;

/// Numbers that look random and are the same for the same seed: SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of that seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        let wide = u128::from(self.number()) * end as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// From 0 up to, not including, 1.
    #[allow(clippy::cast_precision_loss, reason = "53 bits are what an f64 holds")]
    pub fn unit(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A place in a tree: a cut, or a leaf with what is left of the path.
#[derive(Clone, Copy, Debug)]
enum Place {
    Cut { feature: u32, at: f32, below: u32, above: u32 },
    Leaf { depth: f32 },
}

/// A grown forest over points of `D` features.
#[derive(Clone, Debug)]
pub struct Forest<const D: usize> {
    places: Vec<Place>,
    roots: Vec<u32>,
    /// The mean path in a tree of such samples, which scores are relative to.
    usual: f64,
}

impl<const D: usize> Forest<D> {
    /// Grows a forest; every point may be drawn into several trees, but only once into each. `None` of fewer than two
    /// points, where nothing can be unlike.
    pub fn grow(points: &[[f32; D]], seed: u64) -> Option<Self> {
        if points.len() < 2 {
            return None;
        }
        let mut random = Random::new(seed);
        let samples = SAMPLES.min(points.len());
        let depth = samples.next_power_of_two().ilog2();
        let mut forest = Self { places: Vec::new(), roots: Vec::new(), usual: mean_path(samples) };
        let mut drawn: Vec<usize> = (0..points.len()).collect();
        for _ in 0..TREES {
            for at in 0..samples {
                let other = at + random.below(drawn.len() - at);
                drawn.swap(at, other);
            }
            let mut sample: Vec<[f32; D]> = drawn.iter().take(samples).filter_map(|at| points.get(*at)).copied().collect();
            let root = forest.branch(&mut sample, 0, depth, &mut random);
            forest.roots.push(root);
        }
        Some(forest)
    }

    fn branch(&mut self, sample: &mut [[f32; D]], depth: u32, most: u32, random: &mut Random) -> u32 {
        let here = self.places.len();
        let cut = if depth < most && sample.len() > 1 { cut(sample, random) } else { None };
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "depths are small")]
        self.places.push(Place::Leaf { depth: depth as f32 + mean_path(sample.len()) as f32 });
        if let Some((feature, at)) = cut {
            let middle = partition(sample, feature, at);
            let (low, high) = sample.split_at_mut(middle);
            let below = self.branch(low, depth + 1, most, random);
            let above = self.branch(high, depth + 1, most, random);
            if let (Some(place), Ok(feature)) = (self.places.get_mut(here), u32::try_from(feature)) {
                *place = Place::Cut { feature, at, below, above };
            }
        }
        u32::try_from(here).unwrap_or(0)
    }

    /// How unlike the others a point is: from 0 to 1; ordinary ones are below 0.5.
    pub fn score(&self, point: &[f32; D]) -> f64 {
        let paths: f64 = self.roots.iter().map(|root| f64::from(self.path(*root, point))).sum();
        #[allow(clippy::cast_precision_loss, reason = "there are 100")]
        let mean = paths / self.roots.len() as f64;
        (-mean / self.usual).exp2()
    }

    #[inline]
    fn path(&self, root: u32, point: &[f32; D]) -> f32 {
        let mut at = root;
        // Every cut leads further back in `places`, so this ends.
        loop {
            match self.places.get(at as usize) {
                Some(Place::Cut { feature, at: limit, below, above }) => {
                    let value = point.get(*feature as usize).copied().unwrap_or_default();
                    at = if value < *limit { *below } else { *above };
                }
                Some(Place::Leaf { depth }) => return *depth,
                None => return 0.0,
            }
        }
    }
}

/// A feature that varies, chosen at random, and a value within its range.
fn cut<const D: usize>(sample: &[[f32; D]], random: &mut Random) -> Option<(usize, f32)> {
    let mut features: [usize; D] = std::array::from_fn(|at| at);
    for tried in 0..D {
        let other = tried + random.below(D - tried);
        features.swap(tried, other);
        let feature = *features.get(tried)?;
        let values = || sample.iter().filter_map(|point| point.get(feature)).copied();
        let (low, high) = (values().fold(f32::INFINITY, f32::min), values().fold(f32::NEG_INFINITY, f32::max));
        if low < high {
            #[allow(clippy::cast_possible_truncation, reason = "a value between two f32 is one")]
            let at = (f64::from(low) + random.unit() * (f64::from(high) - f64::from(low))) as f32;
            // At the lower end nothing would be below.
            return Some((feature, if at > low { at } else { high }));
        }
    }
    None
}

/// Moves what is below the cut to the front; returns how many that are.
fn partition<const D: usize>(sample: &mut [[f32; D]], feature: usize, limit: f32) -> usize {
    let mut low = 0;
    for at in 0..sample.len() {
        if sample.get(at).and_then(|point| point.get(feature)).is_some_and(|value| *value < limit) {
            sample.swap(low, at);
            low += 1;
        }
    }
    low
}

/// The mean length of an unsuccessful search in a binary tree of `count` points (the paper's equation 1).
#[allow(clippy::cast_precision_loss, reason = "counts are small")]
fn mean_path(count: usize) -> f64 {
    match count {
        0 | 1 => 0.0,
        2 => 1.0,
        count => {
            let last = (count - 1) as f64;
            2.0 * (last.ln() + EULER) - 2.0 * last / count as f64
        }
    }
}

#[cfg(test)]
mod tests;
