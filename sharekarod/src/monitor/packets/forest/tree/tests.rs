//! The forest against the paper: areas under the curve on data that is made as its data is described.

use proptest::prelude::*;

use super::{Forest, Random, mean_path};

/// A number of the standard normal distribution (Box and Muller).
fn normal(random: &mut Random) -> f64 {
    (-2.0 * (1.0 - random.unit()).ln()).sqrt() * (std::f64::consts::TAU * random.unit()).cos()
}

#[allow(clippy::cast_possible_truncation)]
fn around<const D: usize>(random: &mut Random, centre: [f64; D], spread: f64) -> [f32; D] {
    centre.map(|middle| (middle + spread * normal(random)) as f32)
}

/// How probable it is that an anomaly scores above an ordinary point.
#[allow(clippy::cast_precision_loss)]
fn area<const D: usize>(ordinary: &[[f32; D]], anomalies: &[[f32; D]], seed: u64) -> f64 {
    let all: Vec<[f32; D]> = ordinary.iter().chain(anomalies).copied().collect();
    let forest = Forest::grow(&all, seed).unwrap();
    let mut scores: Vec<(f64, bool)> = ordinary.iter().map(|point| (forest.score(point), false)).collect();
    scores.extend(anomalies.iter().map(|point| (forest.score(point), true)));
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut rank, mut at) = (0.0, 0);
    while at < scores.len() {
        let equal = scores[at..].iter().take_while(|other| other.0 == scores[at].0).count();
        let mean = at as f64 + (equal as f64 + 1.0) / 2.0;
        rank += mean * scores[at..at + equal].iter().filter(|(_, anomaly)| *anomaly).count() as f64;
        at += equal;
    }
    let (n, m) = (anomalies.len() as f64, ordinary.len() as f64);
    (rank - n * (n + 1.0) / 2.0) / (n * m)
}

/// Mean over several seeds, as the paper's table has it.
fn mean_area<const D: usize>(ordinary: &[[f32; D]], anomalies: &[[f32; D]]) -> f64 {
    (0..5).map(|seed| area(ordinary, anomalies, seed)).sum::<f64>() / 5.0
}

/// Rocke and Woodruff's generator: 4 features, a tenth of the points in two dense clusters a distance factor of 2 away.
/// The paper's table 3 has 0.97.
#[test]
fn mulcross_is_separated_as_in_the_paper() {
    let mut random = Random::new(1);
    let ordinary: Vec<[f32; 4]> = (0..9_000).map(|_| around(&mut random, [0.0; 4], 1.0)).collect();
    // The 0.95 quantile of chi-squared with 4 degrees of freedom, shared by two coordinates.
    let distance = 2.0 * 9.488_f64.sqrt() / 2.0_f64.sqrt();
    let centres = [[distance, distance, 0.0, 0.0], [0.0, 0.0, -distance, -distance]];
    let anomalies: Vec<[f32; 4]> = (0..1_000).map(|i| around(&mut random, centres[i % 2], 0.1)).collect();

    let area = mean_area(&ordinary, &anomalies);

    assert!((area - 0.97).abs() < 0.03, "{area}");
}

/// As in the `http` set: three features of a logarithm each, 0.4 % anomalies with values that nothing else has. The table
/// has 1.00.
#[test]
fn rare_and_far_points_are_separated_completely() {
    let mut random = Random::new(2);
    let ordinary: Vec<[f32; 3]> = (0..20_000).map(|_| around(&mut random, [0.1, 5.5, 8.0], 0.7)).collect();
    let anomalies: Vec<[f32; 3]> = (0..80).map(|_| around(&mut random, [0.1, 10.9, 9.0], 0.05)).collect();

    let area = mean_area(&ordinary, &anomalies);

    assert!(area > 0.99, "{area}");
}

/// As in `shuttle`: nine features, four fifths of the points in one class, 7 % in several far ones. The table has 1.00.
#[test]
fn several_far_classes_are_separated() {
    let mut random = Random::new(3);
    let ordinary: Vec<[f32; 9]> =
        (0..18_600).map(|_| around(&mut random, [45.0, 0.0, 85.0, 0.0, 40.0, 0.0, 40.0, 45.0, 5.0], 4.0)).collect();
    let far = [[60.0, 0.0, 90.0, 0.0, -20.0, 0.0, 30.0, 110.0, 80.0], [80.0, 40.0, 85.0, 0.0, 50.0, -30.0, 5.0, 35.0, 30.0]];
    let anomalies: Vec<[f32; 9]> = (0..1_400).map(|i| around(&mut random, far[i % 2], 6.0)).collect();

    let area = mean_area(&ordinary, &anomalies);

    assert!(area > 0.97, "{area}");
}

/// As in `pima` and `satellite`, where anomalies differ little: the table has 0.67 and 0.71. One deviation in half of the
/// eight features cannot be separated much better by anything.
#[test]
fn points_that_hardly_differ_are_hardly_separated() {
    let mut random = Random::new(4);
    let ordinary: Vec<[f32; 8]> = (0..3_000).map(|_| around(&mut random, [0.0; 8], 1.0)).collect();
    let anomalies: Vec<[f32; 8]> = (0..1_000).map(|_| around(&mut random, [0.8, 0.8, 0.8, 0.8, 0.0, 0.0, 0.0, 0.0], 1.1)).collect();

    let area = mean_area(&ordinary, &anomalies);

    assert!((0.6..0.85).contains(&area), "{area}");
}

/// Columns that never vary say nothing and must cost nothing: with them, cuts would be spent on them.
#[test]
fn features_that_do_not_vary_change_little() {
    let mut random = Random::new(5);
    let ordinary: Vec<[f32; 2]> = (0..4_000).map(|_| around(&mut random, [0.0; 2], 1.0)).collect();
    let anomalies: Vec<[f32; 2]> = (0..40).map(|_| around(&mut random, [4.0, 4.0], 0.3)).collect();
    let wide = |points: &[[f32; 2]]| points.iter().map(|[x, y]| [7.0, *x, 7.0, 7.0, *y, 7.0, 7.0, 7.0]).collect::<Vec<[f32; 8]>>();

    let (narrow, wide) = (mean_area(&ordinary, &anomalies), mean_area(&wide(&ordinary), &wide(&anomalies)));

    assert!(narrow > 0.99 && (narrow - wide).abs() < 0.005, "{narrow} {wide}");
}

#[test]
fn the_same_seed_gives_the_same_scores() {
    let mut random = Random::new(6);
    let points: Vec<[f32; 3]> = (0..1_000).map(|_| around(&mut random, [0.0; 3], 1.0)).collect();
    let scores = |seed| points.iter().map(|point| Forest::grow(&points, seed).unwrap().score(point).to_bits()).take(5).collect::<Vec<_>>();

    assert_eq!(scores(1), scores(1));
    assert_ne!(scores(1), scores(2));
}

#[test]
fn the_mean_path_is_that_of_the_paper() {
    assert_eq!((mean_path(1), mean_path(2)), (0.0, 1.0));
    assert!((mean_path(256) - 10.244_77).abs() < 1e-4);
}

proptest! {
    #[test]
    fn scores_stay_between_zero_and_one(points in proptest::collection::vec(any::<[f32; 2]>(), 0..40), seed: u64) {
        if let Some(forest) = Forest::grow(&points, seed) {
            for point in &points {
                let score = forest.score(point);
                prop_assert!((0.0..=1.0).contains(&score), "{score}");
            }
        }
    }
}
