//! Times over the course of a run, in bounded memory.

use crate::distribution::{Distribution, Statistics};

/// As many points are drawn at most: more than a page has room for.
const MAX: usize = 480;

/// What became of probes that follow each other.
struct Bucket {
    rtt: Distribution,
    net: Distribution,
    /// Below 0 where late replies come to a bucket without their timeouts.
    lost: i64,
}

/// Probes by their number, as many in each bucket as it takes for all to have one.
pub(super) struct Series {
    buckets: Vec<Bucket>,
    width: u64,
    first: u64,
    last: u64,
}

/// Probes that follow each other.
pub(super) struct Point {
    /// The numbers of the first and the last of them.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) rtt: Option<Statistics>,
    pub(super) net: Option<Statistics>,
    pub(super) lost: u64,
}

impl Bucket {
    fn new() -> Self {
        Self { rtt: Distribution::rough(), net: Distribution::rough(), lost: 0 }
    }

    fn merge(&mut self, other: &Self) {
        self.rtt.merge(&other.rtt);
        self.net.merge(&other.net);
        self.lost = self.lost.saturating_add(other.lost);
    }
}

impl Series {
    /// Numbers count from `first`.
    pub(super) fn new(first: u64) -> Self {
        Self { buckets: Vec::new(), width: 1, first, last: first }
    }

    pub(super) fn record(&mut self, number: u64, rtt: Option<i64>, net: Option<i64>) {
        let bucket = self.bucket(number);
        if let Some(rtt) = rtt {
            bucket.rtt.record(rtt);
        }
        if let Some(net) = net {
            bucket.net.record(net);
        }
    }

    /// Counts a lost probe, or one that was not lost after all.
    pub(super) fn lose(&mut self, number: u64, count: i64) {
        let bucket = self.bucket(number);
        bucket.lost = bucket.lost.saturating_add(count);
    }

    fn bucket(&mut self, number: u64) -> &mut Bucket {
        let offset = number.saturating_sub(self.first);
        self.last = self.last.max(number);
        while offset / self.width >= MAX as u64 {
            self.widen();
        }
        let index = usize::try_from(offset / self.width).expect("less than MAX");
        if index >= self.buckets.len() {
            self.buckets.resize_with(index + 1, Bucket::new);
        }
        &mut self.buckets[index]
    }

    /// Makes one of each two buckets.
    fn widen(&mut self) {
        let mut buckets = std::mem::take(&mut self.buckets).into_iter();
        while let Some(mut bucket) = buckets.next() {
            if let Some(next) = buckets.next() {
                bucket.merge(&next);
            }
            self.buckets.push(bucket);
        }
        self.width *= 2;
    }

    /// Those with something to draw.
    pub(super) fn points(&self) -> Vec<Point> {
        let point = |(index, bucket): (u64, &Bucket)| {
            let first = self.first + index * self.width;
            let (rtt, net) = (bucket.rtt.statistics(), bucket.net.statistics());
            let lost = u64::try_from(bucket.lost).unwrap_or(0);
            let is_empty = rtt.is_none() && net.is_none() && lost == 0;
            let last = first.saturating_add(self.width - 1).min(self.last);
            (!is_empty).then_some(Point { first, last, rtt, net, lost })
        };
        (0..).zip(&self.buckets).filter_map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_probes_have_a_point_each() {
        let mut series = Series::new(1);
        series.record(1, Some(10), Some(7));
        series.lose(3, 1);
        let points = series.points();
        let of =
            |point: &Point| (point.first, point.last, point.rtt.map(|rtt| rtt.p50), point.net.is_some(), point.lost);
        assert_eq!(points.iter().map(of).collect::<Vec<_>>(), [(1, 1, Some(10), true, 0), (3, 3, None, false, 1)]);
    }

    #[test]
    fn many_share_points_and_none_is_lost() {
        let mut series = Series::new(1);
        for number in 1..=100_000 {
            series.record(number, Some(i64::try_from(number).expect("small")), None);
            series.lose(number, i64::from(number % 100 == 0));
        }
        // It was late.
        series.lose(100, -1);
        let points = series.points();
        assert!(points.len() <= MAX && points.len() > MAX / 4, "{}", points.len());
        assert_eq!(points.iter().map(|point| point.lost).sum::<u64>(), 999);
        let (first, last) = (points[0].rtt.expect("times"), points[points.len() - 1].rtt.expect("times"));
        assert_eq!((points[0].first, first.min, last.max), (1, 1, 100_000));
        assert!((first.p50 - 128).abs() <= 2, "{first:?}");
        for pair in points.windows(2) {
            assert_eq!(pair[0].last + 1, pair[1].first);
        }
    }

    #[test]
    fn any_number_is_no_trouble() {
        let mut series = Series::new(1);
        for number in [0, 1, u64::MAX] {
            series.record(number, Some(5), None);
        }
        series.lose(u64::MAX, -1);
        assert_eq!(series.points().len(), 2);
    }
}
