//! A row of small bars: how an amount went over time, on one line.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// These values as bars, the largest full; as many bars as `width` at most, each the sum of its neighbours.
pub(crate) fn sparkline(values: &[u64], width: usize) -> String {
    let each = values.len().div_ceil(width.max(1)).max(1);
    let sums: Vec<u64> = values.chunks(each).map(|chunk| chunk.iter().fold(0u64, |sum, value| sum.saturating_add(*value))).collect();
    let largest = sums.iter().copied().max().unwrap_or(0).max(1);
    sums.iter().map(|sum| bar(*sum, largest)).collect()
}

/// Anything above nothing is above the lowest bar: a second with one packet differs from one with none.
fn bar(value: u64, largest: u64) -> char {
    let steps = BARS.len() as u64 - 1;
    let height = (u128::from(value) * u128::from(steps)).div_ceil(u128::from(largest));
    usize::try_from(height).ok().and_then(|height| BARS.get(height)).copied().unwrap_or('█')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_grow_with_the_values() {
        assert_eq!(sparkline(&[0, 1, 50, 100], 10), "▁▂▅█");
        assert_eq!(sparkline(&[0, 0, 0], 10), "▁▁▁");
        assert_eq!(sparkline(&[], 10), "");
        assert_eq!(sparkline(&[u64::MAX; 100], 10).chars().count(), 10);
    }
}
